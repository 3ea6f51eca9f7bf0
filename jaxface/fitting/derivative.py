"""The fit's derivative: implicit differentiation of its last round's optimum."""

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
    """All that the last round minimises: landmarks, pixels if there are any, and prior."""

    points: LandmarkTerms
    pixels: PixelTerms | None
    prior: Prior
    frame: Frame

    def cost(self, x: Float[Array, " P"], start: Float[Array, " P"]) -> Float[Array, ""]:
        """Returns the objective at x, with correspondences, noise and visibility at a start."""
        layout = self.points.layout
        total = self.prior.system(x).cost
        total += self.points.at(start, self.frame).system(x, layout).cost
        if self.pixels is not None:
            total += self.pixels.at(start, self.frame).system(x, layout).cost
        return total


def differentiable(x: Float[Array, " P"], objective: Objective) -> Float[Array, " P"]:
    """Returns the optimum with its derivative by everything in the objective.

    The optimum is taken as the fixed point of the rounds, each of which starts where the one before
    it ended: what a round holds fixed but changes smoothly (the noise at a yaw, the size of a unit)
    takes part. The Hessian is exact; unknowns that a bound holds do not move.

    Args:
        x: the solver's result.
        objective: of the last round.
    """
    return implicit(_slope, _solve, jax.lax.stop_gradient(x), objective)


def _slope(x: Array, objective: Objective) -> Array:
    return jax.grad(objective.cost)(x, x)


def _solve(right: Array, x: Array, objective: Objective) -> Array:
    lower, upper = bounds(objective.points.layout)
    free = (x > lower) & (x < upper)
    # The slope changes through x and through the start, which is x.
    matrix = jax.jacfwd(_slope)(x, objective)
    scale = jax.lax.rsqrt(jnp.maximum(jnp.abs(jnp.diagonal(matrix)), 1e-12))
    matrix = jnp.where(free[:, None] & free, matrix * scale[:, None] * scale, jnp.eye(len(x)))
    step = scale * jnp.linalg.solve(matrix, jnp.where(free, right * scale, 0.0))
    return jnp.where(free & jnp.all(jnp.isfinite(matrix)), step, 0.0)
