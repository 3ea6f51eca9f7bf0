"""The albedo model: its formulas, gradients, symmetry, meaning of directions, coverage."""

from __future__ import annotations

from itertools import pairwise

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.evaluation.color_difference import lab
from jaxface.evaluation.skin_coverage import face_angle
from jaxface.morphable.albedo import albedo_at, albedo_texture, log_albedo
from jaxface.morphable.texels import texel_map
from jaxface.skins.statistics import principal_components

SIZE = 64


def _coefficients(model, **values: float) -> jnp.ndarray:
    found = np.zeros(len(model.albedo_names), np.float32)
    for name, value in values.items():
        found[model.albedo_names.index(name)] = value
    return jnp.asarray(found)


def _region(model, name: str) -> np.ndarray:
    texels = texel_map(model, SIZE)
    chosen = np.asarray(texels.region_ids) == model.region_names.index(name)
    return chosen & np.asarray(texels.mask)


def test_log_albedo_is_linear(model, rng) -> None:
    a, b = (jnp.asarray(rng.normal(size=len(model.albedo_names)), jnp.float32) for _ in range(2))
    zero = log_albedo(model, 0 * a)
    want = log_albedo(model, a) + 2 * (log_albedo(model, b) - zero)
    np.testing.assert_allclose(log_albedo(model, a + 2 * b), want, atol=2e-3)
    np.testing.assert_allclose(zero, model.albedo_mean, atol=1e-6)


def test_mean_albedo_is_plausible_and_symmetric(model) -> None:
    texture = np.asarray(albedo_texture(model, _coefficients(model), SIZE))
    assert texture.shape == (SIZE, SIZE, 3)
    assert texture.min() > 0 and texture.max() <= 1
    np.testing.assert_allclose(texture, texture[:, ::-1], atol=5e-3)
    skin, lips, eyes = (texture[_region(model, name)].mean(0) for name in ("skin", "lips", "eyes"))
    assert skin[0] > skin[1] > skin[2]
    assert lips[1] / lips[0] < skin[1] / skin[0]
    assert eyes.min() > skin[2]


def test_albedo_at_agrees_with_the_texture(model, rng) -> None:
    coefficients = jnp.asarray(rng.normal(size=len(model.albedo_names)), jnp.float32)
    size = model.albedo_mean.shape[0]
    row, column = rng.integers(5, size - 5, size=(2, 40))
    uv = np.stack([(column + 0.5) / size, 1 - (row + 0.5) / size], 1).astype(np.float32)
    texture = np.asarray(albedo_texture(model, coefficients, size))
    got = albedo_at(model, coefficients, jnp.asarray(uv))
    np.testing.assert_allclose(got, texture[row, column], rtol=5e-3)


def test_gradient_agrees_with_finite_differences(model, rng) -> None:
    start = jnp.asarray(rng.normal(size=len(model.albedo_names)), jnp.float32)
    step = jnp.asarray(rng.normal(size=len(start)), jnp.float32)
    uv = jnp.asarray(rng.uniform(0.2, 0.8, size=(20, 2)), jnp.float32)

    def mean_albedo(coefficients):
        return albedo_at(model, coefficients, uv).mean()

    _, got = jax.jvp(mean_albedo, (start,), (step,))
    want = (mean_albedo(start + 1e-2 * step) - mean_albedo(start - 1e-2 * step)) / 2e-2
    assert float(got) == pytest.approx(float(want), rel=2e-2)


@pytest.mark.parametrize(
    ("name", "darker"), [("melanin", "skin"), ("brows", "brows"), ("lips", "lips")]
)
def test_components_darken_their_region(model, name, darker) -> None:
    mean = albedo_texture(model, _coefficients(model), SIZE)
    more = np.asarray(albedo_texture(model, _coefficients(model, **{name: 2.0}), SIZE) / mean)
    assert more[_region(model, darker)].mean() < 0.85
    assert abs(more[_region(model, "eyes")].mean() - 1) < 0.05
    assert abs(more[_region(model, "teeth")].mean() - 1) < 0.05


def test_beard_leaves_the_forehead(model) -> None:
    mean = albedo_texture(model, _coefficients(model), SIZE)
    change = albedo_texture(model, _coefficients(model, beard=2.0), SIZE) / mean
    assert float(change[:20, 16:48].min()) > 0.98
    assert float(change[40:54, 16:48].min()) < 0.6


def test_skin_reaches_from_very_light_to_dark(model) -> None:
    angles = [
        face_angle(model, np.asarray(albedo_texture(model, _coefficients(model, melanin=m), SIZE)))
        for m in (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
    ]
    assert all(a > b for a, b in pairwise(angles))
    assert angles[0] > 55 and angles[-1] < -30


def test_lab_agrees_with_opencv(rng) -> None:
    srgb = rng.uniform(size=(50, 3))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(
        lab(linear)[None], cv2.cvtColor(np.float32(srgb[None]), cv2.COLOR_RGB2LAB), atol=0.3
    )


def test_principal_components_are_whitened(rng) -> None:
    hidden = rng.normal(size=(400, 3)) * [3.0, 1.0, 0.3]
    mixing = np.linalg.qr(rng.normal(size=(12, 3)))[0]
    samples = (hidden @ mixing.T).reshape(400, 4, 3)
    mean, basis = principal_components(samples, 3)
    flat = basis.reshape(3, -1)
    scores = (samples.reshape(400, -1) - mean.ravel()) @ np.linalg.pinv(flat)
    np.testing.assert_allclose(np.cov(scores.T), np.eye(3), atol=1e-6)
    rebuilt = mean + (scores @ flat).reshape(400, 4, 3)
    np.testing.assert_allclose(rebuilt, samples, atol=1e-6)
