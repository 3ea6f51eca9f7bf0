"""Fine detail where nothing is seen, taken from where the same skin is seen.

Patches as in image quilting (Efros and Freeman, SIGGRAPH 2001), laid so that their power is kept.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

_ACROSS = 16  # patches side by side
_NEAR = 3.0  # patches: a place so far away is taken as easily as one beside
_WHOLE = 0.97  # share of a patch that must be known
_USUAL = 1.0  # log power off the median that counts as chance does: wrinkles are not laid again


def quilt(
    detail: Float[Array, "T T C"], known: Float[Array, "T T"]
) -> tuple[Float[Array, "T T C"], Float[Array, ""]]:
    """Returns a texture of known detail alone, and whether there was a whole patch of it.

    Half-overlapping patches, each from a place nearby that is known and about as strong as most;
    chance decides among near ones and where exactly they begin, so that nothing repeats in rows.
    Blended patches that have nothing to do with each other lose contrast, which the blend is given
    back. Differentiable in the detail, not in where it comes from.

    Args:
        detail: of mean zero.
        known: 1 where it is known, 0 where it is not; T is a multiple of 32.
    """
    size = detail.shape[0]
    side = size // _ACROSS
    starts = np.arange(2 * _ACROSS - 1) * (side // 2)
    corners = np.stack(np.meshgrid(starts, starts, indexing="ij"), -1).reshape(-1, 2)
    rng = np.random.default_rng(0)
    sources = np.minimum(corners + rng.integers(0, side, corners.shape), size - side)

    # Folded at compile time, the search would take half a minute.
    key, here = jax.lax.optimization_barrier((jax.random.key(0), jnp.asarray(corners)))
    (top, left), (bottom, right) = sources.T, sources.T + side

    def mean(image: Array) -> Array:
        total = jnp.cumsum(jnp.cumsum(jax.lax.stop_gradient(image), 0), 1)
        total = jnp.pad(total, ((1, 0), (1, 0)))
        part = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
        return part / side**2

    whole = mean(known) >= _WHOLE
    power = jnp.log(jnp.maximum(mean(known * jnp.mean(detail**2, -1)), 1e-12))
    odd = jnp.abs(power - jnp.nanmedian(jnp.where(whole, power, jnp.nan))) / _USUAL
    apart = jnp.sqrt(jnp.sum((here[:, None] - sources) ** 2, -1).astype(jnp.float32))
    cost = apart / (_NEAR * side) + jnp.nan_to_num(odd) + jax.random.uniform(key, apart.shape)
    chosen = jnp.argmin(jnp.where(whole, cost, jnp.inf), 1)
    moved = (jnp.asarray(sources)[chosen] - here).reshape(len(starts), len(starts), 2)

    # Patches of even and odd rows and columns: each texel lies in one of each of the four kinds.
    lies = [_lies_in(size, side, odd) for odd in (0, 1)]
    shifts = [moved[row[:, None], column] for row, _ in lies for column, _ in lies]
    weights = [jnp.asarray(np.outer(a, b), jnp.float32) for _, a in lies for _, b in lies]
    power = jnp.zeros((size, size))
    for shift, weight in zip(shifts, weights, strict=True):
        for other, share in zip(shifts, weights, strict=True):
            power += weight * share * jnp.all(shift == other, -1)
    laid = sum(
        weight[..., None] * _moved(detail, shift)
        for shift, weight in zip(shifts, weights, strict=True)
    )
    return laid / jnp.sqrt(power + 1e-6)[..., None], jnp.any(whole).astype(jnp.float32)


def _lies_in(size: int, side: int, odd: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns in which even or odd patch each row lies, and how much it counts there."""
    start = odd * side // 2
    position = np.arange(size) - start
    number = np.clip(position // side, 0, _ACROSS - 1 - odd)
    within = (position - number * side + 0.5) / side
    inside = (within > 0) & (within < 1)
    return 2 * number + odd, np.where(inside, np.sin(np.pi * within) ** 2, 0.0)


def _moved(detail: Float[Array, "T T C"], shift: Int[Array, "T T 2"]) -> Float[Array, "T T C"]:
    position = jnp.arange(len(detail))
    row = jnp.clip(position[:, None] + shift[..., 0], 0, len(detail) - 1)
    return detail[row, jnp.clip(position + shift[..., 1], 0, len(detail) - 1)]
