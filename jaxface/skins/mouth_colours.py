"""Paints what no skin shows: teeth in their gums, tongue, inner mouth and eye sockets.

Nothing casts shadows in a preview, so that the paint itself darkens towards the throat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxface.skins.makehuman import Layout

# Cells of the teeth, whole texels of a texture of 256: their rows follow the texels'.
UPPER_TEETH = (95 / 256, 14 / 256, 161 / 256, 20 / 256)
LOWER_TEETH = (95 / 256, 1 / 256, 161 / 256, 7 / 256)
# The teeth's rows from the gums over crown and edge to the back: fraction of the cell's height.
TEETH_ROWS = (0.0, 0.4, 0.75, 1.0)

PARTS = ("teeth", "tongue", "inner_mouth", "sockets")

# Linear RGB.
_IVORY, _ROOT = np.array([0.78, 0.68, 0.535]), np.array([0.60, 0.44, 0.28])
_GUM, _DEEP_GUM = np.array([0.46, 0.15, 0.13]), np.array([0.22, 0.06, 0.052])
_GAP = np.array([0.30, 0.17, 0.10])
_TONGUE = np.array([0.36, 0.13, 0.115])
_CHEEK = np.array([0.20, 0.055, 0.048])
_SOCKET = np.array([0.28, 0.10, 0.08])
_WARM_SHADOW = np.array([0.88, 1.06, 1.12])  # exponents: what light is left was reflected by flesh

# Widths of one side's crowns from the middle to the back (Wheeler's Dental Anatomy), and the row
# of the chart at which the gums end.
_UPPER_WIDTHS, _UPPER_GUMS = (8.5, 6.5, 7.5, 7.0, 7.0, 10.0, 9.0, 8.5), 0.36
_LOWER_WIDTHS, _LOWER_GUMS = (5.0, 5.5, 7.0, 7.0, 7.0, 11.0, 10.5, 10.0), 0.22
_EDGE = TEETH_ROWS[2]


def lay_over(linear: np.ndarray, where: Layout) -> np.ndarray:
    """Returns the linear RGB `[T, T, 3]` with the parts named in `PARTS` painted over it.

    Lips pass into the inner mouth, and lids into the sockets, across one ring of quads.
    """
    depth, flat = where.place[..., 2], np.ones((*where.region.shape, 1))
    furrow = np.exp(-((where.place[..., :1] / 0.0015) ** 2))
    colours = {
        "teeth": _teeth(where),
        "tongue": _shadow(_TONGUE * (1 - 0.2 * furrow), _shade(depth, 0.008, -0.024, 0.06)),
        "inner_mouth": _shadow(_CHEEK * flat, _shade(depth, 0.022, -0.012, 0.08)),
        "sockets": _SOCKET * flat,
    }
    weights = {name: where.region_weights[..., where.names.index(name), None] for name in PARTS}
    painted = sum((weights[name] * colours[name] for name in PARTS), np.zeros_like(linear))
    return linear * (1 - sum(weights.values())) + painted


def _shadow(colours: np.ndarray, light: np.ndarray) -> np.ndarray:
    return colours * light[..., None] ** _WARM_SHADOW


def _shade(depth: np.ndarray, front: float, back: float, dark: float) -> np.ndarray:
    """Returns the fraction of light: 1 in front of `front`, `dark` behind `back` (metres of z)."""
    t = np.clip((depth - back) / (front - back), 0, 1)
    return dark + (1 - dark) * t * t * (3 - 2 * t)


def _teeth(where: Layout) -> np.ndarray:
    """Returns both jaws' teeth; black elsewhere."""
    colours = np.zeros((*where.region.shape, 3))
    size, teeth = len(colours), where.part("teeth")
    u, v = np.meshgrid((np.arange(size) + 0.5) / size, 1 - (np.arange(size) + 0.5) / size)
    split = (UPPER_TEETH[1] + LOWER_TEETH[3]) / 2
    for cell, upper in ((UPPER_TEETH, True), (LOWER_TEETH, False)):
        texels = teeth & ((v > split) == upper)
        across, down = (u[texels] - cell[0]) / (cell[2] - cell[0]), (v[texels] - cell[1])
        row = down / (cell[3] - cell[1])
        texel = 1 / (size * (cell[2] - cell[0])), 1 / (size * (cell[3] - cell[1]))
        colour = _row_of_teeth(2 * abs(across - 0.5), 1 - row if upper else row, texel, upper)
        light = _shade(where.place[..., 2][texels], 0.013, -0.022, 0.16)
        colours[texels] = _shadow(colour, light)
    return colours


def _row_of_teeth(
    along: np.ndarray, row: np.ndarray, texel: tuple[float, float], upper: bool
) -> np.ndarray:
    """Returns the colours `[N, 3]` of one jaw's teeth without shadow.

    Args:
        along: `[N]` fraction of the arch from the middle (0) to its end (1).
        row: `[N]` fraction of the chart's height from the gums (0) over the edge to the back (1).
        texel: fraction of the chart's width and height that a texel takes.
        upper: which jaw.
    """
    widths = np.array(_UPPER_WIDTHS if upper else _LOWER_WIDTHS)
    borders = np.concatenate([[0], np.cumsum(widths)]) / widths.sum()
    tooth = np.clip(np.searchsorted(borders, along) - 1, 0, len(widths) - 1)
    middle, half = (borders[tooth] + borders[tooth + 1]) / 2, np.diff(borders)[tooth] / 2
    aside = np.clip(np.abs(along - middle) / half, 0, 1)

    # Gums reach between the teeth and recede over each crown's middle.
    gums = (_UPPER_GUMS if upper else _LOWER_GUMS) + 0.10 * aside**3
    neck = 0.55 * np.exp(-np.maximum(row - gums, 0) / 0.08)[:, None]
    enamel = _IVORY * (1 - neck) + _ROOT * neck
    # Crowns are round: darker towards their sides; the line between two is half a millimetre.
    enamel = enamel * (1 - 0.10 * aside[:, None] ** 4)
    line = np.exp(-0.5 * ((1 - aside) * half / max(0.004, 0.55 * texel[0])) ** 2)
    line = 0.7 * (line * _step(_EDGE - 0.03 - row, 0.02))[:, None]
    enamel = enamel * (1 - line) + _GAP * line
    flesh = _DEEP_GUM + (_GUM - _DEEP_GUM) * np.clip(row / gums, 0, 1)[:, None] ** 1.5
    crown = _step(row - gums, max(0.012, 0.4 * texel[1]))[:, None]
    back = 1 - 0.55 * _step(row - _EDGE - 0.12, 0.03)[:, None]  # what faces the tongue
    return (flesh * (1 - crown) + enamel * crown) * back


def _step(value: np.ndarray, width: float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(value / width, -50, 50)))
