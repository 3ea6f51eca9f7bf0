"""Interpolation of vertex attributes over a rasterized image, and their screen derivatives.

The second primitive of Laine et al., *Modular Primitives for High-Performance Differentiable
Rendering* (SIGGRAPH Asia 2020), section 3.2.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxface.precision import jit
from jaxface.rendering.rasterize import triangle_ids


@jit
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


@jit
def screen_derivatives(
    attributes: Float[Array, "N C"],
    raster: Float[Array, "H W 4"],
    xy: Float[Array, "V 2"],
    depth: Float[Array, " V"],
    triangles: Int[Array, "F 3"],
    attribute_triangles: Int[Array, "F 3"],
) -> Float[Array, "H W C 2"]:
    """Returns the derivatives of interpolated attributes by the pixel's x and y, 0 where empty.

    Attribute / depth and 1 / depth are linear on the screen: with N and D their sums over the
    corners, weighted by the screen's barycentrics, the attribute is A = N / D and its derivative is
    (N' - A D') / D. Differentiable except through which triangle a pixel shows; zero on triangles
    without area.

    Args:
        attributes: as for `interpolate`.
        raster: from `rasterize`.
        xy: vertices in pixels, as given to `rasterize`.
        depth: as given to `rasterize`.
        triangles: as given to `rasterize`.
        attribute_triangles: indices into the attributes, in the same order.

    Example:
        >>> from jaxface.rendering.rasterize import rasterize
        >>> xy, triangle = jnp.array([[0.0, 0], [0, 8], [8, 0]]), jnp.array([[0, 1, 2]])
        >>> raster, _ = rasterize(xy, jnp.ones(3), triangle, 4, 4)
        >>> screen_derivatives(xy, raster, xy, jnp.ones(3), triangle, triangle)[1, 1].tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    triangle = triangle_ids(raster)
    clamped = jnp.maximum(triangle, 0)
    corner = xy[triangles[clamped]]
    opposite = jnp.roll(corner, -2, axis=-2) - jnp.roll(corner, -1, axis=-2)
    first, second = corner[..., 1, :] - corner[..., 0, :], corner[..., 2, :] - corner[..., 0, :]
    area = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    usable = (triangle >= 0) & (jnp.abs(area) > 1e-12)
    area = jnp.where(usable, area, 1.0)[..., None, None]
    gradients = jnp.stack([-opposite[..., 1], opposite[..., 0]], axis=-1) / area
    gradients = gradients / jnp.where(usable[..., None], depth[triangles[clamped]], 1.0)[..., None]
    value = interpolate(attributes, raster, attribute_triangles)
    offset = attributes[attribute_triangles[clamped]] - value[..., None, :]
    derivative = raster[..., 2, None, None] * jnp.einsum("hwkc,hwkd->hwcd", offset, gradients)
    return jnp.where(usable[..., None, None], derivative, 0.0)
