"""Assets of the fit: the landmark detector's noise, the 68 points. Host code."""

from __future__ import annotations

import jax.numpy as jnp

from jaxface import assets
from jaxface.fitting.landmarks import LandmarkNoise
from jaxface.landmarks.schemes import IBUG68
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
    """Returns the face model with the 68-point landmark embedding instead of the 478."""
    points = jnp.array(IBUG68)
    return model.replace(
        landmark_triangles=model.landmark_triangles[points],
        landmark_barycentrics=model.landmark_barycentrics[points],
    )
