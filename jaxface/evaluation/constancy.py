"""Constancy: what changes of a result when the same photo is taken, framed or stored in another
way."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image
from scipy.spatial.transform import Rotation

from jaxface.errors import DetectionError
from jaxface.evaluation.color_difference import ciede2000, lab, typology_angle
from jaxface.evaluation.scene import decode_srgb, encode_srgb
from jaxface.images import MAX_SIDE, Photo, to_bytes
from jaxface.morphable.surface import similarity

MIRRORED = "mirrored"
RESIZED = ("half size", "double size")
OFF_AXIS = "17 degrees off axis"
CROPPED = "cropped"
_JPEG = 50  # quality
_ANGLE = math.radians(17)
_FOCAL = 1.5  # of a photo that tells none, in its longer side
_CUT = 0.12  # of each side
_SEEN = 0.5  # skin mask from which a texel is compared


@dataclass(frozen=True)
class Appearance:
    """What is compared; none of it needs a texture to be composed.

    Attributes:
        albedo: mean low-frequency albedo of the front's skin, linear RGB: the result's tone.
        vertices: metres.
        texture: albedo of the visible texels, linear RGB.
        skin: visible skin, 0..1.
    """

    albedo: Float[np.ndarray, "3"]
    vertices: Float[np.ndarray, "V 3"]
    texture: Float[np.ndarray, "T T 3"]
    skin: Float[np.ndarray, "T T"]


def _gain(*factors: float) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the change of a photo whose linear channels are multiplied and clipped."""
    return lambda srgb: encode_srgb(np.clip(decode_srgb(srgb) * np.array(factors), 0, 1))


def _gamma(power: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda srgb: srgb**power


def half_size(srgb: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w 3"]:
    """Returns a photo of half as many pixels a side."""
    return _resized(srgb, 0.5, Image.Resampling.BOX)


def double_size(srgb: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w 3"]:
    """Returns a photo of twice as many pixels a side, or as many as a photo may have."""
    return _resized(srgb, min(2.0, MAX_SIDE / max(srgb.shape[:2])), Image.Resampling.BICUBIC)


def _resized(
    srgb: Float[np.ndarray, "H W 3"], factor: float, filter: Image.Resampling
) -> Float[np.ndarray, "h w 3"]:
    height, width = (int(factor * n) for n in srgb.shape[:2])
    resized = Image.fromarray(to_bytes(srgb)).resize((width, height), filter)
    return np.asarray(resized, np.float32) / 255


def _placed(srgb: Float[np.ndarray, "H W 3"], side: int, at: float) -> Float[np.ndarray, "S S 3"]:
    """Returns a photo in a square frame, its edge repeated: at the upper left corner for `at` 0,
    in the centre for 0.5, at the lower right corner for 1."""
    before = [int(at * (side - n)) for n in srgb.shape[:2]]
    pads = [(b, side - n - b) for b, n in zip(before, srgb.shape[:2], strict=True)]
    return np.pad(srgb, (*pads, (0, 0)), mode="edge")


def _in_wider_frame(at: float) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the change of a photo that is put into a frame of twice its longer side."""
    return lambda srgb: _placed(srgb, min(2 * max(srgb.shape[:2]), MAX_SIDE), at)


def _turned(degrees: float) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the change of a photo that is turned anticlockwise, in a frame that holds it."""

    def turn(srgb: np.ndarray) -> np.ndarray:
        side = min(math.ceil(math.hypot(*srgb.shape[:2])), MAX_SIDE)
        picture = Image.fromarray(to_bytes(_placed(srgb, side, 0.5)))
        return np.asarray(picture.rotate(degrees, Image.Resampling.BICUBIC), np.float32) / 255

    return turn


def off_axis(
    srgb: Float[np.ndarray, "H W 3"], focal: float | None = None
) -> Float[np.ndarray, "S S 3"]:
    """Returns the photo that the camera takes when it is turned by 17 degrees, so that what was in
    the middle lies to the lower right of it, in a frame of twice the longer side.

    A turn of the camera about its centre is a homography, K R K^-1.

    Args:
        srgb: whole frame.
        focal: focal length in pixels; 1.5 times the longer side if it is not known.
    """
    side = min(2 * max(srgb.shape[:2]), MAX_SIDE)
    focal = focal or _FOCAL * max(srgb.shape[:2])
    wide = side + 2 * int(focal * math.tan(_ANGLE))  # holds what the turned camera sees but corners
    axis = np.array([1.0, -1.0, 0.0]) / math.sqrt(2) * _ANGLE
    turn = Rotation.from_rotvec(axis).as_matrix()
    inner, outer = (
        np.array([[focal, 0, n / 2], [0, focal, n / 2], [0, 0, 1.0]]) for n in (side, wide)
    )
    back = outer @ turn @ np.linalg.inv(inner)  # from the turned camera's pixels
    picture = Image.fromarray(to_bytes(_placed(srgb, wide, 0.5)))
    turned = picture.transform(
        (side, side),
        Image.Transform.PERSPECTIVE,
        (back / back[2, 2]).ravel()[:8].tolist(),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(turned, np.float32) / 255


def _cropped(srgb: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w 3"]:
    """Returns the photo without its left and lower edge."""
    height, width = srgb.shape[:2]
    return srgb[: height - int(_CUT * height), int(_CUT * width) :]


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
    "double size": double_size,
    "turned 30": _turned(30.0),
    "turned 90": lambda srgb: np.rot90(srgb),
    "turned 180": lambda srgb: srgb[::-1, ::-1],
    "wider frame": _in_wider_frame(0.5),
    "corner": _in_wider_frame(1.0),
    OFF_AXIS: off_axis,
    CROPPED: _cropped,
}
"""Changes of an sRGB photo by name. Exposure and white balance (red and blue by 15 per cent, one up
and one down) are of linear light, gamma is of sRGB; turned by degrees; in the centre and the corner
of a frame of twice the photo's side: a crop pasted elsewhere, with the perspective of the middle;
off axis: as the turned camera shows it; cropped: without an eighth at the left and below."""


def vary(photo: Photo, name: str) -> Photo:
    """Returns a photo changed as one of `VARIANTS`."""
    if name == OFF_AXIS:
        return replace(photo, srgb=off_axis(photo.srgb, photo.focal))
    srgb = np.ascontiguousarray(VARIANTS[name](photo.srgb), np.float32)
    if name == CROPPED:  # of which EXIF's focal length is not used
        return replace(photo, srgb=srgb, focal=None)
    ratio = srgb.shape[1] / photo.srgb.shape[1] if name in RESIZED else 1.0
    focal = None if photo.focal is None else photo.focal * ratio
    return replace(photo, srgb=srgb, focal=focal)


def changes(
    first: Appearance,
    second: Appearance,
    front: Bool[np.ndarray, " V"],
    mirror: Int[np.ndarray, " V"] | None = None,
) -> dict[str, float]:
    """Returns CIEDE2000 of the mean albedos, the change of the typology angle in degrees, the mean
    distance of vertices in millimetres after the best rigid motion, and the mean absolute
    difference of the albedo in sRGB levels of 255 on texels of which both photos show the skin.

    Args:
        first: of the photo.
        second: of the changed photo.
        front: vertices that count.
        mirror: index of each vertex's mirror image, if the second is to be mirrored back.
    """
    if mirror is not None:
        second = replace(
            second,
            vertices=second.vertices[mirror] * [-1, 1, 1],
            texture=second.texture[:, ::-1],
            skin=second.skin[:, ::-1],
        )
    source, target = second.vertices[front], first.vertices[front]
    rotation, _, shift = similarity(source, target, scale=False)
    both = np.minimum(first.skin, second.skin) > _SEEN
    levels = [255 * encode_srgb(one.texture[both]) for one in (first, second)]
    albedos = first.albedo, second.albedo
    angles = [typology_angle(albedo) for albedo in albedos]
    distance = np.linalg.norm(source @ rotation.T + shift - target, axis=1)
    return {
        "CIEDE2000": float(ciede2000(*(lab(albedo) for albedo in albedos))),
        "typology degrees": float(abs(angles[1] - angles[0])),
        "vertices mm": 1e3 * float(distance.mean()),
        "albedo levels": float(np.abs(levels[1] - levels[0]).mean()) if both.any() else math.nan,
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
