"""Groups of landmarks of the 478-point face mesh, and iBUG's 68 points as its indices."""

from __future__ import annotations

import numpy as np

# The subject's right side first (image left), round over the forehead to the left.
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
UPPER_LIP = (
    185, 40, 39, 37, 0, 267, 269, 270, 409, 184, 74, 73, 72, 11, 302, 303, 304, 408,
    183, 42, 41, 38, 12, 268, 271, 272, 407, 191, 80, 81, 82, 13, 312, 311, 310, 415,
)  # fmt: skip
LOWER_LIP = (
    146, 91, 181, 84, 17, 314, 405, 321, 375, 77, 90, 180, 85, 16, 315, 404, 320, 307,
    96, 89, 179, 86, 15, 316, 403, 319, 325, 95, 88, 178, 87, 14, 317, 402, 318, 324,
)  # fmt: skip
LIP_CORNERS = (61, 76, 62, 78, 291, 306, 292, 308)
RIGHT_IRIS, LEFT_IRIS = (468, 469, 470, 471, 472), (473, 474, 475, 476, 477)
# The upper and the lower lid, from the outer corner of the eye to the inner.
RIGHT_LIDS = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133),
    (33, 7, 163, 144, 145, 153, 154, 155, 133),
)
LEFT_LIDS = (
    (263, 466, 388, 387, 386, 385, 384, 398, 362),
    (263, 249, 390, 373, 374, 380, 381, 382, 362),
)
OUTER_EYES = (33, 263)
# iBUG's 68 points (Sagonas et al. 2013): jaw, brows, nose, eyes, mouth.
IBUG68 = (
    127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip


def with_irises(points: np.ndarray) -> np.ndarray:
    """Returns 468 points of the older face mesh as 478, the irises' NaN; other sets unchanged."""
    if len(points) != 468:
        return points
    return np.concatenate([points, np.full((10, points.shape[1]), np.nan, points.dtype)])
