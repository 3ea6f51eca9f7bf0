"""Constancy: what changes of a result when the same photo is taken or stored in another way."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image

from jaxface.errors import DetectionError
from jaxface.evaluation.color_difference import ciede2000, lab, typology_angle
from jaxface.evaluation.scene import decode_srgb, encode_srgb
from jaxface.images import Photo, to_bytes

MIRRORED = "mirrored"
_JPEG = 50  # quality


@dataclass(frozen=True)
class Appearance:
    """What is compared: mean low-frequency albedo of the front's skin, linear RGB, and vertices,
    metres. The albedo decides a result's tone, and needs no texture to be composed."""

    albedo: Float[np.ndarray, "3"]
    vertices: Float[np.ndarray, "V 3"]


def _gain(*factors: float) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the change of a photo whose linear channels are multiplied and clipped."""
    return lambda srgb: encode_srgb(np.clip(decode_srgb(srgb) * np.array(factors), 0, 1))


def _gamma(power: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda srgb: srgb**power


def half_size(srgb: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w 3"]:
    """Returns a photo of half as many pixels a side."""
    height, width = srgb.shape[:2]
    small = Image.fromarray(to_bytes(srgb)).resize((width // 2, height // 2), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / 255


def jpeg(srgb: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W 3"]:
    """Returns a photo after JPEG of quality 50."""
    stream = io.BytesIO()
    Image.fromarray(to_bytes(srgb)).save(stream, "JPEG", quality=_JPEG)
    return np.asarray(Image.open(stream), np.float32) / 255


VARIANTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exposure x 0.5": _gain(0.5),
    "exposure x 1.5": _gain(1.5),
    "white balance warm": _gain(1.15, 1, 0.85),
    "white balance cold": _gain(0.85, 1, 1.15),
    "gamma 0.9": _gamma(0.9),
    "gamma 1.1": _gamma(1.1),
    "half size": half_size,
    "JPEG 50": jpeg,
    MIRRORED: lambda srgb: srgb[:, ::-1],
}
"""Changes of an sRGB photo by name. Exposure and white balance (red and blue by 15 per cent, one up
and one down) are of linear light, gamma is of sRGB."""


def vary(photo: Photo, name: str) -> Photo:
    """Returns a photo changed as one of `VARIANTS`."""
    srgb = np.ascontiguousarray(VARIANTS[name](photo.srgb), np.float32)
    ratio = srgb.shape[1] / photo.srgb.shape[1]
    focal = None if photo.focal is None else photo.focal * ratio
    return replace(photo, srgb=srgb, focal=focal)


def changes(
    first: Appearance,
    second: Appearance,
    front: Bool[np.ndarray, " V"],
    mirror: Int[np.ndarray, " V"] | None = None,
) -> dict[str, float]:
    """Returns CIEDE2000 of the mean albedos, the change of the typology angle in degrees, and the
    mean distance of vertices in millimetres.

    Args:
        first: of the photo.
        second: of the changed photo.
        front: vertices that count.
        mirror: index of each vertex's mirror image, if the second is to be mirrored back.
    """
    vertices = second.vertices
    if mirror is not None:
        vertices = vertices[mirror] * [-1, 1, 1]
    albedos = first.albedo, second.albedo
    angles = [typology_angle(albedo) for albedo in albedos]
    distance = np.linalg.norm(vertices - first.vertices, axis=1)[front]
    return {
        "CIEDE2000": float(ciede2000(*(lab(albedo) for albedo in albedos))),
        "typology degrees": float(abs(angles[1] - angles[0])),
        "vertices mm": 1e3 * float(distance.mean()),
    }


def constancy(
    photo: Photo,
    first: Appearance,
    look: Callable[[Photo], Appearance],
    front: Bool[np.ndarray, " V"],
    mirror: Int[np.ndarray, " V"],
) -> dict[str, dict[str, float]]:
    """Returns `changes` by name of the variant; none where the variant shows no face.

    Args:
        photo: as it is.
        first: its result.
        look: observes a photo.
        front: vertices that count.
        mirror: index of each vertex's mirror image.
    """
    result: dict[str, dict[str, float]] = {}
    for name in VARIANTS:
        try:
            second = look(vary(photo, name))
        except DetectionError:
            result[name] = {}
            continue
        result[name] = changes(first, second, front, mirror if name == MIRRORED else None)
    return result
