"""What stands in front of a face: bars, glasses, strands of hair. Model space, metres."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import trimesh

from jaxface.evaluation.scene import Prop

OCCLUDERS = ("none", "bars", "glasses", "strands")
_EYES = 0.031  # metres from the middle to an eye's centre
_STRANDS, _STEPS = 60, 12


def occluder(name: str, vertices: np.ndarray, rng: np.random.Generator) -> tuple[Prop, ...]:
    """Returns the meshes of a kind of occluder for a face (front: the greatest z at each point).

    Args:
        name: one of `OCCLUDERS`.
        vertices: of the face, for how far strands must stand off.
        rng: places bars and strands.
    """
    if name == "none":
        return ()
    if name == "bars":
        return (_prop(_bars(rng), (0.05, 0.07, 0.05)),)
    if name == "glasses":
        return (_prop(_glasses(), (0.02, 0.02, 0.025)),)
    return (_prop(_strands(vertices, rng), (0.06, 0.035, 0.02)),)


def _prop(parts: list[trimesh.Trimesh], colour: tuple[float, float, float]) -> Prop:
    mesh: Any = trimesh.util.concatenate(parts)
    return Prop(np.asarray(mesh.vertices), np.asarray(mesh.faces), colour)


def _rod(start: np.ndarray, end: np.ndarray, radius: float, sections: int = 8) -> trimesh.Trimesh:
    return trimesh.creation.cylinder(radius, segment=np.array([start, end]), sections=sections)


def _bars(rng: np.random.Generator) -> list[trimesh.Trimesh]:
    shift = rng.uniform(-0.012, 0.012)
    middles = np.array([-0.055, -0.012, 0.045]) + shift
    ends = [(np.array([x - 0.02, 0.2, 0.09]), np.array([x + 0.02, -0.2, 0.09])) for x in middles]
    return [_rod(start, end, 5e-3) for start, end in ends]


def _glasses() -> list[trimesh.Trimesh]:
    parts = []
    for side in (-1, 1):
        rim = trimesh.creation.torus(0.023, 1.8e-3, major_sections=40, minor_sections=8)
        parts.append(rim.apply_translation([side * _EYES, -0.003, 0.033]))
        hinge = np.array([side * (_EYES + 0.023), 0.0, 0.033])
        corner, ear = np.array([side * 0.084, 0.002, 0.01]), np.array([side * 0.087, 0.0, -0.09])
        parts += [_rod(hinge, corner, 1.8e-3), _rod(corner, ear, 1.8e-3)]
    inner = _EYES - 0.023
    return [*parts, _rod(np.array([-inner, 0.0, 0.034]), np.array([inner, 0.0, 0.034]), 1.8e-3)]


def _strands(vertices: np.ndarray, rng: np.random.Generator) -> list[trimesh.Trimesh]:
    parts = []
    for _ in range(_STRANDS):
        along = np.linspace(0, 1, _STEPS)
        x = rng.uniform(-0.07, 0.07) + 0.03 * rng.standard_normal() * along**2
        y = 0.105 - (0.105 + rng.uniform(-0.03, 0.07)) * along
        near = np.hypot(vertices[:, 0] - x[:, None], vertices[:, 1] - y[:, None]) < 0.008
        depth = np.where(near, vertices[:, 2], -0.2).max(1)
        depth = np.maximum(depth, np.maximum.accumulate(depth) - 0.015) + 0.003
        path = np.stack([x, y, depth], axis=1)
        width = rng.uniform(2.5e-4, 6e-4)
        parts += [_rod(a, b, width, 5) for a, b in pairwise(path)]
    return parts
