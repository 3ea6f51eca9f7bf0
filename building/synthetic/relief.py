"""The skin's relief: height in millimetres from pores, furrows, lip creases, lines and scars."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from building.synthetic.canvas import Canvas, oriented_noise, scatter, splat
from building.synthetic.parameters import SkinParameters

# Pores a square millimetre, and their depth and radius in millimetres (Igarashi et al. 2007).
_PORES = {
    "nose": (0.9, 0.045, 0.13),
    "cheeks": (0.45, 0.035, 0.12),
    "forehead": (0.30, 0.025, 0.11),
    "chin": (0.45, 0.035, 0.12),
}
# Lines that come with age, millimetres on the right half of the mean face: points, width, depth.
_LINES: dict[str, tuple[tuple[tuple[float, float], ...], float, float]] = {
    "forehead_1": (((0, 40), (20, 42), (40, 38)), 0.8, 0.16),
    "forehead_2": (((0, 48), (22, 51), (44, 47)), 0.8, 0.18),
    "forehead_3": (((0, 57), (20, 60), (38, 58)), 0.8, 0.14),
    "frown": (((5, 7), (6, 15), (7.5, 24)), 0.8, 0.16),
    "crow_1": (((49, 1), (56, 5), (62, 11)), 0.6, 0.14),
    "crow_2": (((49.5, -1), (57, -1), (64, 1)), 0.6, 0.14),
    "crow_3": (((49, -3), (55, -8), (60, -14)), 0.6, 0.12),
    "under_1": (((16, -11), (28, -16), (43, -11)), 0.6, 0.10),
    "under_2": (((20, -15), (31, -20), (42, -17)), 0.7, 0.08),
    "nasolabial": (((19, -42), (27, -55), (33, -72)), 1.3, 0.28),
    "marionette": (((28, -77), (29, -86), (27, -97)), 0.9, 0.16),
    "neck": (((0, -132), (30, -128), (55, -112)), 1.0, 0.15),
}


def relief(canvas: Canvas, face: SkinParameters, rng: np.random.Generator) -> np.ndarray:
    """Returns the height without lines and scars, `[T, T]`: what all skin has."""
    furrows = np.zeros(canvas.x.shape)
    for wavelength, depth, stretch in ((0.75, 0.010, 0.15), (1.3, 0.012, 0.25), (2.4, 0.010, 0.3)):
        noise = oriented_noise(canvas, rng, wavelength, stretch)
        # A furrow is where the noise changes sign: cells between sharp valleys.
        furrows += depth * (0.5 * noise + np.minimum(np.abs(noise), 1.2) - 0.8)
    patches = 1 + 0.35 * np.clip(oriented_noise(canvas, rng, 14.0, 0.0), -2, 2)
    lips = canvas.parts["lips"]
    height = furrows * patches * (1 - 0.7 * lips)
    height += face.pores * pores(canvas, rng)
    height += lips * lip_creases(canvas, rng)
    return face.relief * height * canvas.skin


def pores(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Returns the height of the pores, millimetres, below 0; 1 is a usual strength."""
    density, depth, radius = (np.zeros(canvas.x.shape) for _ in range(3))
    total = np.full(canvas.x.shape, 1e-6)
    for name, (many, deep, wide) in _PORES.items():
        mask = canvas.parts[name]
        density += mask * many
        depth += mask * deep
        radius += mask * wide
        total += mask
    radius = radius / total + 0.1 * (total < 0.01)
    rows, columns = scatter(canvas, rng, density)
    at = (
        np.minimum(rows.astype(int), canvas.size - 1),
        np.minimum(columns.astype(int), canvas.size - 1),
    )
    size = radius[at] * rng.lognormal(0, 0.3, len(rows))
    volume = depth[at] / np.maximum(total[at], 0.3) * rng.lognormal(-0.1, 0.5, len(rows))
    # A dip narrower than a texel shows with its volume, not with its depth.
    volume = volume * 2 * np.pi * size**2 / canvas.texel[at] ** 2
    height = np.zeros(canvas.x.shape)
    for low, high in ((0.0, 0.13), (0.13, 9.0)):
        chosen = (size >= low) & (size < high)
        if chosen.any():
            dips = splat(canvas, rows[chosen], columns[chosen], volume[chosen])
            height -= ndimage.gaussian_filter(dips, np.median(size[chosen]) / 0.3 * canvas.scale)
    return height


def lip_creases(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Returns the height of the upright creases of the lips, millimetres."""
    noise = rng.standard_normal(canvas.x.shape)
    total = np.zeros(canvas.x.shape)
    for wide, depth in ((1.0, 0.014), (2.2, 0.026)):
        lines = ndimage.gaussian_filter(noise, (9 * canvas.scale, wide * canvas.scale))
        lines -= ndimage.gaussian_filter(lines, (9 * canvas.scale, 3 * wide * canvas.scale))
        lines /= lines[canvas.parts["lips"] > 0.5].std()
        total += depth * (np.minimum(np.abs(lines), 1.5) - 0.8)
    return total


def lines(
    canvas: Canvas, face: SkinParameters, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the height of the lines of age, millimetres, and of the scars."""
    height = np.zeros(canvas.x.shape)
    for points, width, depth in _LINES.values():
        strength = face.age * rng.uniform(0.3, 1.3) + 0.06
        for side in (-1.0, 1.0):
            own = np.array(points) * [side, 1] + rng.normal(0, 0.8, (len(points), 2))
            height -= depth * strength * _stroke(canvas, rng, own, width * rng.uniform(0.8, 1.3))
    scars = np.zeros(canvas.x.shape)
    for _ in range(face.scars):
        start = rng.uniform([-50, -95], [50, 55])
        heading, length = rng.uniform(0, np.pi), rng.uniform(4, 14)
        bend = rng.normal(0, 1.0, 2)
        end = start + length * np.array([np.cos(heading), np.sin(heading)])
        points = np.array([start, (start + end) / 2 + bend, end])
        scars += _stroke(canvas, rng, points, 0.5)
    keep = canvas.skin * (1 - canvas.parts["scalp"]) * (1 - canvas.parts["lips"])
    return height * keep, np.minimum(scars, 1) * keep


def _stroke(
    canvas: Canvas, rng: np.random.Generator, points: np.ndarray, width: float
) -> np.ndarray:
    """Returns a soft line (1 in its middle) through three points, uneven and wavering."""
    t = np.linspace(0, 1, 160)
    # A parabola through the three points.
    curve = (
        np.outer((1 - t) * (1 - 2 * t), points[0])
        + np.outer(4 * t * (1 - t), points[1])
        + np.outer(t * (2 * t - 1), points[2])
    )
    waver = ndimage.gaussian_filter1d(rng.normal(size=(160, 2)), 8, axis=0)
    curve = curve + 0.35 * waver / (waver.std() + 1e-9)
    broken = ndimage.gaussian_filter1d(rng.normal(size=160), 10)
    strength = np.clip(1 + 0.35 * broken / (broken.std() + 1e-9), 0.2, 1.6)
    strength *= np.sin(np.pi * np.clip(t, 0.0, 1.0)) ** 0.5
    low, high = curve.min(0) - 6 * width, curve.max(0) + 6 * width
    near = (canvas.x > low[0]) & (canvas.x < high[0]) & (canvas.y > low[1]) & (canvas.y < high[1])
    near &= canvas.z > -45
    place = np.stack([canvas.x[near], canvas.y[near]], -1)
    result = np.zeros(canvas.x.shape)
    if len(place):
        apart = ((place[:, None, :] - curve[None]) ** 2).sum(-1)
        closest = apart.argmin(1)
        line = np.exp(-apart.min(1) / (2 * (0.5 * width) ** 2))
        # Skin bulges beside a fold.
        bulge = 0.35 * np.exp(-apart.min(1) / (2 * (1.6 * width) ** 2))
        result[near] = strength[closest] * (line - bulge)
    return result
