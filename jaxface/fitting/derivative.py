"""The end of a fit: the optimum that the last round leads to, and its implicit derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jaxface.fitting.fixed_point import fixed_point
from jaxface.fitting.landmarks import LandmarkTerms
from jaxface.fitting.photometric import PixelTerms
from jaxface.fitting.solver import State, StepSolver, System, solve_step
from jaxface.fitting.unknowns import Frame, Layout, Prior, bounds
from jaxface.implicit import implicit

_KRYLOV = 20  # dimension of GMRES; a dozen reach float32's precision
_RESTARTS = 5  # of GMRES, for systems that are harder than those of faces

Choices = tuple[Int[Array, "*N S"], Bool[Array, "*N samples"] | None]
"""Contour correspondences and, if pixels are fitted, which surface samples are unoccluded."""
GradientFunction = Callable[[Array, Any], Array]


@struct.dataclass
class Objective:
    """What the last round minimises: landmark terms, pixel terms or None, and prior."""

    points: LandmarkTerms
    pixels: PixelTerms | None
    prior: Prior
    frame: Frame

    def cost(
        self, x: Float[Array, " P"], start: Float[Array, " P"], choices: Choices
    ) -> Float[Array, ""]:
        """Returns the objective at x; noise and viewing angles are held at a start."""
        layout, (contour, seen) = self.points.layout, choices
        total = self.prior.system(x).cost
        total += self.points.at(start, self.frame, contour).system(x, layout).cost
        if self.pixels is not None and seen is not None:
            total += self.pixels.at(start, self.frame, seen).system(x, layout).cost
        return total


def round_gradient(x: Float[Array, " P"], problem: tuple[Objective, Choices]) -> Float[Array, " P"]:
    """Returns F(x) = grad cost(x, start = x): the objective's gradient in a round that starts at x.

    It is 0 where rounds with these choices no longer change anything.
    """
    objective, choices = problem
    return jax.grad(objective.cost)(x, x, choices)


def optimum(
    state: State,
    problem: Any,
    layout: Layout,
    *,
    gradient: GradientFunction = round_gradient,
    step_solver: StepSolver = solve_step,
    average_shared: Callable[[Array], Array] = lambda rows: rows,
) -> Float[Array, "*N P"]:
    """Returns x with F(x) = 0, which rounds without end would reach, and its implicit derivative.

    Newton's steps with the solver's last Gauss-Newton matrix in place of the Jacobian (the chord
    method), accelerated: each costs a gradient, a fifth of a step of the solver. Where that does
    not lead closer to F(x) = 0, x stays as it is. The derivative is that of F(x, problem) = 0 with
    the exact Jacobian, by GMRES with the same matrix as preconditioner; unknowns at a bound have
    derivative 0, and so has what the problem's choices depend on.

    Args:
        state: the solver's last state, its x `[P]` or, of N photos, `[N, P]`.
        problem: objective and choices of the last round; of N photos, stacked.
        layout: of the unknowns.
        gradient: maps x and the problem to F; of N photos, each photo's part.
        step_solver: `solve_step`, or `joint_step` for several photos.
        average_shared: replaces shared unknowns by their mean over the photos; identity for one.
    """
    lower, upper = bounds(layout)
    fixed, state = jax.lax.stop_gradient((problem, state))
    normal, damping = state.system.normal, state.damping

    def newton(x: Array) -> Array:
        local = System(jnp.zeros_like(state.system.cost), gradient(x, fixed), normal)
        return step_solver(local, x, damping, lower, upper)

    scale = average_shared(_scale(normal))
    x = fixed_point(newton, state.x, scale, lower=lower, upper=upper)

    def optimality(x: Array, parameters: tuple) -> Array:
        return gradient(x, parameters[0])

    def solve(rhs: Array, x: Array, parameters: tuple) -> Array:
        """Returns y with (dF/dx) y = rhs for the free unknowns, 0 for those at a bound."""
        problem, normal, damping = parameters
        lower, upper = bounds(layout)
        free = (x > lower) & (x < upper)
        scale = average_shared(_scale(normal))
        _, jacobian = jax.linearize(lambda x: gradient(x, problem), x)
        matrix = jnp.where(free[..., :, None] & free[..., None, :], normal, jnp.eye(x.shape[-1]))
        unbounded = jnp.full_like(lower, jnp.inf)

        def restrict(y: Array) -> Array:
            return jnp.where(free, average_shared(y), 0.0)

        def operator(y: Array) -> Array:
            return y + restrict(scale * jacobian(scale * restrict(y)) - y)

        def precondition(r: Array) -> Array:
            local = System(jnp.zeros((), r.dtype), -restrict(r) / scale, matrix)
            step = step_solver(local, jnp.zeros_like(r), damping, -unbounded, unbounded)
            return restrict(step / scale) + r - restrict(r)

        def krylov(operator: Callable[[Array], Array], rhs: Array) -> Array:
            found, _ = jax.scipy.sparse.linalg.gmres(
                operator,
                rhs,
                M=precondition,
                tol=float(jnp.finfo(rhs.dtype).eps) ** 0.5,
                restart=_KRYLOV,
                maxiter=_RESTARTS,
                solve_method="incremental",
            )
            return jnp.where(jnp.all(jnp.isfinite(found)), found, 0.0)

        rhs = restrict(scale * rhs)
        return scale * jax.lax.custom_linear_solve(operator, rhs, krylov, krylov)

    return implicit(optimality, solve, x, (problem, normal, damping))


def _scale(normal: Float[Array, "*N P P"]) -> Float[Array, "*N P"]:
    """Returns about the standard deviation of each unknown."""
    diagonal = jnp.diagonal(normal, axis1=-2, axis2=-1)
    return jax.lax.rsqrt(jnp.maximum(diagonal, 1e-12))
