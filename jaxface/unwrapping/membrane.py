"""Smooth fields on the face's mesh: screened-Laplacian interpolation ("membrane").

The field m minimises, with W the data weight of each vertex, L the mesh's graph Laplacian,

    sum_v W_v (m_v - value_v)^2 + reach^2 m' L m + tikhonov sum_v m_v^2.

`reach` is the distance in mesh edges over which data of weight 1 is smoothed; where W = 0 the
field is harmonic, but for the Tikhonov term, by which it decays slowly to zero away from data. L
is that of the vertices, so the field is continuous across UV seams.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxface.types import FaceModel, TexelMap


def gather_texels(
    values: Float[Array, "T T C"],
    weights: Float[Array, "T T"],
    vertex_ids: Int[Array, "T T 3"],
    barycentrics: Float[Array, "T T 3"],
    vertex_count: int,
) -> tuple[Float[Array, "V C"], Float[Array, " V"]]:
    """Returns each vertex's weighted mean of the texels around it, and their summed weight.

    Args:
        values: per texel.
        weights: per texel; zero outside the charts.
        vertex_ids: corners of each texel's triangle.
        barycentrics: of the texel in its triangle.
        vertex_count: V.
    """
    corner_weights = (weights[..., None] * barycentrics).reshape(-1, 3)
    corners = vertex_ids.reshape(-1, 3)
    flat = values.reshape(-1, values.shape[-1])
    rows = jnp.concatenate([flat, jnp.ones_like(flat[:, :1])], axis=1)
    total = jnp.zeros((vertex_count, rows.shape[1]), rows.dtype)
    for corner in range(3):
        total = total.at[corners[:, corner]].add(corner_weights[:, corner, None] * rows)
    weight = total[:, -1]
    return total[:, :-1] / jnp.maximum(weight, 1e-6)[:, None], weight


def scatter_vertices(
    field: Float[Array, "V C"], vertex_ids: Int[Array, "T T 3"], barycentrics: Float[Array, "T T 3"]
) -> Float[Array, "T T C"]:
    """Returns a vertex field at every texel."""
    return jnp.einsum("tuk,tukc->tuc", barycentrics, field[vertex_ids])


def texels_to_vertices(
    values: Float[Array, "T T C"],
    weights: Float[Array, "T T"],
    model: FaceModel,
    texels: TexelMap,
) -> tuple[Float[Array, "V C"], Float[Array, " V"]]:
    """Returns `gather_texels`, its weights divided by the mean number of texels per vertex."""
    count, size = model.mean.shape[0], weights.shape[0]
    corners = texels.vertex_ids, texels.barycentrics
    values, weights = gather_texels(values, weights, *corners, count)
    return values, weights / (size**2 / count)


def vertices_to_texels(field: Float[Array, "V C"], texels: TexelMap) -> Float[Array, "T T C"]:
    """Returns a vertex field at every texel of a map."""
    return scatter_vertices(field, texels.vertex_ids, texels.barycentrics)


def with_mirror(
    values: Float[Array, "V C"],
    weights: Float[Array, " V"],
    mirror: Int[Array, " V"],
    mirror_weight: float | Float[Array, ""],
) -> tuple[Float[Array, "V C"], Float[Array, " V"]]:
    """Returns the weighted means of values and their mirror images, and the summed weights.

    Args:
        values: per vertex.
        weights: not negative.
        mirror: the vertex on the other side.
        mirror_weight: weight of the mirror vertex's value, against 1 for the vertex's.
    """
    both = weights + mirror_weight * weights[mirror]
    total = weights[:, None] * values
    return (total + mirror_weight * total[mirror]) / jnp.maximum(both, 1e-6)[:, None], both


def membrane(
    values: Float[Array, "V C"],
    weights: Float[Array, " V"],
    triangles: Int[Array, "F 3"],
    *,
    reach: float | Float[Array, ""],
    tikhonov: float | Float[Array, ""] = 1e-4,
    steps: int = 80,
) -> Float[Array, "V C"]:
    """Returns the field m that solves (W + reach^2 L + tikhonov I) m = W values.

    Conjugate gradients with Jacobi preconditioner; see the module's docstring. Differentiable in
    values and weights, by another such solve.

    Args:
        values: data per vertex; ignored where the weight is zero.
        weights: confidence per vertex; about 1 where well seen.
        triangles: of the mesh.
        reach: smoothing distance, mesh edges.
        tikhonov: weight of m = 0; that of data is about 1.
        steps: of conjugate gradients.
    """
    smoothness = reach**2
    # Every inner edge lies in two triangles: half of it in each.
    degree = jnp.zeros_like(weights).at[triangles].add(1.0)
    diagonal = weights + smoothness * degree + tikhonov

    def operator(field):
        corner = field[triangles]
        differences = corner - 0.5 * (jnp.roll(corner, 1, axis=1) + jnp.roll(corner, 2, axis=1))
        laplacian = jnp.zeros_like(field).at[triangles].add(differences)
        return (weights + tikhonov)[:, None] * field + smoothness * laplacian

    def solve(operator, rhs):
        def step(_, state):
            field, residual, direction, r_z = state
            matrix_direction = operator(direction)
            alpha = r_z / jnp.maximum(jnp.sum(direction * matrix_direction, axis=0), 1e-20)
            field, residual = field + alpha * direction, residual - alpha * matrix_direction
            z = residual / diagonal[:, None]
            r_z_next = jnp.sum(residual * z, axis=0)
            direction = z + r_z_next / jnp.maximum(r_z, 1e-20) * direction
            return field, residual, direction, r_z_next

        start = rhs / diagonal[:, None]
        state = (jnp.zeros_like(rhs), rhs, start, jnp.sum(rhs * start, axis=0))
        return jax.lax.fori_loop(0, steps, step, state)[0]

    return jax.lax.custom_linear_solve(operator, weights[:, None] * values, solve, symmetric=True)
