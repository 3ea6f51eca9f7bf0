"""Norms and unit vectors with finite gradients, vertex normals of a triangle mesh.

Normals weighted by area, after Gouraud, *Continuous Shading of Curved Surfaces* (1971).
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxface.precision import jit


def length(vectors: Float[Array, "*N D"]) -> Float[Array, "*N"]:
    """Returns the Euclidean length. Its gradient is zero where the vector is."""
    square = jnp.sum(vectors * vectors, axis=-1)
    nonzero = square > 0
    return jnp.where(nonzero, jnp.sqrt(jnp.where(nonzero, square, 1.0)), 0.0)


def normalize(vectors: Float[Array, "*N D"]) -> Float[Array, "*N D"]:
    """Returns the vectors at unit length, zero where they are zero. Gradients are finite."""
    square = jnp.sum(vectors * vectors, axis=-1, keepdims=True)
    usable = square > 1e-24
    return jnp.where(usable, vectors / jnp.sqrt(jnp.where(usable, square, 1.0)), 0.0)


@jit
def vertex_normals(
    vertices: Float[Array, "V 3"], triangles: Int[Array, "F 3"]
) -> Float[Array, "V 3"]:
    """Returns unit vertex normals, the area-weighted mean of the adjacent triangles'.

    Differentiable in the vertices. A vertex without area around it has the normal zero.

    Args:
        vertices: positions, metres.
        triangles: vertex indices, counter-clockwise seen from outside.

    Example:
        >>> corners = jnp.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
        >>> vertex_normals(corners, jnp.array([[0, 1, 2]]))[0].tolist()
        [0.0, 0.0, 1.0]
    """
    corner = vertices[triangles]
    # In millimetres: areas are about 1e-6 square metres, near what `normalize` takes for zero.
    first, second = (
        1e3 * (corner[:, 1] - corner[:, 0]),
        1e3 * (corner[:, 2] - corner[:, 0]),
    )
    area = jnp.cross(first, second)
    total = jnp.zeros_like(vertices).at[triangles].add(area[:, None, :])
    return normalize(total)
