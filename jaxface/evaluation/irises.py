"""Irises: their colour beside the photo's, and the class of their albedo beside a label."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from jaxface.errors import InputError
from jaxface.evaluation.color_difference import ciede2000, lab
from jaxface.evaluation.polygons import fill
from jaxface.evaluation.scene import decode_srgb
from jaxface.landmarks.schemes import LEFT_IRIS, LEFT_LIDS, RIGHT_IRIS, RIGHT_LIDS
from jaxface.types import FaceModel, TexelMap
from jaxface.unwrapping.eyes import IRIS, PUPIL, angle_of_texels

# The landmarks around the opening of each eye, in order.
RIGHT_EYE, LEFT_EYE = ((*lower, *upper[-2:0:-1]) for upper, lower in (RIGHT_LIDS, LEFT_LIDS))
CLASSES = {
    **dict.fromkeys(("brown", "dark brown"), "brown"),
    **dict.fromkeys(("hazel", "green", "hazel/green"), "hazel/green"),
    **dict.fromkeys(("blue", "grey", "gray", "blue/grey"), "blue/grey"),
}
"""Class of each word that a label may be."""
UNKNOWN = "unknown"
"""Label of an iris that no one can tell the colour of; it is not judged."""
_RING = (0.45, 0.9)  # of the iris' radius: outside the pupil, within the dark rim
_LID = 0.1  # of the iris' radius: width along the lids, of lashes and shade, that is left out
_HIGHLIGHT = 2.0  # of the median luminance, from which a pixel is a reflection
_LEAST = 12  # pixels of both irises together
# Lightness below which any hue is dark brown; a* / b* above which a hue is brown; b* of green.
_DARK, _BROWN, _GREEN = 20.0, 0.3, 5.0


def iris_difference(
    photo_srgb: Float[np.ndarray, "H W 3"],
    render_srgb: Float[np.ndarray, "H W 3"],
    landmarks: Float[np.ndarray, "478 2"],
) -> float:
    """Returns CIEDE2000 between the irises' mean colours in a photo and in a render over it.

    Both means are over the same pixels: of the photo's irises, without pupil, rim, lids and
    reflections. NaN if there are hardly any.

    Args:
        photo_srgb: 0..1.
        render_srgb: of the result with the photo's camera and light, 0..1.
        landmarks: of the photo, pixels.
    """
    where = iris_pixels(landmarks, photo_srgb.shape)
    photo = decode_srgb(photo_srgb[where])
    if len(photo) < _LEAST:
        return float("nan")
    level = photo.mean(-1)
    shown = level < _HIGHLIGHT * np.median(level)
    render = decode_srgb(render_srgb[where])
    return float(ciede2000(*(lab(colours[shown].mean(0)) for colours in (photo, render))))


def iris_pixels(
    landmarks: Float[np.ndarray, "478 2"], shape: tuple[int, ...]
) -> Bool[np.ndarray, "H W"]:
    """Returns the pixels of both irises that lie in the opening of the eye.

    The circle is that of the iris' landmarks: its centre the first of five, its radius the mean
    distance of the others; of it a ring is taken.
    """
    found = np.zeros(shape[:2], bool)
    x, y = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    for iris, eye in ((RIGHT_IRIS, RIGHT_EYE), (LEFT_IRIS, LEFT_EYE)):
        centre, rim = landmarks[iris[0]], landmarks[list(iris[1:])]
        radius = np.linalg.norm(rim - centre, axis=1).mean()
        away = np.hypot(x - centre[0], y - centre[1]) / radius
        opening = fill(landmarks[list(eye)], shape[:2])
        inner = ndimage.binary_erosion(opening, iterations=max(1, round(_LID * float(radius))))
        found |= inner & (away > _RING[0]) & (away < _RING[1])
    return found


def iris_albedo(
    texture_linear: Float[np.ndarray, "T T 3"], model: FaceModel, texels: TexelMap
) -> Float[np.ndarray, "3"]:
    """Returns the mean albedo of the irises in a texture, linear RGB."""
    angle = np.asarray(angle_of_texels(model, texels))
    return np.asarray(texture_linear)[(angle > PUPIL + 3) & (angle < IRIS - 2)].mean(0)


def colour_class(linear: Float[np.ndarray, "3"]) -> str:
    """Returns `brown`, `hazel/green` or `blue/grey` for an iris' albedo, by its CIELAB colour.

    Brown: L* < 20, or b* > 0 and a* > 0.3 b*. Of the others blue or grey: b* < 5.

    Example:
        >>> [colour_class(np.array(c)) for c in ((0.09, 0.045, 0.02), (0.17, 0.24, 0.33))]
        ['brown', 'blue/grey']
    """
    lightness, red, yellow = lab(np.asarray(linear, float))
    if lightness < _DARK or (yellow > 0 and red > _BROWN * yellow):
        return "brown"
    return "blue/grey" if yellow < _GREEN else "hazel/green"


def check_labels(photos: Any, where: object) -> dict[str, str]:
    """Returns the class of each labelled photo; unknown ones are left out.

    Raises:
        InputError: a label is none of `CLASSES` nor `unknown`.
    """
    for name, label in photos.items():
        if label not in CLASSES and label != UNKNOWN:
            known = ", ".join([*CLASSES, UNKNOWN])
            raise InputError(f"{where}: the iris of {name} is {label!r}; labels are {known}.")
    return {name: CLASSES[label] for name, label in photos.items() if label != UNKNOWN}
