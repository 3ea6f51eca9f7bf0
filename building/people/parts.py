"""What a person is drawn with: meshes of a class, each with its own colour and outline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jaxface.parsing.classes import CLASSES

Pattern = Callable[[np.ndarray], np.ndarray]
"""Linear RGB `[N, 3]` of points `[N, 3]` (model space, metres)."""
Outline = Callable[[np.ndarray], np.ndarray]
"""Opacity `[N]`, 0..1, of points `[N, 3]` (model space, metres)."""


@dataclass(frozen=True)
class Part:
    """A mesh of one class in model space (metres: x to the subject's left, y up, z forward).

    Attributes:
        kind: index into `jaxface.parsing.CLASSES`.
        vertices: `[V, 3]`.
        triangles: `[F, 3]`.
        pattern: colour by place; or
        rgba: `[T, T, 4]` linear, 0..1, with `uvs` and `uv_triangles`.
        uvs: `[U, 2]`, row 0 of the texture on top.
        uv_triangles: `[F, 3]`.
        outline: opacity by place; None is opaque everywhere.
        kinds: `[T, T]` class of each texel, in place of `kind`.
        round_normals: centre `[3]` from which normals point away, as hair is lit; None takes the
            mesh's.
    """

    kind: int
    vertices: np.ndarray
    triangles: np.ndarray
    pattern: Pattern | None = None
    rgba: np.ndarray | None = None
    uvs: np.ndarray | None = None
    uv_triangles: np.ndarray | None = None
    outline: Outline | None = None
    kinds: np.ndarray | None = None
    round_normals: np.ndarray | None = None


FACE, HAIR, OTHER, BACKGROUND = (CLASSES.index(x) for x in ("face", "hair", "other", "background"))
BROW, BEARD = len(CLASSES), len(CLASSES) + 1
"""Both are the face's; how much of a pixel shows them is kept beside the classes."""


def cloth(rng: np.random.Generator, colour: np.ndarray | None = None) -> Pattern:
    """Returns the pattern of a cloth: plain, striped, checked or spotted, with a weave."""
    base = random_colour(rng) if colour is None else colour
    second = random_colour(rng) if rng.random() < 0.5 else base * rng.uniform(0.3, 1.8)
    kind = rng.choice(["plain", "stripes", "checks", "spots"], p=[0.55, 0.2, 0.1, 0.15])
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    wave = 2 * np.pi / rng.uniform(0.004, 0.05, 3)
    weave = 2 * np.pi / rng.uniform(0.0012, 0.004, 2)
    depth = rng.uniform(0, 0.3)
    folds = rng.standard_normal((4, 3)) * rng.uniform(20, 120)
    phase = rng.uniform(0, 6, 4)
    fold = rng.uniform(0, 0.35)

    def pattern(points: np.ndarray) -> np.ndarray:
        a, b, c = (points @ turn).T
        if kind == "plain":
            share = np.zeros(len(points))
        elif kind == "stripes":
            share = (np.sin(wave[0] * a) > 0) * 1.0
        elif kind == "checks":
            share = 0.5 * (np.sin(wave[0] * a) > 0) + 0.5 * (np.sin(wave[1] * b) > 0)
        else:
            share = (np.sin(wave[0] * a) + np.sin(wave[1] * b) + np.sin(wave[2] * c) > 1.4) * 1.0
        colour = base + share[:, None] * (second - base)
        shade = 1 + depth * np.sin(weave[0] * a) * np.sin(weave[1] * b)
        shade = shade * (1 + fold * np.sin(points @ folds.T + phase).mean(1))
        return np.clip(colour * shade[:, None], 0.003, 1)

    return pattern


def plain(colour: np.ndarray | tuple[float, ...], noise: float = 0.0) -> Pattern:
    """Returns one colour everywhere, with the relative noise of some grain."""
    base = np.asarray(colour, float)

    def pattern(points: np.ndarray) -> np.ndarray:
        grain = np.sin(points @ np.array([[7919.0], [6007.0], [4421.0]]))[:, 0]
        return np.clip(base * (1 + noise * grain[:, None]), 0.003, 1)

    return pattern


def metal(rng: np.random.Generator) -> Pattern:
    """Returns gold, silver, steel, copper or black metal that mirrors its surroundings in spots."""
    bases = ((0.6, 0.42, 0.15), (0.6, 0.6, 0.6), (0.2, 0.2, 0.21), (0.45, 0.2, 0.12), (0.015,) * 3)
    base = np.array(bases[rng.integers(len(bases))]) * np.exp(rng.normal(0, 0.4))
    waves = rng.standard_normal((3, 4)) * np.exp(rng.uniform(np.log(50), np.log(800), 4))
    phase, contrast = rng.uniform(0, 6, 4), rng.uniform(0, 1.5)

    def pattern(points: np.ndarray) -> np.ndarray:
        mirrored = np.exp(contrast * np.sin(points @ waves + phase).sum(1) / 2)
        return np.clip(base * mirrored[:, None] + 0.02 * (mirrored[:, None] - 1), 0.003, 1)

    return pattern


def random_colour(rng: np.random.Generator) -> np.ndarray:
    """Returns a linear colour: greys as often as colours, dark ones as often as light ones."""
    level = np.exp(rng.uniform(np.log(0.01), np.log(0.9)))
    tint = rng.standard_normal(3) * (0.05 if rng.random() < 0.5 else 0.6)
    return np.clip(level * np.exp(tint - tint.mean()), 0.004, 0.95)


def hair_colour(rng: np.random.Generator) -> np.ndarray:
    """Returns a linear colour of hair: black to blond by pheomelanin and eumelanin, grey, dyed."""
    if rng.random() < 0.05:
        return random_colour(rng)
    if rng.random() < 0.3:
        return np.exp(rng.uniform(np.log(0.05), np.log(0.75))) * np.array([1.0, 0.97, 0.93])
    dark = rng.beta(1.6, 1.0)  # of eumelanin
    red = rng.beta(1.0, 3.0)
    absorbed = 0.3 + 3.6 * dark * np.array([0.75, 1.0, 1.25]) + red * np.array([0.2, 0.9, 1.7])
    return np.clip(0.75 * np.exp(-absorbed), 0.004, 0.8)
