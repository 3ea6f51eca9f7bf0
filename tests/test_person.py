"""Several photos of one person: the joint linear system, the joint fit, the merged texture."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.errors import InputError
from jaxface.fitting import FitConfig, fit, fit_faces
from jaxface.fitting.joint import joint_step
from jaxface.fitting.solver import System, solve_step
from jaxface.morphable.model import landmark_points, shape
from jaxface.rendering.camera import look_at, project
from jaxface.types import UnwrapResult
from jaxface.unwrapping import merge_unwrapped

LANDMARKS_ONLY = FitConfig(photometric=False, landmark_sigma=0.01)
SIZE = 128


@pytest.mark.parametrize("held", [False, True])
def test_the_arrow_is_solved_as_the_dense_system(held: bool):
    """Three photos, two shared unknowns and four own: 14 unknowns when written out."""
    rng = np.random.default_rng(0)
    shared = np.array([False, True, False, False, True, False])
    roots = rng.standard_normal((3, 9, 6))
    normal = np.einsum("nrp,nrq->npq", roots, roots)
    gradient = rng.standard_normal((3, 6))
    where = np.array([[0 if column == 1 else 1 if column == 4 else -1 for column in range(6)]] * 3)
    where[where < 0] = np.arange(2, 14)
    matrix, slope = np.zeros((14, 14)), np.zeros(14)
    for photo in range(3):
        matrix[np.ix_(where[photo], where[photo])] += normal[photo]
        slope[where[photo]] += gradient[photo]
    upper = np.full(6, np.inf)
    if held:
        upper[[1, 2]] = 0.05
    bound = np.full(14, np.inf)
    bound[where] = upper
    floats = [jnp.asarray(a, jnp.float32) for a in (gradient, normal, slope, matrix, upper, bound)]
    zero, none = jnp.zeros(()), jnp.full(14, -jnp.inf)
    damping = jnp.asarray(0.1)
    rows = joint_step(shared)(
        System(zero, floats[0], floats[1]), jnp.zeros((3, 6)), damping, none[:6], floats[4]
    )
    dense = solve_step(System(zero, floats[2], floats[3]), jnp.zeros(14), damping, none, floats[5])
    np.testing.assert_allclose(rows, np.asarray(dense)[where], rtol=2e-4, atol=2e-5)


@pytest.fixture(scope="module")
def views(model):
    """Identity, and the landmarks of the same face from both sides, each with some noise."""
    rng = np.random.default_rng(3)
    identity = jnp.asarray(0.8 * rng.standard_normal(len(model.identity_basis)), jnp.float32)
    vertices = shape(model, identity, jnp.zeros(len(model.expression_basis)))
    points = []
    for yaw in (-0.5, 0.5):
        camera = look_at(yaw, 0.1, 400, 400, distance=1.1)
        exact = project(landmark_points(model, vertices), camera)[0]
        points.append(exact + jnp.asarray(0.5 * rng.standard_normal(exact.shape), jnp.float32))
    return vertices, points, float(camera.focal)


def off(model, identity, vertices) -> float:
    """Returns the mean error of the face's shape, millimetres."""
    found = shape(model, identity, jnp.zeros(len(model.expression_basis)))
    face = np.asarray(model.mean)[:, 2] > -0.05
    away = np.asarray(found - vertices)[face]
    return 1e3 * float(np.linalg.norm(away - away.mean(0), axis=1).mean())


def test_two_views_have_one_identity_which_is_nearer_the_truth(model, views):
    vertices, points, focal = views
    photo = jnp.zeros((400, 400, 3))
    both = fit_faces([photo] * 2, points, model, focals=[focal] * 2, config=LANDMARKS_ONLY)
    first, second = (found.parameters for found in both)
    np.testing.assert_array_equal(first.identity, second.identity)
    assert np.abs(first.camera.rotation - second.camera.rotation).max() > 0.3
    assert all(bool(found.converged) and float(found.landmark_error) < 0.015 for found in both)
    alone = [fit(photo, view, model, focal=focal, config=LANDMARKS_ONLY) for view in points]
    errors = [off(model, found.parameters.identity, vertices) for found in alone]
    assert off(model, first.identity, vertices) < 0.9 * min(errors)


def test_one_photo_is_fitted_as_ever(model, views):
    _, points, focal = views
    photo = jnp.zeros((400, 400, 3))
    (found,) = fit_faces([photo], points[:1], model, focals=[focal], config=LANDMARKS_ONLY)
    expected = fit(photo, points[0], model, focal=focal, config=LANDMARKS_ONLY)
    # Two programs that stop at the same change of the loss: on some machines 23 micrometres apart.
    np.testing.assert_allclose(found.vertices, expected.vertices, atol=5e-5)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=1e-2)


def test_a_person_needs_photos(model):
    with pytest.raises(InputError, match="no photo"):
        fit_faces([], [], model)
    with pytest.raises(InputError, match="landmarks"):
        fit_faces([jnp.zeros((8, 8, 3))], [jnp.zeros((5, 2))], model)


@pytest.fixture(scope="module")
def halves() -> tuple[jax.Array, UnwrapResult]:
    """A texture, and two photos of it: the left 60 % under light of 1.2, the right 60 % of 0.8 at
    half the resolution."""
    rng = np.random.default_rng(1)
    grain = rng.standard_normal((SIZE, SIZE, 1)) * 0.05
    truth = jnp.asarray(0.35 * np.exp(grain) * np.ones(3), jnp.float32)
    column = np.broadcast_to(np.arange(SIZE) / SIZE, (SIZE, SIZE))
    masks = jnp.asarray(np.stack([column < 0.6, column > 0.4]), jnp.float32)
    gain = jnp.array([1.2, 0.8])[:, None, None, None]
    shading = jnp.ones((2, SIZE, SIZE, 3))
    seen = UnwrapResult(
        radiance=gain * truth * masks[..., None],
        shading=shading,
        partial=gain * truth * masks[..., None],
        visibility=masks,
        skin_mask=masks,
        pixels_per_texel=jnp.stack([jnp.full((SIZE, SIZE), 1.0), jnp.full((SIZE, SIZE), 0.5)]),
        low_frequency=gain * 0.35 * shading,
    )
    return truth, seen


def test_halves_under_different_light_make_one_texture(halves):
    truth, seen = halves
    merged, light = merge_unwrapped(seen)
    assert float(merged.skin_mask.min()) == 1.0
    ratio = np.asarray(merged.partial / truth)
    assert np.abs(ratio / ratio.mean() - 1).max() < 0.02  # 0.4 between the halves
    np.testing.assert_allclose(light[0] / light[1], 1.5, rtol=0.02)
    assert np.abs(np.asarray(merged.low_frequency) / 0.35 / ratio.mean() - 1).max() < 0.02


def test_detail_is_the_sharper_photos(halves):
    _, seen = halves
    rng = np.random.default_rng(2)
    noise = jnp.asarray(np.exp(0.3 * rng.standard_normal((SIZE, SIZE, 1))), jnp.float32)
    worse = seen.replace(partial=seen.partial.at[1].multiply(noise))
    merged, expected = (np.asarray(merge_unwrapped(s)[0].partial) for s in (worse, seen))
    both = slice(int(0.45 * SIZE), int(0.55 * SIZE))  # seen by both
    assert np.abs(np.log(merged / expected))[:, both].mean() < 0.03


def test_nothing_seen_stays_finite(halves):
    _, seen = halves
    blind = seen.replace(skin_mask=jnp.zeros_like(seen.skin_mask))
    merged, light = merge_unwrapped(blind)
    for leaf in jax.tree.leaves((merged, light)):
        assert np.isfinite(leaf).all()
    assert float(jnp.abs(merged.partial).max()) == 0.0
