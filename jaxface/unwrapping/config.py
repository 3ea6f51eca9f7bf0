"""Settings of the unwrapping.

All are floating-point leaves of a pytree but `window` and `rounds`, which are static. Widths of
filters are constants of the modules that use them, as fractions of the texture's side.
"""

from __future__ import annotations

from flax import struct

from jaxface.pytrees import pytree, static

SKIN = (-1.42, 1.2, -0.13)
"""Mean log albedo of skin: level, warmth and green, as in `ExposureConfig`."""


@pytree
class NoiseConfig:
    """Settings of `denoise`. Standard deviations are of sRGB, 0..1.

    Attributes:
        floor: noise that is not removed: quantisation, and the skin's variation of colour.
        oversubtraction: multiple of the noise's power that is subtracted from a band's power. More
            leaves less noise and less fine detail.
        masking: noise n that hides one octave of the skin's detail; `pixels_per_texel` is divided
            by 1 + n / masking.
    """

    floor: float = 0.004
    oversubtraction: float = 1.5
    masking: float = 0.0125


@pytree
class ExposureConfig:
    """Priors of `balance_light` and `estimate_albedo_coefficients`, on logs of linear RGB.

    Colours are given as level (R + G + B) / 3, warmth R - B and green G - (R + B) / 2, whose errors
    are independent. A camera exposes a face so that white in its place would be nearly white, and
    balances the light to neutral. Skin's level differs more between people than the light's, but
    its hue hardly does: what is off that is the light's or the camera's. `notes/evaluation.md`
    tells where the numbers are from.

    Attributes:
        light: prior mean of the log light: level, warmth, green.
        light_sigma: its standard deviations; a larger first one explains a dark photo by dim light.
        skin: prior mean of skin's log albedo.
        skin_sigma: its standard deviations.
        albedo_sigma: standard deviation of a texel around the albedo model.
        texels_per_observation: texels of the albedo model per effective independent observation,
            as neighbours correlate; more draws the coefficients to their prior.
    """

    light: tuple[float, float, float] = (0.15, 0.0, 0.0)
    light_sigma: tuple[float, float, float] = (0.25, 0.25, 0.1)
    skin: tuple[float, float, float] = SKIN
    skin_sigma: tuple[float, float, float] = (0.6, 0.2, 0.05)
    albedo_sigma: float = 0.1
    texels_per_observation: float = 3000.0


@pytree
class HighlightConfig:
    """Settings of `remove_highlights`.

    Attributes:
        pigment: white component, as a fraction of the albedo's mean over RGB, that is left in the
            diffuse albedo.
        strength: fraction of the rest that is removed.
        brighter: log ratios of the texel to the albedo between which the white component starts to
            count as specular.
        hiding: specular over albedo between which a texel's mask falls from 1 to 0.
        burnt: white component left over albedo, between which a highlight counts as saturated, and
            its hue is replaced by the albedo's.
        ridge: of the least squares, which is ill-conditioned for near-white skin.
    """

    pigment: float = 0.1
    strength: float = 0.8
    brighter: tuple[float, float] = (0.05, 0.2)
    hiding: tuple[float, float] = (0.2, 0.5)
    burnt: tuple[float, float] = (0.04, 0.12)
    ridge: float = 0.005


@pytree
class UnwrapConfig:
    """Settings of `unwrap`.

    Attributes:
        window: side of the depth buffer around the face, pixels; static.
        rounds: iterations of the block coordinate descent in light, skin mask, shading and albedo;
            static. The first starts from the fit's albedo, the others from that of visible skin.
        depth_tolerance: metres by which a texel may lie behind the depth buffer.
        facing: cosines of the viewing angle between which visibility rises from 0 to 1.
        oblique: the same between which the weight of skin rises: at the rim the light changes
            within the distance of the vertices, at which it is corrected, and ridges would be left;
            beards are kept there.
        probable: probabilities of the parser between which a texel's weight rises from 0 to 1.
        sure: the same between which colour loses its say.
        dark: linear luminance up to which a texel's weight rises from 0 to 1: below, JPEG's chroma
            is noise that the shading would be divided into.
        burnt: linear luminances between which a texel saturates: its weight falls from 1 to 0.
        steep: derivatives of the log shading by the normal, per radian, between which a texel's
            weight falls from 1 to 0: where the light grazes, a normal that is off by a few degrees
            makes a stain.
        tone_reach: mesh edges over which the low-frequency albedo follows the photo.
        mirror_weight: weight of the mirrored side's observations, against 1 for a texel's own.
        noise: settings of the denoising.
        exposure: priors on light and skin.
        highlights: settings of specular highlights.
    """

    window: int = static(default=768)
    rounds: int = static(default=2)
    depth_tolerance: float = 2e-3
    facing: tuple[float, float] = (0.2, 0.45)
    oblique: tuple[float, float] = (0.4, 0.6)
    probable: tuple[float, float] = (0.4, 0.6)
    sure: tuple[float, float] = (0.8, 0.9)
    dark: float = 0.004
    burnt: tuple[float, float] = (0.965, 0.995)
    steep: tuple[float, float] = (2.0, 3.0)
    tone_reach: float = 2.5
    mirror_weight: float = 0.03
    noise: NoiseConfig = struct.field(default_factory=NoiseConfig)
    exposure: ExposureConfig = struct.field(default_factory=ExposureConfig)
    highlights: HighlightConfig = struct.field(default_factory=HighlightConfig)
