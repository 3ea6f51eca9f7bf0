"""The square of a photo around a face, at a standard size: what the chain of stages takes."""

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
from jaxface.unwrapping.exposure import SKIN

# The square's side in sides of the landmarks' own crop, and its pixels a side.
HEAD, WORKING_SIZES = 1.7, (512, 1024)
_GREY = 2 / 255  # mean spread of the channels, sRGB, up to which a photo has no colours


def crop_face(
    photo_srgb: Float[np.ndarray | Array, "H W 3"],
    landmarks: Float[np.ndarray | Array, "L D"],
    *,
    blendshapes: Float[np.ndarray | Array, "52"] | None = None,
    focal: float | None = None,
) -> FaceCrop:
    """Returns a face of a photo as the stages take it. Host function.

    The square has 512 or 1024 pixels a side, whichever shows all that the photo does, so that
    programs are few. That of a photo without colours gets the hue of average skin: the face would
    be ashen otherwise.

    Args:
        photo_srgb: 0..1.
        landmarks: 478, 468 or 68 points in pixels; NaN where one is missing.
        blendshapes: `Detection.blendshapes`, 0..1.
        focal: focal length in pixels, where it is known.

    Raises:
        InputError: the photo is too large, the number of landmarks is not one that is known, or
            fewer than three are there.

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
    """Returns what `crop_face` does of a photo that is on the device already. Host function.

    Args:
        photo: sRGB 0..1, padded (`pad_photo`).
        extent: true `(height, width)`, pixels, as `pad_photo` returns it.
        shape: the same on the host.
        landmarks: as for `crop_face`.
        blendshapes: as for `crop_face`.
        focal: as for `crop_face`.

    Raises:
        InputError: as `crop_face`.
    """
    points = with_irises(np.asarray(landmarks, np.float32)[:, :2])
    if len(points) not in (478, 68):
        raise InputError(f"There are {len(points)} landmarks; 478, 468 or 68 are used.")
    there = points[np.isfinite(points).all(1)]
    if len(there) < 3:
        raise InputError(f"Only {len(there)} landmarks are there; a fit needs three and more.")
    low, high = there.min(0), there.max(0)
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
    """Returns the crop of a padded photo, whose border is repeated. Differentiable in the photo."""
    return _coloured(jnp.clip(resample(repeat_edge(photo, extent), crop), 0.0, 1.0))


def _coloured(square: Float[Array, "S S 3"]) -> Float[Array, "S S 3"]:
    """Returns a grey square at the same luminance in the hue of skin, any other as it is."""
    spread = jnp.mean(jnp.max(square, -1) - jnp.min(square, -1))
    skin = jnp.exp(jnp.asarray(SKIN))
    level = luminance(srgb_to_linear(square))[..., None]
    tinted = linear_to_srgb(jnp.clip(level * skin / luminance(skin), 0.0, 1.0))
    return jnp.where(spread > _GREY, square, tinted)
