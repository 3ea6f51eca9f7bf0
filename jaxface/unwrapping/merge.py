"""What several photos of one person show, in one texture."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import blur, log_decode, log_encode, masked_blur
from jaxface.precision import jit
from jaxface.types import UnwrapResult

TONE_SIGMA = 1 / 40  # of the texture's side: what is coarser is tone, and is averaged
LOW_SIGMA = 1 / 20  # of the texture's side: over which low-frequency albedos fade into each other
SHARPEST = 6.0  # power of the trust: more takes detail from one photo, less averages and blurs it
MIN_PIXELS = 0.05  # per texel: photos that are coarser than this are trusted alike
SMALL_OVERLAP = 1e-3  # fraction of all texels up to which an overlap says little of two gains
UNSEEN_TRUST = 1e-6, 1e-4, 1e-12  # of tone, low-frequency albedo, detail: against division by zero


@jit
def merge_unwrapped(seen: UnwrapResult) -> tuple[UnwrapResult, Float[Array, "N 3"]]:
    """Returns what several photos of one person show together, and a gain of each photo's light.

    A photo's trust at a texel is its skin mask times the square of the pixels that it has for it.
    The photos' log albedos are brought to one level: the gains g minimise
    sum_ij sum_texels w_i w_j (a_i - g_i - a_j + g_j)^2. Tone, coarser than `TONE_SIGMA`, is the
    trusted mean; detail is the most trusted photo's. Differentiable.

    Args:
        seen: of each photo, stacked along a leading axis.

    Source: two bands of the multiresolution spline of Burt and Adelson (ACM Transactions on
    Graphics 1983).

    Example:
        >>> merge_unwrapped(jax.tree.map(lambda *x: jnp.stack(x), left, right))  # doctest: +SKIP
    """
    size = seen.skin_mask.shape[-1]
    mask = seen.skin_mask
    trust = mask * jnp.clip(seen.pixels_per_texel, MIN_PIXELS, 1.0) ** 2
    tone_trust, low_trust, detail_trust = UNSEEN_TRUST
    log_albedo = log_encode(jnp.maximum(seen.partial, 0.0))
    gains = _log_gains(log_albedo, mask)
    log_albedo = log_albedo - gains[:, None, None]

    tone = jax.vmap(lambda x, w: masked_blur(x, w, TONE_SIGMA * size, floor=1e-12))(
        log_albedo, mask
    )
    near = jax.vmap(lambda w: blur(w[..., None], TONE_SIGMA * size))(trust) + tone_trust
    fine = trust[..., None] ** SHARPEST + detail_trust * (mask > 0)[..., None]
    merged = _mean(tone, near * (mask > 0)[..., None]) + _mean(log_albedo - tone, fine)
    wide = jax.vmap(lambda w: blur(w[..., None], LOW_SIGMA * size))(trust) + low_trust
    low = _mean(log_encode(seen.low_frequency) - gains[:, None, None], wide)

    observed = jnp.max(mask, 0)[..., None] > 0
    partial = jnp.where(observed, log_decode(merged), 0.0)
    shading = _mean(seen.shading, fine + detail_trust)
    result = UnwrapResult(
        radiance=partial * shading,
        shading=shading,
        partial=partial,
        visibility=jnp.max(seen.visibility, 0),
        skin_mask=jnp.max(mask, 0),
        pixels_per_texel=_mean(seen.pixels_per_texel[..., None], fine + detail_trust)[..., 0],
        low_frequency=log_decode(low),
    )
    return result, jnp.exp(gains)


def _log_gains(
    log_albedo: Float[Array, "N T T 3"], mask: Float[Array, "N T T"]
) -> Float[Array, "N 3"]:
    """Returns by how much each photo's log albedo lies above the person's, mean zero."""
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
