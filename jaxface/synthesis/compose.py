"""The start of the synthesis: a texture composed of what is known."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from jaxface.precision import jit
from jaxface.rendering.color import srgb_to_linear
from jaxface.synthesis.config import SynthesisConfig
from jaxface.synthesis.octaves import (
    bands,
    besides,
    blur,
    local_strength,
    mean_product,
    strengths,
    transfer,
)
from jaxface.synthesis.quilt import choose_patches, quilt
from jaxface.types import Textures

_EPSILON = 2e-3
_FINEST = 0.75  # texels: the finest blur that parts two octaves
_SWEEPS = 40  # at each level of the pyramid
_SHARPER = 1.7  # by which the contrast of an octave that a photo has blurred is raised at most
_OUTLIER = 2.5  # deviations beyond which the grain is cut, so that no mole is laid many times
_OFF = 0.25  # log tone that goes on beyond the seen
_TWICE = 0.5  # share of the low-frequency albedo's octaves that the database's repeat
_CALMER = 0.75  # strength of real skin where a face hardly shows it, over that elsewhere
_COMMON, _BESIDES = 1.4, 0.7  # of fine detail that is no bare skin: an average's, one face's


def _logarithm(texture: Float[Array, "T T 3"]) -> Float[Array, "T T 3"]:
    """Returns the logarithm of the linear texture of one that is sRGB, 0..255."""
    return jnp.log(srgb_to_linear(texture / 255.0) + _EPSILON)


def _average(
    textures: Textures, weights: Float[Array, " K"], count: int
) -> tuple[Float[Array, "T T 3"], Int[Array, " E"], Float[Array, " E"]]:
    """Returns the logarithm of the average of the faces of greatest weight, which these are, and
    their shares."""
    largest, index = jax.lax.top_k(weights, min(2 * count, len(weights)))
    shares = largest / jnp.maximum(largest.sum(), 1e-6)

    def add(total: Array, one: tuple[Array, Array]) -> tuple[Array, None]:
        return total + one[0] * srgb_to_linear(textures[one[1]] / 255.0), None

    # The mean of logarithms would be as dark as the darkest nostril.
    average, _ = jax.lax.scan(add, jnp.zeros(textures.shape[1:]), (shares, index))
    return jnp.log(average + _EPSILON), index, shares


def _extend(values: Float[Array, "T T C"], weights: Float[Array, "T T"]) -> Float[Array, "T T C"]:
    """Returns weighted values continued to where there are none by a membrane (Laplace's equation):
    Jacobi's sweeps over a pyramid, the coarsest level first."""
    share = weights[..., None]
    levels = [(values * share, share)]
    while levels[-1][0].shape[0] > 1:  # down to the mean of all that is known
        total, share = levels[-1]
        levels.append((_halved(total), _halved(share)))
    total, share = levels[-1]
    known = total / jnp.maximum(share, 1e-6)
    for total, share in levels[-2::-1]:
        side = total.shape[0]
        data, trust = total / jnp.maximum(share, 1e-6), jnp.minimum(share, 1.0)

        def sweep(_: int, field: Array, data: Array = data, trust: Array = trust) -> Array:
            at = jnp.pad(field, ((1, 1), (1, 1), (0, 0)), "edge")
            around = at[:-2, 1:-1] + at[2:, 1:-1] + at[1:-1, :-2] + at[1:-1, 2:]
            return trust * data + (1 - trust) * around / 4

        wide = jax.image.resize(known, (side, side, known.shape[-1]), "linear")
        known = jax.lax.fori_loop(0, _SWEEPS, sweep, wide)
    return known


def _halved(image: Float[Array, "T T C"]) -> Float[Array, "t t C"]:
    side = image.shape[0] // 2
    return image.reshape(side, 2, side, 2, -1).mean((1, 3))


def soft_mask(mask: Float[Array, "T T"], feather: float) -> Float[Array, "T T"]:
    """Returns a mask that falls to 0 before the border of the seen is reached."""
    inner = blur(mask[..., None], feather)[..., 0]
    inner = jnp.clip(2.0 * inner - 1.0, 0.0, 1.0)
    return jnp.minimum(inner * inner * (3 - 2 * inner), mask)


@struct.dataclass
class Composition:
    """The start of the synthesis, and what it may become.

    Attributes:
        seen: how much the photo counts, 0..1.
        completions: complete textures, linear, with the detail of each face of greatest weight.
        shares: of these faces, sum 1, the greatest first.
    """

    seen: Float[Array, "T T"]
    completions: Float[Array, "E T T 3"]
    shares: Float[Array, " E"]

    @property
    def start(self) -> Float[Array, "T T 3"]:
        """The completion with the face of greatest weight."""
        return self.completions[0]


@partial(jit, static_argnames="config")
def compose(
    low_frequency: Float[Array, "T T 3"],
    partial_linear: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    textures: Textures,
    weights: Float[Array, " K"],
    config: SynthesisConfig = SynthesisConfig(),
    fixed: Float[Array, "T T"] | None = None,
    pixels_per_texel: Float[Array, "T T"] | None = None,
    skin: Float[Array, "T T"] | None = None,
) -> Composition:
    """Returns the texture composed of what is known, with each of the likeliest database faces.

    In the logarithm, where shading and pigment are sums: the photo's detail where it is seen, its
    mirror image's where that is, the database's elsewhere, on the low-frequency albedo. The
    database's is what the blended faces have in common and, of the finest, something of one face;
    on bare skin, in place of that, the person's own, from where it is seen. Octaves that the photo
    blurs are raised, those that it cannot show are a database face's. The `fixed` parts (eyes,
    mouth) are whole already and are only sharpened. Differentiable except in the choice of the
    faces of greatest weight and of the places that give the finest detail.
    """
    photo = _read(low_frequency, partial_linear, mask, fixed, pixels_per_texel, skin, config)
    average, index, shares = _average(textures, weights, config.experts)
    completed = jax.checkpoint(partial(_completed, config=config))

    def of(face: Array) -> Array:
        return completed(photo, _logarithm(textures[face]), average)

    return Composition(photo.seen, jax.lax.map(of, index), shares)


@struct.dataclass
class _Photo:
    """What the photo shows, logarithms: the same for every face of the database.

    Attributes:
        low: low-frequency albedo.
        said: octaves of it, the coarsest first.
        seen: how much the photo counts, 0..1.
        mirrored: how much its mirror image does.
        whole: where detail is inferred: all but the fixed.
        bare: the open skin of that.
        own: what the photo adds to `low`.
        fine: that without its tone.
        octaves: of the photo, its low-frequency albedo included.
        legible: the contrast that the photo leaves of each.
        patches: where the finest detail is taken from that goes on in the unseen.
        found: 1 if there was any.
    """

    low: Float[Array, "T T 3"]
    said: list[Float[Array, "T T 3"]]
    seen: Float[Array, "T T"]
    mirrored: Float[Array, "T T"]
    whole: Float[Array, "T T"]
    bare: Float[Array, "T T"]
    own: Float[Array, "T T 3"]
    fine: Float[Array, "T T 3"]
    octaves: list[Float[Array, "T T 3"]]
    legible: list[Float[Array, "T T 1"]]
    patches: Int[Array, "N N 2"]
    found: Float[Array, ""]


def _sigmas(tone: float) -> list[float]:
    """Returns the Gaussians that part the octaves, texels, the coarsest first."""
    return [tone / 2**octave for octave in range(1 + max(1, round(math.log2(tone / _FINEST))))]


def _read(
    low_frequency: Float[Array, "T T 3"],
    partial_linear: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    fixed: Float[Array, "T T"] | None,
    pixels_per_texel: Float[Array, "T T"] | None,
    skin: Float[Array, "T T"] | None,
    config: SynthesisConfig,
) -> _Photo:
    """Returns what the photo shows, the octaves that it blurs raised."""
    scale = low_frequency.shape[0] / 512.0
    low = jnp.log(low_frequency + _EPSILON)
    seen = soft_mask(mask, config.feather * scale)
    whole = jnp.ones_like(seen) if fixed is None else 1 - fixed
    own = jnp.where(mask[..., None] > 0, jnp.log(partial_linear + _EPSILON) - low, 0.0)
    tone = config.tone * scale
    # What the mirror image says of tone is said by the low-frequency albedo already.
    weight = seen[..., None] + 1e-4
    fine = own - blur(own * weight, tone) / blur(weight, tone)
    width = 0.0 * seen
    if pixels_per_texel is not None:
        width = config.photo_blur / jnp.maximum(pixels_per_texel, 0.05)
    shown = transfer(width, _sigmas(tone))
    sharper = [jnp.minimum(1 / jnp.maximum(part, 1e-3), _SHARPER) for part in shown]
    said = bands(low, whole, _sigmas(tone))
    own_octaves = bands(fine, seen * whole, _sigmas(tone))
    octaves = [mine + band for mine, band in zip(own_octaves, said, strict=True)]
    # In all colours alike, since the colours of a compressed photo are coarser than its light.
    raised = [
        (more - 1) * jnp.mean(band, -1, keepdims=True)
        for more, band in zip(sharper, octaves, strict=True)
    ]
    added = sum(raised) * whole[..., None]
    octaves = [band + more for band, more in zip(octaves, raised, strict=True)]
    mirrored = seen[:, ::-1] * (1 - seen)
    bare = whole if skin is None else skin
    grain = jnp.zeros_like(low)
    for band, sigma in zip(octaves, _sigmas(tone), strict=True):
        if sigma <= config.grain * scale:
            grain = grain + band
    grain = seen[..., None] * grain + mirrored[..., None] * grain[:, ::-1]
    patches, found = choose_patches(
        grain, (seen + mirrored) * bare, (1 - seen) * (1 - mirrored) * bare
    )
    return _Photo(
        low=low,
        said=said,
        seen=seen,
        mirrored=mirrored,
        whole=whole,
        bare=bare,
        own=own + added,
        fine=fine + added,
        octaves=octaves,
        legible=[more * part for more, part in zip(sharper, shown, strict=True)],
        patches=patches,
        found=found,
    )


def _completed(
    photo: _Photo,
    face: Float[Array, "T T 3"],
    average: Float[Array, "T T 3"],
    config: SynthesisConfig,
) -> Float[Array, "T T 3"]:
    """Returns the texture, linear, with the detail of an average and of one face, logarithms."""
    scale = photo.low.shape[0] / 512.0
    tone = config.tone * scale
    sigmas = _sigmas(tone)
    seen, whole, bare, mirrored = photo.seen, photo.whole, photo.bare[..., None], photo.mirrored
    faces = bands(face, whole, sigmas)
    gains = strengths(photo.octaves, faces, photo.legible, seen * whole)
    known = (seen + mirrored) * photo.bare
    spared = photo.found * bare  # where the person's own grain takes the place of one face's
    detail, lacking, grain, usual = (jnp.zeros_like(photo.low) for _ in range(4))
    for said, band, common, mine, gain, part, sigma in zip(
        photo.said,
        faces,
        bands(average, whole, sigmas),
        photo.octaves,
        gains,
        photo.legible,
        sigmas,
        strict=True,
    ):
        missing = jnp.sqrt(jnp.maximum(1 - part**2, 1e-6)) * gain * band
        lacking = lacking + missing
        # What the blended faces have in common is the likeliest, and lies where features are.
        detail = detail + common - _TWICE * said
        if sigma > config.grain * scale:
            continue
        likely = _COMMON * common + _BESIDES * besides(band, common)
        detail, usual = detail + (1 - spared) * (likely - common), usual + likely
        own = mine + missing
        rest = mean_product(common, common, known) / (mean_product(own, own, known) + 1e-9)
        grain = grain + jnp.sqrt(jnp.clip(1 - rest, 0.01, 1.0)) * own
    # Bounded, so that no strand of the face's brows is laid over the photo's.
    added = config.finest * jnp.tanh(lacking / config.finest) * whole[..., None]
    own, fine = photo.own + added, photo.fine + added
    # The person's own grain goes on where neither the photo nor its mirror image shows any, at most
    # as strong as it is there.
    grain = seen[..., None] * grain + mirrored[..., None] * grain[:, ::-1]
    strength = local_strength(usual, whole, known, tone)
    grain = grain / strength
    bound = _OUTLIER * jnp.sqrt(mean_product(grain, grain, known) / (jnp.mean(known) + 1e-6) + 1e-9)
    spread = quilt(bound * jnp.tanh(grain / bound), photo.patches)
    detail = detail + spared * _CALMER * strength * spread
    # The fixed parts are whole already: sharpened, not mirrored, and not shifted in tone.
    edges = jnp.mean(face - blur(face, config.sharp * scale), -1, keepdims=True)
    detail = whole[..., None] * detail + (1 - whole[..., None]) * edges
    mirrored = (mirrored * whole)[..., None]
    inferred = mirrored * fine[:, ::-1] + (1 - mirrored) * detail
    # What the photo is off at the border of the seen goes on beyond it, bounded: more is no tone of
    # skin but the rim of what hides it.
    off = jnp.clip(own - inferred, -_OFF, _OFF)
    inferred = inferred + _extend(off, seen) * whole[..., None]
    log = photo.low + seen[..., None] * own + (1 - seen[..., None]) * inferred
    return jnp.clip(jnp.exp(log) - _EPSILON, 0.0, 1.0)
