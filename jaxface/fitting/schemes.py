"""Meaning of landmark indices in MediaPipe's 478 (or 468) points and the 68-point scheme."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from jaxface.errors import InputError
from jaxface.landmarks.schemes import FACE_OVAL, IBUG68
from jaxface.types import FaceModel

_SIDES = (
    251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400,
    21, 162, 127, 234, 93, 132, 58, 172, 136, 150, 149, 176,
)  # fmt: skip


@dataclass(frozen=True)
class Scheme:
    """Indices of landmarks with a role.

    `contour`: the face's outline, excluded from the reported error. `sliding`: its sides, which
    correspond to the silhouette and slide on the surface as the head turns. `right_eye`,
    `left_eye`: outer and inner corner.
    """

    contour: tuple[int, ...]
    sliding: tuple[int, ...]
    right_eye: tuple[int, int]
    left_eye: tuple[int, int]


MEDIAPIPE = Scheme(contour=FACE_OVAL, sliding=_SIDES, right_eye=(33, 133), left_eye=(263, 362))
IBUG_68 = Scheme(
    contour=tuple(range(17)),
    sliding=(*range(7), *range(10, 17)),
    right_eye=(36, 39),
    left_eye=(45, 42),
)


def scheme_of(count: int) -> Scheme:
    """Returns the scheme of that many landmarks.

    Raises:
        InputError: no scheme has so many.
    """
    if count in (468, 478):
        return MEDIAPIPE
    if count == 68:
        return IBUG_68
    raise InputError(f"There are {count} landmarks; jaxface reads 478, 468 or 68 points.")


def with_landmarks68(model: FaceModel) -> FaceModel:
    """Returns the face model with the 68-point landmark embedding instead of the 478."""
    points = jnp.array(IBUG68)
    return model.replace(
        landmark_triangles=model.landmark_triangles[points],
        landmark_barycentrics=model.landmark_barycentrics[points],
    )
