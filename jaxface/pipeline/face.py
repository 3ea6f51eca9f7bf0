"""A face of a photo at a standard size: what the stages take. Host code around one jitted cut."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.errors import InputError
from jaxface.landmarks.detector import pad_photo
from jaxface.landmarks.mesh import ENLARGE
from jaxface.precision import jit
from jaxface.pytrees import pytree
from jaxface.rendering.color import linear_to_srgb, luminance, srgb_to_linear
from jaxface.types import FitResult
from jaxface.unwrapping.exposure import SKIN

# The face's square of the photo, in sides of the landmarks' region, and its pixels a side.
HEAD, WORKING_SIZES = 1.7, (512, 1024)
_GREY = 2 / 255  # mean spread of the channels up to which a photo has no colours


@pytree
class Face:
    """The square of a photo around a face, at a standard size, so that compilations are few.

    All pixels but `corner` are the square's; a point of the photo is `(point / scale) + corner`.
    What is not known has a neutral value, not another type: faces of one size stack.

    Attributes:
        srgb: the square, 0..1.
        corner: of the square, in the photo.
        scale: pixels of the square a pixel of the photo.
        landmarks: NaN where one is missing.
        blendshapes: of the detector; zeros where there are none.
        focal: NaN where it is not known.
        center: the photo's.
        longest: the photo's longer side.
    """

    srgb: Float[Array, "S S 3"]
    corner: Float[Array, "2"]
    scale: Float[Array, ""]
    landmarks: Float[Array, "L 2"]
    blendshapes: Float[Array, "52"]
    focal: Float[Array, ""]
    center: Float[Array, "2"]
    longest: Float[Array, ""]


def prepare_face(
    photo_srgb: Float[np.ndarray | Array, "H W 3"],
    landmarks: Float[np.ndarray | Array, "L D"],
    *,
    blendshapes: Float[Array, "52"] | None = None,
    focal: float | None = None,
) -> Face:
    """Returns a face as the stages take it. Host function.

    The square has 512 or 1024 pixels a side, whichever shows all that the photo does. That of a
    photo without colours gets the hue of average skin: the face would be ashen otherwise.

    Args:
        photo_srgb: 0..1.
        landmarks: 478 or 68 points in pixels; NaN where one is missing.
        blendshapes: `Detection.blendshapes`, 0..1.
        focal: focal length in pixels, where it is known.

    Raises:
        InputError: the photo is too large, the number of landmarks is not one that is known, or
            fewer than three are there.

    Example:
        >>> points = np.random.default_rng(0).uniform(20, 60, (478, 2))
        >>> prepare_face(np.zeros((80, 90, 3)), points).srgb.shape
        (512, 512, 3)
    """
    points = np.asarray(landmarks, np.float32)[:, :2]
    if len(points) not in (478, 68):
        raise InputError(f"There are {len(points)} landmarks; 478 or 68 are used.")
    there = points[np.isfinite(points).all(1)]
    if len(there) < 3:
        raise InputError(f"Only {len(there)} landmarks are there; a fit needs three and more.")
    low, high = there.min(0), there.max(0)
    side = HEAD * ENLARGE * max(float((high - low).max()), 1.0)
    size = next((s for s in WORKING_SIZES if s >= side), WORKING_SIZES[-1])
    scale = np.float32(min(size / side, 1.0))
    corner = (0.5 * (low + high) - 0.5 * size / scale).astype(np.float32)
    padded, extent = pad_photo(np.asarray(photo_srgb, np.float32))
    height, width = photo_srgb.shape[:2]
    return Face(
        srgb=_coloured(_cut(padded, extent, corner, scale, size=size)),
        corner=jnp.asarray(corner),
        scale=jnp.asarray(scale),
        landmarks=jnp.asarray((points - corner) * scale),
        blendshapes=jnp.zeros(52) if blendshapes is None else jnp.asarray(blendshapes),
        focal=jnp.asarray(math.nan if focal is None else focal * scale, jnp.float32),
        center=jnp.asarray((np.array([width / 2.0, height / 2.0], np.float32) - corner) * scale),
        longest=jnp.asarray(max(height, width) * scale, jnp.float32),
    )


@partial(jit, static_argnames="size")
def _cut(
    photo: Float[Array, "H W 3"],
    extent: Float[Array, "2"],
    corner: Float[Array, "2"],
    scale: Float[Array, ""],
    *,
    size: int,
) -> Float[Array, "S S 3"]:
    """Returns a square of a padded photo, resampled without aliasing. Differentiable in it."""
    # Beyond the photo's true border, repeat it: the padding is black.
    height, width = extent
    rows = jnp.minimum(jnp.arange(photo.shape[0]), height.astype(jnp.int32) - 1)
    columns = jnp.minimum(jnp.arange(photo.shape[1]), width.astype(jnp.int32) - 1)
    image = jax.image.scale_and_translate(
        photo[rows][:, columns],
        (size, size, 3),
        (0, 1),
        jnp.stack([scale, scale]),
        -corner[::-1] * scale,
        "linear",
        antialias=True,
    )
    return jnp.clip(image, 0.0, 1.0)


def _coloured(square: Float[Array, "S S 3"]) -> Float[Array, "S S 3"]:
    """Returns a grey square at the same luminance in the hue of skin, any other as it is."""
    if float(jnp.mean(jnp.max(square, -1) - jnp.min(square, -1))) > _GREY:
        return square
    skin = jnp.exp(jnp.asarray(SKIN))
    level = luminance(srgb_to_linear(square))[..., None]
    return linear_to_srgb(jnp.clip(level * skin / luminance(skin), 0.0, 1.0))


@jit
def in_photo(fitted: FitResult, face: Face) -> FitResult:
    """Returns a fit of the square with camera and landmarks in pixels of the whole photo."""
    parameters = fitted.parameters
    camera = parameters.camera
    camera = camera.replace(
        focal=camera.focal / face.scale, principal=camera.principal / face.scale + face.corner
    )
    return fitted.replace(
        parameters=parameters.replace(camera=camera),
        landmarks=fitted.landmarks / face.scale + face.corner,
    )
