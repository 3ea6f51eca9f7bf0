"""Teeth and tongue as rigid parts of skull and jaw.

MakeHuman's teeth stand in the flesh of cheeks and chin, and its sliders bend them. Here they stand
inside the mouth, follow a person's shape by one similarity, and move with the jaw alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from building.head_topology import REGIONS, Topology

JAW = ("jawForward", "jawLeft", "jawOpen", "jawRight")
_TEETH_OF_A_JAW = 68


@dataclass(frozen=True)
class Seat:
    """Where a part stands: `anchor` (metres, on the data's part) goes to `place`, and the rest of
    the part is scaled about it, axis by axis."""

    anchor: tuple[float, float, float]
    place: tuple[float, float, float]
    scale: tuple[float, float, float]

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Returns the points `[N, 3]` in their place."""
        return (points - self.anchor) * self.scale + self.place


# The anchors are the middle of the incisors' edges and the tip of the tongue. Lips meet at
# y = -73 mm: the upper incisors reach 3 mm further down, as they do in a relaxed face, overlap the
# lower ones by 2 mm and stand 2 mm in front of them. The arch is 62 mm wide at the last molars; the
# data's 74 mm would stand in the cheeks.
UPPER = Seat((0.0, -0.0723, 0.0193), (0.0, -0.0760, 0.0178), (0.85, 1.0, 0.92))
LOWER = Seat((0.0, -0.0730, 0.0193), (0.0, -0.0741, 0.0157), (0.84, 0.70, 0.91))
TONGUE = Seat((0.0, -0.0760, 0.0134), (0.0, -0.0780, 0.0085), (0.80, 0.70, 0.95))


@dataclass(frozen=True)
class Parts:
    """Vertices of the upper teeth, the lower teeth, the tongue, and of what they all follow."""

    upper: np.ndarray
    lower: np.ndarray
    tongue: np.ndarray
    around: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """All vertices of teeth and tongue."""
        return np.concatenate([self.upper, self.lower, self.tongue])

    @property
    def jaw(self) -> np.ndarray:
        """What the jaw carries."""
        return np.concatenate([self.lower, self.tongue])


def parts(topology: Topology, mean: np.ndarray) -> Parts:
    """Returns the parts of the mouth, given the data's mean `[V, 3]` in metres."""

    def region(*names: str) -> np.ndarray:
        return np.isin(topology.regions, [REGIONS.index(name) for name in names])

    teeth = np.flatnonzero(region("teeth"))
    lower, upper = teeth[:_TEETH_OF_A_JAW], teeth[_TEETH_OF_A_JAW:]
    # The wall of the mouth beside the teeth, and the lips in front of them.
    around = region("lips", "inner_mouth") & (mean[:, 2] > -0.02)
    around &= (mean[:, 1] > -0.095) & (mean[:, 1] < -0.05)
    return Parts(upper, lower, np.flatnonzero(region("tongue")), np.flatnonzero(around))


def seat(mean: np.ndarray, which: Parts) -> np.ndarray:
    """Returns the mean `[V, 3]` with teeth and tongue in their place."""
    placed = mean.astype(float)
    seats = ((which.upper, UPPER), (which.lower, LOWER), (which.tongue, TONGUE))
    for vertices, put in seats:
        placed[vertices] = put(placed[vertices])
    return placed


def follow(modes: np.ndarray, mean: np.ndarray, which: Parts) -> np.ndarray:
    """Returns the identity modes `[I, V, 3]` with teeth and tongue moved by one similarity each.

    It is the small motion (translation, rotation, growth) that fits the mouth's wall and lips
    best, the same for both jaws, so that every person's teeth fit each other.
    """
    center = mean[which.around].mean(0)
    system = _similarities(mean[which.around] - center)
    flat = modes[:, which.around].reshape(len(modes), -1).T
    motion = np.linalg.lstsq(system, flat, rcond=None)[0]
    followed = modes.copy()
    moved = _similarities(mean[which.inside] - center) @ motion
    followed[:, which.inside] = moved.T.reshape(len(modes), -1, 3)
    return followed


def _similarities(points: np.ndarray) -> np.ndarray:
    """Returns `[3 N, 7]` the displacements by three translations, three rotations, growth."""
    axes = np.eye(3)[:, None]
    fields = [*(axes + 0 * points), *np.cross(axes, points), points]
    return np.stack([field.ravel() for field in fields], axis=1)


def move_with_jaw(
    names: list[str], faces: np.ndarray, data_mean: np.ndarray, mean: np.ndarray, which: Parts
) -> np.ndarray:
    """Returns the expressions `[E, V, 3]` in which only the jaw's own move the lower teeth.

    The tongue goes with them, and has one expression of its own, `tongueOut`.

    Args:
        names: of the expressions.
        faces: `[E, V, 3]` the data's displacements, metres.
        data_mean: `[V, 3]` where the data have the teeth.
        mean: `[V, 3]` where they stand.
        which: the parts.
    """
    moved = faces.copy()
    moved[:, which.inside] = 0
    out = names.index("tongueOut")
    moved[out, which.tongue] = faces[out, which.tongue]
    for index in (names.index(name) for name in JAW):
        before = data_mean[which.lower].astype(float)
        center, target = before.mean(0), before + faces[index, which.lower]
        turn, _ = Rotation.align_vectors(target - target.mean(0), before - center)
        here = mean[which.jaw]
        moved[index, which.jaw] = turn.apply(here - center) + target.mean(0) - here
    return moved
