"""Loads the landmark detector's measured noise. Host code."""

from __future__ import annotations

import jax.numpy as jnp

from jaxface import assets
from jaxface.types import LandmarkNoise


def load_noise() -> LandmarkNoise:
    """Returns the measured noise of the landmark detector, for `fit(..., noise=)`.

    Raises:
        AssetError: the file is missing or damaged.
    """
    arrays = assets.load_npz("landmark_noise.npz")
    names = ("yaw", "bias", "factors", "sigma")
    return LandmarkNoise(**{name: jnp.asarray(arrays[name], jnp.float32) for name in names})
