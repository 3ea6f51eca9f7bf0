"""Light and pigment in a residual: bands, gains, and where the light grazes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.morphable.files import load_model
from jaxface.rendering.lighting import directional, uniform
from jaxface.types import Lighting
from jaxface.unwrapping.delight import (
    BANDS,
    COLOURS,
    FEATURES,
    pigment_gain,
    residual_bands,
    shading_correction,
)
from jaxface.unwrapping.regions import near_brows
from jaxface.unwrapping.skin_mask import shading_steepness

correction = jax.jit(shading_correction)


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def ratio(model):
    """A smooth residual of a few centimetres and colours, neither even nor odd."""
    x, y, z = np.asarray(model.mean).T
    waves = [np.sin(90 * x + 1) * np.cos(60 * y), np.cos(70 * y + 40 * x), np.sin(50 * z - 80 * x)]
    return jnp.asarray(0.3 * np.stack(waves, 1), jnp.float32)


def weights(model, hidden=()):
    seen = np.isin(np.asarray(model.vertex_region), [0, 1, 2, 3, 4])
    return jnp.asarray(seen * np.where(np.isin(np.arange(len(seen)), hidden), 0, 1), jnp.float32)


def test_bands_add_up_to_the_residual_less_its_mean(model, ratio):
    w = weights(model)
    bands = jax.jit(residual_bands)(ratio, w, model)
    assert bands.shape == (len(ratio), FEATURES)
    total = bands.reshape(-1, BANDS, 2, 3).sum((1, 2)) @ COLOURS
    seen = np.asarray(w) > 0
    wanted = np.asarray(ratio) - np.asarray(ratio)[seen].mean(0)
    np.testing.assert_allclose(np.asarray(total)[seen], wanted[seen], atol=2e-5)


def test_halves_of_bands_are_even_and_odd(model, ratio):
    w = weights(model)
    bands = np.asarray(jax.jit(residual_bands)(ratio, w, model)).reshape(-1, BANDS, 2, 3)
    both = (np.asarray(w) > 0) & (np.asarray(w)[model.mirror] > 0)
    mirrored = bands[np.asarray(model.mirror)]
    np.testing.assert_allclose(bands[both, :, 0], mirrored[both, :, 0], atol=1e-5)
    np.testing.assert_allclose(bands[both, :, 1], -mirrored[both, :, 1], atol=1e-5)


def test_what_one_side_alone_shows_counts_as_even(model, ratio):
    left = np.flatnonzero(np.asarray(model.mean)[:, 0] > 0.002)
    bands = np.asarray(jax.jit(residual_bands)(ratio, weights(model, left), model))
    right = np.asarray(model.mean)[:, 0] < -0.002
    assert np.abs(bands.reshape(-1, BANDS, 2, 3)[right, :, 1]).max() == 0.0


def test_without_gains_what_is_odd_is_light_and_what_is_even_pigment(model, ratio):
    plain, w = model.replace(pigment_gain=None), weights(model)
    odd = 0.5 * (ratio - ratio[model.mirror])
    seen = (np.asarray(w) > 0) & (np.asarray(w)[model.mirror] > 0)
    seen &= np.asarray(near_brows(model)) < 1e-3
    mean = np.asarray(odd)[np.asarray(w) > 0].mean(0)
    np.testing.assert_allclose(
        np.asarray(correction(ratio, w, plain))[seen], np.asarray(odd)[seen] - mean, atol=3e-3
    )


def test_the_embedded_gains_are_those_of_an_estimate(model, ratio):
    """They draw to the model: most is light, and of what is even less than of what is odd."""
    gain = np.asarray(pigment_gain(model)).reshape(-1, BANDS, 2, 3, 3)
    skin = np.asarray(model.vertex_region) == model.region_names.index("skin")
    front = skin & (np.asarray(model.mean)[:, 2] > -0.04)
    grey = gain[front][..., 0, 0].mean(0)  # bands, parities
    assert np.abs(grey).max() < 0.5
    assert grey[0, 0] > 1.2 * grey[0, 1] > 0.1
    w = weights(model)
    double = correction(2 * ratio, w, model)
    np.testing.assert_allclose(double, 2 * correction(ratio, w, model), atol=1e-4)


def test_brows_keep_their_darkness(model):
    """Dark hair where the model has its brows is no light."""
    brows = np.asarray(near_brows(model))
    own = np.asarray(model.vertex_region) == model.region_names.index("brows")
    assert (brows[own] == 1).all() and brows.mean() < 0.1
    dark = -0.8 * own[:, None] * np.ones(3)
    light = np.asarray(correction(jnp.asarray(dark, jnp.float32), weights(model), model))
    mean = (dark * np.asarray(weights(model))[:, None]).sum(0) / float(weights(model).sum())
    assert np.abs(light[own] + mean).max() < 0.1
    seen = np.asarray(weights(model)) > 0
    uniform_ratio = correction(jnp.full_like(model.mean, 0.3), weights(model), model)
    np.testing.assert_allclose(np.asarray(uniform_ratio)[seen], 0.0, atol=5e-3)


def test_a_blush_loses_less_than_a_shadow(model):
    """Red on both cheeks is half pigment at most places; as much darkness on one side is light."""
    x, y, z = np.asarray(model.mean).T

    def spot(side):
        near = np.exp(-((x - side * 0.035) ** 2 + (y + 0.035) ** 2) / 0.012**2) * (z > -0.03)
        return near[:, None]

    blush = (spot(1) + spot(-1)) * np.array([0.0, -0.2, -0.15])
    shadow = spot(1) * np.array([-0.2, -0.2, -0.2])
    w = weights(model)
    left = {}
    for name, residual in (("blush", blush), ("shadow", shadow)):
        light = np.asarray(correction(jnp.asarray(residual, jnp.float32), w, model))
        kept = residual - light - (residual * np.asarray(w)[:, None]).sum(0) / float(w.sum())
        at = np.argmax(spot(1))
        left[name] = np.linalg.norm(kept[at]) / np.linalg.norm(residual[at])
    assert left["shadow"] < 0.35
    assert left["blush"] > left["shadow"]


def test_steepness_is_the_slope_of_the_log_shading():
    light = uniform(0.5).coefficients.at[3].add(0.4)  # the harmonic of x
    normals = np.random.default_rng(0).normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    x = normals[:, 0]
    slope = 0.4 * 0.32573500794 * np.sqrt(1 - x**2) / (0.5 + 0.4 * 0.32573500794 * x)
    found = shading_steepness(jnp.asarray(normals, jnp.float32), Lighting(light))
    np.testing.assert_allclose(found, slope, rtol=2e-3)
    assert float(shading_steepness(jnp.eye(3), uniform()).max()) < 1e-5
    lamp = directional(jnp.array([0.0, 0.0, -1.0]), jnp.ones(3), ambient=0.02)
    facing, grazing = jnp.array([0.0, 0.0, -1.0]), jnp.array([0.98, 0.0, -0.2])
    assert (
        float(shading_steepness(facing, lamp)) < 0.1 < 2 < float(shading_steepness(grazing, lamp))
    )


def test_gradients_are_finite(model, ratio):
    def total(ratio, w):
        return jnp.sum(shading_correction(ratio, w, model) ** 2)

    for w in (weights(model), jnp.zeros(len(ratio))):
        for slope in jax.jit(jax.grad(total, (0, 1)))(ratio, w):
            assert np.isfinite(slope).all()
