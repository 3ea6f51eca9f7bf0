"""Hair on the skin: a shaven beard, a shaven scalp, brows. Coverage, 0 to 1."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from building.synthetic.canvas import Canvas, scatter, smooth_noise, splat
from building.synthetic.parameters import SkinParameters

_STEPS = 5


def stubble(canvas: Canvas, face: SkinParameters, rng: np.random.Generator) -> np.ndarray:
    """Returns how much of each texel the hairs of a shaven beard cover, `[T, T]`."""
    if face.stubble <= 0:
        return np.zeros(canvas.x.shape)
    area = canvas.parts["beard"] * np.clip(1 + 0.3 * smooth_noise(canvas, rng, 6.0), 0.2, 2)
    return strokes(
        canvas, rng, 0.5 * (0.4 + face.stubble) * area, 0.25 + 0.6 * face.stubble, 0.10
    ) * np.sqrt(face.stubble)


def scalp(canvas: Canvas, face: SkinParameters, rng: np.random.Generator) -> np.ndarray:
    """Returns how much of each texel the hairs of a shaven scalp cover, `[T, T]`."""
    return strokes(canvas, rng, 1.2 * face.scalp * canvas.parts["scalp"], 0.8, 0.09)


def strokes(
    canvas: Canvas,
    rng: np.random.Generator,
    density: np.ndarray,
    length: float,
    width: float,
    heading: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the coverage of short hairs; millimetres.

    `heading`: `[T, T]` radians from the u axis; without it they point down and away from the
    middle.
    """
    rows, columns = scatter(canvas, rng, density)
    row = np.minimum(rows.astype(int), canvas.size - 1)
    column = np.minimum(columns.astype(int), canvas.size - 1)
    texel = canvas.texel[row, column]
    if heading is None:
        heading = -np.pi / 2 + 0.5 * np.clip(canvas.x / 50, -1, 1)
    heading = heading[row, column] + rng.normal(0, 0.45, len(rows))
    reach = length * rng.lognormal(0, 0.35, len(rows)) / texel
    mass = reach * width / texel / _STEPS
    total = np.zeros(canvas.x.shape)
    for step in np.linspace(0, 1, _STEPS):
        total += splat(
            canvas,
            rows - step * reach * np.sin(heading),
            columns + step * reach * np.cos(heading),
            mass * (1.2 - 0.4 * step),
        )
    return np.clip(ndimage.gaussian_filter(total, 0.3 * canvas.scale), 0, 0.9)
