"""Masks against polygons drawn by hand: how much of a face is kept as skin, of hair cut away.

A file of labels holds polygons in pixels of the photo, by file name:

    {"photos": {"003.jpg": [{"kind": "hair", "what": "beard", "points": [[x, y], ...]}, ...]}}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jaxface.errors import InputError

KINDS = ("face", "hair", "other")
MEASURES = {"face": "face kept", "hair": "hair cut", "other": "other cut"}
"""Name of the measure of each kind."""


def kept_and_cut(
    polygons: Sequence[dict[str, Any]],
    skin: Float[np.ndarray, "H W"],
    face: Bool[np.ndarray, "H W"],
    corner: Float[np.ndarray, "2"] | Sequence[float] = (0.0, 0.0),
    scale: float = 1.0,
) -> dict[str, float]:
    """Returns, in per cent, `face kept`, `hair cut` and `other cut`, of the kinds that were drawn.

    A pixel counts where the mesh lies, and is kept if the skin mask of its texel is above 0.5.
    Where a polygon of a face holds others, those count.

    Args:
        polygons: of one photo; kind and points, pixels of the photo.
        skin: the skin mask seen from the camera, 0..1.
        face: where the mesh lies, scalp and neck left out.
        corner: of the image in the photo, `(x, y)`, pixels of the photo.
        scale: pixels of the image per pixel of the photo.
    """
    shape = skin.shape
    areas = {kind: np.zeros(shape, bool) for kind in KINDS}
    for polygon in polygons:
        points = (np.asarray(polygon["points"], float) - corner) * scale
        areas[polygon["kind"]] |= fill(points, shape)
    areas["face"] &= ~(areas["hair"] | areas["other"])
    result = {}
    for kind, area in areas.items():
        judged = area & face
        if judged.any():
            kept = 100 * float((skin[judged] > 0.5).mean())
            result[MEASURES[kind]] = kept if kind == "face" else 100 - kept
    return result


def fill(points: Float[np.ndarray, "N 2"], shape: tuple[int, ...]) -> Bool[np.ndarray, "H W"]:
    """Returns the pixels whose centres lie in a polygon `(x, y)`, by the even-odd rule.

    The centre of the top-left pixel is (0.5, 0.5).
    """
    x, y = np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5
    inside = np.zeros(shape, bool)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        crossed = np.flatnonzero((y0 > y) != (y1 > y))
        edge = x0 + (x1 - x0) * (y[crossed] - y0) / (y1 - y0 if y1 != y0 else 1.0)
        inside[crossed] ^= x < edge[:, None]
    return inside


def check_polygons(photos: Any, where: object) -> dict[str, list[dict[str, Any]]]:
    """Returns the polygons by photo.

    Raises:
        InputError: a polygon is of no known kind, or has fewer than three points.
    """
    for name, polygons in photos.items():
        for polygon in polygons:
            if polygon.get("kind") not in KINDS or len(polygon.get("points", ())) < 3:
                raise InputError(
                    f"{where}: a polygon of {name} is not of kind {', '.join(KINDS)}, or has fewer "
                    "than three points."
                )
    return photos
