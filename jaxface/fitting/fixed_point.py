"""Fixed points by Anderson acceleration.

To solve s(x) = 0 for a step s that already contracts, x <- x + s(x), the last steps are combined:
with the differences dX and dS of the last iterates and their steps, as columns,

    c = argmin |s(x) - dS c|,    x <- x + s(x) - (dX + dS) c.

For a linear s it is GMRES. Sources: Anderson, *Iterative Procedures for Nonlinear Integral
Equations* (1965); Walker and Ni, *Anderson Acceleration for Fixed-Point Iterations* (2011).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_MEMORY = 5  # differences; each iteration adds one
_MAX_ITERATIONS = 20  # faces take about a dozen in float32


def fixed_point(
    step: Callable[[Array], Array],
    x: Float[Array, "*N P"],
    scale: Float[Array, "*N P"],
    *,
    lower: Float[Array, " P"],
    upper: Float[Array, " P"],
) -> Float[Array, "*N P"]:
    """Returns x with step(x) = 0, or the given x if the last step is not shorter than the first.

    It ends when the root mean square of a step, in units of `scale`, is at most the square root of
    the floating-point precision.

    Args:
        step: such that x + step(x) is closer to the solution than x.
        x: the start.
        scale: of each unknown.
        lower: bounds of x.
        upper: bounds of x.

    Example:
        >>> one, free = jnp.ones(1), jnp.full(1, jnp.inf)
        >>> found = fixed_point(lambda x: jnp.cos(x) - x, one, one, lower=-free, upper=free)
        >>> round(found.item(), 3)
        0.739
    """
    tolerance = float(jnp.finfo(x.dtype).eps) ** 0.5
    memory = jnp.zeros((_MEMORY, x.size), x.dtype)

    def evaluate(x: Array) -> tuple[Array, Array]:
        """Returns the step in units of scale, flat, and its root mean square."""
        found = (step(x) / scale).reshape(-1)
        return found, jnp.sqrt(jnp.mean(found**2))

    def unfinished(carry: tuple) -> Array:
        count, _, _, length, _, _ = carry
        return (count < _MAX_ITERATIONS) & (length > tolerance)

    def advance(carry: tuple) -> tuple:
        count, x, found, _, moves, changes = carry
        gram = changes @ changes.T
        ridge = jnp.finfo(x.dtype).eps * jnp.trace(gram) + jnp.finfo(x.dtype).tiny
        weights = jnp.linalg.solve(gram + ridge * jnp.eye(_MEMORY), changes @ found)
        move = (found - weights @ (moves + changes)).reshape(x.shape) * scale
        new = jnp.clip(x + move, lower, upper)
        there, length = evaluate(new)
        place = count % _MEMORY
        moves = moves.at[place].set(((new - x) / scale).reshape(-1))
        return count + 1, new, there, length, moves, changes.at[place].set(there - found)

    found, first = evaluate(x)
    start = jnp.zeros((), jnp.int32), x, found, first, memory, memory
    _, end, _, last, _, _ = jax.lax.while_loop(unfinished, advance, start)
    return jnp.where(last < first, end, x)
