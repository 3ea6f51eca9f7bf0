"""Blending: the convex combination of database faces whose correlations are nearest to a photo's.

Saito et al. 2017, section 4.2: minimise over the simplex the squared distance of the masked
correlations. That is a quadratic program in K unknowns, solved by accelerated projected gradient
(FISTA) with restart; its duality gap bounds the error of the objective.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxface.features.correlations import cell_scales
from jaxface.implicit import implicit
from jaxface.precision import jit
from jaxface.types import BlendResult, Correlations


@jax.custom_jvp
def project_simplex(point: Float[Array, " K"]) -> Float[Array, " K"]:
    """Returns the nearest point of the simplex {w >= 0, sum w = 1} (exact, by sorting).

    Differentiable, forward and reverse. On the active set of n positive weights the Jacobian is
    I - 1 1'/n; elsewhere it is 0, also at a corner. Duchi et al. 2008, figure 1.

    Args:
        point: any real vector.

    Example:
        >>> project_simplex(jnp.asarray([0.5, 0.5, -3.0])).tolist()
        [0.5, 0.5, 0.0]
    """
    descending = -jnp.sort(-point)
    count = jnp.arange(1, point.shape[0] + 1)
    thresholds = (jnp.cumsum(descending) - 1.0) / count
    positive = jnp.sum(descending > thresholds)
    return jnp.maximum(point - thresholds[positive - 1], 0.0)


@project_simplex.defjvp
def _projection_derivative(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    weights = project_simplex(primals[0])
    active_set = weights > 0
    tangent = jnp.where(active_set, tangents[0], 0.0)
    mean = jnp.sum(tangent) / jnp.maximum(jnp.sum(active_set), 1)
    return weights, jnp.where(active_set, tangent - mean, 0.0)


def duality_gap(
    weights: Float[Array, " K"], quadratic: Float[Array, "K K"], linear: Float[Array, " K"]
) -> Float[Array, ""]:
    """Returns the Frank-Wolfe gap of w.Qw/2 - l.w over the simplex: w.g - min(g) with g = Qw - l.

    An upper bound on the objective at `weights` minus its minimum.
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

    FISTA with gradient restart (Beck and Teboulle 2009; O'Donoghue and Candes 2015). The
    derivative, forward and reverse, is implicit, by the optimality conditions on the active set of
    positive weights; that of zero weights is 0.

    Args:
        quadratic: Q, symmetric, positive semidefinite.
        linear: l, any vector.
        tolerance: on the duality gap, over the largest absolute entry of Q and l.
        max_iterations: upper bound.

    Example:
        >>> weights, _ = solve_simplex(jnp.eye(2), jnp.zeros(2))
        >>> weights.tolist()
        [0.5, 0.5]
    """
    weights, iterations = _fista(
        *jax.lax.stop_gradient((quadratic, linear)), tolerance, max_iterations
    )
    return implicit(_gradient, _solve_kkt, weights, (quadratic, linear)), iterations


def _gradient(weights: Array, problem: tuple[Array, Array]) -> Array:
    return problem[0] @ weights - problem[1]


def _solve_kkt(rhs: Array, weights: Array, problem: tuple[Array, Array]) -> Array:
    """Returns y of the KKT system [Q 1; 1' 0] [y; m] = [rhs; 0] on the active set, 0 elsewhere."""
    active_set = weights > 1e-7
    size = len(weights)
    # Two equal faces make the undamped system singular.
    damping = 10 * jnp.finfo(weights.dtype).eps * jnp.max(jnp.abs(problem[0])) + 1e-30
    quadratic = jnp.where(active_set[:, None] & active_set, problem[0], jnp.eye(size))
    system = jnp.zeros((size + 1, size + 1), weights.dtype)
    system = system.at[:size, :size].set(quadratic + damping * jnp.eye(size))
    system = system.at[:size, size].set(active_set).at[size, :size].set(active_set)
    rhs = jnp.append(jnp.where(active_set, rhs, 0.0), 0.0)
    return jnp.where(active_set, jnp.linalg.solve(system, rhs)[:size], 0.0)


def _fista(
    quadratic: Array, linear: Array, tolerance: float, max_iterations: int
) -> tuple[Array, Array]:
    """Returns the minimiser and the iterations; `solve_simplex` without its derivative."""
    size = linear.shape[0]
    lipschitz = jnp.max(jnp.sum(jnp.abs(quadratic), -1)) + 1e-30
    scale = jnp.maximum(jnp.max(jnp.abs(quadratic)), jnp.max(jnp.abs(linear))) + 1e-30

    def step(state: tuple) -> tuple:
        weights, extrapolated, momentum, _, count = state
        gradient = quadratic @ extrapolated - linear
        new = project_simplex(extrapolated - gradient / lipschitz)
        restart = jnp.vdot(extrapolated - new, new - weights) > 0
        next_momentum = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        accelerated = new + (momentum - 1) / next_momentum * (new - weights)
        extrapolated = jnp.where(restart, new, accelerated)
        momentum = jnp.where(restart, 1.0, next_momentum)
        return new, extrapolated, momentum, duality_gap(new, quadratic, linear), count + 1

    def unfinished(state: tuple) -> Array:
        return (state[3] > tolerance * scale) & (state[4] < max_iterations)

    start = jnp.full((size,), 1.0 / size, linear.dtype)
    momentum = jnp.ones((), linear.dtype)
    gap = duality_gap(start, quadratic, linear)
    state = (start, start, momentum, gap, jnp.zeros((), jnp.int32))
    weights, _, _, _, count = jax.lax.while_loop(unfinished, step, state)
    return weights, count


@jit
def blend(
    photo_correlations: Correlations,
    database_masked: Correlations,
    database_complete: Correlations | None = None,
    *,
    ridge: float | Float[Array, ""] = 1e-3,
    cell_weights: tuple[Float[Array, " R"], ...] | None = None,
) -> BlendResult:
    """Returns the simplex weights w of the database faces, and the complete correlations they give.

    w minimises w.Qw / q + ridge |w|^2 with Q_jk = sum over layers and cells of
    s <C_j - C, C_k - C> and q the mean of Q's diagonal. Since sum w = 1, w.Qw is
    sum s |sum_k w_k C_k - C|^2, and the linear term l is 0. C are the photo's masked correlations,
    C_k the faces', s the `cell_scales` of C (Saito et al. 2017, equation 3, without scales).
    Differentiable in all correlations, the cells' weights and the ridge (implicitly, on the active
    set).

    Args:
        photo_correlations: C, under the photo's mask.
        database_masked: C_k, under the same mask, with a leading axis K.
        database_complete: the faces' without a mask; None if their blend is not needed.
        ridge: weight of |w|^2, in units of the faces' mean squared distance q. Larger draws the
            weights of similar faces together.
        cell_weights: factor on the scale of each cell, one array a layer; ones if missing.

    Example:
        >>> one = Correlations((jnp.eye(2)[None],), (jnp.ones(1),), ("relu1_1",))
        >>> two = jax.tree.map(lambda x: jnp.stack([x, 3 * x]), one)
        >>> blend(one, two, two).weights.round(2).tolist()
        [1.0, 0.0]
    """
    count = database_masked.values[0].shape[0]
    quadratic = jnp.zeros((count, count))
    scales = cell_scales(photo_correlations)
    if cell_weights is not None:
        scales = tuple(a * b for a, b in zip(scales, cell_weights, strict=True))
    for value, faces, scale in zip(
        photo_correlations.values, database_masked.values, scales, strict=True
    ):
        difference = (faces - value) * jnp.sqrt(scale + 1e-20)[:, None, None]
        difference = difference.reshape(count, -1)
        quadratic += difference @ difference.T
    quadratic /= jnp.mean(jnp.diagonal(quadratic)) + 1e-20
    quadratic += ridge * jnp.eye(count)
    linear = jnp.zeros(count)
    weights, iterations = solve_simplex(quadratic, linear)
    return BlendResult(
        weights=weights,
        correlations=None
        if database_complete is None
        else weighted_sum(weights, database_complete),
        duality_gap=duality_gap(weights, quadratic, linear),
        iterations=iterations,
        faces=jnp.arange(count),
    )


def weighted_sum(weights: Float[Array, " K"], database: Correlations) -> Correlations:
    """Returns sum_k w_k C_k over the leading axis K of the database's correlations."""
    return jax.tree.map(lambda x: jnp.tensordot(weights, x, 1), database)
