"""The fit's derivative: implicit differentiation at its last round's optimum."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxface.fitting.landmarks import LandmarkTerms
from jaxface.fitting.photometric import PixelTerms
from jaxface.fitting.unknowns import Frame, Prior, bounds
from jaxface.implicit import implicit


@struct.dataclass
class Objective:
    """What the last round minimises: landmark terms, pixel terms or None, and prior."""

    points: LandmarkTerms
    pixels: PixelTerms | None
    prior: Prior
    frame: Frame

    def cost(self, x: Float[Array, " P"], start: Float[Array, " P"]) -> Float[Array, ""]:
        """Returns the objective at x, correspondences, noise and visibility held at a start."""
        layout = self.points.layout
        total = self.prior.system(x).cost
        total += self.points.at(start, self.frame).system(x, layout).cost
        if self.pixels is not None:
            total += self.pixels.at(start, self.frame).system(x, layout).cost
        return total


def attach_fit_derivative(x: Float[Array, " P"], objective: Objective) -> Float[Array, " P"]:
    """Returns x unchanged, with its implicit derivative with respect to all of the objective.

    x is taken as the fixed point of the rounds, F(x) = grad cost(x, start = x) = 0, so that what a
    round holds but depends smoothly on its start (the noise at a yaw, the size of a unit) is
    differentiated too. The Jacobian of F is exact; unknowns at a bound have derivative 0.

    Args:
        x: the solver's result, `[P]`.
        objective: of the last round.
    """
    return implicit(_gradient, _solve_hessian, jax.lax.stop_gradient(x), objective)


def _gradient(x: Array, objective: Objective) -> Array:
    """Returns F(x): the objective's gradient at x, in a round that starts at x."""
    return jax.grad(objective.cost)(x, x)


def _solve_hessian(rhs: Array, x: Array, objective: Objective) -> Array:
    """Returns y with (dF/dx) y = rhs for the free unknowns, 0 for those at a bound."""
    lower, upper = bounds(objective.points.layout)
    free = (x > lower) & (x < upper)
    # dF/dx through both arguments of the cost: x and the round's start.
    hessian = jax.jacfwd(_gradient)(x, objective)
    scale = jax.lax.rsqrt(jnp.maximum(jnp.abs(jnp.diagonal(hessian)), 1e-12))
    hessian = jnp.where(free[:, None] & free, hessian * scale[:, None] * scale, jnp.eye(len(x)))
    step = scale * jnp.linalg.solve(hessian, jnp.where(free, rhs * scale, 0.0))
    return jnp.where(free & jnp.all(jnp.isfinite(hessian)), step, 0.0)
