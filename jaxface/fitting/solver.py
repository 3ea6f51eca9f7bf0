"""Levenberg-Marquardt for nonlinear least squares with bounds, as pure JAX.

The unknowns are a flat vector x and the objective is F(x) = sum of rho(r_i(x)^2) / 2. Everything
that the solver needs at a point is a `System`: the value F, the gradient g and the Gauss-Newton
matrix A. With D the diagonal scaling 1 / sqrt(diag A) and damping m, one step solves

    (D A D + m I) y = -D g,    x_new = clip(x + D y, lower, upper),

and is accepted if it lowers F. The damping follows Nielsen (1999): with the gain ratio q = actual /
predicted decrease, m shrinks by max(1/3, 1 - (2q - 1)^3) or grows by 2, 4, 8, ... on rejection.
Variables at an active bound are taken out of the linear system (active set), so that the others
take full Gauss-Newton steps.

Robust losses enter by iteratively reweighted least squares: A = J^T W J with W = rho', which
majorises a concave rho, so that the predicted decrease is a lower bound of the true one.

Sources: Madsen, Nielsen, Tingleff, *Methods for Non-Linear Least Squares Problems* (2004), 3.2;
Triggs et al., *Bundle Adjustment* (2000), 4.3.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxface.pytrees import pytree, static

ACTIVE_SET_PASSES = 3
"""Solves per step, each with the variables that hit a bound in the one before fixed there."""
_MAX_DAMPING = 1e8  # beyond, the solver has stalled


@pytree
class System:
    """The objective's value, gradient and Gauss-Newton matrix at a point.

    Attributes:
        cost: F(x).
        gradient: of F.
        normal: Gauss-Newton matrix J^T W J; with N photos, each photo's term of the sum
            (`fitting/joint.py`).
    """

    cost: Float[Array, ""]
    gradient: Float[Array, "*N P"]
    normal: Float[Array, "*N P P"]

    def __add__(self, other: System) -> System:
        return jax.tree.map(jnp.add, self, other)


@pytree
class State:
    """State of the solver.

    Attributes:
        x: the unknowns.
        system: the objective's value, gradient and matrix at x.
        damping: m.
        growth: factor of m at the next rejected step.
        iterations: steps tried.
        converged: the predicted decrease is at most `rtol` times the cost.
        stalled: no step lowers the cost, however damped.
    """

    x: Float[Array, "*N P"]
    system: System
    damping: Float[Array, ""]
    growth: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    stalled: Bool[Array, ""]


@pytree
class SolverConfig:
    """Options of `solve`.

    Attributes:
        max_iterations: steps, accepted or not.
        rtol: converged when the predicted decrease is below this fraction of the cost.
        damping: of the first step.
        unrolled: run all iterations as a scan, whose state no longer changes after convergence, so
            that derivatives (reverse mode too) pass through the loop.
    """

    max_iterations: int = static(default=30)
    rtol: float = 1e-5
    damping: float = 1e-3
    unrolled: bool = static(default=False)


SystemFunction = Callable[[Array], System]
Loss = Callable[[Array], tuple[Array, Array]]
StepSolver = Callable[[System, Array, Array, Array, Array], Array]
"""Maps system, x, damping, lower and upper bounds to a step, as `solve_step` does."""


def quadratic(squared: Float[Array, "*N"]) -> tuple[Float[Array, "*N"], Float[Array, "*N"]]:
    """Returns the least-squares loss rho(s) = s and its derivative."""
    return squared, jnp.ones_like(squared)


def cauchy(squared: Float[Array, "*N"]) -> tuple[Float[Array, "*N"], Float[Array, "*N"]]:
    """Returns Cauchy's loss rho(s) = log(1 + s) and its derivative."""
    return jnp.log1p(squared), 1.0 / (1.0 + squared)


def residual_system(
    residuals: Callable[[Array], Array], loss: Loss = quadratic
) -> Callable[[Array], System]:
    """Returns the system function of a residual function, by forward differentiation.

    Args:
        residuals: maps x `[P]` to residuals `[N]`; differentiable.
        loss: maps squared residuals to rho and rho', elementwise.

    Example:
        >>> system = residual_system(lambda x: x - 3.0)
        >>> solve(system, jnp.zeros(2)).x.tolist()
        [3.0, 3.0]
    """

    def system(x: Array) -> System:
        values = residuals(x)
        jacobian = jax.jacfwd(residuals)(x)
        rho, weight = loss(values * values)
        weighted = jacobian * weight[:, None]
        return System(0.5 * jnp.sum(rho), weighted.T @ values, weighted.T @ jacobian)

    return system


def bound_slack(
    bound: Float[Array, " P"], x: Float[Array, "*N P"], scale: Float[Array, "*N P"]
) -> Float[Array, "*N P"]:
    """Returns (bound - x) / scale, the bound of the scaled step; infinite where there is none."""
    has_bound = jnp.isfinite(bound)
    return jnp.where(has_bound, jnp.where(has_bound, bound - x, 0.0) / scale, bound)


def solve_step(
    system: System,
    x: Float[Array, " P"],
    damping: Float[Array, ""],
    lower: Float[Array, " P"],
    upper: Float[Array, " P"],
) -> Float[Array, " P"]:
    """Returns the damped Gauss-Newton step with box constraints (active set, which only grows
    during its passes); 0 unless all of it is finite."""
    scale = jax.lax.rsqrt(jnp.maximum(jnp.diagonal(system.normal), 1e-12))
    matrix = system.normal * scale[:, None] * scale
    gradient = system.gradient * scale
    low, high = bound_slack(lower, x, scale), bound_slack(upper, x, scale)
    active_set = ((low >= 0) & (gradient > 0)) | ((high <= 0) & (gradient < 0))

    def active_set_pass(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        active_set, step = carry
        free = ~active_set
        fixed = jnp.where(active_set, step, 0.0)
        rhs = jnp.where(free, -gradient - matrix @ fixed, fixed)
        lhs = jnp.where(free[:, None] & free, matrix, 0.0)
        lhs += jnp.diag(jnp.where(free, damping, 1.0))
        factor = jax.scipy.linalg.cho_factor(lhs, lower=True)
        step = jax.scipy.linalg.cho_solve(factor, rhs)
        return active_set | (step <= low) | (step >= high), jnp.clip(step, low, high)

    start = active_set, jnp.zeros_like(x)
    _, step = jax.lax.fori_loop(0, ACTIVE_SET_PASSES, active_set_pass, start)
    return jnp.where(jnp.all(jnp.isfinite(step)), step * scale, 0.0)


def init(x: Float[Array, "*N P"], config: SolverConfig = SolverConfig()) -> State:
    """Returns the state before the first step, which only evaluates the objective at the start x.

    So the objective is compiled once, inside the loop.
    """
    normal = jnp.zeros((*x.shape, x.shape[-1]))
    empty = System(jnp.asarray(jnp.inf, x.dtype), jnp.zeros_like(x), normal)
    return State(
        x=x,
        system=jax.tree.map(lambda leaf: leaf.astype(x.dtype), empty),
        damping=jnp.asarray(config.damping, x.dtype),
        growth=jnp.asarray(2.0, x.dtype),
        iterations=jnp.asarray(-1, jnp.int32),
        converged=jnp.zeros((), bool),
        stalled=jnp.zeros((), bool),
    )


def step(
    function: SystemFunction,
    state: State,
    lower: Float[Array, " P"],
    upper: Float[Array, " P"],
    config: SolverConfig = SolverConfig(),
    linear: StepSolver = solve_step,
) -> State:
    """Returns the state after one trial step, accepted or not."""
    old = state.system
    first = state.iterations < 0
    change = linear(old, state.x, state.damping, lower, upper)
    x = jnp.clip(state.x + change, lower, upper)
    change = x - state.x
    hessian_change = jnp.einsum("...pq,...q->...p", old.normal, change)
    predicted = -jnp.sum((old.gradient + 0.5 * hessian_change) * change)
    new = function(x)
    # The damping changes the path, not the optimum: no gradient through it.
    predicted, cost = jax.lax.stop_gradient((predicted, old.cost - new.cost))
    gain = cost / jnp.maximum(predicted, 1e-30)
    finite = jnp.isfinite(new.cost) & jnp.all(jnp.isfinite(new.gradient))
    accepted = finite & (first | ((gain > 1e-4) & (predicted > 0)))
    # Converged if the linear system was solved and predicts no decrease; if unsolved, damp more.
    solved = jnp.any(change != 0) | (jnp.max(jnp.abs(old.gradient)) == 0)
    small = (predicted <= config.rtol * jnp.abs(old.cost)) & (state.damping < 1.0)
    shrink = jnp.maximum(1.0 / 3.0, 1.0 - (2.0 * jnp.clip(gain, 0.0, 1.0) - 1.0) ** 3)
    damping = jnp.where(accepted, state.damping * shrink, state.damping * state.growth)
    damping = jnp.where(first, state.damping, damping)

    def choose(a: Array, b: Array) -> Array:
        return jnp.where(accepted, a, b)

    return State(
        x=choose(x, state.x),
        system=jax.tree.map(choose, new, old),
        damping=jnp.maximum(damping, 1e-9),
        growth=jnp.where(accepted, 2.0, state.growth * 2.0),
        iterations=state.iterations + 1,
        converged=solved & small & ~first,
        stalled=(damping > _MAX_DAMPING) | (first & ~finite),
    )


def solve(
    function: SystemFunction,
    x: Float[Array, "*N P"],
    *,
    lower: Float[Array, " P"] | None = None,
    upper: Float[Array, " P"] | None = None,
    config: SolverConfig = SolverConfig(),
    linear: StepSolver = solve_step,
) -> State:
    """Returns the solver's last state, whose `x` is never worse than the start.

    Works under `jit` and `vmap`. Differentiable with `config.unrolled`: the reverse pass computes
    each step again, so that only its state is stored. Levenberg-Marquardt with Nielsen's damping
    (Madsen, Nielsen and Tingleff 2004, section 3.2).

    Args:
        function: maps x to its `System`, for example from `residual_system`.
        x: start, any vector inside the bounds.
        lower: bounds, in the units of x, `-inf` where there is none.
        upper: bounds, in the units of x, `inf` where there is none.
        config: options; numbers may be traced.
        linear: returns the step of the damped linear system (a `StepSolver`); replaced where the
            matrix has a structure (`fitting/joint.py`).

    Example:
        >>> rosenbrock = residual_system(lambda x: jnp.array([10 * (x[1] - x[0] ** 2), 1 - x[0]]))
        >>> solve(rosenbrock, jnp.array([-1.2, 1.0])).x.round(3).tolist()
        [1.0, 1.0]
    """
    lower = jnp.full_like(x, -jnp.inf) if lower is None else lower
    upper = jnp.full_like(x, jnp.inf) if upper is None else upper

    def unfinished(state: State) -> Array:
        done = state.converged | state.stalled | (state.iterations >= config.max_iterations)
        return ~done

    def advance(state: State) -> State:
        return step(function, state, lower, upper, config, linear)

    def masked_advance(state: State, _: None) -> tuple[State, None]:
        new, more = jax.checkpoint(advance)(state), unfinished(state)
        return jax.tree.map(lambda moved, still: jnp.where(more, moved, still), new, state), None

    if config.unrolled:  # one more than the limit, as the first evaluates the start
        length = config.max_iterations + 1
        return jax.lax.scan(masked_advance, init(x, config), None, length=length)[0]
    return jax.lax.while_loop(unfinished, advance, init(x, config))
