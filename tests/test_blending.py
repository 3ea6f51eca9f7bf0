"""Simplex projection and the blend against SciPy, finite differences and known answers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from jaxface.blending import blend, duality_gap, project_simplex, solve_simplex, weighted_sum
from jaxface.types import Correlations


def reference(quadratic: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Returns SciPy's minimiser of w.Qw/2 - l.w over the simplex."""
    count = len(linear)
    result = minimize(
        lambda w: 0.5 * w @ quadratic @ w - linear @ w,
        np.full(count, 1 / count),
        jac=lambda w: quadratic @ w - linear,
        method="SLSQP",
        bounds=[(0, None)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(count)},
        options={"ftol": 1e-12, "maxiter": 500},  # at 1e-14 rounding fails its line search
    )
    assert result.success
    return result.x


def problem(seed: int, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((count, count + 2))
    return factor @ factor.T / count, rng.standard_normal(count)


@pytest.mark.parametrize("seed", range(5))
def test_projection_equals_scipy(seed):
    point = 2 * np.random.default_rng(seed).standard_normal(10)
    found = project_simplex(jnp.asarray(point, jnp.float32))
    np.testing.assert_allclose(found, reference(np.eye(10), point), atol=1e-5)
    np.testing.assert_allclose(found.sum(), 1.0, rtol=1e-6)


def test_projection_keeps_the_simplex_and_survives_ties():
    inside = jnp.asarray([0.2, 0.3, 0.5])
    np.testing.assert_allclose(project_simplex(inside), inside, atol=1e-7)
    np.testing.assert_allclose(project_simplex(jnp.full(4, 7.0)), 0.25, atol=1e-6)
    assert project_simplex(jnp.asarray([-5.0])).tolist() == [1.0]


def test_projection_gradient():
    with jax.enable_x64(True):
        point = jnp.asarray([0.9, 0.4, -1.0, 0.3])
        found = jax.jacobian(project_simplex)(point)
        active = jnp.asarray([1.0, 1.0, 0.0, 1.0])
        expected = jnp.diag(active) - jnp.outer(active, active) / 3
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_solver_equals_scipy_and_certifies(seed):
    quadratic, linear = problem(seed)
    arguments = jnp.asarray(quadratic, jnp.float32), jnp.asarray(linear, jnp.float32)
    found, iterations = solve_simplex(*arguments)
    expected = reference(quadratic, linear)
    np.testing.assert_allclose(found, expected, atol=2e-3)

    def value(w):
        return 0.5 * w @ quadratic @ w - linear @ w

    gap = float(duality_gap(found, *arguments))
    assert -1e-6 < value(np.asarray(found)) - value(expected) < gap + 1e-6
    assert gap < 1e-4
    assert int(iterations) < 500


def test_solver_under_vmap_and_jit():
    problems = [problem(seed) for seed in range(3)]
    quadratic, linear = (jnp.asarray(np.stack(x), jnp.float32) for x in zip(*problems, strict=True))
    together, _ = jax.jit(jax.vmap(solve_simplex))(quadratic, linear)
    for row in range(3):
        alone, _ = solve_simplex(quadratic[row], linear[row])
        np.testing.assert_allclose(together[row], alone, atol=1e-5)


def test_projection_and_solution_have_finite_gradients_at_corners_and_ties():
    corner = jnp.asarray([1.0, 0.0, 0.0])
    for mode in (jax.jacfwd, jax.jacrev):
        np.testing.assert_array_equal(mode(project_simplex)(corner), jnp.zeros((3, 3)))
        np.testing.assert_allclose(mode(project_simplex)(jnp.zeros(2)), [[0.5, -0.5], [-0.5, 0.5]])

    def first(quadratic, linear):
        return solve_simplex(quadratic, linear)[0][0]

    twins = jnp.ones((3, 3))  # every point of the simplex is a minimum
    quadratic = jnp.stack([twins, jnp.eye(3), 0 * twins])
    linear = jnp.stack([0 * corner, 5 * corner, 0 * corner])
    slopes = jax.jit(jax.vmap(jax.grad(first, (0, 1))))(quadratic, linear)
    assert all(np.isfinite(leaf).all() for leaf in slopes)
    assert not slopes[1][1].any()  # at the corner nothing moves


def database(count: int = 6) -> Correlations:
    """Returns two layers, three cells of random Gram matrices for each face."""
    values = []
    for layer, channels in enumerate((4, 6)):
        features = np.random.default_rng(layer).standard_normal((count, 3, 20, channels))
        values.append(jnp.asarray(np.einsum("krpc,krpd->krcd", features, features), jnp.float32))
    support = (jnp.ones((count, 3)), jnp.ones((count, 3)))
    return Correlations(tuple(values), support, ("relu1_1", "relu2_1"))


def test_blend_recovers_known_weights():
    faces = database()
    truth = jnp.asarray([0.5, 0.0, 0.3, 0.0, 0.2, 0.0])
    result = jax.jit(blend)(weighted_sum(truth, faces), faces, faces)
    np.testing.assert_allclose(result.weights, truth, atol=0.02)
    assert float(result.duality_gap) < 1e-5
    exact = blend(weighted_sum(truth, faces), faces, faces, ridge=0.0)
    np.testing.assert_allclose(exact.weights, truth, atol=2e-3)
    wanted = weighted_sum(truth, faces)
    for found, goal in zip(exact.correlations.values, wanted.values, strict=True):
        np.testing.assert_allclose(found, goal, atol=0.01 * float(jnp.abs(goal).max()))


def test_unseen_cells_do_not_decide():
    faces = database()
    photo = jax.tree.map(lambda x: x[2], faces)
    spoiled = photo.replace(
        values=tuple(v.at[1].multiply(5.0) for v in photo.values),
        support=tuple(s.at[1].set(0.0) for s in photo.support),
    )
    assert int(jnp.argmax(blend(spoiled, faces, faces).weights)) == 2
    assert float(blend(spoiled, faces, faces, ridge=0.0).weights[2]) > 0.999


def test_cells_count_by_their_weights():
    faces = database()
    photo = jax.tree.map(lambda x: x[2].at[1].set(x[4][1]), faces)  # a cell of another face

    def weights(cell: float) -> jax.Array:
        cells = tuple(jnp.array([7.0, 7.0 * cell, 7.0]) for _ in photo.values)
        return blend(photo, faces, faces, ridge=0.0, cell_weights=cells).weights

    plain = blend(photo, faces, faces, ridge=0.0).weights
    np.testing.assert_allclose(weights(1.0), plain, atol=1e-4)
    assert 0.1 < float(plain[4]) < 0.9
    assert float(weights(0.0)[2]) > 0.999
    slope = jax.grad(lambda cell: weights(cell)[4])(1.0)
    step = 0.05
    difference = (weights(1.0 + step)[4] - weights(1.0 - step)[4]) / (2 * step)
    np.testing.assert_allclose(slope, difference, rtol=0.05)
