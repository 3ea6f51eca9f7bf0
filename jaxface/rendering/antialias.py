"""Edge antialiasing: what makes a silhouette differentiable.

Between two neighbouring pixels where the nearer surface ends, the edge that ends it crosses the
line between their centres at a share t of the way from the nearer surface's pixel. The pixel whose
square the edge cuts takes |t - 1/2| of the other's colour, so that the picture is continuous in
the edge's place and its derivative is exact. After Laine et al., *Modular Primitives for
High-Performance Differentiable Rendering* (SIGGRAPH Asia 2020), section 3.4. Theirs looks at the
edges of the triangle that the pixel shows; here the search goes on through its neighbours, so that
a silhouette of triangles smaller than a pixel is found as well.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxface.precision import jit
from jaxface.rendering.rasterize import triangle_ids

_CHUNK = 4096  # pairs of pixels that are searched at once
_STEPS = 8  # triangles between two pixel centres; more are not searched
_SNAP = 0.01  # pixels that the rasterizer's snapping may put a crossing beyond a centre


def edge_neighbours(triangles: Int[Array, "F 3"]) -> Int[Array, "F 3"]:
    """Returns the triangle beyond each edge (corner i to corner i + 1), -1 where the mesh ends.

    Where more than two triangles share an edge, each has one of the others.

    Args:
        triangles: vertex indices.

    Example:
        >>> edge_neighbours(jnp.array([[0, 1, 2], [2, 1, 3]])).tolist()
        [[-1, 1, -1], [0, -1, -1]]
    """
    ends = jnp.stack([triangles, jnp.roll(triangles, -1, axis=1)], -1).reshape(-1, 2)
    low, high = ends.min(1), ends.max(1)
    order = jnp.lexsort((high, low))
    same = (jnp.diff(low[order]) == 0) & (jnp.diff(high[order]) == 0)
    owner = (order // 3).astype(triangles.dtype)
    after = jnp.where(jnp.pad(same, (0, 1)), jnp.roll(owner, -1), -1)
    before = jnp.where(jnp.pad(same, (1, 0)), jnp.roll(owner, 1), -1)
    beyond = jnp.where(after >= 0, after, before)
    return jnp.zeros_like(beyond).at[order].set(beyond).reshape(-1, 3)


@jit
def antialias(
    image: Float[Array, "H W C"],
    raster: Float[Array, "H W 4"],
    xy: Float[Array, "V 2"],
    triangles: Int[Array, "F 3"],
    *,
    neighbours: Int[Array, "F 3"] | None = None,
) -> Float[Array, "H W C"]:
    """Returns the image with smooth silhouettes: contours, holes and folds of the surface.

    Differentiable in the image and, through where silhouettes lie, in `xy`; not in the raster.
    What has no gradient: where surfaces pass through each other, the image's own border, and
    silhouettes with more than 8 triangles between two pixel centres.

    Args:
        image: shaded pixels, the background included.
        raster: from `rasterize`.
        xy: vertices in pixels, as given to `rasterize`.
        triangles: vertex indices, as given to `rasterize`.
        neighbours: from `edge_neighbours(triangles)`, where one topology serves many images.

    Example:
        >>> from jaxface.rendering.rasterize import rasterize
        >>> xy, triangle = jnp.array([[0.0, 0], [0, 9], [9, 0]]), jnp.array([[0, 1, 2]])
        >>> raster, _ = rasterize(xy, jnp.ones(3), triangle, 8, 8)
        >>> covered = (raster[..., 3:] > 0).astype(jnp.float32)
        >>> smooth = antialias(covered, raster, xy, triangle)
        >>> covered.sum().item(), round(smooth.sum().item(), 2)
        (36.0, 39.5)
    """
    height, width, channels = image.shape
    row, column = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    centre = jnp.stack([column, row], -1).astype(xy.dtype) + 0.5
    ids = triangle_ids(raster)
    depth = jnp.where(ids >= 0, raster[..., 2], jnp.inf)
    first_nearer = _first(depth) <= _second(depth)

    def nearer_and_other(values: Array) -> tuple[Array, Array]:
        first, second = _first(values), _second(values)
        chosen = first_nearer.reshape(-1, *[1] * (first.ndim - 1))
        return jnp.where(chosen, first, second), jnp.where(chosen, second, first)

    triangle, other = nearer_and_other(ids)
    start, end = nearer_and_other(centre)
    if neighbours is None:
        neighbours = edge_neighbours(triangles)
    fixed = jax.lax.stop_gradient(xy)
    ends = _ends(fixed, triangles, neighbours)
    edge = _search(triangle, other, start, end, fixed, triangles, neighbours, ends)
    # An edge is the business of the pairs that it separates best, or it would count twice.
    found = edge[:, 0] != edge[:, 1]
    x, y = jnp.abs(fixed[edge[:, 1]] - fixed[edge[:, 0]]).T
    found &= jnp.where(start[:, 1] == end[:, 1], x <= y, y < x)

    share = _crossing(xy[edge[:, 0]], xy[edge[:, 1]], start, end)
    amount = jnp.where(found, jnp.clip(share, 0.0, 1.0) - 0.5, 0.0)[:, None]
    here, there = nearer_and_other(image)
    to_other = jnp.maximum(amount, 0.0) * (here - there)
    to_nearer = jnp.minimum(amount, 0.0) * (here - there)
    first = jnp.where(first_nearer[:, None], to_nearer, to_other)
    second = jnp.where(first_nearer[:, None], to_other, to_nearer)
    split = height * (width - 1)
    for part, before in ((first, 0), (second, 1)):
        across = part[:split].reshape(height, width - 1, channels)
        down = part[split:].reshape(height - 1, width, channels)
        image = image + jnp.pad(across, ((0, 0), (before, 1 - before), (0, 0)))
        image = image + jnp.pad(down, ((before, 1 - before), (0, 0), (0, 0)))
    return image


def _first(values: Array) -> Array:
    """Returns the left pixel of every pair beside each other, then the upper of every other."""
    rest = values.shape[2:]
    return jnp.concatenate([values[:, :-1].reshape(-1, *rest), values[:-1].reshape(-1, *rest)])


def _second(values: Array) -> Array:
    """Returns the right pixel of every pair beside each other, then the lower of every other."""
    rest = values.shape[2:]
    return jnp.concatenate([values[:, 1:].reshape(-1, *rest), values[1:].reshape(-1, *rest)])


def _cross(a: Float[Array, "*#N 2"], b: Float[Array, "*#N 2"]) -> Float[Array, "*#N"]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _crossing(
    a: Float[Array, "*#N 2"],
    b: Float[Array, "*#N 2"],
    start: Float[Array, "*#N 2"],
    end: Float[Array, "*#N 2"],
) -> Float[Array, "*#N"]:
    """Returns the share of the way from start to end at which they cross the line a b."""
    before, step = _cross(b - a, start - a), _cross(b - a, end - start)
    usable = jnp.abs(step) > 1e-12
    return jnp.where(usable, -before / jnp.where(usable, step, 1.0), jnp.inf)


def _ends(
    xy: Float[Array, "V 2"], triangles: Int[Array, "F 3"], neighbours: Int[Array, "F 3"]
) -> Bool[Array, "F 3"]:
    """Returns which edges are silhouettes: nothing lies beyond, or what does folds back."""
    a = xy[triangles]
    b = jnp.roll(a, -1, axis=1)
    own = _cross(b - a, jnp.roll(b, -1, axis=1) - a)
    away = xy[triangles[neighbours]] - a[:, :, None]
    # Two of the neighbour's corners lie on the edge: the sum is the third's.
    apex = jnp.sum(_cross((b - a)[:, :, None], away), axis=2)
    return (neighbours < 0) | (jnp.sign(own) * jnp.sign(apex) > 0)


def _search(
    triangle: Int[Array, " N"],
    other: Int[Array, " N"],
    start: Float[Array, "N 2"],
    end: Float[Array, "N 2"],
    xy: Float[Array, "V 2"],
    triangles: Int[Array, "F 3"],
    neighbours: Int[Array, "F 3"],
    ends: Bool[Array, "F 3"],
) -> Int[Array, "N 2"]:
    """Returns the edge at which the surface ends between start and end; (0, 0) if it does not.

    From the triangle seen at the start, the straight way leads through one edge after another.
    """

    def walk(state: tuple[Array, ...]) -> tuple[Array, ...]:
        steps, triangle, other, start, end, edge, active = state
        corner = triangles[triangle]
        a = xy[corner]
        b = jnp.roll(a, -1, axis=1)
        inward = jnp.sign(_cross(b - a, jnp.roll(b, -1, axis=1) - a))
        leaves = inward * _cross(b - a, (end - start)[:, None]) < 0
        share = jnp.where(leaves, _crossing(a, b, start[:, None], end[:, None]), jnp.inf)
        side = jnp.argmin(share, axis=1)
        active &= jnp.min(share, axis=1) <= 1.0 + _SNAP
        last, beyond = active & ends[triangle, side], neighbours[triangle, side].astype(other.dtype)
        here = jnp.stack([triangles[triangle, side], triangles[triangle, (side + 1) % 3]], 1)
        edge = jnp.where(last[:, None], here, edge)
        active &= ~last & (beyond != other)
        return steps + 1, jnp.where(active, beyond, triangle), other, start, end, edge, active

    # Most pairs lie on one triangle or on two that meet in a plain edge.
    known = jnp.maximum(triangle, 0)
    plain = jnp.any((neighbours[known] == other[:, None]) & ~ends[known], axis=1)
    wanted = (triangle >= 0) & (triangle != other) & ~plain
    count = len(triangle)
    order = jnp.nonzero(wanted, size=count + _CHUNK, fill_value=count)[0]

    def search(state: tuple[Array, Array]) -> tuple[Array, Array]:
        place, edges = state
        index = jax.lax.dynamic_slice(order, (place,), (_CHUNK,))
        given = (known[index], other[index], start[index], end[index])
        nothing = jnp.zeros((_CHUNK, 2), triangles.dtype)
        first: tuple[Array, ...] = (jnp.int32(0), *given, nothing, index < count)
        found = jax.lax.while_loop(
            lambda state: (state[0] < _STEPS) & jnp.any(state[-1]),
            walk,
            first,
        )
        return place + _CHUNK, edges.at[index].set(found[-2], mode="drop")

    total = jnp.sum(wanted)
    none = jnp.zeros((count, 2), triangles.dtype)
    return jax.lax.while_loop(lambda state: state[0] < total, search, (jnp.int32(0), none))[1]
