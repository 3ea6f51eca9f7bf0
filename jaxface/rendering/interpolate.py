"""Interpolation of vertex attributes over a rasterized image."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxface.rendering.rasterize import triangle_ids


def interpolate(
    attributes: Float[Array, "N C"],
    raster: Float[Array, "H W 4"],
    triangles: Int[Array, "F 3"],
) -> Float[Array, "H W C"]:
    """Returns the attributes at each pixel, 0 where the raster is empty.

    Differentiable in the attributes and, through the raster's barycentrics, in the vertices.

    Args:
        attributes: one row per vertex, or per UV vertex for values that seams split.
        raster: from `rasterize`.
        triangles: indices into the attributes, in the order of the rasterized triangles.

    Example:
        >>> interpolate(jnp.ones((3, 1)), jnp.zeros((2, 2, 4)), jnp.array([[0, 1, 2]])).sum().item()
        0.0
    """
    triangle = triangle_ids(raster)
    corners = attributes[triangles[jnp.maximum(triangle, 0)]]
    b0, b1 = raster[..., 0:1], raster[..., 1:2]
    values = b0 * corners[..., 0, :] + b1 * corners[..., 1, :] + (1 - b0 - b1) * corners[..., 2, :]
    return jnp.where((triangle >= 0)[..., None], values, 0.0)
