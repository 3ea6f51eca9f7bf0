"""Which texels show skin: those that the rendered fit explains up to a smooth trend.

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
from jaxface.unwrapping.shadows import cast_shadows, self_shadow_mask
from jaxface.unwrapping.strands import strand_mask
from jaxface.unwrapping.visible import VisibleTexels

REGION_TOLERANCE = {
    "skin": 1.0, "nose": 1.3, "lips": 2.2, "brows": 3.0, "lids": 2.0, "ears": 1.0, "neck": 0.8,
}  # fmt: skip
"""Tolerance of each region: a factor on the residual's scale. Regions that are not listed, 0."""
# Reference set: texels whose tolerance, after all its factors, is below this. They set the first
# median and MAD; later rounds use all usable texels. Left are forehead, outer cheeks, ears, neck.
REFERENCE_TOLERANCE = 1.5
REGION_SIGMA = 1 / 128  # of the transition between two regions' tolerances

# The inner face. Unit: height from the brows' upper edge to the lips' lower edge (115 mm).
# Wrinkles, shadows and make-up are the face's; hair, collar and background intrude outside it.
ABOVE_BROWS, BELOW_LIPS = 0.05, 0.165  # ends 6 mm above the brows' upper edge, and at the chin
BEARD = 0.446  # above the lips' lower edge: below it, BEARD_DARK_GAIN applies
SIDE_WIDTH, TOP_WIDTH, CHIN_WIDTH, BEARD_WIDTH = 0.035, 0.026, 0.044, 0.052  # of the sigmoids
CONTOUR_FACING, CONTOUR_WIDTH = 0.55, 0.05  # cosine of the viewing angle along the contour
# Gains of the tolerance: more keeps wrinkles and beards, and lets in hair and glasses.
INNER_GAIN, BROW_GAIN, BROW_DARK_GAIN, BEARD_DARK_GAIN = 1.6, 2.0, 4.0, 0.8
HAIRLINE_LOSS, HAIRLINE_SIGMA = 0.35, 1 / 20  # the tolerance's loss near the scalp, and its width
BROW_MARGIN, BROW_SIGMA = 1 / 50, 1 / 100  # dilation and blur of the brows' mask
OPEN_SKIN_MARGIN = 1 / 50  # between open skin and brows, lids, lips, nostrils
NOSE_WINGS = 0.5  # fraction of the nose's height below which its wings cast dark lines

FINE_SIGMA = 1 / 340  # blur of the log ratio before it is compared with the trend: pores, noise
DETAIL_SIGMA = 1 / 170  # detail is finer than this,
STRUCTURE_SIGMA = 1 / 85  # and structure its root mean square over this width
TREND_REACHES = (14.0, 7.0)  # mesh edges over which the trend is smoothed, round by round
MEDIAN_STRIDE = 3  # rows and columns between samples of a median
MAD_TO_SIGMA = 1.4826  # of a normal distribution
BRIGHT_SCALE = 1.5  # a texel may be this many times as far above the trend as below it
STRUCTURE_WEIGHT = 0.5  # of structure, in multiples of its median, in the score
MIN_USABLE = 0.3  # least weight of a texel that is kept
OPENING_RADIUS = 1 / 256  # of strong outliers: smaller spots are moles and pores, and are kept
RECONSTRUCTION_LIMIT = 1 / 16  # farthest that strong outliers extend into weak ones
MARGIN = 1 / 110  # by which the rejected area is dilated
MIN_KEPT_RADIUS = 4  # opening radii: narrower kept areas are wisps, and are rejected
BORDER_SIGMA = 1.5  # opening radii: Gaussian of the soft border


@struct.dataclass
class MaskEvidence:
    """What decides the skin mask besides the log ratio and the light.

    Attributes:
        visible: weight, 0..1: seen in the photo and on the person.
        well_exposed: 0 in deep shadow and where the photo is saturated, else 1.
        tolerance: of residuals; a factor on their scale, 0 where a texel never is skin.
        dark_tolerance: the same for residuals below the trend.
        open_skin: 1 on skin away from brows, lids, lips and nostrils.
        strand_space: 1 where a strand may be followed.
        self_shadowed: 1 where the head occludes the dominant light.
        normals: of the texels, camera space.
    """

    visible: Float[Array, "T T"]
    well_exposed: Float[Array, "T T"]
    tolerance: Float[Array, "T T"]
    dark_tolerance: Float[Array, "T T"]
    open_skin: Float[Array, "T T"]
    strand_space: Float[Array, "T T"]
    self_shadowed: Float[Array, "T T"]
    normals: Float[Array, "T T 3"]


def mask_evidence(
    seen: VisibleTexels, fit: FitResult, model: FaceModel, texels: TexelMap, config: UnwrapConfig
) -> MaskEvidence:
    """Returns what `skin_mask` needs besides the log ratio and the light. No gradient passes.

    Args:
        seen: the photo at each texel.
        fit: the fitted face, whose lighting gives the dominant light's direction.
        model: the face model of the fit.
        texels: of the model.
        config: `mask` and `shadows` are used.
    """
    seen, fit = jax.lax.stop_gradient((seen, fit))
    mask, view = config.mask, seen.projection
    tolerance, dark_tolerance = region_tolerance(view.facing, model, texels)
    open_skin, strand_space = _open_skin(model, texels)
    level = luminance(seen.radiance)
    saturated_from, saturated_to = mask.burnt
    unsaturated = smoothstep(level, saturated_to, saturated_from)
    return MaskEvidence(
        visible=seen.visibility * seen.person,
        well_exposed=smoothstep(level, 0.0, mask.dark) * unsaturated,
        tolerance=tolerance,
        dark_tolerance=dark_tolerance,
        open_skin=open_skin,
        strand_space=strand_space,
        self_shadowed=self_shadow_mask(fit, model, texels, config.shadows),
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

    usable = visible well_exposed (1 - strand) (1 - shadow), with `strand_mask` and `cast_shadows`;
    of it, `inliers` rejects the robust outliers of the log ratio's smooth trend.

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
        evidence.self_shadowed,
        evidence.normals,
        lighting,
        config.shadows,
    )
    strands = strand_mask(
        log_ratio, evidence.visible, evidence.open_skin, evidence.strand_space, config.mask
    )
    usable = evidence.visible * evidence.well_exposed * (1 - strands) * (1 - shadow)
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

    Iteratively reweighted: the first trend t is the median of the reference set (texels with a
    tolerance below `REFERENCE_TOLERANCE`). Then the residuals' score s (`_score`) and the trend are
    estimated in turn, with weights 1 / (1 + (2 s / threshold)^4) and a trend of shorter reach each
    round.
    Hysteresis: strong outliers, s > threshold, are the markers of a geodesic reconstruction in the
    weak ones, s > hysteresis threshold, so that the soft rim of hair is rejected too.

    Args:
        log_ratio: photo over fitted albedo times shading, natural logarithm.
        usable: weight of the texels, 0..1.
        tolerance: of residuals, and of those below the trend; from `region_tolerance`.
        model: whose mesh carries the trend.
        texels: of the model.
        config: thresholds.
    """
    size = log_ratio.shape[0]
    allowed, allowed_dark = tolerance
    usable = usable * (allowed > 0)
    smooth = masked_blur(log_ratio, usable, FINE_SIGMA * size)
    structure = _structure(log_ratio, usable)
    in_reference = (allowed > 0) & (allowed < REFERENCE_TOLERANCE)
    reference = usable * jnp.where(in_reference, 1.0, 0.0) * (usable > 0.5)
    trend = jnp.stack([_median(smooth[..., channel], reference) for channel in range(3)])
    trend = jnp.broadcast_to(trend, smooth.shape)

    weights = reference
    for reach in (*TREND_REACHES, None):
        score = _score(smooth - trend, structure, weights, allowed, allowed_dark, config)
        weights = usable / (1 + (score / (0.5 * config.threshold)) ** 4)
        if reach is not None:
            field = membrane(
                *texels_to_vertices(smooth, weights, model, texels), model.triangles, reach=reach
            )
            trend = vertices_to_texels(field, texels)

    radius = max(1, round(OPENING_RADIUS * size))
    strong = opening((score > config.threshold) * usable, radius)
    weak = (score > config.hysteresis * config.threshold) * usable
    rejected = geodesic_reconstruction(strong, weak, round(RECONSTRUCTION_LIMIT * size))
    rejected = dilate(rejected, max(1, round(MARGIN * size)))
    kept = (usable > MIN_USABLE) * (1 - rejected)
    kept = opening(kept, MIN_KEPT_RADIUS * radius) * kept
    soft = blur(erode(kept, radius)[..., None], BORDER_SIGMA * radius)[..., 0]
    return soft * kept * jnp.minimum(usable * 2.0, 1.0)


def region_tolerance(
    facing: Float[Array, "T T"], model: FaceModel, texels: TexelMap
) -> tuple[Float[Array, "T T"], Float[Array, "T T"]]:
    """Returns T = R (1 - 0.35 h) (1 + 1.6 i) (1 + 2 b), the tolerance of residuals, and
    T_dark = R (1 - 0.35 h) (1 + 1.6 i) (1 + 0.8 beard + 4 b), that of residuals below the trend.

    R is `REGION_TOLERANCE`, blurred across borders of regions; h, 0..1, rises towards the scalp; i
    is 1 on the inner face (between brows and chin, away from the contour), where wrinkles, shadows
    and make-up are the face's and nothing intrudes; b is 1 on the brows, and `beard` on the lower
    face. Outside the inner face and away from the scalp, T is R. Zero in regions that are never
    skin.

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

    position = vertices_to_texels(model.mean, texels)
    brows_end, brows_top = region_bounds(model, "brows")[1][:2]  # metres, as the next two
    lips_bottom = region_bounds(model, "lips")[0][1]
    height = brows_top - lips_bottom
    beyond_brows = (jnp.abs(position[..., 0]) - brows_end) / height
    y = (position[..., 1] - lips_bottom) / height
    inner = jax.nn.sigmoid(-beyond_brows / SIDE_WIDTH)
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
    """Returns the local RMS of fine detail: large on strands, frames, the weave of a collar."""
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
    """Returns s = sqrt(dark^2 + bright^2 + chroma^2 + structure^2) of each texel.

    dark and bright are the residual's mean over RGB below and above the trend, chroma the length of
    the rest: each over its robust standard deviation (MAD) times the tolerance. structure is the
    excess of the detail's RMS over its median, relative to that median, times `STRUCTURE_WEIGHT`
    over the dark tolerance.
    """
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
    chroma = colour / (scale(colour, config.chroma_floor) * tolerated)
    texture = STRUCTURE_WEIGHT * detail / allowed_dark
    return jnp.where(allowed > 0, jnp.sqrt(dark**2 + bright**2 + chroma**2 + texture**2), 0.0)


def _median(values: Float[Array, "T T"], weights: Float[Array, "T T"]) -> Float[Array, ""]:
    """Returns the weighted median of every `MEDIAN_STRIDE`-th row and column."""
    return weighted_median(values, weights, MEDIAN_STRIDE)
