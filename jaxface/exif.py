"""What EXIF tells of a photo: the way up, and the focal length if the file is a whole frame.

Editors copy EXIF into files whose pixels it no longer describes; what is doubtful is dropped, since
a wrong focal length gives a wrong face and a missing one only a less certain depth. Host code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile

Tags, Flip = ExifTags.Base, Image.Transpose
DIAGONAL_35MM = 43.2666  # of the 36 x 24 mm frame
FOCALS_35MM = (8.0, 1200.0)
"""Shortest and longest lens, in mm for 36 x 24 mm; beyond are codes, such as 0 and 65,535."""
FRAMES = (4 / 3, 3 / 2, 16 / 9)
"""Aspects of cameras' frames. An editor may have brought EXIF's size up to date after a crop, which
then shows by its aspect alone."""
_FRAME_TOLERANCE = 0.015  # 5472 x 3648, 4256 x 2832 and 4624 x 3472 count as their aspects
_THUMBNAIL, _MIN_CORRELATION = (32, 24), 0.8  # 0.5 to 0.7 of examples/photos cut to 80 % of a side
_FLIPS = {
    2: Flip.FLIP_LEFT_RIGHT,
    3: Flip.ROTATE_180,
    4: Flip.FLIP_TOP_BOTTOM,
    5: Flip.TRANSPOSE,
    6: Flip.ROTATE_270,
    7: Flip.TRANSVERSE,
    8: Flip.ROTATE_90,
}


@dataclass(frozen=True)
class Exif:
    """What is used of a file's EXIF; what is missing or damaged is None.

    Attributes:
        orientation: 1 to 8, as the tag.
        focal_35mm: focal length in mm for 36 x 24 mm.
        frame: width and height in pixels of the picture that was taken.
        thumbnail: a small picture of it, not turned.
    """

    orientation: int | None = None
    focal_35mm: float | None = None
    frame: tuple[float, float] | None = None
    thumbnail: Image.Image | None = None


def read_exif(image: ImageFile.ImageFile) -> Exif:
    """Returns the EXIF of a file that is not decoded yet."""
    try:
        exif = image.getexif()
        orientation, camera = exif.get(Tags.Orientation), exif.get_ifd(ExifTags.IFD.Exif)
    except Exception:  # whatever the parser raises: as if there were none
        return Exif()
    sides = [_number(camera.get(tag)) for tag in (Tags.ExifImageWidth, Tags.ExifImageHeight)]
    frame = (sides[0], sides[1]) if sides[0] and sides[1] else None
    try:
        thumbnail = image.get_child_images()[-1].convert("L") if image.format != "TIFF" else None
    except Exception:  # there is none, or it is damaged
        thumbnail = None
    return Exif(orientation, _number(camera.get(Tags.FocalLengthIn35mmFilm)), frame, thumbnail)


def upright(image: Image.Image, exif: Exif) -> Image.Image:
    """Returns the image turned as EXIF's orientation says.

    Unlike `ImageOps.exif_transpose` it does not write the EXIF anew, which fails on damaged tags.
    """
    flip = _FLIPS.get(exif.orientation or 1)
    return image if flip is None else image.transpose(flip)


def focal_in_diagonals(image: Image.Image, exif: Exif, size: tuple[int, int]) -> float | None:
    """Returns the focal length in units of the image's diagonal, or None if it is not known.

    It is not if the file is a crop: its aspect is none of a camera's (`FRAMES`), or differs from
    that of EXIF's size (scaling keeps it to a pixel), or EXIF's thumbnail shows something else.

    Args:
        image: decoded, not turned yet.
        exif: of its file.
        size: width and height of the file's pixels.
    """
    focal = exif.focal_35mm
    if focal is None or not FOCALS_35MM[0] <= focal <= FOCALS_35MM[1]:
        return None
    short, long = sorted(size)
    if all(abs(long / short / frame - 1) > _FRAME_TOLERANCE for frame in FRAMES):
        return None
    if exif.frame is not None and abs(short - min(exif.frame) * long / max(exif.frame)) > 1:
        return None
    if exif.thumbnail is not None and _differ(exif.thumbnail, image):
        return None
    return focal / DIAGONAL_35MM


def _number(value: Any) -> float | None:
    """Returns a tag's value as a finite number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return number if math.isfinite(number) else None


def _differ(thumbnail: Image.Image, image: Image.Image) -> bool:
    """Returns whether a thumbnail shows something else than the image, cut by an editor."""
    # Frames that are not 4:3 have black bars in a thumbnail: the middle of it that has the image's
    # aspect, less a pixel.
    width, height = thumbnail.size
    scale = min(width / image.width, height / image.height)
    half = image.width * scale / 2 - 1, image.height * scale / 2 - 1
    box = width / 2 - half[0], height / 2 - half[1], width / 2 + half[0], height / 2 + half[1]
    small = thumbnail.resize(_THUMBNAIL, Image.Resampling.BOX, box=box)
    seen = image.convert("L").resize(_THUMBNAIL, Image.Resampling.BOX)
    pair = np.stack([np.asarray(each, np.float64).ravel() for each in (small, seen)])
    if pair.std(1).min() < 1:
        return False
    return float(np.asarray(np.corrcoef(pair))[0, 1]) < _MIN_CORRELATION
