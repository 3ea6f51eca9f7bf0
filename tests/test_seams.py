"""Seams: charts of different tones meet without a step, and keep their detail."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.morphable.files import load_model
from jaxface.morphable.texels import texel_map
from jaxface.synthesis import level_seams, seam_pairs
from jaxface.unwrapping.membrane import gather_texels

SIZE = 256


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def texels(model):
    return texel_map(model, SIZE)


@pytest.fixture(scope="module")
def pairs(model):
    return jnp.asarray(seam_pairs(model))


def at_seams(texture, pairs, model, texels) -> np.ndarray:
    """Returns the mean colours on both sides of each seam vertex, `[N, 2, 3]`."""
    corners = model.uv_triangles[jnp.maximum(texels.triangle_ids, 0)], texels.barycentrics
    weights = (texels.triangle_ids >= 0).astype(jnp.float32)
    around, _ = gather_texels(texture, weights, *corners, model.uvs.shape[0])
    return np.asarray(around)[np.asarray(pairs)]


def test_pairs_are_two_places_of_one_vertex(model, pairs):
    where = {}
    corners = zip(np.ravel(model.triangles), np.ravel(model.uv_triangles), strict=True)
    for vertex, uv in corners:
        where.setdefault(int(uv), int(vertex))
    assert len(pairs) > 20
    for first, second in np.asarray(pairs):
        assert first != second
        assert where[int(first)] == where[int(second)]


def test_a_step_at_the_seams_goes_and_detail_stays(model, texels, pairs):
    rng = np.random.default_rng(0)
    detail = 1 + 0.1 * rng.standard_normal((SIZE, SIZE, 1))
    low = np.where(np.arange(SIZE)[:, None, None] > 0.8 * SIZE, 0.4, 0.3)  # ears: another tone
    texture = jnp.asarray(low * detail * np.ones(3), jnp.float32)
    levelled = level_seams(texture, pairs, model, texels)
    before, after = (at_seams(x, pairs, model, texels) for x in (texture, levelled))
    step = np.abs(before[:, 0] - before[:, 1]).mean()
    assert np.abs(after[:, 0] - after[:, 1]).mean() < 0.35 * step
    middle = (slice(SIZE // 4, SIZE // 2), slice(SIZE // 4, 3 * SIZE // 4))
    change = np.log(np.asarray(levelled)) - np.log(np.asarray(texture))
    assert np.abs(change[middle]).max() < 0.03


def test_charts_of_one_tone_stay_as_they_are(model, texels, pairs):
    texture = jnp.full((SIZE, SIZE, 3), 0.3)
    np.testing.assert_allclose(level_seams(texture, pairs, model, texels), texture, atol=1e-4)


def test_gradient_is_finite(model, texels, pairs):
    def total(texture):
        return jnp.sum(level_seams(texture, pairs, model, texels) ** 2)

    gradient = jax.grad(total)(jnp.zeros((SIZE, SIZE, 3)))
    assert bool(jnp.isfinite(gradient).all())
