"""The one person that is followed through a film. Host code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxface.errors import InputError
from jaxface.identity import group
from jaxface.landmarks.linking import link

MIN_FRAMES = 5
"""Tracks of fewer frames are nobody's, unless all are that short."""
LOOKS = 5
"""Frames of a track at which its face is looked at."""
_AS_LONG = 0.9  # of the time of the person seen longest: among these the largest is followed


@dataclass(frozen=True)
class Followed:
    """The person that a film shows longest.

    Attributes:
        faces: `[N]`, index of the person's face in each frame, -1 for none.
        shots: `[N]`, which continuous motion a frame belongs to, from 0; -1 where the person is
            not there. A shot ends at a cut, and where the face is lost for more than a second.
        others: `[R]`, number of frames of each other person.
    """

    faces: Int[np.ndarray, " N"]
    shots: Int[np.ndarray, " N"]
    others: tuple[int, ...]


def follow(
    faces: np.ndarray,
    count: int,
    distances: Callable[[list[np.ndarray]], Float[np.ndarray, "K K"]],
) -> Followed:
    """Returns the person that a film shows longest; of several as long, the largest.

    Faces are linked to tracks by place, size and look (`link`), and tracks to persons by the
    distance of their faces (`group`); tracks that run at the same time are different persons.

    Args:
        faces: `[M]` of `linking.FACE`, in order of time.
        count: number of frames N.
        distances: returns the distances between K tracks (`identity.distances`), each given as
            the indices of up to `LOOKS` of its faces; above 1 are different persons.

    Raises:
        InputError: no frame shows a face.
    """
    if not len(faces):
        raise InputError("No frame of the video shows a face.")
    numbers = link(faces)
    order = np.argsort(numbers, kind="stable")
    tracks = np.split(order, np.cumsum(np.bincount(numbers))[:-1])
    tracks = [track for track in tracks if len(track) >= MIN_FRAMES] or tracks
    looks = [track[_spread(len(track))] for track in tracks]
    apart = overlapping([faces["frame"][track[[0, -1]]] for track in tracks])
    length = np.array([len(track) for track in tracks])
    alone = len(tracks) == 1
    persons = np.zeros(1, int) if alone else group(distances(looks), apart, length)
    frames = np.bincount(persons, length)
    sides = np.array([_side(faces[look]) for look in looks])
    size = np.bincount(persons, length * sides) / frames
    chosen = int(np.argmax(np.where(frames >= _AS_LONG * frames.max(), size, 0.0)))
    index, shots = np.full(count, -1), np.full(count, -1)
    own = sorted((tracks[k] for k in np.flatnonzero(persons == chosen)), key=lambda t: t[0])
    for shot, track in enumerate(own):
        where = faces["frame"][track]
        index[where] = track
        shots[where[0] : where[-1] + 1] = shot
    others = sorted((int(n) for n in np.delete(frames, chosen)), reverse=True)
    return Followed(index, shots, tuple(others))


def overlapping(spans: list[Int[np.ndarray, "2"]]) -> Bool[np.ndarray, "K K"]:
    """Returns which of the intervals of frames, both ends included, have a frame in common."""
    first, last = np.array(spans).T
    return (first[:, None] <= last) & (first <= last[:, None]) & ~np.eye(len(spans), dtype=bool)


def _spread(length: int) -> Int[np.ndarray, " k"]:
    """Returns up to `LOOKS` places spread evenly over a length, the ends left out."""
    count = min(LOOKS, length)
    return ((np.arange(count) + 0.5) * length / count).astype(int)


def _side(faces: np.ndarray) -> float:
    """Returns the mean side of some faces' boxes, pixels."""
    points = faces["landmarks"][..., :2]
    return float((points.max(1) - points.min(1)).max(1).mean())
