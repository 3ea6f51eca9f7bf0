"""Brows, make-up and blotches: pigment of which the database has too little variety."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from building.people.vertices import neighbours
from jaxface.types import FaceModel

BROW_REACH = 0.006  # metres: Gaussian of what counts as brow
BROW_SHIFT = (0.001, 0.003, 0.0)  # metres, standard deviations: of the brow and of the fit's error
LIPSTICK, EYE_SHADOW, BLUSH = 0.6, 0.35, 0.4  # shares of people
CHEEK = (0.037, -0.035)  # metres, x and y of a blush's middle
MELANIN, BLOOD = np.array([0.7, 1.0, 1.2]), np.array([0.1, 1.0, 0.8])
"""Of log albedo, RGB: what more pigment takes, up to a factor (as after Tsumura et al. 2003)."""


def made_up(albedo: np.ndarray, model: FaceModel, rng: np.random.Generator) -> np.ndarray:
    """Returns albedo `[V, 3]` (linear RGB) with other brows, lips, lids, cheeks and blotches.

    Args:
        albedo: at the vertices, linear RGB.
        model: the face model.
        rng: chooses.
    """
    region = np.array(model.region_names)[np.asarray(model.vertex_region)]
    log = _with_brows(np.log(np.maximum(albedo, 1e-3)), region, model, rng)

    def paint(level: float, red: float) -> np.ndarray:
        hue = red * rng.normal() * np.array([0.35, -0.5, -0.35])
        return rng.normal(0, level) + hue + rng.normal(0, 0.05, 3)

    for name, share, level, red in (
        ("lips", LIPSTICK, 0.2, 0.5),
        ("lids", EYE_SHADOW, 0.25, 0.15),
    ):
        if rng.random() < share:
            log = log + (region == name)[:, None] * paint(level, red)
    if rng.random() < BLUSH:
        x, y, z = np.asarray(model.mean, float).T
        away = (np.abs(x) - CHEEK[0]) ** 2 + (y - CHEEK[1]) ** 2
        cheeks = np.exp(-away / rng.uniform(0.008, 0.018) ** 2) * (z > -0.05)
        log = log - 0.2 * rng.uniform() * cheeks[:, None] * BLOOD
    blotches = rng.standard_normal((len(log), 2))
    mean_of = neighbours(model)
    for _ in range(rng.integers(0, 4)):
        blotches = 0.5 * (blotches + mean_of @ blotches)
    blotches = blotches / blotches.std(0)
    log = log - rng.uniform(0, 0.07) * blotches[:, :1] * MELANIN
    return np.exp(log - rng.uniform(0, 0.05) * blotches[:, 1:] * BLOOD)


def _with_brows(
    log: np.ndarray, region: np.ndarray, model: FaceModel, rng: np.random.Generator
) -> np.ndarray:
    """Returns log albedo `[V, 3]` with brows up to 2.5 times as dark, and a little elsewhere."""
    mean = np.asarray(model.mean, float)
    distance = cKDTree(mean[region == "brows"]).query(mean)[0]
    near = np.exp(-((distance / BROW_REACH) ** 2)) * (mean[:, 2] > -0.05)
    skin = np.median(log[(near > 0.02) & (region == "skin")], axis=0)
    darkness = np.minimum(log - skin, 0) * (near > 0.05)[:, None]
    shift = rng.normal(0, 1, 3) * BROW_SHIFT
    moved = darkness[cKDTree(mean).query(mean - shift)[1]]
    strength = rng.uniform(0, 2.5) * (1 + rng.normal(0, 0.1, 3))
    return log - darkness + np.maximum(moved * strength, -2.5)
