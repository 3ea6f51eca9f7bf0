"""Distances between measured and fitted landmarks: within the face, and on its oval."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxface.landmarks.schemes import FACE_OVAL


def landmark_errors(
    fitted: Float[np.ndarray, "478 2"], measured: Float[np.ndarray, "478 2"], unit: float
) -> dict[str, float]:
    """Returns mean distances in per cent of a length: `inside` and on the `oval`'s 36 points.

    `inside` is `FitResult.landmark_error`, which leaves the oval out. On the oval of a turned head
    the distance holds what landmarks slide along the outline, too.

    Args:
        fitted: the model's, projected; pixels.
        measured: the detector's, pixels.
        unit: distance between the eyes' centres, pixels.
    """
    distance = 100 * np.linalg.norm(fitted - measured, axis=1) / unit
    oval = np.isin(np.arange(len(distance)), FACE_OVAL)
    return {"inside": float(distance[~oval].mean()), "oval": float(distance[oval].mean())}
