"""Which texels show skin: everything that the fitted face does not explain is left out.

The judge is the log ratio of the photo to the fitted albedo times shading. On skin it is a smooth
trend (light and tone that the fit missed) plus noise of one size; hair, glasses, hands, collar
and background are off that trend in brightness, in colour or in fine structure.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# How far a region may be off the trend, relative to plain skin; 0 is never taken from the photo.
_TOLERANCE = {
    "skin": 1.0,
    "nose": 1.3,
    "lips": 2.2,
    "brows": 3.0,
    "lids": 2.0,
    "ears": 1.0,
    "neck": 0.8,
}
_FLOOR_LUMINANCE, _FLOOR_COLOUR, _FLOOR_STRUCTURE = 0.10, 0.05, 0.03


def blur(image: Float[Array, "T S C"], sigma: float) -> Float[Array, "T S C"]:
    """Returns the image under a Gaussian of `sigma` pixels, the border replicated."""
    radius = max(1, round(3 * sigma))
    offsets = jnp.arange(-radius, radius + 1)
    kernel = jnp.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(image.dtype)
    for axis in (0, 1):
        moved = jnp.moveaxis(image, axis, -1)
        rows = moved.reshape(-1, 1, moved.shape[-1])
        rows = jnp.pad(rows, ((0, 0), (0, 0), (radius, radius)), mode="edge")
        rows = jax.lax.conv_general_dilated(rows, kernel[None, None], (1,), "VALID")
        image = jnp.moveaxis(rows.reshape(moved.shape), -1, axis)
    return image


def blur_within(
    image: Float[Array, "T S C"], weights: Float[Array, "T S"], sigma: float
) -> Float[Array, "T S C"]:
    """Returns the Gaussian mean of the weighted pixels alone; 0 where there are none near."""
    weights = weights[..., None]
    return blur(image * weights, sigma) / jnp.maximum(blur(weights, sigma), 1e-4)


def grow(mask: Float[Array, "T S"], radius: int) -> Float[Array, "T S"]:
    """Returns the maximum over a square of `2 radius + 1` pixels; of `-mask`, minus the minimum."""
    for shape in ((2 * radius + 1, 1), (1, 2 * radius + 1)):
        mask = jax.lax.reduce_window(mask, -jnp.inf, jax.lax.max, shape, (1, 1), "SAME")
    return mask


def shrink(mask: Float[Array, "T S"], radius: int) -> Float[Array, "T S"]:
    """Returns the minimum over a square of `2 radius + 1` pixels."""
    return -grow(-mask, radius)


def flood(seeds: Float[Array, "T S"], room: Float[Array, "T S"], steps: int) -> Float[Array, "T S"]:
    """Returns what of `room` the seeds reach in so many steps to neighbouring pixels."""
    return jax.lax.fori_loop(0, steps, lambda _, mask: grow(mask, 1) * room, seeds * room)


def region_tolerance(
    region_ids: Int[Array, "T T"],
    charts: Float[Array, "T T"],
    place: Float[Array, "T T 3"],
    facing: Float[Array, "T T"],
    names: tuple[str, ...],
) -> tuple[Float[Array, "T T"], Float[Array, "T T"]]:
    """Returns how far a texel may be off the trend in colour, and towards darkness.

    Inside the face, where wrinkles, shadows and make-up are its own, far more is allowed than
    along its contour and the scalp, where hair, collar and background intrude. Brows and beard
    may be as dark as they like. Zero where the photo is never used.

    Args:
        region_ids: index into `names`.
        charts: 1 where a texel belongs to the face's surface.
        place: the texel's place on the mean face, metres.
        facing: cosine of the viewing angle; low along the contour.
        names: of the regions.
    """
    table = jnp.asarray([_TOLERANCE.get(name, 0.0) for name in names])
    allowed = table[region_ids] * charts
    size = region_ids.shape[0]
    soft = blur_within(allowed[..., None], (allowed > 0) * 1.0, size / 128)[..., 0]
    allowed = jnp.where(allowed > 0, soft, 0.0)

    def part(name):
        return (region_ids == names.index(name)) * charts if name in names else 0.0 * charts

    x, y = jnp.abs(place[..., 0]), place[..., 1]
    inner = jax.nn.sigmoid((0.056 - x) / 0.004) * jax.nn.sigmoid((0.034 - y) / 0.003)
    inner = inner * jax.nn.sigmoid((y + 0.105) / 0.005) * jax.nn.sigmoid((facing - 0.55) / 0.05)
    near_hair = jnp.minimum(blur(part("scalp")[..., None], size / 20)[..., 0] * 2.0, 1.0)
    allowed = allowed * (1 - 0.35 * near_hair) * (1 + 1.6 * inner)
    brows = blur(grow(part("brows"), size // 50)[..., None], size / 100)[..., 0]
    beard = jax.nn.sigmoid((-0.035 - y) / 0.006)
    return allowed * (1 + 2 * brows), allowed * (1 + 0.8 * beard + 4 * brows)


def smoothstep(x: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """Returns 0 below 0, 1 above 1, and a cubic with level ends between."""
    x = jnp.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


def weighted_median(
    values: Float[Array, "T S"], weights: Float[Array, "T S"], every: int = 3
) -> Float[Array, ""]:
    """Returns the weighted median of every third row and column; 0 where no weight is.

    Args:
        values: a map.
        weights: not negative.
        every: another number of rows and columns.
    """
    values, weights = values[::every, ::every].ravel(), weights[::every, ::every].ravel()
    order = jnp.argsort(values)
    total = jnp.cumsum(weights[order])
    place = jnp.searchsorted(total, 0.5 * total[-1])
    found = values[order][jnp.minimum(place, values.shape[0] - 1)]
    return jnp.where(total[-1] > 0, found, 0.0)


def small_median(values: Float[Array, "T S"], weights: Float[Array, "T S"]) -> Float[Array, ""]:
    """Returns the weighted median of a small part, of which no texel of 256 a side is left out."""
    return weighted_median(values, weights, max(1, len(values) // 256))


def median_colour(
    colours: Float[Array, "T S 3"], weights: Float[Array, "T S"]
) -> Float[Array, "3"]:
    """Returns the weighted median of each channel; see `small_median`."""
    return jnp.stack([small_median(colours[..., channel], weights) for channel in range(3)])


def bluest_quarter(
    colours: Float[Array, "T S 3"], weights: Float[Array, "T S"]
) -> Float[Array, "T S"]:
    """Returns the weights of the quarter with the most blue: of what is white, the whitest."""
    blue = colours[..., 2]
    for _ in range(2):
        weights = weights * (blue >= small_median(blue, weights))
    return weights


def skin_mask(
    log_ratio: Float[Array, "T T 3"],
    visible: Float[Array, "T T"],
    tolerance: tuple[Float[Array, "T T"], Float[Array, "T T"]],
    trend_of: Callable[[Float[Array, "T T 3"], Float[Array, "T T"], float], Float[Array, "T T 3"]],
    *,
    reject: float,
) -> Float[Array, "T T"]:
    """Returns 1 on texels that show skin, 0 on others, with a soft border.

    Three rounds of a robust trend (first a constant, then smoother fields of less reach) and a
    score in units of the residuals' median absolute deviation. Texels whose score exceeds
    `reject` seed the rejected area, which floods its neighbours above 0.6 `reject`, so that the
    soft rim of hair goes too.

    Args:
        log_ratio: photo over fitted albedo times shading, natural logarithm.
        visible: 0..1.
        tolerance: from `region_tolerance`.
        trend_of: the smooth field through values with weights, of a reach in mesh edges.
        reject: score beyond which a texel is not skin.
    """
    size = log_ratio.shape[0]
    allowed, allowed_dark = tolerance
    usable = visible * (allowed > 0)
    fine = size / 340
    smooth = blur_within(log_ratio, usable, fine)
    structure = _structure(log_ratio, usable, size)
    # Plain skin sets centre and scale: not brows, lips and lids.
    plain = usable * jnp.where((allowed > 0) & (allowed < 1.5), 1.0, 0.0) * (visible > 0.5)
    trend = jnp.stack([weighted_median(smooth[..., channel], plain) for channel in range(3)])
    trend = jnp.broadcast_to(trend, smooth.shape)

    weights, score = plain, jnp.zeros_like(visible)
    for reach in (14.0, 7.0, None):
        score = _score(smooth - trend, structure, weights, allowed, allowed_dark)
        weights = usable / (1 + (score / (0.5 * reject)) ** 4)
        if reach is not None:
            trend = trend_of(smooth, weights, reach)

    speck = max(1, round(size / 256))
    strong = (score > reject) * usable
    strong = grow(shrink(strong, speck), speck)  # moles and pores are the face's own
    rejected = flood(strong, (score > 0.6 * reject) * usable, size // 16)
    rejected = grow(rejected, max(1, round(size / 110)))
    kept = (usable > 0.3) * (1 - rejected)
    kept = grow(shrink(kept, 4 * speck), 4 * speck) * kept  # no crumbs, no wisps
    soft = blur(shrink(kept, speck)[..., None], 1.5 * speck)[..., 0]
    return soft * kept * jnp.minimum(usable * 2.0, 1.0)


def _structure(log_ratio, usable, size: int) -> Float[Array, "T T"]:
    """Returns the local size of fine detail: strands, frames, the weave of a collar."""
    light = jnp.mean(log_ratio, axis=-1, keepdims=True)
    detail = light - blur_within(light, usable, size / 170)
    return jnp.sqrt(blur_within(detail**2, usable, size / 85)[..., 0] + 1e-8)


def _score(residual, structure, weights, allowed, allowed_dark) -> Float[Array, "T T"]:
    """Returns how many robust standard deviations a texel is off plain skin."""
    light = jnp.mean(residual, axis=-1)
    colour = jnp.sqrt(jnp.sum((residual - light[..., None]) ** 2, axis=-1) + 1e-10)

    def scale(values, floor):
        return jnp.maximum(1.4826 * weighted_median(jnp.abs(values), weights), floor)

    light_scale = scale(light, _FLOOR_LUMINANCE)
    typical = weighted_median(structure, weights)
    detail = jnp.maximum(structure - typical, 0.0) / jnp.maximum(typical, _FLOOR_STRUCTURE)
    dark = jnp.maximum(-light, 0.0) / (light_scale * jnp.maximum(allowed_dark, 1e-3))
    bright = jnp.maximum(light, 0.0) / (1.5 * light_scale * jnp.maximum(allowed, 1e-3))
    tint = colour / (scale(colour, _FLOOR_COLOUR) * jnp.maximum(allowed, 1e-3))
    busy = 0.5 * detail / jnp.maximum(allowed_dark, 1e-3)
    return jnp.where(allowed > 0, jnp.sqrt(dark**2 + bright**2 + tint**2 + busy**2), 0.0)
