"""Noise of a photo: measured, and taken off without the picture."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.unwrapping.noise import denoise, noise_level

PHOTOS = Path(__file__).parents[1] / "examples" / "photos"


@pytest.fixture(scope="module")
def photo():
    """512 x 512 pixels of a face in focus."""
    return jnp.asarray(iio.imread(PHOTOS / "astronaut.jpg")[:512, :512, :3] / 255.0, jnp.float32)


def noisy(photo, level):
    grain = np.random.default_rng(0).normal(size=photo.shape)
    return jnp.clip(photo + level * jnp.asarray(grain, jnp.float32), 0.0, 1.0)


def peak_ratio(photo, truth):
    return -10 * np.log10(np.mean((np.asarray(photo) - np.asarray(truth)) ** 2))


@pytest.mark.parametrize("level", [0.01, 0.02, 0.04])
def test_the_level_is_found(photo, level):
    assert float(noise_level(noisy(photo, level))) == pytest.approx(level, rel=0.12)


def test_clean_photos_stay_as_they_are(photo):
    clean, level = jax.jit(denoise)(photo)
    assert float(level) == 0.0
    assert np.array_equal(clean, photo)


def test_noise_goes_and_the_picture_stays(photo):
    before = noisy(photo, 0.04)
    after, _ = jax.jit(denoise)(before)
    assert peak_ratio(after, photo) > peak_ratio(before, photo) + 4.0
    # Strong edges are the picture's: where the photo has them, they keep their contrast.
    edge = np.abs(np.diff(np.asarray(photo), axis=0)) > 0.2
    kept = np.diff(np.asarray(after), axis=0)[edge] / np.diff(np.asarray(photo), axis=0)[edge]
    assert np.median(kept) > 0.85


def test_gradients_are_finite_in_noise_and_in_black(photo):
    for picture in (noisy(photo[:64, :64], 0.03), jnp.zeros((64, 64, 3))):
        gradient = jax.jit(jax.grad(lambda p: jnp.mean(denoise(p)[0] ** 2)))(picture)
        assert np.all(np.isfinite(gradient))
