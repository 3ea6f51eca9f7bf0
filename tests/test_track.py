"""A known face in a video: the smooth path, the tracked expression, the frames that are chosen."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.errors import InputError
from jaxface.fitting import FitConfig, TrackConfig, track
from jaxface.fitting.landmarks import yaw_of
from jaxface.fitting.track import _no_carry, _nothing, _smooth_block, between, smooth_path
from jaxface.morphable.model import landmark_points, shape
from jaxface.rendering.camera import look_at, project, rotation_matrix
from jaxface.video import key_frames

FRAMES, RATE, SIZE = 24, 24.0, 400
EXACT = FitConfig(photometric=False, landmark_sigma=0.01)


def test_the_path_is_the_dense_systems() -> None:
    rng = np.random.default_rng(0)
    count, size = 5, 3
    roots = rng.standard_normal((count, size, size))
    precision = np.einsum("npr,nqr->npq", roots, roots)
    found, variance = rng.standard_normal((count, size)), np.array([0.5, 1.0, 2.0])
    links = np.array([1.0, 0.5, 0.0, 4.0, 0.0])  # a cut after the third
    matrix, right = np.zeros((count * size,) * 2), np.zeros(count * size)
    for t in range(count):
        own = slice(t * size, (t + 1) * size)
        matrix[own, own] += precision[t]
        right[own] += precision[t] @ found[t]
    for t in range(count - 1):
        link = np.zeros((size, count * size))
        link[:, t * size : (t + 1) * size] = -np.eye(size)
        link[:, (t + 1) * size : (t + 2) * size] = np.eye(size)
        matrix += link.T @ np.diag(links[t] / variance) @ link
    expected = np.linalg.solve(matrix, right).reshape(count, size)
    path = smooth_path(*(jnp.asarray(a, jnp.float32) for a in (found, precision, links, variance)))
    np.testing.assert_allclose(path, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.thorough
def test_a_moving_face_is_followed_without_jitter(model) -> None:
    rng = np.random.default_rng(1)
    identity = jnp.asarray(0.8 * rng.standard_normal(len(model.identity_basis)), jnp.float32)
    jaw = model.expression_names.index("jawOpen")
    times = np.arange(FRAMES) / RATE
    opened = 0.3 * (1 - np.cos(2 * np.pi * times)) / 2
    points = []
    for time, value in zip(times, opened, strict=True):
        expression = jnp.zeros(len(model.expression_names)).at[jaw].set(float(value))
        camera = look_at(0.3 * np.sin(2 * np.pi * time), 0.0, SIZE, SIZE, distance=1.2)
        exact = project(landmark_points(model, shape(model, identity, expression)), camera)[0]
        points.append(np.asarray(exact) + 1.5 * rng.standard_normal(exact.shape))
    points = np.stack(points).astype(np.float32)
    points[10] = np.nan  # the face is lost for a frame

    def follow(**steps: float):
        return track(
            jnp.asarray(points),
            identity,
            model,
            seconds=times,
            focal=camera.focal,
            principal=camera.principal,
            config=TrackConfig(fit=EXACT, **steps),
        )

    loose = follow(turn=1e3, shift=1e3, size=1e3, distance=1e3, expression=1e3)
    found = follow()
    assert np.isnan(found.landmark_error[10]) and np.isfinite(found.landmark_error).sum() == 23
    seen = np.arange(FRAMES) != 10

    def off(path) -> float:
        return float(np.abs(np.asarray(path.expression)[seen, jaw] - opened[seen]).mean())

    def jitter(path) -> float:
        return float(np.abs(np.diff(np.asarray(path.camera.translation)[:, 2], 2)).mean())

    assert off(found) < 0.05 and off(found) < off(loose)
    assert jitter(found) < 0.3 * jitter(loose)
    assert abs(float(found.expression[10, jaw]) - opened[10]) < 0.06
    expected = 0.3 * np.sin(2 * np.pi * times)
    turned = jax.vmap(lambda turn: yaw_of(rotation_matrix(turn)))(found.camera.rotation)
    assert np.abs(np.asarray(turned) - expected).max() < 0.05


def test_blocks_make_the_path_of_the_whole() -> None:
    """Exact in what a block knows of the frames before it; of those after, one block is enough."""
    rng = np.random.default_rng(4)
    count, size, block = 96, 2, 32
    precision = np.broadcast_to(np.diag([4.0, 0.5]), (count, size, size))
    found = np.cumsum(rng.standard_normal((count, size)), 0)
    links = np.where(np.arange(count) % 40 == 39, 0.0, 2.0)
    links[-1] = 0.0
    rows = [jnp.asarray(a, jnp.float32) for a in (found, precision, links)]
    variance = jnp.array([1.0, 0.3])
    whole = smooth_path(*rows, variance)
    parts = [tuple(a[at : at + block] for a in rows) for at in range(0, count, block)]
    carry, paths = _no_carry(size), []
    for here, there in zip(parts, [*parts[1:], _nothing(parts[0])], strict=True):
        path, carry = _smooth_block(carry, here, there, variance)
        paths.append(path)
    np.testing.assert_allclose(np.concatenate(paths), whole, atol=2e-3)


def test_faceless_frames_lie_on_a_line_in_time_and_cuts_are_not_crossed() -> None:
    seconds = np.array([0.0, 0.1, 0.4, 0.5, 0.6, 0.7, 0.8])
    shots = np.array([0, 0, 0, 0, 1, 1, -1])
    path = np.array([[0.0], [5.0], [7.0]])
    rows = between(path, np.array([0, 3, 5]), seconds, shots)[:, 0]
    np.testing.assert_allclose(rows, [0.0, 1.0, 4.0, 5.0, 7.0, 7.0, np.nan], atol=1e-6)


def test_frames_from_all_sides_are_chosen() -> None:
    points = np.zeros((40, 478, 3), np.float32)
    points[:, 454, 0] = 100.0
    points[:, 1, 0] = 50 + 30 * np.sin(np.arange(40) / 39 * 2 * np.pi)
    points[5] = np.nan
    chosen = key_frames(points)
    nose = points[chosen, 1, 0]
    assert len(chosen) == 6 and chosen == sorted(chosen) and 5 not in chosen
    known = np.delete(points[:, 1, 0], 5)
    assert nose.min() == known.min() and nose.max() == known.max()
    with pytest.raises(InputError, match="No frame"):
        key_frames(np.full((3, 478, 3), np.nan))


def test_a_video_without_a_face_is_said(model) -> None:
    with pytest.raises(InputError, match="No frame"):
        track(
            jnp.full((3, 478, 3), jnp.nan),
            jnp.zeros(len(model.identity_basis)),
            model,
            seconds=np.arange(3) / 25,
            focal=500.0,
            principal=jnp.zeros(2),
        )
