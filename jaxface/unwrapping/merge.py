"""Several photos of one person merged into one texture."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import blur, log_decode, log_encode, masked_blur
from jaxface.precision import jit
from jaxface.types import UnwrapResult

TONE_SIGMA = 1 / 40  # of the texture's side: coarser than this is tone, and is averaged
LOW_SIGMA = 1 / 20  # of the texture's side: blending width of the low-frequency albedos
SHARPEST = 6.0  # power of the confidence: more takes detail from one photo, less averages it
MIN_PIXELS = 0.05  # per texel: coarser photos are equally confident
SMALL_OVERLAP = 1e-3  # fraction of all texels: ridge of the gains, whose overlaps outweigh it
CONFIDENCE_FLOORS = 1e-6, 1e-4, 1e-12  # tone, low-frequency albedo, detail: no division by zero


@jit
def merge_unwrapped(seen: UnwrapResult) -> tuple[UnwrapResult, Float[Array, "N 3"]]:
    """Returns one texture of several photos of a person, and e^g, the gain of each photo's light.

    A photo's confidence at a texel is its skin mask times `pixels_per_texel` squared. The log
    albedos a_i are brought to one level: the log gains g minimise
    sum_ij sum_texels w_i w_j (a_i - g_i - a_j + g_j)^2, with w the skin masks. Tone, coarser than
    `TONE_SIGMA`, is the confidence-weighted mean of a - g; detail is weighted by confidence^6, so
    nearly one photo's. Differentiable.

    Args:
        seen: of each photo, stacked along a leading axis.

    Source: two bands of the multiresolution spline of Burt and Adelson (ACM Transactions on
    Graphics 1983).

    Example:
        >>> merge_unwrapped(jax.tree.map(lambda *x: jnp.stack(x), left, right))  # doctest: +SKIP
    """
    size = seen.skin_mask.shape[-1]
    mask = seen.skin_mask
    confidence = mask * jnp.clip(seen.pixels_per_texel, MIN_PIXELS, 1.0) ** 2
    tone_floor, low_floor, detail_floor = CONFIDENCE_FLOORS
    log_albedo = log_encode(jnp.maximum(seen.partial, 0.0))
    gains = _log_gains(log_albedo, mask)
    log_albedo = log_albedo - gains[:, None, None]

    tone = jax.vmap(lambda x, w: masked_blur(x, w, TONE_SIGMA * size, floor=1e-12))(
        log_albedo, mask
    )
    tone_weights = jax.vmap(lambda w: blur(w[..., None], TONE_SIGMA * size))(confidence)
    tone_weights = (tone_weights + tone_floor) * (mask > 0)[..., None]
    detail_weights = confidence[..., None] ** SHARPEST + detail_floor * (mask > 0)[..., None]
    merged = _mean(tone, tone_weights) + _mean(log_albedo - tone, detail_weights)
    low_weights = jax.vmap(lambda w: blur(w[..., None], LOW_SIGMA * size))(confidence) + low_floor
    low_frequency = _mean(log_encode(seen.low_frequency) - gains[:, None, None], low_weights)

    observed = jnp.max(mask, 0)[..., None] > 0
    partial = jnp.where(observed, log_decode(merged), 0.0)
    detail_weights = detail_weights + detail_floor
    shading = _mean(seen.shading, detail_weights)
    result = UnwrapResult(
        radiance=partial * shading,
        shading=shading,
        partial=partial,
        visibility=jnp.max(seen.visibility, 0),
        skin_mask=jnp.max(mask, 0),
        pixels_per_texel=_mean(seen.pixels_per_texel[..., None], detail_weights)[..., 0],
        low_frequency=log_decode(low_frequency),
    )
    return result, jnp.exp(gains)


def _log_gains(
    log_albedo: Float[Array, "N T T 3"], mask: Float[Array, "N T T"]
) -> Float[Array, "N 3"]:
    """Returns the log gain of each photo's albedo over the merged one, mean zero."""
    count = len(log_albedo)
    overlap = jnp.einsum("ixy,jxy->ij", mask, mask) / mask[0].size
    sums = jnp.einsum("ixy,jxy,ixyc->ijc", mask, mask, log_albedo) / mask[0].size
    matrix = jnp.diag(overlap.sum(1)) - overlap + SMALL_OVERLAP * jnp.eye(count)
    return jnp.linalg.solve(matrix, jnp.sum(sums - jnp.swapaxes(sums, 0, 1), 1))


def _mean(
    values: Float[Array, "N T T C"], weights: Float[Array, "N T T 1"]
) -> Float[Array, "T T C"]:
    """Returns the weighted mean over the photos."""
    return jnp.sum(values * weights, 0) / jnp.maximum(jnp.sum(weights, 0), 1e-20)
