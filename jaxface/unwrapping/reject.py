"""Which texels show skin: what the fitted face does not explain is rejected.

The evidence is the log ratio of the photo to the fitted albedo times shading. On skin it is a
smooth trend (light and tone that the fit missed) plus noise of one size; hair, glasses, hands,
collar and background are off that trend in brightness, in colour or in fine structure.

Lengths named here are fractions of the texture's side unless they say otherwise.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxface.filters import (
    blur,
    dilate,
    erode,
    geodesic_reconstruction,
    masked_blur,
    opening,
    smoothstep,
    weighted_median,
)
from jaxface.rendering.color import luminance
from jaxface.types import FaceModel, FitResult, Lighting, TexelMap
from jaxface.unwrapping.config import SkinMaskConfig, UnwrapConfig
from jaxface.unwrapping.membrane import membrane, texels_to_vertices, vertices_to_texels
from jaxface.unwrapping.regions import chart_mask, region_bounds, region_mask
from jaxface.unwrapping.shadows import cast_shadows, hidden_from_lamp
from jaxface.unwrapping.strands import strand_mask
from jaxface.unwrapping.visible import VisibleTexels

REGION_TOLERANCE = {
    "skin": 1.0, "nose": 1.3, "lips": 2.2, "brows": 3.0, "lids": 2.0, "ears": 1.0, "neck": 0.8,
}  # fmt: skip
"""How far a region may be off the trend, relative to plain skin; others are never skin."""
PLAIN = (
    1.5  # tolerance up to which a region sets the trend's centre and scale: no brows, lips, lids
)
REGION_SIGMA = 1 / 128  # of the transition between two regions' tolerances

# The inner face. Unit: height from the brows' upper edge to the lips' lower edge (115 mm).
# Wrinkles, shadows and make-up are its own; hair, collar and background intrude outside it.
ABOVE_BROWS, BELOW_LIPS = 0.05, 0.165  # up to the middle of the forehead, down to the chin
BEARD = 0.446  # above the lips' lower edge: below it, stubble may be as dark as it likes
SIDE_WIDTH, TOP_WIDTH, CHIN_WIDTH, BEARD_WIDTH = 0.035, 0.026, 0.044, 0.052  # of the sigmoids
CONTOUR_FACING, CONTOUR_WIDTH = 0.55, 0.05  # cosine of the viewing angle along the contour
# What is added to the tolerance: more keeps wrinkles and beards, and lets in hair and glasses.
INNER_GAIN, BROW_GAIN, BROW_DARK_GAIN, BEARD_DARK_GAIN = 1.6, 2.0, 4.0, 0.8
HAIRLINE_LOSS, HAIRLINE_SIGMA = 0.35, 1 / 20  # what is taken from it near the scalp, and how near
BROW_MARGIN, BROW_SIGMA = 1 / 50, 1 / 100
OPEN_SKIN_MARGIN = 1 / 50  # between open skin and brows, lids, lips, nostrils
NOSE_WINGS = 0.5  # fraction of the nose's height below which its wings throw dark lines

FINE_SIGMA = 1 / 340  # of the log ratio that is compared with the trend: below are pores and noise
DETAIL_SIGMA = 1 / 170  # detail is what is finer than this,
STRUCTURE_SIGMA = 1 / 85  # and structure its deviation over this width
TREND_REACHES = (14.0, 7.0)  # mesh edges over which the trend is smoothed, round by round
MEDIAN_STRIDE = 3  # rows and columns from one that a median looks at to the next
MAD_TO_SIGMA = 1.4826  # of a normal distribution
BRIGHT_SCALE = 1.5  # skin may be brighter than the trend by so much more than it may be darker
STRUCTURE_WEIGHT = 0.5  # of structure, in typical sizes, against deviations
USABLE = 0.3  # least weight of a texel that is kept
SPECK = 1 / 256  # smaller rejected spots are moles and pores, the face's own
REGROWTH = 1 / 16  # how far a rejected area extends into the doubtful around it
MARGIN = 1 / 110  # by which it is dilated
CRUMB = 4  # specks: kept areas that are narrower are wisps
SOFT = 1.5  # specks: standard deviation of the soft border


@struct.dataclass
class MaskEvidence:
    """What the skin mask is decided by, besides albedo and light.

    Attributes:
        visible: 0..1, on the person.
        legible: 0 in deep shadow and where the photo is burnt out, else 1.
        tolerance: how far a texel may be off the trend; 0 where it never is skin.
        dark_tolerance: the same towards darkness.
        open_skin: 1 on skin away from brows, lids, lips and nostrils.
        strand_space: 1 where a strand may be followed.
        hidden: 1 on what the head hides from the light's dominant direction.
        normals: of the texels, camera space.
    """

    visible: Float[Array, "T T"]
    legible: Float[Array, "T T"]
    tolerance: Float[Array, "T T"]
    dark_tolerance: Float[Array, "T T"]
    open_skin: Float[Array, "T T"]
    strand_space: Float[Array, "T T"]
    hidden: Float[Array, "T T"]
    normals: Float[Array, "T T 3"]


def mask_evidence(
    seen: VisibleTexels, fit: FitResult, model: FaceModel, texels: TexelMap, config: UnwrapConfig
) -> MaskEvidence:
    """Returns what `skin_mask` needs besides albedo and light. No gradient passes.

    Args:
        seen: what the photo shows.
        fit: the fitted face, whose light's direction tells where a lamp may stand.
        model: the face model of the fit.
        texels: of the model.
        config: `mask` and `shadows` are used.
    """
    seen, fit = jax.lax.stop_gradient((seen, fit))
    mask, view = config.mask, seen.projection
    tolerance, dark_tolerance = region_tolerance(view.facing, model, texels)
    open_skin, strand_space = _open_skin(model, texels)
    level = luminance(seen.radiance)
    burnt_from, burnt_to = mask.burnt
    return MaskEvidence(
        visible=seen.visibility * seen.person,
        legible=smoothstep(level, 0.0, mask.dark) * smoothstep(level, burnt_to, burnt_from),
        tolerance=tolerance,
        dark_tolerance=dark_tolerance,
        open_skin=open_skin,
        strand_space=strand_space,
        hidden=hidden_from_lamp(fit, model, texels, config.shadows),
        normals=view.normals,
    )


def skin_mask(
    log_ratio: Float[Array, "T T 3"],
    lighting: Lighting,
    evidence: MaskEvidence,
    model: FaceModel,
    texels: TexelMap,
    config: UnwrapConfig,
) -> Float[Array, "T T"]:
    """Returns 1 on texels that show skin, 0 on others, with a soft border. No gradient passes.

    Skin is what is seen of the person, no cast shadow darkens, no strand crosses and `inliers`
    finds on the trend.

    Args:
        log_ratio: photo over fitted albedo times shading, natural logarithm.
        lighting: of the fit.
        evidence: from `mask_evidence`.
        model: the face model of the fit.
        texels: of the model.
        config: `mask` and `shadows` are used.
    """
    log_ratio, lighting, evidence = jax.lax.stop_gradient((log_ratio, lighting, evidence))
    shadow = cast_shadows(
        jnp.mean(log_ratio, -1),
        evidence.visible * (evidence.tolerance > 0),
        evidence.hidden,
        evidence.normals,
        lighting,
        config.shadows,
    )
    strands = strand_mask(
        log_ratio, evidence.visible, evidence.open_skin, evidence.strand_space, config.mask
    )
    usable = evidence.visible * evidence.legible * (1 - strands) * (1 - shadow)
    tolerance = evidence.tolerance, evidence.dark_tolerance
    return inliers(log_ratio, usable, tolerance, model, texels, config.mask)


def inliers(
    log_ratio: Float[Array, "T T 3"],
    usable: Float[Array, "T T"],
    tolerance: tuple[Float[Array, "T T"], Float[Array, "T T"]],
    model: FaceModel,
    texels: TexelMap,
    config: SkinMaskConfig,
) -> Float[Array, "T T"]:
    """Returns 1 on texels that follow a robust trend of the log ratio, with a soft border.

    Iteratively reweighted: from the median, a smooth trend t and a score s in units of the
    residuals' median absolute deviation take turns, with weights 1 / (1 + (2 s / threshold)^4) and
    trends of less and less reach. Texels with s > threshold are markers of a geodesic
    reconstruction in s > hysteresis threshold, so that the soft rim of hair is rejected too.

    Args:
        log_ratio: photo over fitted albedo times shading, natural logarithm.
        usable: weight of the texels, 0..1.
        tolerance: from `region_tolerance`.
        model: whose mesh carries the trend.
        texels: of the model.
        config: thresholds.
    """
    size = log_ratio.shape[0]
    allowed, allowed_dark = tolerance
    usable = usable * (allowed > 0)
    smooth = masked_blur(log_ratio, usable, FINE_SIGMA * size)
    structure = _structure(log_ratio, usable)
    plain = usable * jnp.where((allowed > 0) & (allowed < PLAIN), 1.0, 0.0) * (usable > 0.5)
    trend = jnp.stack([_median(smooth[..., channel], plain) for channel in range(3)])
    trend = jnp.broadcast_to(trend, smooth.shape)

    weights = plain
    for reach in (*TREND_REACHES, None):
        score = _score(smooth - trend, structure, weights, allowed, allowed_dark, config)
        weights = usable / (1 + (score / (0.5 * config.threshold)) ** 4)
        if reach is not None:
            field = membrane(
                *texels_to_vertices(smooth, weights, model, texels), model.triangles, reach=reach
            )
            trend = vertices_to_texels(field, texels)

    speck = max(1, round(SPECK * size))
    strong = opening((score > config.threshold) * usable, speck)
    doubtful = (score > config.hysteresis * config.threshold) * usable
    rejected = geodesic_reconstruction(strong, doubtful, round(REGROWTH * size))
    rejected = dilate(rejected, max(1, round(MARGIN * size)))
    kept = (usable > USABLE) * (1 - rejected)
    kept = opening(kept, CRUMB * speck) * kept
    soft = blur(erode(kept, speck)[..., None], SOFT * speck)[..., 0]
    return soft * kept * jnp.minimum(usable * 2.0, 1.0)


def region_tolerance(
    facing: Float[Array, "T T"], model: FaceModel, texels: TexelMap
) -> tuple[Float[Array, "T T"], Float[Array, "T T"]]:
    """Returns how far a texel may be off the trend, and how far towards darkness; 1 is plain skin.

    Inside the face, where wrinkles, shadows and make-up are its own, far more is allowed than
    along its contour and the scalp, where hair, collar and background intrude. Brows and beard
    may be as dark as they like. Zero where the photo is never used.

    Args:
        facing: cosine of the viewing angle; low along the contour.
        model: with named regions.
        texels: of the model.
    """
    size = facing.shape[0]
    table = jnp.asarray([REGION_TOLERANCE.get(name, 0.0) for name in model.region_names])
    allowed = table[texels.region_ids] * chart_mask(texels)
    soft = masked_blur(allowed[..., None], (allowed > 0) * 1.0, REGION_SIGMA * size)[..., 0]
    allowed = jnp.where(allowed > 0, soft, 0.0)

    place = vertices_to_texels(model.mean, texels)
    side, top = region_bounds(model, "brows")[1][:2]
    bottom = region_bounds(model, "lips")[0][1]
    height = top - bottom
    aside, y = (jnp.abs(place[..., 0]) - side) / height, (place[..., 1] - bottom) / height
    inner = jax.nn.sigmoid(-aside / SIDE_WIDTH)
    inner = inner * jax.nn.sigmoid((1.0 + ABOVE_BROWS - y) / TOP_WIDTH)
    inner = inner * jax.nn.sigmoid((y + BELOW_LIPS) / CHIN_WIDTH)
    inner = inner * jax.nn.sigmoid((facing - CONTOUR_FACING) / CONTOUR_WIDTH)
    scalp = region_mask(model, texels, "scalp")[..., None]
    near_hair = jnp.minimum(blur(scalp, HAIRLINE_SIGMA * size)[..., 0] * 2.0, 1.0)
    allowed = allowed * (1 - HAIRLINE_LOSS * near_hair) * (1 + INNER_GAIN * inner)
    brows = dilate(region_mask(model, texels, "brows"), int(BROW_MARGIN * size))
    brows = blur(brows[..., None], BROW_SIGMA * size)[..., 0]
    beard = jax.nn.sigmoid((BEARD - y) / BEARD_WIDTH)
    dark = 1 + BEARD_DARK_GAIN * beard + BROW_DARK_GAIN * brows
    return allowed * (1 + BROW_GAIN * brows), allowed * dark


def _open_skin(
    model: FaceModel, texels: TexelMap
) -> tuple[Float[Array, "T T"], Float[Array, "T T"]]:
    """Returns 1 on skin away from nostrils, brows, lids and lips; and 1 on all but the lips."""
    low, high = region_bounds(model, "nose")
    wings = low[1] + NOSE_WINGS * (high[1] - low[1])
    bridge = vertices_to_texels(model.mean, texels)[..., 1] > wings
    radius = max(1, int(OPEN_SKIN_MARGIN * texels.mask.shape[0]))
    skin = region_mask(model, texels, "skin") + region_mask(model, texels, "nose") * bridge
    return erode(skin, radius), 1.0 - dilate(region_mask(model, texels, "lips"), radius)


def _structure(
    log_ratio: Float[Array, "T T 3"], usable: Float[Array, "T T"]
) -> Float[Array, "T T"]:
    """Returns the local deviation of fine detail: strands, frames, the weave of a collar."""
    size = log_ratio.shape[0]
    level = jnp.mean(log_ratio, axis=-1, keepdims=True)
    detail = level - masked_blur(level, usable, DETAIL_SIGMA * size)
    return jnp.sqrt(masked_blur(detail**2, usable, STRUCTURE_SIGMA * size)[..., 0] + 1e-8)


def _score(
    residual: Float[Array, "T T 3"],
    structure: Float[Array, "T T"],
    weights: Float[Array, "T T"],
    allowed: Float[Array, "T T"],
    allowed_dark: Float[Array, "T T"],
    config: SkinMaskConfig,
) -> Float[Array, "T T"]:
    """Returns the root sum of squares of a texel's deviations from plain skin: darker, brighter,
    of another colour, of finer structure; each in robust deviations times what is allowed."""
    light = jnp.mean(residual, axis=-1)
    colour = jnp.sqrt(jnp.sum((residual - light[..., None]) ** 2, axis=-1) + 1e-10)
    allowed_dark, tolerated = jnp.maximum(allowed_dark, 1e-3), jnp.maximum(allowed, 1e-3)

    def scale(values: Array, floor: float | Array) -> Array:
        return jnp.maximum(MAD_TO_SIGMA * _median(jnp.abs(values), weights), floor)

    light_scale = scale(light, config.luminance_floor)
    typical = _median(structure, weights)
    detail = jnp.maximum(structure - typical, 0.0) / jnp.maximum(typical, config.structure_floor)
    dark = jnp.maximum(-light, 0.0) / (light_scale * allowed_dark)
    bright = jnp.maximum(light, 0.0) / (BRIGHT_SCALE * light_scale * tolerated)
    tint = colour / (scale(colour, config.chroma_floor) * tolerated)
    busy = STRUCTURE_WEIGHT * detail / allowed_dark
    return jnp.where(allowed > 0, jnp.sqrt(dark**2 + bright**2 + tint**2 + busy**2), 0.0)


def _median(values: Float[Array, "T T"], weights: Float[Array, "T T"]) -> Float[Array, ""]:
    return weighted_median(values, weights, MEDIAN_STRIDE)
