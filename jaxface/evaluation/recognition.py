"""Whether a picture shows the same person: cosine distances of a face recogniser.

The recogniser is dlib's ResNet (King 2017; PyPI `dlib-bin`, its weights in the sdist of PyPI
`face_recognition_models`), which nothing in jaxface was tuned on.
"""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxface.errors import DetectionError
from jaxface.images import to_bytes
from jaxface.landmarks.detector import detect
from jaxface.morphable.surface import similarity
from jaxface.rendering.texture import sample_image
from jaxface.types import Assets

# dlib's template for a padded chip (left eye outer, inner, right eye outer, inner, nose base),
# and the landmarks of the face mesh that stand there.
TEMPLATE = np.array(
    [[0.8596, 0.2135], [0.6461, 0.2290], [0.1206, 0.2137], [0.3341, 0.2291], [0.4901, 0.6278]]
)
LANDMARKS = (263, 362, 33, 133, 2)
CHIP, PADDING = 150, 0.25
SIZE = 128  # of a descriptor


class Recogniser:
    """dlib's face descriptor on chips that our own landmarks align."""

    def __init__(self, weights: Path, assets: Assets) -> None:
        import dlib

        self.network = dlib.face_recognition_model_v1(str(weights))
        self.assets = assets

    def __call__(self, image_srgb: np.ndarray) -> np.ndarray:
        """Returns the unit descriptor `[128]` of the largest face; NaN if there is none."""
        try:
            found = detect(image_srgb, self.assets.networks)
        except DetectionError:
            return np.full(SIZE, np.nan)
        marks = np.asarray(found.landmarks[0])[:, :2]
        goal = (PADDING + TEMPLATE) / (2 * PADDING + 1) * CHIP
        source = np.pad(marks[list(LANDMARKS)], ((0, 0), (0, 1)))
        rotation, scale, shift = similarity(source, np.pad(goal, ((0, 0), (0, 1))))
        x, y = np.meshgrid(np.arange(CHIP) + 0.5, np.arange(CHIP) + 0.5)
        at = np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3)
        place = ((at - shift) @ rotation / scale)[:, :2]
        chip = sample_image(jnp.asarray(image_srgb), jnp.asarray(place, jnp.float32))
        chip = to_bytes(np.asarray(chip)).reshape(CHIP, CHIP, 3)
        descriptor = np.array(self.network.compute_face_descriptor(chip))
        return descriptor / np.linalg.norm(descriptor)


def identity_distance(first: Float[np.ndarray, "128"], second: Float[np.ndarray, "128"]) -> float:
    """Returns the cosine distance of two descriptors; NaN where there was no face."""
    return float(1 - first @ second)
