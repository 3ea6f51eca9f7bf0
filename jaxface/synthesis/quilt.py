"""Fine detail where nothing is seen, taken from where the same skin is seen.

Patches as in image quilting (Efros and Freeman, SIGGRAPH 2001), laid so that their power is kept.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxface.synthesis.octaves import blur

_ACROSS = 16  # patches side by side
_NEAR = 3.0  # patches: a place so far away is taken as easily as one beside
_WHOLE = 0.97  # share of a patch that must be known
_USUAL = 1.0  # log power off the median that counts as chance does
_DIRECTED = 0.14  # share of the gradients that has one direction and counts as chance does
_LINE = 1 / 16  # patches: the Gaussian that leaves folds and takes pores away
_AGAIN = 0.1  # of chance: a patch that has been laid
_LOOKED_AT = 0.02  # share of a patch


def choose_patches(
    detail: Float[Array, "T T C"], known: Float[Array, "T T"], wanted: Float[Array, "T T"]
) -> tuple[Int[Array, "N N 2"], Float[Array, ""]]:
    """Returns from how far (texels) each patch is taken, and whether there was any to take.

    Patches overlap by half. Each is from a place near it, or near its mirror image, that is known,
    about as strong as most and without lines. Of near ones those are taken that have been laid the
    least, so that nothing repeats; chance decides between equals, and where exactly patches begin,
    so that nothing lies in rows. Not differentiable.

    Args:
        detail: of mean zero.
        known: 1 where it is known, 0 where it is not; T is a multiple of 32.
        wanted: 1 where the result will be looked at.
    """
    size = detail.shape[0]
    side = size // _ACROSS
    starts = np.arange(2 * _ACROSS - 1) * (side // 2)
    corners = np.stack(np.meshgrid(starts, starts, indexing="ij"), -1).reshape(-1, 2)
    rng = np.random.default_rng(0)
    sources = np.minimum(corners + rng.integers(0, side, corners.shape), size - side)

    # Folded at compile time, the search would take half a minute.
    key, here = jax.lax.optimization_barrier((jax.random.key(0), jnp.asarray(corners)))

    def mean(image: Array, at: np.ndarray = sources) -> Array:
        (top, left), (bottom, right) = at.T, at.T + side
        total = jnp.cumsum(jnp.cumsum(jax.lax.stop_gradient(image), 0), 1)
        total = jnp.pad(total, ((1, 0), (1, 0)))
        part = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
        return part / side**2

    whole = mean(known) >= _WHOLE
    power = jnp.log(jnp.maximum(mean(known * jnp.mean(detail**2, -1)), 1e-12))
    odd = jnp.abs(power - jnp.nanmedian(jnp.where(whole, power, jnp.nan))) / _USUAL

    # Folds have a direction, skin has none: that of the gradients' second moments.
    level = blur(known[..., None] * jnp.mean(detail, -1, keepdims=True), _LINE * side)[..., 0]
    down, across = jnp.gradient(level)
    upright, oblique = mean(down**2 - across**2), mean(2 * down * across)
    directed = jnp.hypot(upright, oblique) / jnp.maximum(mean(down**2 + across**2), 1e-12)

    def far(to: np.ndarray) -> Array:
        return jnp.sqrt(jnp.sum((here[:, None] - to) ** 2, -1).astype(jnp.float32)) / side

    mirrored = np.stack([sources[:, 0], size - side - sources[:, 1]], -1)
    distance = jnp.minimum(far(sources), far(mirrored))
    chance = jax.random.uniform(key, distance.shape)
    cost = distance / _NEAR + jnp.nan_to_num(odd) + directed / _DIRECTED + chance
    cost = jnp.where(whole, cost, jnp.inf)
    counts = mean(wanted, corners) > _LOOKED_AT

    def choose(laid: Array, patch: Array) -> tuple[Array, Array]:
        best = jnp.argmin(cost[patch] + _AGAIN * laid)
        common = jnp.maximum(1 - jnp.abs(places - places[best]) / side, 0.0).prod(-1)
        return laid + counts[patch] * common, best

    order = rng.permutation(len(corners))
    places = jnp.asarray(sources)
    _, best = jax.lax.scan(choose, jnp.zeros(len(sources)), jnp.asarray(order))
    chosen = jnp.zeros(len(corners), jnp.int32).at[order].set(best.astype(jnp.int32))
    moved = (places[chosen] - here).reshape(len(starts), len(starts), 2)
    return moved, jnp.any(whole).astype(jnp.float32)


def quilt(detail: Float[Array, "T T C"], moved: Int[Array, "N N 2"]) -> Float[Array, "T T C"]:
    """Returns a texture of the chosen patches of some detail.

    Blended patches that have nothing to do with each other lose contrast, which the blend is given
    back. Differentiable in the detail.

    Args:
        detail: of mean zero.
        moved: from `choose_patches`.
    """
    size = len(detail)
    side = size // _ACROSS
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
    return laid / jnp.sqrt(power + 1e-6)[..., None]


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
