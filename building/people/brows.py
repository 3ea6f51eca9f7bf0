"""Brows drawn on a texture: thin to bushy, light to black, single hairs at their borders."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from building.synthetic.canvas import Canvas, smooth_noise
from building.synthetic.hairs import strokes

_INNER, _OUTER = (4.0, 16.0), (48.0, 60.0)  # ends' distances from the middle, millimetres
_HALF_HEIGHT = (1.2, 6.0)  # millimetres
CLASS_COVER = 0.25  # a texel belongs to brow or beard from this cover on


def with_brows(
    canvas: Canvas, albedo: np.ndarray, hair: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the albedo `[T, T, 3]` with brows drawn on it, and where they are `[T, T]` bool.

    Args:
        canvas: of size T.
        albedo: linear RGB.
        hair: linear RGB of the person's hair, which brows have or are darker than.
        rng: chooses.
    """
    side = np.abs(canvas.x)
    region = canvas.layout.part("brows")
    at = np.arange(12.5, 60, 5)
    middle = [np.median(canvas.y[region & (np.abs(side - a) < 2.5)]) for a in at]
    rise = rng.normal(0, 1.5) - 0.05 * rng.normal() * (side - 35)  # higher or steeper ones
    above = canvas.y - np.interp(side, at, middle) - rise - 0.7 * smooth_noise(canvas, rng, 3.0)
    inner, outer = rng.uniform(*_INNER), rng.uniform(*_OUTER)
    along = (side - inner) / (outer - inner)
    bushy = rng.beta(1.3, 1.3)
    half = _HALF_HEIGHT[0] + bushy * (_HALF_HEIGHT[1] - _HALF_HEIGHT[0])
    half = half * np.clip(1.2 - along, 0.15, 1.0)
    soft = rng.uniform(0.3, 1.2)
    area = 1 / (1 + np.exp(np.clip((np.abs(above) - half) / soft, -30, 30)))
    ends = 1 / (1 + np.exp(np.clip((inner - side) / 1.5, -30, 30)))
    ends = ends * (along < 1) * (canvas.z > -60) * canvas.skin
    area = area * ends
    if rng.random() < 0.08:  # they meet above the nose
        area = np.maximum(area, 0.5 * (side <= inner) * (np.abs(above) < half))
    full = rng.uniform(0.2, 1.0)
    turn = np.deg2rad(70 - 80 * np.clip(along, 0, 1))
    heading = np.where(canvas.x > 0, turn, np.pi - turn)
    dense = strokes(
        canvas, rng, (0.3 + 2.0 * full) * area, rng.uniform(2.5, 6), 0.12, heading=heading
    )
    under = np.clip(1.1 * full - 0.25, 0, 0.9) * area
    cover = 1 - (1 - np.clip(1.4 * dense, 0, 0.95)) * (1 - under)
    colour = hair * np.exp(-rng.uniform(0, 1.5)) if rng.random() < 0.7 else np.full(3, 0.012)
    grain = np.exp(0.4 * rng.standard_normal(cover.shape))[..., None]
    grain = ndimage.gaussian_filter(grain, (0.6, 0.6, 0))
    drawn = albedo + (np.clip(colour * grain, 0.003, 0.9) - albedo) * cover[..., None]
    return drawn, cover > CLASS_COVER
