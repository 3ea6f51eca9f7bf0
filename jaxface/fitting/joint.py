"""Several photos in one least-squares problem: some unknowns are shared, the others each photo's.

The unknowns are an array `[N, P]`, a row a photo, whose shared columns are equal in all rows. So
each photo's terms are those of a single fit, mapped over the rows, and a `System` holds every
photo's own gradient and matrix. Only the linear system of a step knows what is shared: it has the
form of an arrow, and is solved by eliminating each photo's own unknowns (Schur complement; Triggs
et al., *Bundle Adjustment*, 2000, section 6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.fitting.solver import ACTIVE_SET_PASSES, Linear, System, bound_slack
from jaxface.fitting.unknowns import Frame, Layout


@dataclass(frozen=True)
class Each:
    """The terms of every photo, with the methods of one photo's.

    Attributes:
        terms: stacked.
        axes: of `jax.vmap`: which parts of the terms are stacked, and which all photos share.
        round_axes: the same for what `at` returns.
    """

    terms: Any
    axes: Any = 0
    round_axes: Any = 0

    @property
    def layout(self) -> Layout:
        return self.terms.layout

    @property
    def picture(self) -> Array:
        return self.terms.picture

    def on(self, picture: Float[Array, "N S S 4"]) -> Each:
        """Returns the terms with other pictures."""
        return replace(self, terms=self.terms.on(picture))

    def at(self, x: Float[Array, "N P"], frame: Frame) -> Each:
        """Returns the terms of one round."""
        at = jax.vmap(lambda t, p, f: t.at(p, f), (self.axes, 0, 0), self.round_axes)
        return Each(at(self.terms, x, frame), self.round_axes)

    def system(self, x: Float[Array, "N P"], *layout: Layout) -> System:
        """Returns the sum of all photos' values, and each photo's gradient and matrix."""
        found = self._map(lambda t, p: t.system(p, *layout), x)
        return found.replace(cost=jnp.sum(found.cost))

    def lighting(self, x: Float[Array, "N P"], layout: Layout) -> Float[Array, "N 27"]:
        return self._map(lambda t, p: t.lighting(p, layout), x)

    def error(self, x: Float[Array, "N P"], layout: Layout) -> Float[Array, " N"]:
        return self._map(lambda t, p: t.error(p, layout), x)

    def _map(self, function: Callable[..., Any], x: Float[Array, "N P"]) -> Any:
        return jax.vmap(function, (self.axes, 0))(self.terms, x)


def joint_step(shared: np.ndarray) -> Linear:
    """Returns `solve_step` for rows of unknowns of which some columns are shared.

    Args:
        shared: of each column, whether it is the same unknown in all rows.
    """
    common, own = np.nonzero(shared)[0], np.nonzero(~shared)[0]

    def together(rows: Float[Array, "N P"]) -> Float[Array, "N P"]:
        """Returns the rows with the shared columns summed over them."""
        return jnp.where(shared, jnp.sum(rows, 0), rows)

    def step(
        system: System,
        x: Float[Array, "N P"],
        damping: Float[Array, ""],
        lower: Float[Array, " P"],
        upper: Float[Array, " P"],
    ) -> Float[Array, "N P"]:
        size = together(jnp.diagonal(system.normal, axis1=1, axis2=2))
        scale = jax.lax.rsqrt(jnp.maximum(size, 1e-12))
        matrix = system.normal * scale[:, :, None] * scale[:, None, :]
        gradient = together(system.gradient * scale)
        low, high = bound_slack(lower, x, scale), bound_slack(upper, x, scale)
        held = ((low >= 0) & (gradient > 0)) | ((high <= 0) & (gradient < 0))

        def refine(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            held, step = carry
            free, fixed = ~held, jnp.where(held, step, 0.0)
            pushed = together(jnp.einsum("npq,nq->np", matrix, fixed))
            right = jnp.where(free, -gradient - pushed, fixed)
            left = jnp.where(free[:, :, None] & free[:, None, :], matrix, 0.0)
            ridge = jnp.where(free, damping, 1.0)
            step = _arrow(left, ridge, right, common, own)
            return held | (step <= low) | (step >= high), jnp.clip(step, low, high)

        start = held, jnp.zeros_like(x)
        _, step = jax.lax.fori_loop(0, ACTIVE_SET_PASSES, refine, start)
        return jnp.where(jnp.all(jnp.isfinite(step)), step * scale, 0.0)

    return step


def _arrow(
    left: Float[Array, "N P P"],
    ridge: Float[Array, "N P"],
    right: Float[Array, "N P"],
    common: np.ndarray,
    own: np.ndarray,
) -> Float[Array, "N P"]:
    """Returns the solution of the arrow system: `left` of all photos added up, plus `ridge`."""
    cross = left[:, own][:, :, common]
    factor = jnp.linalg.cholesky(left[:, own][:, :, own] + jax.vmap(jnp.diag)(ridge[:, own]))
    stacked = jnp.concatenate([cross, right[:, own, None]], -1)
    solved = jax.vmap(lambda f, b: jax.scipy.linalg.cho_solve((f, True), b))(factor, stacked)
    across, alone = solved[..., :-1], solved[..., -1]
    whole = jnp.sum(left[:, common][:, :, common], 0) + jnp.diag(ridge[0, common])
    whole = whole - jnp.einsum("nqs,nqt->st", cross, across)
    rest = right[0, common] - jnp.einsum("nqs,nq->s", cross, alone)
    both = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(whole), True), rest)
    step = jnp.zeros_like(right).at[:, common].set(both)
    return step.at[:, own].set(alone - across @ both)
