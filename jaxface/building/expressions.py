"""The 52 ARKit expressions from MakeHuman's face units."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jaxface.building import makehuman
from jaxface.building.placement import Placement


def build(
    data: Path, placement: Placement, mirror: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Returns the names and `[52, V, 3]` displacements in metres, mirror images of each other.

    The order is ARKit's alphabetical one, which is MediaPipe's without its neutral.
    """
    targets = makehuman.read_targets(
        data / "faceunits01/targets/faceunits", placement.count, "*.target"
    )
    basis = np.stack([placement.displacement(target) for target in targets.values()])
    names = list(targets)
    other = [names.index(_swap(name)) for name in names]
    return names, (basis + basis[other][:, mirror] * [-1, 1, 1]) / 2


def _swap(name: str) -> str:
    for side, opposite in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(side):
            return name.removesuffix(side) + opposite
    return name
