"""Fine detail of unseen skin, from patches of the same person's seen skin.

Image quilting (Efros and Freeman, SIGGRAPH 2001), with a weighted mean of overlapping patches in
place of minimum-error seams, normalised so that averaging does not lower the contrast.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxface.filters import blur
from jaxface.synthesis.config import QuiltConfig


def choose_patches(
    key: Key[Array, ""],
    detail: Float[Array, "T T C"],
    known: Float[Array, "T T"],
    wanted: Float[Array, "T T"],
    config: QuiltConfig = QuiltConfig(),
) -> tuple[Int[Array, "N N 2"], Float[Array, ""]]:
    """Returns the offset (row, column; texels) from each patch to its source, and whether any
    source is admissible (1 or 0).

    Patches overlap by half, N = 2 `patches` - 1 of them in a row. There are N^2 candidate sources,
    one near each patch's corner; admissible are those whose texels are known. Greedily, in random
    order of the patches, each takes the source of least cost (`QuiltConfig`), whose distance is
    that of the source or of its mirror image, whichever is nearer. Not differentiable.

    Args:
        key: seeds the uniform(0, 1) term of the cost. The corners of sources and the order of
            patches are static: NumPy's generator with the seed 0.
        detail: of mean zero.
        known: 1 where the detail is known, 0 elsewhere; T is a multiple of 2 `patches`.
        wanted: 1 where the result is used, 0 elsewhere.
        config: costs.
    """
    size = detail.shape[0]
    side = size // config.patches
    starts = np.arange(2 * config.patches - 1) * (side // 2)
    corners = np.stack(np.meshgrid(starts, starts, indexing="ij"), -1).reshape(-1, 2)
    rng = np.random.default_rng(0)
    sources = np.minimum(corners + rng.integers(0, side, corners.shape), size - side)
    order = rng.permutation(len(corners))

    # Keeps XLA from folding the constant distances, half a minute of compilation.
    corners_traced = jax.lax.optimization_barrier(jnp.asarray(corners))
    costs = _source_costs(detail, known, sources, side, config)
    mirrored = np.stack([sources[:, 0], size - side - sources[:, 1]], -1)
    distance = jnp.minimum(
        *(_distances(corners_traced, positions) / side for positions in (sources, mirrored))
    )
    random = jax.random.uniform(key, distance.shape)
    # Sources that are not admissible keep their infinite cost.
    costs = distance / config.distance_scale + costs + random
    is_wanted = _patch_means(wanted, corners, side) > config.min_wanted
    source_corners = jnp.asarray(sources)

    def choose(uses: Array, patch: Array) -> tuple[Array, Array]:
        best = jnp.argmin(costs[patch] + config.reuse_penalty * uses)
        shift = jnp.abs(source_corners - source_corners[best]) / side
        overlap = jnp.maximum(1 - shift, 0.0).prod(-1)  # fraction of a source's area
        return uses + is_wanted[patch] * overlap, best

    _, best = jax.lax.scan(choose, jnp.zeros(len(sources)), jnp.asarray(order))
    chosen = jnp.zeros(len(corners), jnp.int32).at[order].set(best.astype(jnp.int32))
    offsets = (source_corners[chosen] - corners_traced).reshape(len(starts), len(starts), 2)
    return offsets, jnp.any(jnp.isfinite(costs)).astype(jnp.float32)


def _source_costs(
    detail: Float[Array, "T T C"],
    known: Float[Array, "T T"],
    sources: np.ndarray,
    side: int,
    config: QuiltConfig,
) -> Float[Array, " S"]:
    """Returns each source's unary cost, of deviating power and of anisotropy; infinite if unknown.

    Anisotropy is |(<y^2 - x^2>, <2 x y>)| / <x^2 + y^2> of the gradients (x, y), the coherence of
    the structure tensor: folds have a direction, skin has none.
    """
    detail, known = jax.lax.stop_gradient((detail, known))
    is_known = _patch_means(known, sources, side) >= config.min_coverage
    power = _patch_means(known * jnp.mean(detail**2, -1), sources, side)
    log_power = jnp.log(jnp.maximum(power, 1e-12))
    median = jnp.nanmedian(jnp.where(is_known, log_power, jnp.nan))
    power_cost = jnp.nan_to_num(jnp.abs(log_power - median) / config.power_scale)

    channel_mean = known[..., None] * jnp.mean(detail, -1, keepdims=True)
    y, x = jnp.gradient(blur(channel_mean, config.anisotropy_sigma * side)[..., 0])
    difference, product, energy = (
        _patch_means(values, sources, side) for values in (y**2 - x**2, 2 * y * x, y**2 + x**2)
    )
    anisotropy = jnp.hypot(difference, product) / jnp.maximum(energy, 1e-12)
    return jnp.where(is_known, power_cost + anisotropy / config.anisotropy_scale, jnp.inf)


def _distances(corners: Int[Array, "P 2"], positions: np.ndarray) -> Float[Array, "P S"]:
    """Returns Euclidean distances in texels."""
    squared = jnp.sum((corners[:, None] - positions) ** 2, -1)
    return jnp.sqrt(squared.astype(jnp.float32))


def _patch_means(image: Float[Array, "T T"], corners: np.ndarray, side: int) -> Float[Array, " P"]:
    """Returns the means over squares of `side` texels, by a summed-area table."""
    (top, left), (bottom, right) = corners.T, corners.T + side
    table = jnp.cumsum(jnp.cumsum(jax.lax.stop_gradient(image), 0), 1)
    table = jnp.pad(table, ((1, 0), (1, 0)))
    total = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    return total / side**2


def quilt(detail: Float[Array, "T T C"], offsets: Int[Array, "N N 2"]) -> Float[Array, "T T C"]:
    """Returns a texture of the chosen patches of some detail, of the same local variance.

    sum_i w_i d_i / sqrt(sum_ij w_i w_j [o_i = o_j]) over the four patches i that cover a texel,
    with sin^2 windows w, shifted detail d and offsets o: the standard deviation of the mean of
    independent patches, of which those with the same offset count as one. Differentiable in the
    detail.

    Args:
        detail: of mean zero.
        offsets: from `choose_patches`, texels.
    """
    size = len(detail)
    patches = (len(offsets) + 1) // 2
    # Patches of even and odd rows and columns: each texel lies in one of each of the four kinds.
    windows = [_window(size, patches, odd) for odd in (0, 1)]
    shifts = [offsets[row[:, None], column] for row, _ in windows for column, _ in windows]
    weights = [jnp.asarray(np.outer(a, b), jnp.float32) for _, a in windows for _, b in windows]
    power = jnp.zeros((size, size))
    for shift, weight in zip(shifts, weights, strict=True):
        for other_shift, other_weight in zip(shifts, weights, strict=True):
            power += weight * other_weight * jnp.all(shift == other_shift, -1)
    mean = sum(
        weight[..., None] * _shifted(detail, shift)
        for shift, weight in zip(shifts, weights, strict=True)
    )
    return mean / jnp.sqrt(power + 1e-6)[..., None]


def _window(size: int, patches: int, odd: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the index of the even or odd patch in which each row lies, and its weight there."""
    side = size // patches
    position = np.arange(size) - odd * side // 2
    number = np.clip(position // side, 0, patches - 1 - odd)
    fraction = (position - number * side + 0.5) / side
    inside = (fraction > 0) & (fraction < 1)
    return 2 * number + odd, np.where(inside, np.sin(np.pi * fraction) ** 2, 0.0)


def _shifted(detail: Float[Array, "T T C"], shift: Int[Array, "T T 2"]) -> Float[Array, "T T C"]:
    """Returns the detail at each texel plus its shift, clamped at the border."""
    position = jnp.arange(len(detail))
    row = jnp.clip(position[:, None] + shift[..., 0], 0, len(detail) - 1)
    return detail[row, jnp.clip(position + shift[..., 1], 0, len(detail) - 1)]
