"""Convex combination of database faces whose correlations are nearest to the photo's.

Saito et al. 2017, section 4.2: minimise over the simplex the squared distance of the masked
correlations. That is a quadratic programme in K unknowns, solved here by accelerated projected
gradient with restart; its duality gap certifies the result.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxface.features.correlations import cell_scales
from jaxface.types import BlendResult, Correlations


def project_simplex(point: Float[Array, " K"]) -> Float[Array, " K"]:
    """Returns the nearest point of the simplex {w >= 0, sum w = 1} (exact, by sorting).

    Differentiable where the set of positive weights does not change: the Jacobian is the
    projection on that set minus its mean. Duchi et al. 2008, figure 1.

    Args:
        point: any real vector.

    Example:
        >>> project_simplex(jnp.asarray([0.5, 0.5, -3.0])).tolist()
        [0.5, 0.5, 0.0]
    """
    descending = -jnp.sort(-point)
    count = jnp.arange(1, point.shape[0] + 1)
    thresholds = (jnp.cumsum(descending) - 1.0) / count
    active = jnp.sum(descending > thresholds)
    return jnp.maximum(point - thresholds[active - 1], 0.0)


def duality_gap(
    weights: Float[Array, " K"], quadratic: Float[Array, "K K"], linear: Float[Array, " K"]
) -> Float[Array, ""]:
    """Returns how far `weights` can be from the minimum of w.Qw/2 - l.w over the simplex.

    The objective at `weights` exceeds the minimum by at most this (Frank-Wolfe's gap).
    """
    gradient = quadratic @ weights - linear
    return weights @ gradient - jnp.min(gradient)


def solve_simplex(
    quadratic: Float[Array, "K K"],
    linear: Float[Array, " K"],
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 2000,
) -> tuple[Float[Array, " K"], Int[Array, ""]]:
    """Returns the minimiser of w.Qw/2 - l.w over the simplex, and the iterations.

    FISTA with function-free restart (Beck and Teboulle 2009; O'Donoghue and Candes 2015). The
    derivative is the implicit one on the active set: weights that are zero stay zero.

    Args:
        quadratic: symmetric, positive semidefinite.
        linear: any vector.
        tolerance: stops when the duality gap is below this times the largest entry of Q and l.
        max_iterations: stops there at the latest.

    Example:
        >>> weights, _ = solve_simplex(jnp.eye(2), jnp.zeros(2))
        >>> weights.tolist()
        [0.5, 0.5]
    """
    weights, iterations = _solve((tolerance, max_iterations), quadratic, linear)
    return weights, iterations


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _solve(limits: tuple[float, int], quadratic: Array, linear: Array) -> tuple[Array, Array]:
    tolerance, max_iterations = limits
    size = linear.shape[0]
    lipschitz = jnp.max(jnp.sum(jnp.abs(quadratic), -1)) + 1e-30
    scale = jnp.maximum(jnp.max(jnp.abs(quadratic)), jnp.max(jnp.abs(linear))) + 1e-30

    def step(state: tuple) -> tuple:
        weights, ahead, momentum, _, count = state
        new = project_simplex(ahead - (quadratic @ ahead - linear) / lipschitz)
        restart = jnp.vdot(ahead - new, new - weights) > 0
        grown = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        ahead = jnp.where(restart, new, new + (momentum - 1) / grown * (new - weights))
        momentum = jnp.where(restart, 1.0, grown)
        return new, ahead, momentum, duality_gap(new, quadratic, linear), count + 1

    def unfinished(state: tuple) -> Array:
        return (state[3] > tolerance * scale) & (state[4] < max_iterations)

    start = jnp.full((size,), 1.0 / size, linear.dtype)
    one = jnp.ones((), linear.dtype)
    state = (start, start, one, duality_gap(start, quadratic, linear), jnp.zeros((), jnp.int32))
    weights, _, _, _, count = jax.lax.while_loop(unfinished, step, state)
    return weights, count


def _solve_forward(limits: tuple[float, int], quadratic: Array, linear: Array) -> tuple:
    result = _solve(limits, quadratic, linear)
    return result, (result[0], quadratic)


def _solve_backward(_: tuple[float, int], saved: tuple, cotangent: tuple) -> tuple[Array, Array]:
    """Solves the optimality system [Q 1; 1 0] on the active set for the cotangent."""
    weights, quadratic = saved
    active = weights > 1e-7
    both = active[:, None] & active[None, :]
    size = weights.shape[0]
    system = jnp.zeros((size + 1, size + 1), weights.dtype)
    system = system.at[:size, :size].set(jnp.where(both, quadratic, jnp.eye(size)))
    system = system.at[:size, size].set(active).at[size, :size].set(active)
    right = jnp.append(jnp.where(active, cotangent[0], 0.0), 0.0)
    adjoint = jnp.where(active, jnp.linalg.solve(system, right)[:size], 0.0)
    return -(jnp.outer(adjoint, weights) + jnp.outer(weights, adjoint)) / 2, adjoint


_solve.defvjp(_solve_forward, _solve_backward)


def blend(
    correlations: Correlations,
    database_masked: Correlations,
    database_complete: Correlations,
    *,
    ridge: float = 1e-3,
) -> BlendResult:
    """Returns simplex weights of the database faces and the complete correlations they give.

    Saito et al. 2017, equation 3, with each cell and layer normalised by the photo's energy and
    weighted by how much of it is visible. Differentiable in all correlations (active set).

    Args:
        correlations: the photo's, masked.
        database_masked: the database's under the same mask, with a leading axis K.
        database_complete: the same without a mask.
        ridge: pulls towards equal weights where faces cannot be told apart, as a share of the
            mean squared distance.

    Example:
        >>> one = Correlations((jnp.eye(2)[None],), (jnp.ones(1),), ("relu1_1",))
        >>> two = jax.tree.map(lambda x: jnp.stack([x, 3 * x]), one)
        >>> blend(one, two, two).weights.tolist()
        [1.0, 0.0]
    """
    count = database_masked.values[0].shape[0]
    quadratic = jnp.zeros((count, count))
    for value, faces, scale in zip(
        correlations.values, database_masked.values, cell_scales(correlations), strict=True
    ):
        apart = (faces - value) * jnp.sqrt(scale + 1e-20)[:, None, None]
        flat = apart.reshape(count, -1)
        quadratic += flat @ flat.T
    quadratic /= jnp.mean(jnp.diagonal(quadratic)) + 1e-20
    quadratic += ridge * jnp.eye(count)
    linear = jnp.zeros(count)
    weights, iterations = solve_simplex(quadratic, linear)
    return BlendResult(
        weights=weights,
        correlations=mix(weights, database_complete),
        duality_gap=duality_gap(weights, quadratic, linear),
        iterations=iterations,
    )


def mix(weights: Float[Array, " K"], database: Correlations) -> Correlations:
    """Returns the weighted sum of the database's correlations (leading axis K)."""
    return jax.tree.map(lambda x: jnp.tensordot(weights, x, 1), database)
