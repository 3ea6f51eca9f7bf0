"""What several photos of one person show, in one texture."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.precision import jit
from jaxface.types import UnwrapResult
from jaxface.unwrapping.skin import blur

_EPSILON = 2e-3
_TONE, _WIDE = 1 / 40, 1 / 20  # sides: what is coarser is tone; over what the whole tone is mixed
_SHARPEST = 6.0  # power of the confidence: fine detail is nearly one photo's, as means are blurred
_EVEN = 1e-3  # share of all texels up to which an overlap says little of two photos' tones


@jit
def merge_unwrapped(seen: UnwrapResult) -> tuple[UnwrapResult, Float[Array, "N 3"]]:
    """Returns what several photos of one person show together, and a gain of each photo's light.

    Each photo counts by how well it sees a texel: its skin mask times the pixels that it has for
    it. The photos' tones are brought to one level (least squares over what two of them see), which
    says by which gains their lights are brighter than they were thought to be. Tone is averaged;
    detail is the sharpest photo's. Differentiable.

    Args:
        seen: of each photo, stacked along a leading axis.

    Source: two bands of the multiresolution spline of Burt and Adelson (ACM Transactions on
    Graphics 1983).

    Example:
        >>> merge_unwrapped(jax.tree.map(lambda *x: jnp.stack(x), left, right))  # doctest: +SKIP
    """
    size = seen.skin_mask.shape[-1]
    mask = seen.skin_mask
    trust = mask * jnp.clip(seen.pixels_per_texel, 0.05, 1.0) ** 2
    level = jnp.log(jnp.maximum(seen.partial, 0.0) + _EPSILON)
    gains = _gains(level, mask)
    level = level - gains[:, None, None]

    tone = jax.vmap(lambda x, w: _blurred(x, w, _TONE * size))(level, mask)
    near = jax.vmap(lambda w: blur(w[..., None], _TONE * size))(trust) + 1e-6
    fine = trust[..., None] ** _SHARPEST + 1e-12 * (mask > 0)[..., None]
    merged = _mean(tone, near * (mask > 0)[..., None]) + _mean(level - tone, fine)
    wide = jax.vmap(lambda w: blur(w[..., None], _WIDE * size))(trust) + 1e-4
    low = _mean(jnp.log(seen.low_frequency + _EPSILON) - gains[:, None, None], wide)

    known = jnp.max(mask, 0)[..., None] > 0
    partial = jnp.where(known, jnp.clip(jnp.exp(merged) - _EPSILON, 0.0, 1.0), 0.0)
    shading = _mean(seen.shading, fine + 1e-12)
    result = UnwrapResult(
        radiance=partial * shading,
        shading=shading,
        partial=partial,
        visibility=jnp.max(seen.visibility, 0),
        skin_mask=jnp.max(mask, 0),
        pixels_per_texel=_mean(seen.pixels_per_texel[..., None], fine + 1e-12)[..., 0],
        low_frequency=jnp.clip(jnp.exp(low) - _EPSILON, 0.0, 1.0),
    )
    return result, jnp.exp(gains)


def _gains(level: Float[Array, "N T T 3"], mask: Float[Array, "N T T"]) -> Float[Array, "N 3"]:
    """Returns by how much each photo's log albedo lies above the person's, mean zero."""
    count = len(level)
    overlap = jnp.einsum("ixy,jxy->ij", mask, mask) / mask[0].size
    sums = jnp.einsum("ixy,jxy,ixyc->ijc", mask, mask, level) / mask[0].size
    matrix = jnp.diag(overlap.sum(1)) - overlap + _EVEN * jnp.eye(count)
    return jnp.linalg.solve(matrix, jnp.sum(sums - jnp.swapaxes(sums, 0, 1), 1))


def _blurred(
    image: Float[Array, "T T 3"], weights: Float[Array, "T T"], sigma: float
) -> Float[Array, "T T 3"]:
    """Returns the Gaussian mean of the weighted texels, however little they weigh."""
    weights = weights[..., None]
    return blur(image * weights, sigma) / jnp.maximum(blur(weights, sigma), 1e-12)


def _mean(
    values: Float[Array, "N T T C"], weights: Float[Array, "N T T 1"]
) -> Float[Array, "T T C"]:
    """Returns the weighted mean over the photos."""
    return jnp.sum(values * weights, 0) / jnp.maximum(jnp.sum(weights, 0), 1e-20)
