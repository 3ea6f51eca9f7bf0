"""Colours as people see them: CIELAB, the colour difference CIEDE2000, the typology angle of skin.

NumPy; colours in the last axis.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193, 0.1192, 0.9503]]
)
_CHROMA_TURN = 25.0**7  # of mean chroma, about which the corrections of CIEDE2000 set in


def lab(linear: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    """Returns CIELAB (white D65) of linear RGB."""
    ratio = linear @ _TO_XYZ.T / _TO_XYZ.sum(1)
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def typology_angle(linear: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "..."]:
    """Returns the individual typology angle in degrees of linear RGB.

    atan((L* - 50) / b*) of CIELAB; Chardon, Cretois and Hourseau (1991).
    """
    lightness, _, yellow = np.moveaxis(lab(linear), -1, 0)
    return np.degrees(np.arctan2(lightness - 50, np.maximum(yellow, 1e-6)))


def ciede2000(
    first: Float[np.ndarray, "... 3"], second: Float[np.ndarray, "... 3"]
) -> Float[np.ndarray, "..."]:
    """Returns the colour difference CIEDE2000 of CIELAB colours; 1 is barely visible.

    With primed chroma C' and hue h' after a* is stretched by 1 + G,

        dE^2 = (dL / S_L)^2 + (dC' / S_C)^2 + (dH' / S_H)^2 + R_T (dC' / S_C) (dH' / S_H).

    Sharma, Wu and Dalal, *The CIEDE2000 Color-Difference Formula* (2005), with k_L = k_C = k_H = 1.
    """
    light, chroma, hue = zip(*_polar(first, second), strict=True)
    neutral = chroma[0] * chroma[1] == 0
    turn = hue[1] - hue[0]
    turn = np.where(neutral, 0.0, turn - 360.0 * (turn > 180) + 360.0 * (turn < -180))
    d_light, d_chroma = light[1] - light[0], chroma[1] - chroma[0]
    d_hue = 2 * np.sqrt(chroma[0] * chroma[1]) * np.sin(np.radians(turn) / 2)

    mean_light, mean_chroma = (light[0] + light[1]) / 2, (chroma[0] + chroma[1]) / 2
    total = hue[0] + hue[1]
    apart = np.abs(hue[0] - hue[1]) > 180
    mean_hue = np.where(apart, np.where(total < 360, total + 360, total - 360), total) / 2
    mean_hue = np.where(neutral, total, mean_hue)

    def cosine(factor: float, offset: float) -> np.ndarray:
        return np.cos(np.radians(factor * mean_hue + offset))

    tilt = 1 - 0.17 * cosine(1, -30) + 0.24 * cosine(2, 0)
    tilt = tilt + 0.32 * cosine(3, 6) - 0.20 * cosine(4, -63)
    offset = (mean_light - 50) ** 2
    by_light = d_light / (1 + 0.015 * offset / np.sqrt(20 + offset))
    by_chroma = d_chroma / (1 + 0.045 * mean_chroma)
    by_hue = d_hue / (1 + 0.015 * mean_chroma * tilt)
    blue = 30 * np.exp(-(((mean_hue - 275) / 25) ** 2))
    rotation = -2 * _saturation(mean_chroma) * np.sin(np.radians(2 * blue))
    return np.sqrt(by_light**2 + by_chroma**2 + by_hue**2 + rotation * by_chroma * by_hue)


def _polar(*colours: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns lightness, C' and h' (degrees, 0..360) of each of two colours."""
    colours = tuple(np.asarray(colour, float) for colour in colours)
    mean = sum(np.hypot(colour[..., 1], colour[..., 2]) for colour in colours) / 2
    stretch = 1.5 - 0.5 * _saturation(mean)
    found = []
    for light, red, yellow in (np.moveaxis(colour, -1, 0) for colour in colours):
        hue = np.degrees(np.arctan2(yellow, stretch * red)) % 360
        found.append((light, np.hypot(stretch * red, yellow), hue))
    return found


def _saturation(chroma: np.ndarray) -> np.ndarray:
    """Returns sqrt(C^7 / (C^7 + 25^7)), 0..1."""
    return np.sqrt(chroma**7 / (chroma**7 + _CHROMA_TURN))
