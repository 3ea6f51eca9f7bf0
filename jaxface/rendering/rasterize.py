"""An exact triangle rasterizer in pure JAX: which triangle each pixel shows, and where on it.

Vertices are snapped to 1/256 pixel; coverage is decided by integer edge functions and the
top-left rule, so that triangles that share an edge never overlap and never leave a gap.
Each triangle's bounding box is cut into blocks of 4 x 4 pixels, and a loop over chunks of blocks
keeps the nearest triangle of each pixel: work scales with covered area, no buffer can overflow.
Pineda, *A Parallel Algorithm for Polygon Rasterization* (SIGGRAPH 1988), gives the edge functions.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from jaxface.precision import jit

_SUBPIXEL = 256  # units per pixel to which vertices are snapped
_BLOCK = 4  # pixels a side
_CHUNK = 4096  # blocks per iteration of the loop
_GUARD = 2.0**22 / _SUBPIXEL  # pixels; farther vertices overflow `_edge`
_EMPTY = 0xFFFFFFFF  # key of a pixel without triangle


@partial(jit, static_argnames=("height", "width", "near", "cull"))
def rasterize(
    xy: Float[Array, "V 2"],
    depth: Float[Array, " V"],
    triangles: Int[Array, "F 3"],
    height: int,
    width: int,
    *,
    near: float = 1e-3,
    cull: bool = False,
) -> tuple[Float[Array, "H W 4"], Int[Array, ""]]:
    """Returns `(b0, b1, depth, triangle_id + 1)` per pixel, and how many triangles were dropped.

    Barycentrics are perspective-correct; empty pixels are all zero. Where two triangles are within
    1 part in 2**(32 - bits of F) of the depth range, the one with the lower index is shown.
    A triangle with a vertex nearer than `near`, beyond 16,384 pixels or not finite is dropped whole
    and counted; there is no clipping.

    Differentiable in `xy` and `depth` through barycentrics and depth; not through which triangle
    a pixel shows.

    Args:
        xy: pixel coordinates; the centre of the top-left pixel is (0.5, 0.5).
        depth: distance along the camera's axis, metres.
        triangles: vertex indices.
        height: of the image, pixels.
        width: of the image, pixels.
        near: nearest depth that is drawn, metres.
        cull: leave out back-facing triangles (clockwise on the screen).

    Example:
        >>> corners = jnp.array([[0.0, 0.0], [0.0, 8.0], [8.0, 0.0]])
        >>> raster, dropped = rasterize(corners, jnp.ones(3), jnp.array([[0, 1, 2]]), 8, 8)
        >>> int(raster[..., 3].sum()), int(dropped)
        (28, 0)
    """
    keys, dropped = _nearest_keys(
        jax.lax.stop_gradient(xy),
        jax.lax.stop_gradient(depth),
        triangles,
        height,
        width,
        near,
        cull,
        None,
    )
    return _pixels(xy, depth, triangles, keys), dropped


@partial(jit, static_argnames=("height", "width", "layers"))
def rasterize_layers(
    xy: Float[Array, "V 2"],
    depth: Float[Array, " V"],
    triangles: Int[Array, "F 3"],
    height: int,
    width: int,
    layers: int,
) -> Float[Array, "K H W 4"]:
    """Returns the nearest surfaces of each pixel, front to back, each as of `rasterize`.

    Args:
        xy: pixel coordinates; the centre of the top-left pixel is (0.5, 0.5).
        depth: distance along the camera's axis, metres.
        triangles: vertex indices.
        height: of the image, pixels.
        width: of the image, pixels.
        layers: number of surfaces.

    Source: depth peeling, Everitt, *Interactive Order-Independent Transparency* (NVIDIA 2001).
    """
    where = jax.lax.stop_gradient(xy), jax.lax.stop_gradient(depth)

    def peel(above: Array, _: None) -> tuple[Array, Array]:
        keys, _dropped = _nearest_keys(*where, triangles, height, width, 1e-3, False, above)
        return keys, keys

    above = jnp.zeros(height * width, jnp.uint32)
    _, keys = jax.lax.scan(peel, above, None, length=layers)
    return jax.vmap(lambda each: _pixels(xy, depth, triangles, each.reshape(height, width)))(keys)


def _pixels(
    xy: Float[Array, "V 2"],
    depth: Float[Array, " V"],
    triangles: Int[Array, "F 3"],
    keys: UInt32[Array, "H W"],
) -> Float[Array, "H W 4"]:
    """Returns what `rasterize` does, of the keys of its pixels."""
    height, width = keys.shape
    ids = (keys & jnp.uint32(2 ** _id_bits(triangles) - 1)).astype(jnp.int32)
    winner = jnp.where(keys == jnp.uint32(_EMPTY), -1, ids)
    corners = triangles[jnp.maximum(winner, 0)]
    covered = winner >= 0
    row, column = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    centre = jnp.stack([column, row], axis=-1).astype(xy.dtype) + 0.5
    barycentrics, pixel_depth = _perspective(xy[corners], depth[corners], centre, covered)
    values = jnp.stack(
        [
            barycentrics[..., 0],
            barycentrics[..., 1],
            pixel_depth,
            (winner + 1).astype(xy.dtype),
        ],
        -1,
    )
    return jnp.where(covered[..., None], values, 0.0)


def _id_bits(triangles: Int[Array, "F 3"]) -> int:
    """Returns how many of a key's bits hold the triangle's index."""
    return max(1, math.ceil(math.log2(max(2, triangles.shape[0]))))


def triangle_ids(raster: Float[Array, "H W 4"]) -> Int[Array, "H W"]:
    """Returns the triangle of each pixel, -1 where there is none."""
    return raster[..., 3].astype(jnp.int32) - 1


def _perspective(
    corners: Float[Array, "H W 3 2"],
    depth: Float[Array, "H W 3"],
    centre: Float[Array, "H W 2"],
    covered: Bool[Array, "H W"],
) -> tuple[Float[Array, "H W 3"], Float[Array, "H W"]]:
    """Returns perspective-correct barycentrics and depth at the pixel centres.

    With a_i the signed areas opposite to the corners and z_i their depths, the barycentrics are
    (a_i / z_i) / sum_j (a_j / z_j) and the depth is sum_i a_i / sum_i (a_i / z_i).
    """
    offset = corners - centre[..., None, :]
    first, second = jnp.roll(offset, -1, axis=-2), jnp.roll(offset, -2, axis=-2)
    area = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    # Snapping may put a centre slightly outside the unsnapped triangle: clamp to its border.
    area = jnp.maximum(area * jnp.where(jnp.sum(area, -1, keepdims=True) < 0, -1.0, 1.0), 0.0)
    total = jnp.sum(area, -1, keepdims=True)
    usable = covered[..., None] & (total > 0)
    area = jnp.where(usable, area / jnp.where(usable, total, 1.0), 1 / 3)
    inverse = area / jnp.where(covered[..., None], depth, 1.0)
    scale = 1.0 / jnp.sum(inverse, -1)
    return inverse * scale[..., None], scale


def _nearest_keys(
    xy: Float[Array, "V 2"],
    depth: Float[Array, " V"],
    triangles: Int[Array, "F 3"],
    height: int,
    width: int,
    near: float,
    cull: bool,
    above: UInt32[Array, " N"] | None,
) -> tuple[UInt32[Array, "..."], Int[Array, ""]]:
    """Returns the key of the nearest triangle per pixel (`_EMPTY` none) and the number dropped.

    A pixel's key is the quantized depth in the upper bits and the triangle's index in the lower
    ones, so that a scatter-minimum finds the nearest triangle. With `above`, keys of pixels, only
    greater keys count, and the result is flat as it is.
    """
    id_bits = _id_bits(triangles)
    usable_vertex = (
        (depth > near) & jnp.isfinite(depth) & jnp.all(jnp.abs(xy) < _GUARD, axis=-1)
    )  # NaN compares false
    usable = jnp.all(usable_vertex[triangles], axis=-1)
    snapped = jnp.round(jnp.where(usable_vertex[:, None], xy, 0.0) * _SUBPIXEL).astype(jnp.int32)
    corner = snapped[triangles]
    area = _edge(corner[:, 0], corner[:, 1], corner[:, 2])
    # Positive area is clockwise on the screen (y down), which is the back of a triangle.
    drawn = usable & ((area < 0) if cull else (area != 0))
    corner = jnp.where((area < 0)[:, None, None], corner[:, ::-1], corner)

    low = -((_SUBPIXEL // 2 - jnp.min(corner, axis=1)) // _SUBPIXEL)
    high = (jnp.max(corner, axis=1) - _SUBPIXEL // 2) // _SUBPIXEL
    size = jnp.array([width, height])
    low, high = jnp.maximum(low, 0), jnp.minimum(high, size - 1)
    blocks = jnp.where(drawn[:, None], jnp.maximum(-(-(high - low + 1) // _BLOCK), 0), 0)
    ends = jnp.cumsum(blocks[:, 0] * blocks[:, 1])

    plane, bounds = _inverse_depth_plane(xy, 1.0 / jnp.where(usable_vertex, depth, 1.0), triangles)
    nearest = jnp.max(jnp.where(usable, bounds[:, 1], -jnp.inf))
    farthest = jnp.min(jnp.where(usable, bounds[:, 0], jnp.inf))
    depth_steps = 2.0 ** (32 - id_bits) - 2.0 ** max(0, 8 - id_bits)  # representable in float32
    depth_scale = depth_steps / jnp.maximum(nearest - farthest, 1e-12)
    within = jnp.arange(_BLOCK)

    def draw(state):
        start, keys = state
        block = start + jnp.arange(_CHUNK)
        triangle = jnp.searchsorted(ends, block, side="right")
        active = triangle < triangles.shape[0]
        triangle = jnp.minimum(triangle, triangles.shape[0] - 1)
        count = blocks[triangle]
        index = block - (ends[triangle] - count[:, 0] * count[:, 1])
        columns = jnp.maximum(count[:, 0], 1)
        x = (low[triangle, 0] + index % columns * _BLOCK)[:, None, None] + within
        y = (low[triangle, 1] + index // columns * _BLOCK)[:, None, None] + within[:, None]
        x, y = jnp.broadcast_arrays(x, y)
        vertices = corner[triangle][:, None, None]
        point = jnp.stack([x, y], axis=-1) * _SUBPIXEL + _SUBPIXEL // 2
        inside = active[:, None, None] & (x < width) & (y < height)
        for a, b in ((0, 1), (1, 2), (2, 0)):
            inside &= _covers(vertices[..., a, :], vertices[..., b, :], point)
        origin = xy[triangles[triangle, 0]][:, None, None]
        coefficients = plane[triangle][:, None, None]
        inverse = coefficients[..., 2] + coefficients[..., 0] * (x + 0.5 - origin[..., 0])
        inverse = inverse + coefficients[..., 1] * (y + 0.5 - origin[..., 1])
        depth_bounds = bounds[triangle][:, None, None]
        inverse = jnp.clip(inverse, depth_bounds[..., 0], depth_bounds[..., 1])
        quantized = jnp.clip((nearest - inverse) * depth_scale, 0.0, depth_steps)
        key = (quantized.astype(jnp.uint32) << id_bits) | triangle.astype(jnp.uint32)[:, None, None]
        if above is not None:
            inside &= key > above[jnp.clip(y * width + x, 0, height * width - 1)]
        pixel = jnp.where(inside, y * width + x, height * width)
        keys = keys.at[pixel.ravel()].min(key.ravel(), mode="drop")
        return start + _CHUNK, keys

    initial = jnp.int32(0), jnp.full(height * width, _EMPTY, jnp.uint32)
    _, keys = jax.lax.while_loop(lambda state: state[0] < ends[-1], draw, initial)
    return keys if above is not None else keys.reshape(height, width), jnp.sum(~usable)


def _edge(
    a: Int[Array, "*#N 2"], b: Int[Array, "*#N 2"], point: Int[Array, "*#N 2"]
) -> Int[Array, "*#N"]:
    """Returns the exact sign of the cross product (b - a) x (point - a), in sub-pixel units.

    The product may need 46 bits. A float32 estimate is off by less than 2**24 and decides where
    it is beyond 2**30; nearer to zero, 32-bit integers that wrap around hold the exact value.
    """
    side, to_point = b - a, point - a
    exact = side[..., 0] * to_point[..., 1] - side[..., 1] * to_point[..., 0]
    side, to_point = side.astype(jnp.float32), to_point.astype(jnp.float32)
    estimate = side[..., 0] * to_point[..., 1] - side[..., 1] * to_point[..., 0]
    return jnp.where(jnp.abs(estimate) > 2.0**30, jnp.sign(estimate).astype(jnp.int32), exact)


def _covers(
    a: Int[Array, "*#N 2"], b: Int[Array, "*#N 2"], point: Int[Array, "*#N 2"]
) -> Bool[Array, "*#N"]:
    """Returns whether a point is on the inner side of an edge, by the top-left rule (y down)."""
    value = _edge(a, b, point)
    side = b - a
    top_left = (side[..., 1] < 0) | ((side[..., 1] == 0) & (side[..., 0] > 0))
    return (value > 0) | ((value == 0) & top_left)


def _inverse_depth_plane(
    xy: Float[Array, "V 2"], inverse: Float[Array, " V"], triangles: Int[Array, "F 3"]
) -> tuple[Float[Array, "F 3"], Float[Array, "F 2"]]:
    """Returns the coefficients of 1 / depth, affine on the screen (by x, by y, value at the first
    corner), and its least and greatest value on each triangle."""
    corner, value = xy[triangles], inverse[triangles]
    (ux, uy), (vx, vy) = (
        (corner[:, 1] - corner[:, 0]).T,
        (corner[:, 2] - corner[:, 0]).T,
    )
    du, dv = value[:, 1] - value[:, 0], value[:, 2] - value[:, 0]
    area = ux * vy - uy * vx
    area = jnp.where(jnp.abs(area) < 1e-12, jnp.inf, area)
    plane = jnp.stack([(du * vy - dv * uy) / area, (dv * ux - du * vx) / area, value[:, 0]], -1)
    return plane, jnp.stack([jnp.min(value, axis=1), jnp.max(value, axis=1)], -1)
