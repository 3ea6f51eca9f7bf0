"""Faces of a film's frames, linked in time: by place, size and look from frame to frame.

Host code: NumPy, not for `jit`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from jaxface.landmarks.schemes import OUTER_EYES

THUMBNAIL = 24  # pixels a side
_SAMPLES = 3  # per pixel of the thumbnail, a side
_SIDE = 2.6  # of the thumbnail's square, in distances between the outer eye corners
_CENTRE = 0.45  # of the square below the outer eye corners, in the same unit
FACE = np.dtype(
    [
        ("frame", np.int32),
        ("seconds", np.float64),
        ("landmarks", np.float32, (478, 3)),
        ("blendshapes", np.float32, (52,)),
        ("thumbnail", np.float32, (THUMBNAIL, THUMBNAIL)),
    ]
)
"""A face of a frame: pixels, coefficients 0..1, and `thumbnail`."""
MAX_GAP = 1.0
"""Seconds after which a face that was lost begins a new track."""
_SHIFT = (0.4, 2.0)  # largest shift, sizes of the face: at once, and more per second
_GROWTH = (0.3, 0.7)  # largest change of the logarithm of the size, likewise
MIN_CORRELATION = 0.75
"""Least correlation of thumbnails along a track."""


def thumbnail(
    photo_srgb: Float[np.ndarray, "H W 3"], landmarks: Float[np.ndarray, "L D"]
) -> Float[np.ndarray, "24 24"]:
    """Returns the grey face, its eyes level and at a fixed place, of mean 0 and norm 1.

    The product of two is their correlation.

    Args:
        photo_srgb: 0..1.
        landmarks: 478 points, pixels.
    """
    right, left = (np.asarray(landmarks[corner, :2], float) for corner in OUTER_EYES)
    across = left - right
    down = np.array([-across[1], across[0]])
    count = THUMBNAIL * _SAMPLES
    steps = ((np.arange(count) + 0.5) / count - 0.5) * _SIDE
    centre = 0.5 * (left + right) + _CENTRE * down
    at = centre + steps[None, :, None] * across + steps[:, None, None] * down
    height, width = photo_srgb.shape[:2]
    columns = np.clip(at[..., 0], 0, width - 1).astype(int)
    rows = np.clip(at[..., 1], 0, height - 1).astype(int)
    grey = photo_srgb[rows, columns].mean(-1)
    grey = grey.reshape(THUMBNAIL, _SAMPLES, THUMBNAIL, _SAMPLES).mean((1, 3))
    grey = grey - grey.mean()
    return (grey / max(float(np.linalg.norm(grey)), 1e-6)).astype(np.float32)


def link(faces: np.ndarray) -> Int[np.ndarray, " M"]:
    """Returns the number of the track of each face, from 0.

    A face continues the track that is most like it in place, size and look and was last seen in
    the frame before or up to `MAX_GAP` ago; one that is like none begins a track, and ends those
    that it replaces: of another look, at its place, and not in this frame. So tracks end at cuts.

    Args:
        faces: `[M]` of `FACE`, in order of time.
    """
    tracks = np.full(len(faces), -1, int)
    last: list[int] = []  # face at the end of each track
    live: list[int] = []
    numbers, begins = np.unique(faces["frame"], return_index=True)
    centres, sizes = _places(faces)
    for frame, group in zip(numbers, np.split(np.arange(len(faces)), begins[1:]), strict=True):
        seconds = faces["seconds"][group[0]]
        live = [
            track
            for track in live
            if faces["frame"][last[track]] == frame - 1
            or seconds - faces["seconds"][last[track]] <= MAX_GAP
        ]
        pairs, replaced = [], []
        for face in group:
            for track in live:
                before = last[track]
                span = min(seconds - faces["seconds"][before], MAX_GAP)
                shift = np.linalg.norm(centres[face] - centres[before])
                shift /= max(sizes[face], sizes[before])
                growth = abs(np.log(sizes[face] / sizes[before]))
                look = float((faces["thumbnail"][face] * faces["thumbnail"][before]).sum())
                if shift > _SHIFT[0] + _SHIFT[1] * span or growth > _GROWTH[0] + _GROWTH[1] * span:
                    continue
                if look > MIN_CORRELATION:
                    pairs.append((shift + growth + 2 * (1 - look), face, track))
                else:
                    replaced.append((face, track))
        for _, face, track in sorted(pairs):
            if tracks[face] < 0 and last[track] not in group:
                tracks[face], last[track] = track, face
        ended = {track for face, track in replaced if tracks[face] < 0 and last[track] not in group}
        live = [track for track in live if track not in ended]
        for face in group:
            if tracks[face] < 0:
                tracks[face] = len(last)
                live.append(len(last))
                last.append(face)
    return tracks


def _places(faces: np.ndarray) -> tuple[Float[np.ndarray, "M 2"], Float[np.ndarray, " M"]]:
    """Returns the centres and the longer sides of the landmarks' boxes, pixels."""
    low = np.stack([face["landmarks"][:, :2].min(0) for face in faces])
    high = np.stack([face["landmarks"][:, :2].max(0) for face in faces])
    return 0.5 * (low + high), np.maximum((high - low).max(1), 1.0)
