"""Assets of the fit: the landmark detector's noise, the 68-point embedding. Host code."""

from __future__ import annotations

import jax.numpy as jnp

from jaxface import assets
from jaxface.fitting.landmarks import LandmarkNoise
from jaxface.types import FaceModel


def load_noise() -> LandmarkNoise:
    """Returns the measured noise of the landmark detector, for `fit(..., noise=)`.

    Raises:
        AssetError: the file is missing or damaged.
    """
    arrays = assets.load_npz("landmark_noise.npz")
    names = ("yaw", "bias", "factors", "sigma")
    return LandmarkNoise(**{name: jnp.asarray(arrays[name], jnp.float32) for name in names})


def with_landmarks68(model: FaceModel) -> FaceModel:
    """Returns the default face model with the 68-point landmark embedding instead of the 478.

    Raises:
        AssetError: the file is missing or damaged.
    """
    arrays = assets.load_npz("landmark_embedding.npz")
    return model.replace(
        landmark_triangles=jnp.asarray(arrays["landmark68_triangles"], jnp.int32),
        landmark_barycentrics=jnp.asarray(arrays["landmark68_barycentrics"], jnp.float32),
    )
