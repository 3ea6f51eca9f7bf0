"""Ambient occlusion: the fraction of the sky's light that reaches each vertex of a head."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxface.precision import jit
from jaxface.rendering.normals import vertex_normals
from jaxface.rendering.rasterize import rasterize

_DIRECTIONS, _WINDOW = 64, 256  # number of depth buffers; their side in pixels
_TOLERANCE = 2e-3  # metres, of the depth test
_GROUND = 0.15  # radiance from below over that of the zenith


@jit
def sky_seen(vertices: Float[Array, "V 3"], triangles: Int[Array, "F 3"]) -> Float[Array, " V"]:
    """Returns the fraction of an overcast sky's light that reaches each vertex, 0..1; y is up.

    sum of L cos over the visible directions / sum over all, with L the sky's radiance and cos the
    cosine to the normal; visibility by depth buffers from directions spread evenly over the sphere.
    Interpolated over triangles, a shadow's border is as wide as a triangle. No gradient passes.

    Args:
        vertices: metres.
        triangles: vertex indices; normals are theirs.

    Source: Miller, *Efficient Algorithms for Local and Global Accessibility Shading* (SIGGRAPH
    1994), by depth buffers as in Sattler, Sarlette, Zachmann and Klein, *Hardware-Accelerated
    Ambient Occlusion Computation* (VMV 2004).

    Example:
        >>> from jaxface import load_model
        >>> model = load_model()
        >>> seen = sky_seen(model.mean, model.triangles)
        >>> float(seen[model.mean[:, 2].argmax()]) > 0.8  # the tip of the nose
        True
    """
    vertices = jax.lax.stop_gradient(vertices)
    normals = vertex_normals(vertices, triangles)
    centre = 0.5 * (jnp.min(vertices, 0) + jnp.max(vertices, 0))
    radius = jnp.max(jnp.linalg.norm(vertices - centre, axis=-1)) + 1e-6
    scale = 0.49 * _WINDOW / radius
    points = vertices - centre

    def add_direction(total: tuple[Array, Array], frame: Array) -> tuple[tuple[Array, Array], None]:
        rotated = points @ frame.T
        xy, depth = rotated[:, :2] * scale + 0.5 * _WINDOW, rotated[:, 2] + 2 * radius
        raster, _ = rasterize(xy, depth, triangles, _WINDOW, _WINDOW)
        depth_buffer = jnp.where(raster[..., 3] > 0, raster[..., 2], jnp.inf)
        column, row = jnp.clip(xy.astype(jnp.int32), 0, _WINDOW - 1).T
        cosine = jnp.maximum(-(normals @ frame[2]), 0.0)
        light = cosine * _sky(-frame[2, 1])
        clipped = jnp.clip(cosine, 0.1, 1.0)
        tangent = jnp.sqrt(1.0 - clipped**2 + 1e-9) / clipped
        visible = depth <= depth_buffer[row, column] + _TOLERANCE + tangent / scale
        return (total[0] + light * visible, total[1] + light), None

    start = jnp.zeros(len(vertices)), jnp.zeros(len(vertices))
    (received, total_light), _ = jax.lax.scan(add_direction, start, jnp.asarray(_frames()))
    return received / jnp.maximum(total_light, 1e-6)


def _sky(up: Float[Array, ""]) -> Float[Array, ""]:
    """Returns the radiance of an overcast sky (Moon and Spencer 1942; CIE S 011) over a ground."""
    return jnp.where(up > 0, (1 + 2 * up) / 3, _GROUND)


def _frames() -> np.ndarray:
    """Returns rotations `[N, 3, 3]` to views from the light; their third rows, the viewing
    directions, are a Fibonacci spiral on the sphere."""
    index = np.arange(_DIRECTIONS) + 0.5
    polar, azimuth = np.arccos(1 - 2 * index / _DIRECTIONS), math.pi * (1 + math.sqrt(5)) * index
    ring = np.sin(polar)
    forward = np.stack([ring * np.cos(azimuth), ring * np.sin(azimuth), np.cos(polar)], -1)
    up = np.where(np.abs(forward[:, 1:2]) > 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    right = np.cross(up, forward)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward], 1).astype(np.float32)
