"""How much of the sky each vertex of a head sees past the rest of it."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxface.precision import jit
from jaxface.rendering.normals import vertex_normals
from jaxface.rendering.rasterize import rasterize

_DIRECTIONS, _WINDOW = 64, 256  # of light; pixels a side of each one's depth buffer
_TOLERANCE = 2e-3  # metres
_GROUND = 0.15  # radiance from below, of the zenith's


@jit
def sky_seen(vertices: Float[Array, "V 3"], triangles: Int[Array, "F 3"]) -> Float[Array, " V"]:
    """Returns the share of an overcast sky's light that reaches each vertex, 0..1; y is up.

    Depth buffers from directions spread evenly over the sphere tell which of them a vertex sees;
    each counts by its radiance and the cosine to the normal. What lies between is linear, so that
    a shadow's border is as wide as a triangle. No gradient passes.

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

    def add(total: tuple[Array, Array], frame: Array) -> tuple[tuple[Array, Array], None]:
        local = points @ frame.T
        xy, depth = local[:, :2] * scale + 0.5 * _WINDOW, local[:, 2] + 2 * radius
        raster, _ = rasterize(xy, depth, triangles, _WINDOW, _WINDOW)
        buffer = jnp.where(raster[..., 3] > 0, raster[..., 2], jnp.inf)
        column, row = jnp.clip(xy.astype(jnp.int32), 0, _WINDOW - 1).T
        cosine = jnp.maximum(-(normals @ frame[2]), 0.0)
        light = cosine * _sky(-frame[2, 1])
        slope = jnp.sqrt(1.0 - jnp.clip(cosine, 0.1, 1.0) ** 2 + 1e-9) / jnp.clip(cosine, 0.1, 1.0)
        free = depth <= buffer[row, column] + _TOLERANCE + slope / scale
        return (total[0] + light * free, total[1] + light), None

    start = jnp.zeros(len(vertices)), jnp.zeros(len(vertices))
    (seen, whole), _ = jax.lax.scan(add, start, jnp.asarray(_frames()))
    return seen / jnp.maximum(whole, 1e-6)


def _sky(up: Float[Array, ""]) -> Float[Array, ""]:
    """Returns the radiance of an overcast sky (Moon and Spencer 1942; CIE S 011) over a ground."""
    return jnp.where(up > 0, (1 + 2 * up) / 3, _GROUND)


def _frames() -> np.ndarray:
    """Returns rotations `[N, 3, 3]` whose third rows, spread over the sphere by Fibonacci's
    spiral, are views from the light."""
    index = np.arange(_DIRECTIONS) + 0.5
    polar, azimuth = np.arccos(1 - 2 * index / _DIRECTIONS), math.pi * (1 + math.sqrt(5)) * index
    ring = np.sin(polar)
    forward = np.stack([ring * np.cos(azimuth), ring * np.sin(azimuth), np.cos(polar)], -1)
    up = np.where(np.abs(forward[:, 1:2]) > 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    right = np.cross(up, forward)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward], 1).astype(np.float32)
