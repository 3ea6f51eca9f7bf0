"""Settings of the unwrapping: the numbers that steer its result.

All are leaves of a pytree but `window` and `rounds`, which shape the program. Widths of filters are
no settings: they are constants of the modules that use them, as fractions of the texture's side.
"""

from __future__ import annotations

from flax import struct

from jaxface.pytrees import pytree, static


@pytree
class NoiseConfig:
    """Settings of `denoise`. Standard deviations are of sRGB, 0..1.

    Attributes:
        floor: noise that is not removed: the last bit's, and the skin's own variation of colour.
        oversubtraction: multiple of the noise's power that is subtracted from a band's power. More
            leaves less noise and less fine detail.
        masking: noise that hides one octave of the skin's detail.
    """

    floor: float = 0.004
    oversubtraction: float = 1.5
    masking: float = 0.0125


@pytree
class ExposureConfig:
    """Priors of `balance_light` and `explain_albedo`, on natural logarithms of linear RGB.

    A camera exposes a face so that white in its place would be nearly white, and balances the
    light to neutral; skin differs far more between people.

    Attributes:
        light_level: mean of the light's level.
        light_level_sigma: its standard deviation; larger lets a dark photo be dark light.
        light_colour_sigma: standard deviation of the light's colour around neutral.
        skin_level_sigma: standard deviation of skin's level around `SKIN`.
        skin_colour_sigma: standard deviation of skin's colour around that of `SKIN`.
        albedo_sigma: standard deviation of a texel around the albedo model.
        texels_per_observation: texels of the albedo model that count as one independent
            observation; more draws the coefficients to their prior.
    """

    light_level: float = -0.1
    light_level_sigma: float = 0.3
    light_colour_sigma: float = 0.1
    skin_level_sigma: float = 0.6
    skin_colour_sigma: float = 0.25
    albedo_sigma: float = 0.1
    texels_per_observation: float = 3000.0


@pytree
class SkinMaskConfig:
    """Settings of `skin_mask`. Log ratios are natural logarithms of photo over rendered fit.

    Attributes:
        threshold: robust standard deviations off the trend beyond which a texel is not skin. Lower
            rejects more hair, and more moles, wrinkles and make-up.
        hysteresis: fraction of `threshold` above which a neighbour of a rejected texel is rejected.
        luminance_floor: least standard deviation of the log ratio's mean over the channels.
        chroma_floor: least standard deviation of its deviation from that mean.
        structure_floor: least typical size of fine detail, as a log ratio.
        person: probabilities of a person between which a texel starts to count.
        dark: luminance below which a texel says little about albedo.
        burnt: luminances between which a texel is burnt out.
        strand_depth: log ratio by which a strand is darker than the skin on both its sides.
        strand_neutrality: least ratio of red's to green's depth in a strand: 0.6 to 0.75 in folds
            of skin, since light that bounces there is red, and 1 before hair.
    """

    threshold: float = 3.5
    hysteresis: float = 0.6
    luminance_floor: float = 0.10
    chroma_floor: float = 0.05
    structure_floor: float = 0.03
    person: tuple[float, float] = (0.4, 0.8)
    dark: float = 0.004
    burnt: tuple[float, float] = (0.965, 0.995)
    strand_depth: float = 0.28
    strand_neutrality: float = 0.92


@pytree
class ShadowConfig:
    """Settings of the shadows that a head casts on itself.

    Attributes:
        lamp_spread: tangent of the angle off the harmonics' direction where the lamp may stand.
        directed: a lamp's irradiance over all irradiance on the face, between which light starts to
            cast shadows.
        darker: log ratios below the skin around and below the mirror image, between which a
            shadow becomes certain.
        depth_tolerance: metres by which a texel may lie behind the lamp's depth buffer.
    """

    lamp_spread: float = 0.3
    directed: tuple[float, float] = (0.7, 1.1)
    darker: tuple[float, float] = (0.03, 0.10)
    depth_tolerance: float = 3e-3


@pytree
class HighlightConfig:
    """Settings of `remove_highlights`.

    Attributes:
        pigment: white light, as a fraction of the albedo's level, that is left to pigment.
        strength: fraction of the rest that is taken off.
        brighter: log ratios to the albedo around, between which white light becomes gloss.
        hiding: gloss, as a fraction of the albedo, between which it hides the skin under it.
        burnt: white light left, as a fraction of the albedo, between which a highlight counts as
            burnt out, and its hue is replaced by the albedo's.
        ridge: of the least squares; skin whose colour is itself near white tells little of gloss.
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
        rounds: times that the light, the skin mask and the albedo are estimated; static. The first
            knows the skin by the fit's albedo, the second by what skin shows.
        depth_tolerance: metres by which a texel may lie behind the depth buffer.
        facing: cosines of the viewing angle between which visibility rises from 0 to 1.
        tone_reach: mesh edges over which the low-frequency albedo follows the photo.
        mirror_weight: of what only the mirrored side shows, against 1 for what is seen itself.
        albedo_tolerance: log ratio by which skin may be brighter than the albedo model makes it.
        excess_to_light: fraction of what is brighter still that is put down to light.
        noise: settings of the denoising.
        exposure: priors on light and skin.
        mask: settings of the skin mask.
        shadows: settings of cast shadows.
        highlights: settings of the gloss.
    """

    window: int = static(default=768)
    rounds: int = static(default=2)
    depth_tolerance: float = 2e-3
    facing: tuple[float, float] = (0.2, 0.45)
    tone_reach: float = 2.5
    mirror_weight: float = 0.03
    albedo_tolerance: float = 0.05
    excess_to_light: float = 0.75
    noise: NoiseConfig = struct.field(default_factory=NoiseConfig)
    exposure: ExposureConfig = struct.field(default_factory=ExposureConfig)
    mask: SkinMaskConfig = struct.field(default_factory=SkinMaskConfig)
    shadows: ShadowConfig = struct.field(default_factory=ShadowConfig)
    highlights: HighlightConfig = struct.field(default_factory=HighlightConfig)
