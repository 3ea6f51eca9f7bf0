"""Texels of the canonical UV: which point of the face's surface each one is."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jaxface.rendering.rasterize import rasterize, triangle_ids
from jaxface.types import FaceModel


@struct.dataclass
class TexelMap:
    """For each texel: its triangle (-1 between charts), the triangle's vertices, barycentrics,
    whether it lies on a chart, and the region of the nearest corner. T x T."""

    triangle_ids: Int[Array, "T T"]
    vertex_ids: Int[Array, "T T 3"]
    barycentrics: Float[Array, "T T 3"]
    mask: Bool[Array, "T T"]
    region_ids: Int[Array, "T T"]


@partial(jax.jit, static_argnames="size")
def texel_map(model: FaceModel, size: int) -> TexelMap:
    """Returns the map of `size` x `size` texels.

    Texels between charts carry vertices and barycentrics of triangle 0, to be masked.

    Args:
        model: a face model whose UV charts do not overlap.
        size: T.
    """
    corners = model.uvs[model.uv_triangles].reshape(-1, 2)
    xy = jnp.stack([corners[:, 0] * size, (1.0 - corners[:, 1]) * size], axis=-1)
    separate = jnp.arange(len(xy)).reshape(-1, 3)
    raster, _ = rasterize(xy, jnp.ones(len(xy)), separate, size, size)
    triangle = triangle_ids(raster)
    b0, b1 = raster[..., 0], raster[..., 1]
    barycentrics = jnp.stack([b0, b1, 1.0 - b0 - b1], axis=-1)
    vertices = model.triangles[jnp.maximum(triangle, 0)]
    nearest = jnp.argmax(barycentrics, axis=-1)[..., None]
    region = model.vertex_region[jnp.take_along_axis(vertices, nearest, axis=-1)[..., 0]]
    return TexelMap(triangle, vertices, barycentrics, triangle >= 0, region)
