"""Which texels show well-lit skin: the parser's face, less grazing light and burnt-out pixels.

Where the parser is in doubt, colour decides: skin's log ratio of the photo to the rendered fit is a
smooth trend (light and tone that the fit missed); hair and cloth are off it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxface.filters import LOG_OFFSET, blur, erode, masked_blur, smoothstep
from jaxface.rendering.color import luminance
from jaxface.rendering.lighting import shade
from jaxface.rendering.normals import length
from jaxface.types import FaceModel, Lighting, TexelMap
from jaxface.unwrapping.config import UnwrapConfig
from jaxface.unwrapping.membrane import membrane, texels_to_vertices, vertices_to_texels
from jaxface.unwrapping.regions import region_mask
from jaxface.unwrapping.statistics import part_median
from jaxface.unwrapping.visible import VisibleTexels

REGIONS = ("skin", "nose", "lips", "brows", "lids", "ears")
"""Regions whose texture is taken from the photo. The neck is not: it lies in the head's shadow,
which no light of the fit explains, and would be stained."""
# Lengths are fractions of the texture's side.
MIN_USABLE = 0.3  # least weight of a texel that is kept
RADIUS = 1 / 256  # of the erosion of the border
BORDER_SIGMA = 1.5 / 256  # Gaussian of the soft border
FINE_SIGMA = 1 / 340  # blur of the log ratio before it is compared with the trend: pores, noise
TREND_REACH = 7.0  # mesh edges over which the trend is smooth
MAD_TO_SIGMA = 1.4826  # of a normal distribution
MAX_DEVIATIONS = 3.0  # robust standard deviations from the trend within which skin lies
NO_STRAND = (0.15, 0.05)
"""Probabilities of the head's hair between which what looks like a brow comes to count as one: on
strands of two portraits the median is 0.13 and 0.22, on brows at frames of two 0.02 and 0.05."""
LEVEL_FLOOR, CHROMA_FLOOR = 0.10, 0.05  # log ratios: least standard deviations of skin


@struct.dataclass
class MaskEvidence:
    """What decides the skin mask besides the log ratio and the light.

    Attributes:
        usable: weight, 0..1: the photo shows a face there, neither too dark nor saturated.
        sure: 0..1: whether the parser is sure of that.
        facial_hair: how much of it is beard or brow, 0..1.
        any_colour: likewise, of what belongs to the face whatever its colour: not what may be a
            strand, which looks like a brow.
    """

    usable: Float[Array, "T T"]
    sure: Float[Array, "T T"]
    facial_hair: Float[Array, "T T"]
    any_colour: Float[Array, "T T"]


def mask_evidence(
    seen: VisibleTexels, model: FaceModel, texels: TexelMap, config: UnwrapConfig
) -> MaskEvidence:
    """Returns what `skin_mask` needs besides the log ratio and the light. No gradient passes.

    Args:
        seen: the photo at each texel.
        model: the face model of the fit.
        texels: of the model.
        config: `oblique`, `dark` and `burnt` are used.
    """
    seen = jax.lax.stop_gradient(seen)
    saturated_from, saturated_to = config.burnt
    level = luminance(seen.radiance)
    well_exposed = jnp.maximum(smoothstep(level, 0.0, config.dark), seen.beard)
    well_exposed = well_exposed * smoothstep(level, saturated_to, saturated_from)
    skin = region_mask(model, texels, *REGIONS)
    frontal = jnp.maximum(smoothstep(seen.projection.facing, *config.oblique), seen.beard)
    return MaskEvidence(
        usable=seen.visibility * frontal * seen.face * well_exposed * skin,
        sure=seen.sure,
        facial_hair=seen.facial_hair,
        any_colour=jnp.maximum(seen.beard, seen.brows * smoothstep(seen.hair, *NO_STRAND)),
    )


def skin_mask(
    log_ratio: Float[Array, "T T 3"],
    steepness: Float[Array, "T T"],
    evidence: MaskEvidence,
    model: FaceModel,
    texels: TexelMap,
    config: UnwrapConfig,
) -> Float[Array, "T T"]:
    """Returns 1 on texels that show skin, 0 on others, with a soft border. No gradient passes.

    Args:
        log_ratio: photo over fitted albedo times shading, natural logarithm.
        steepness: of the shading, from `shading_steepness`.
        evidence: from `mask_evidence`.
        model: the face model of the fit.
        texels: of the model.
        config: `steep` is used.
    """
    log_ratio, steepness, evidence = jax.lax.stop_gradient((log_ratio, steepness, evidence))
    usable, size = evidence.usable, len(log_ratio)
    grazing_from, grazing_to = config.steep
    # An error of the light there would stain skin; brows over deep-set eyes are dark anyhow.
    certain = smoothstep(steepness, grazing_to, grazing_from)
    usable = usable * jnp.maximum(certain, evidence.any_colour)
    known = usable * evidence.sure
    bare = known * (1.0 - evidence.facial_hair)
    alike = has_colour_of_skin(log_ratio, usable, bare, model, texels)
    usable = jnp.maximum(known, usable * jnp.maximum(alike, evidence.any_colour))
    kept = 1.0 * (usable > MIN_USABLE)
    soft = erode(kept, max(1, round(RADIUS * size)))
    soft = blur(soft[..., None], BORDER_SIGMA * size)[..., 0]
    return soft * kept * jnp.minimum(2.0 * usable, 1.0)


def shading_steepness(normals: Float[Array, "*N 3"], lighting: Lighting) -> Float[Array, "*N"]:
    """Returns the length of the derivative of log shading by the normal, per radian.

    Times a normal's error it is the error of the log albedo: large where the light grazes and where
    it is weak. Shading is the mean over RGB, the derivative that along the sphere of directions.

    Args:
        normals: unit normals, camera space.
        lighting: radiance harmonics, camera space.
    """

    def shading(normal: Float[Array, "3"]) -> Float[Array, ""]:
        return jnp.mean(shade(normal, lighting))

    flat = normals.reshape(-1, 3)
    level, slope = jax.vmap(jax.value_and_grad(shading))(flat)
    slope = slope - jnp.sum(slope * flat, -1, keepdims=True) * flat
    return (length(slope) / jnp.maximum(level, LOG_OFFSET)).reshape(normals.shape[:-1])


def has_colour_of_skin(
    log_ratio: Float[Array, "T T 3"],
    usable: Float[Array, "T T"],
    known: Float[Array, "T T"],
    model: FaceModel,
    texels: TexelMap,
) -> Float[Array, "T T"]:
    """Returns 1 where the log ratio is within `MAX_DEVIATIONS` of the trend of known skin, else 0.

    The trend is a membrane through known skin. Deviations are of the mean over RGB and of the
    length of the rest, each in robust standard deviations (MAD) of known skin, added in squares.

    Args:
        log_ratio: photo over fitted albedo times shading, natural logarithm.
        usable: weight of the texels that are asked about, 0..1.
        known: weight of texels that show skin, 0..1.
        model: whose mesh carries the trend.
        texels: of the model.
    """
    smooth = masked_blur(log_ratio, usable, FINE_SIGMA * len(usable))
    values, weights = texels_to_vertices(smooth, known, model, texels)
    field = membrane(values, weights, model.triangles, reach=TREND_REACH)
    residual = smooth - vertices_to_texels(field, texels)
    level = jnp.mean(residual, -1)
    chroma = jnp.sqrt(jnp.sum((residual - level[..., None]) ** 2, -1) + 1e-10)

    def deviations(values: Float[Array, "T T"], floor: float) -> Float[Array, "T T"]:
        median = part_median(jnp.abs(values), known)
        return values / jnp.maximum(MAD_TO_SIGMA * median, floor)

    squared = deviations(level, LEVEL_FLOOR) ** 2 + deviations(chroma, CHROMA_FLOOR) ** 2
    return 1.0 * (squared < MAX_DEVIATIONS**2)
