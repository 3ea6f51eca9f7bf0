"""Crops: the square of a photo around a face at a standard size, the input of the stages."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.errors import InputError
from jaxface.landmarks.detector import pad_photo
from jaxface.landmarks.mesh import ENLARGE
from jaxface.landmarks.schemes import with_irises
from jaxface.precision import jit
from jaxface.rendering.color import linear_to_srgb, luminance, srgb_to_linear
from jaxface.rendering.crop import repeat_edge, resample
from jaxface.types import Crop, FaceCrop
from jaxface.unwrapping.exposure import MEAN_SKIN

HEAD = 1.7  # side of the square over that of the landmark network's crop: the head and some margin
WORKING_SIZES = (512, 1024)  # pixels a side
_GREY = 2 / 255  # sRGB; greatest mean of max - min over the channels of a greyscale photo


def crop_face(
    photo_srgb: Float[np.ndarray | Array, "H W 3"],
    landmarks: Float[np.ndarray | Array, "L D"],
    *,
    blendshapes: Float[np.ndarray | Array, "52"] | None = None,
    focal: float | None = None,
) -> FaceCrop:
    """Returns the square around a face, the input of the stages. Host function.

    It has 512 pixels a side or, if that would lower the photo's resolution, 1024; two sizes, so
    that few programs are compiled. A greyscale photo gets the hue of average skin at the same
    luminance: the face would be grey otherwise.

    Args:
        photo_srgb: 0..1.
        landmarks: 478, 468 or 68 points in pixels; NaN where one is missing.
        blendshapes: `Detection.blendshapes`, 0..1.
        focal: focal length in pixels, if it is known.

    Raises:
        InputError: the photo is too large, there are not 478, 468 or 68 landmarks, or fewer than
            three of them are not NaN.

    Example:
        >>> points = np.random.default_rng(0).uniform(20, 60, (478, 2))
        >>> crop_face(np.zeros((80, 90, 3)), points).srgb.shape
        (512, 512, 3)
    """
    padded, extent = pad_photo(np.asarray(photo_srgb, np.float32))
    height, width = photo_srgb.shape[:2]
    return crop_padded(
        padded, extent, (height, width), landmarks, blendshapes=blendshapes, focal=focal
    )


def crop_padded(
    photo: Float[Array, "H W 3"],
    extent: Float[Array, "2"],
    shape: tuple[int, int],
    landmarks: Float[np.ndarray | Array, "L D"],
    *,
    blendshapes: Float[np.ndarray | Array, "52"] | None = None,
    focal: float | None = None,
) -> FaceCrop:
    """Returns the same as `crop_face`, of a padded photo on the device. Host function.

    Args:
        photo: sRGB 0..1, padded (`pad_photo`).
        extent: true `(height, width)`, pixels, as `pad_photo` returns it.
        shape: the same as Python integers.
        landmarks: as for `crop_face`.
        blendshapes: as for `crop_face`.
        focal: as for `crop_face`.

    Raises:
        InputError: as `crop_face`.
    """
    points = with_irises(np.asarray(landmarks, np.float32)[:, :2])
    if len(points) not in (478, 68):
        raise InputError(f"There are {len(points)} landmarks; 478, 468 or 68 are used.")
    finite = points[np.isfinite(points).all(1)]
    if len(finite) < 3:
        raise InputError(f"Only {len(finite)} landmarks are there; a fit needs three and more.")
    low, high = finite.min(0), finite.max(0)
    side = HEAD * ENLARGE * max(float((high - low).max()), 1.0)
    size = next((s for s in WORKING_SIZES if s >= side), WORKING_SIZES[-1])
    scale = np.float32(min(size / side, 1.0))
    corner = (0.5 * (low + high) - 0.5 * size / scale).astype(np.float32)
    height, width = shape
    crop = Crop(jnp.asarray(0.5 * (low + high)), jnp.asarray(size / scale), size=size)
    return FaceCrop(
        srgb=_cut(photo, extent, crop),
        crop=crop,
        landmarks=jnp.asarray((points - corner) * scale),
        blendshapes=jnp.zeros(52) if blendshapes is None else jnp.asarray(blendshapes),
        focal=jnp.asarray(math.nan if focal is None else focal * scale, jnp.float32),
        principal=jnp.asarray((np.array([width / 2.0, height / 2.0], np.float32) - corner) * scale),
        photo_side=jnp.asarray(max(height, width) * scale, jnp.float32),
    )


@jit
def _cut(
    photo: Float[Array, "H W 3"], extent: Float[Array, "2"], crop: Crop
) -> Float[Array, "S S 3"]:
    """Returns the crop of a padded photo, edge pixels repeated. Differentiable in the photo."""
    return _tinted(jnp.clip(resample(repeat_edge(photo, extent), crop), 0.0, 1.0))


def _tinted(square: Float[Array, "S S 3"]) -> Float[Array, "S S 3"]:
    """Returns a greyscale square in the hue of skin at the same luminance, any other unchanged."""
    spread = jnp.mean(jnp.max(square, -1) - jnp.min(square, -1))
    skin = jnp.asarray(MEAN_SKIN, jnp.float32)
    level = luminance(srgb_to_linear(square))[..., None]
    tinted = linear_to_srgb(jnp.clip(level * skin / luminance(skin), 0.0, 1.0))
    return jnp.where(spread > _GREY, square, tinted)
