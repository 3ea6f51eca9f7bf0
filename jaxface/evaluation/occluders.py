"""What stands in front of a face: bars, glasses, strands of hair. Model space, metres."""

from __future__ import annotations

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
    return (_prop(strands(vertices, rng), (0.06, 0.035, 0.02)),)


def _prop(parts: list[trimesh.Trimesh], colour: tuple[float, float, float]) -> Prop:
    mesh: Any = trimesh.util.concatenate(parts)
    return Prop(np.asarray(mesh.vertices), np.asarray(mesh.faces), colour)


def rod(start: np.ndarray, end: np.ndarray, radius: float, sections: int = 8) -> trimesh.Trimesh:
    """Returns a cylinder between two points."""
    return trimesh.creation.cylinder(radius, segment=np.array([start, end]), sections=sections)


def _bars(rng: np.random.Generator) -> list[trimesh.Trimesh]:
    shift = rng.uniform(-0.012, 0.012)
    middles = np.array([-0.055, -0.012, 0.045]) + shift
    ends = [(np.array([x - 0.02, 0.2, 0.09]), np.array([x + 0.02, -0.2, 0.09])) for x in middles]
    return [rod(start, end, 5e-3) for start, end in ends]


def _glasses() -> list[trimesh.Trimesh]:
    parts = []
    for side in (-1, 1):
        rim = trimesh.creation.torus(0.023, 1.8e-3, major_sections=40, minor_sections=8)
        parts.append(rim.apply_translation([side * _EYES, -0.003, 0.033]))
        hinge = np.array([side * (_EYES + 0.023), 0.0, 0.033])
        corner, ear = np.array([side * 0.084, 0.002, 0.01]), np.array([side * 0.087, 0.0, -0.09])
        parts += [rod(hinge, corner, 1.8e-3), rod(corner, ear, 1.8e-3)]
    inner = _EYES - 0.023
    return [*parts, rod(np.array([-inner, 0.0, 0.034]), np.array([inner, 0.0, 0.034]), 1.8e-3)]


def strands(
    vertices: np.ndarray, rng: np.random.Generator, *, count: int = _STRANDS
) -> list[trimesh.Trimesh]:
    """Returns strands of hair that hang over a face.

    Args:
        vertices: `[V, 3]` of the face, from which they stand off.
        rng: places them.
        count: of strands.
    """
    parts = []
    for _ in range(count):
        along = np.linspace(0, 1, _STEPS)
        x = rng.uniform(-0.07, 0.07) + 0.03 * rng.standard_normal() * along**2
        y = 0.105 - (0.105 + rng.uniform(-0.03, 0.07)) * along
        near = np.hypot(vertices[:, 0] - x[:, None], vertices[:, 1] - y[:, None]) < 0.008
        depth = np.where(near, vertices[:, 2], -0.2).max(1)
        depth = np.maximum(depth, np.maximum.accumulate(depth) - 0.015) + 0.003
        path = np.stack([x, y, depth], axis=1)
        parts.append(tube(path, rng.uniform(2.5e-4, 6e-4)))
    return parts


def tube(path: np.ndarray, radius: float, sections: int = 5) -> trimesh.Trimesh:
    """Returns a tube without ends along a path `[N, 3]`."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-12)
    side = np.cross(along, [0.31, 0.17, 0.94])
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12)
    turn = 2 * np.pi * np.arange(sections) / sections
    round_ = (
        side[:, None] * np.cos(turn)[:, None]
        + np.cross(along, side)[:, None] * (np.sin(turn)[:, None])
    )
    vertices = (path[:, None] + radius * round_).reshape(-1, 3)
    ring, k = np.meshgrid(np.arange(len(path) - 1), np.arange(sections), indexing="ij")
    a, b = (ring * sections + k).ravel(), (ring * sections + (k + 1) % sections).ravel()
    triangles = np.concatenate(
        [np.stack([a, b, a + sections], 1), np.stack([b, b + sections, a + sections], 1)]
    )
    return trimesh.Trimesh(vertices, triangles, process=False)
