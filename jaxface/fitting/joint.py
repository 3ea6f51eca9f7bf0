"""Several photos in one least-squares problem with shared and photo-specific (local) unknowns.

The unknowns are an array `[N, P]`, a row a photo, whose shared columns are equal in all rows. So
each photo's terms are those of a single fit, mapped over the rows, and a `System` holds every
photo's gradient and Gauss-Newton matrix. Only the linear system of a step couples the rows: its
normal equations are block-arrowhead, and local unknowns are eliminated by Schur complement (Triggs
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

from jaxface.fitting.solver import ACTIVE_SET_PASSES, StepSolver, System, bound_slack
from jaxface.fitting.unknowns import Frame, Layout


@dataclass(frozen=True)
class StackedTerms:
    """The terms of N photos (`LandmarkTerms`, `PixelTerms`, `Prior`), with the same methods.

    Attributes:
        terms: stacked along leading axes.
        axes: `in_axes` of `jax.vmap` for `terms`: 0 for stacked leaves, None for shared ones.
        round_axes: the same for the result of `at`.
    """

    terms: Any
    axes: Any = 0
    round_axes: Any = 0

    @property
    def layout(self) -> Layout:
        return self.terms.layout

    @property
    def image(self) -> Array:
        return self.terms.image

    def on(self, image: Float[Array, "N S S 4"]) -> StackedTerms:
        """Returns the pixel terms with other images."""
        return replace(self, terms=self.terms.on(image))

    def choose(self, x: Float[Array, "N P"], frame: Frame) -> Array:
        """Returns the choices of one round: correspondences, or unoccluded samples, at x."""
        return jax.vmap(lambda t, p, f: t.choose(p, f), (self.axes, 0, 0))(self.terms, x, frame)

    def at(self, x: Float[Array, "N P"], frame: Frame, choices: Array) -> StackedTerms:
        """Returns the terms of one round: its choices, and noise and viewing angles held at x."""
        at = jax.vmap(lambda t, p, f, c: t.at(p, f, c), (self.axes, 0, 0, 0), self.round_axes)
        return StackedTerms(at(self.terms, x, frame, choices), self.round_axes)

    def system(self, x: Float[Array, "N P"], *layout: Layout) -> System:
        """Returns the sum of all photos' costs, and each photo's gradient and matrix."""
        found = self._map(lambda t, p: t.system(p, *layout), x)
        return found.replace(cost=jnp.sum(found.cost))

    def lighting(self, x: Float[Array, "N P"], layout: Layout) -> Float[Array, "N 27"]:
        """Returns each photo's `PixelTerm.lighting`."""
        return self._map(lambda t, p: t.lighting(p, layout), x)

    def _map(self, function: Callable[..., Any], x: Float[Array, "N P"]) -> Any:
        """Returns function(terms, x) of every photo."""
        return jax.vmap(function, (self.axes, 0))(self.terms, x)


def joint_step(shared: np.ndarray) -> StepSolver:
    """Returns the `StepSolver` of rows of unknowns of which some columns are shared.

    Damped Gauss-Newton step with box constraints, as `solve_step`: block-arrowhead normal equations
    from which local unknowns are eliminated by Schur complement. The active set only grows during
    its passes. The step is 0 unless all of it is finite.

    Args:
        shared: `[P]`, whether a column is the same unknown in all rows.
    """
    shared_ids, local_ids = np.nonzero(shared)[0], np.nonzero(~shared)[0]

    def sum_shared(rows: Float[Array, "N P"]) -> Float[Array, "N P"]:
        """Returns the rows with the shared columns summed over them."""
        return jnp.where(shared, jnp.sum(rows, 0), rows)

    def step(
        system: System,
        x: Float[Array, "N P"],
        damping: Float[Array, ""],
        lower: Float[Array, " P"],
        upper: Float[Array, " P"],
    ) -> Float[Array, "N P"]:
        hessian_diagonal = sum_shared(jnp.diagonal(system.normal, axis1=1, axis2=2))
        scale = jax.lax.rsqrt(jnp.maximum(hessian_diagonal, 1e-12))
        matrix = system.normal * scale[:, :, None] * scale[:, None, :]
        gradient = sum_shared(system.gradient * scale)
        low, high = bound_slack(lower, x, scale), bound_slack(upper, x, scale)
        active_set = ((low >= 0) & (gradient > 0)) | ((high <= 0) & (gradient < 0))

        def active_set_pass(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            active_set, step = carry
            free, fixed = ~active_set, jnp.where(active_set, step, 0.0)
            fixed_product = sum_shared(jnp.einsum("npq,nq->np", matrix, fixed))
            rhs = jnp.where(free, -gradient - fixed_product, fixed)
            lhs = jnp.where(free[:, :, None] & free[:, None, :], matrix, 0.0)
            ridge = jnp.where(free, damping, 1.0)
            step = solve_arrowhead(lhs, ridge, rhs, shared_ids, local_ids)
            return active_set | (step <= low) | (step >= high), jnp.clip(step, low, high)

        start = active_set, jnp.zeros_like(x)
        _, step = jax.lax.fori_loop(0, ACTIVE_SET_PASSES, active_set_pass, start)
        return jnp.where(jnp.all(jnp.isfinite(step)), step * scale, 0.0)

    return step


def solve_arrowhead(
    lhs: Float[Array, "N P P"],
    ridge: Float[Array, "N P"],
    rhs: Float[Array, "N P"],
    shared_ids: np.ndarray,
    local_ids: np.ndarray,
) -> Float[Array, "N P"]:
    """Returns the solution of the arrowhead system whose matrix is the sum of all photos' `lhs`,
    plus `ridge` on the diagonal; `rhs` is already summed where columns are shared."""
    cross = lhs[:, local_ids][:, :, shared_ids]
    block = lhs[:, local_ids][:, :, local_ids] + jax.vmap(jnp.diag)(ridge[:, local_ids])
    factor = jnp.linalg.cholesky(block)
    stacked = jnp.concatenate([cross, rhs[:, local_ids, None]], -1)
    solved = jax.vmap(lambda f, b: jax.scipy.linalg.cho_solve((f, True), b))(factor, stacked)
    solved_cross, solved_rhs = solved[..., :-1], solved[..., -1]
    schur = jnp.sum(lhs[:, shared_ids][:, :, shared_ids], 0) + jnp.diag(ridge[0, shared_ids])
    schur = schur - jnp.einsum("nqs,nqt->st", cross, solved_cross)
    schur_rhs = rhs[0, shared_ids] - jnp.einsum("nqs,nq->s", cross, solved_rhs)
    shared_step = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(schur), True), schur_rhs)
    step = jnp.zeros_like(rhs).at[:, shared_ids].set(shared_step)
    return step.at[:, local_ids].set(solved_rhs - solved_cross @ shared_step)
