"""Texel map of the canonical UV: triangle and barycentrics of each texel."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp

from jaxface.precision import jit
from jaxface.rendering.rasterize import rasterize, triangle_ids
from jaxface.types import FaceModel, TexelMap


@partial(jit, static_argnames="size")
def texel_map(model: FaceModel, size: int) -> TexelMap:
    """Returns the map of `size` x `size` texels.

    Texels between charts hold vertices and barycentrics of triangle 0, and `mask` is false there.
    Barycentrics are differentiable in the model's UVs.

    Args:
        model: a face model whose UV charts do not overlap.
        size: T, texels a side.

    Source: UV coordinates rasterized as in `rasterize` (Pineda 1988).

    Example:
        >>> from jaxface.morphable.files import load_model
        >>> texel_map(load_model(), 32).barycentrics.shape
        (32, 32, 3)
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
