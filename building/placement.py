"""From MakeHuman's body in decimetres to the model's head in metres, and its triangles."""

from __future__ import annotations

import numpy as np

from building import head_topology
from building.head_topology import Topology
from building.makehuman import Base

PUPIL_DISTANCE = 0.063  # metres, the adult average (Dodgson 2004)


class Placement:
    """The linear map from MakeHuman's body (decimetres) to the model (metres).

    The eyeballs follow the 72 vertices of MakeHuman's helper eyes by the affine map that fits
    them best, which is linear in the displacements.
    """

    def __init__(self, base: Base, mean: np.ndarray, topology: Topology) -> None:
        self.count = len(base.vertices)
        self._body = topology.sources[topology.sources >= 0]
        self._helpers = [np.unique(base.quads[f"helper-{side}-eye"]) for side in "lr"]
        centers, radius = zip(*(fit_sphere(mean[helper]) for helper in self._helpers), strict=True)
        left, _, _ = head_topology.eyeball(centers[0], radius[0])
        right = (left * [-1, 1, 1])[head_topology.eye_mirror()]
        self._balls = [left, right]
        self._follow = [
            _homogeneous(ball) @ np.linalg.pinv(_homogeneous(mean[helper]))
            for ball, helper in zip(self._balls, self._helpers, strict=True)
        ]
        self.scale = PUPIL_DISTANCE / (centers[0][0] - centers[1][0])
        self._origin = (centers[0] + centers[1]) / 2

    def mean(self, mean: np.ndarray) -> np.ndarray:
        """Returns the model's mean `[V, 3]`, metres, origin between the eyes."""
        placed = np.concatenate([mean[self._body], *self._balls])
        return (placed - self._origin) * self.scale

    def displacement(self, target: np.ndarray) -> np.ndarray:
        """Returns a target's displacement `[V, 3]` in metres."""
        eyes = [f @ target[h] for f, h in zip(self._follow, self._helpers, strict=True)]
        return np.concatenate([target[self._body], *eyes]) * self.scale


def fit_sphere(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns centre and radius of the sphere through `[N, 3]` points, by least squares."""
    system = np.concatenate([2 * points, np.ones((len(points), 1))], 1)
    solution = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0]
    return solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3]))


def _homogeneous(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points, np.ones((len(points), 1))], 1)


def split(quads: np.ndarray, mean: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Returns which diagonal splits each quad: True for corners 1 and 3, the shorter one.

    A quad and its mirror image are split alike.
    """
    corner = mean[quads]
    diagonal = np.linalg.norm(corner[:, :2] - corner[:, 2:], axis=-1)
    choice = diagonal[:, 1] < diagonal[:, 0] - 1e-9
    index = {tuple(sorted(quad)): i for i, quad in enumerate(quads.tolist())}
    for i, quad in enumerate(quads.tolist()):
        image = index[tuple(sorted(mirror[quad].tolist()))]
        if image > i:
            cut = {quad[1], quad[3]} if choice[i] else {quad[0], quad[2]}
            choice[image] = quads[image, 1] in {int(mirror[v]) for v in cut}
    return choice


def triangulate(quads: np.ndarray, choice: np.ndarray) -> np.ndarray:
    """Returns `[2 Q, 3]` triangles, those of quad q at 2 q and 2 q + 1."""
    first = np.where(choice[:, None], quads[:, [0, 1, 3]], quads[:, [0, 1, 2]])
    second = np.where(choice[:, None], quads[:, [1, 2, 3]], quads[:, [0, 2, 3]])
    return np.stack([first, second], 1).reshape(-1, 3)
