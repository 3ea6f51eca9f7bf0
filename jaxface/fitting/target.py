"""The input of the fit: a 256-pixel crop of the photo around the landmarks."""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from jaxface.rendering.crop import resample
from jaxface.types import Crop

CROP = 256
"""Side of the crop that the fit works on, pixels."""
CROP_MARGIN = 1.6
"""Its side in the photo over the longer side of the landmarks' bounding box."""
PRINCIPAL_SHIFT = 0.5
"""Where the principal point is taken to be if the focal length is not known, on the way from the
photo's centre (0) to the face's (1). Such a photo may be a crop: 0 is exact for whole frames, 1 for
a crop around the face of a frame that the face was in the centre of."""


@struct.dataclass
class FitTarget:
    """The input of the fit, in pixels of `crop`.

    Attributes:
        image: sRGB 0..1, and the probability of the face.
        landmarks: measured; a missing one is at the others' mean.
        present: 1 where a landmark was measured.
        principal: the camera's principal point, or the expected one (`PRINCIPAL_SHIFT`).
        log_focal: logarithm of the focal length; of its prior's median where it is not known.
        focal_known: whether the focal length was given.
        crop: the square of the photo.
    """

    image: Float[Array, "S S 4"]
    landmarks: Float[Array, "L 2"]
    present: Float[Array, " L"]
    principal: Float[Array, "2"]
    log_focal: Float[Array, ""]
    focal_known: Bool[Array, ""]
    crop: Crop


def fit_target(
    photo_srgb: Float[Array, "H W 3"],
    landmarks: Float[Array, "L D"],
    focal: float | Float[Array, ""] | None,
    face_mask: Float[Array, "H W"] | None,
    principal: Float[Array, "2"] | None,
    photo_size: float | Float[Array, ""] | None,
    usual_focal: float | Float[Array, ""],
) -> FitTarget:
    """Returns the input of the fit; arguments as those of `fit`."""
    height, width = photo_srgb.shape[:2]
    landmarks = jnp.asarray(landmarks, float)[:, :2]
    present = jnp.all(jnp.isfinite(landmarks), axis=1)
    landmarks = jnp.where(present[:, None], landmarks, jnp.nanmean(landmarks, axis=0))
    crop = crop_around(landmarks)
    mask = jnp.ones((height, width)) if face_mask is None else face_mask
    image = resample(jnp.concatenate([photo_srgb, mask[..., None]], axis=2), crop)
    centre = jnp.array([width / 2.0, height / 2.0]) if principal is None else principal
    side = max(height, width) if photo_size is None else photo_size
    focal = jnp.asarray(jnp.nan if focal is None else focal)
    known = jnp.isfinite(focal)
    median_focal = jnp.where(known, focal, usual_focal * side)
    shift = jnp.where(known, 0.0, PRINCIPAL_SHIFT)
    return FitTarget(
        image=image,
        landmarks=crop.points_to_crop(landmarks),
        present=present.astype(landmarks.dtype),
        principal=crop.points_to_crop(centre + shift * (crop.center - centre)),
        log_focal=jnp.log(median_focal * crop.scale),
        focal_known=known,
        crop=crop,
    )


def crop_around(landmarks: Float[Array, "L 2"]) -> Crop:
    """Returns the square of the photo around the landmarks (pixels) that the fit works on."""
    low, high = landmarks.min(0), landmarks.max(0)
    side = CROP_MARGIN * jnp.maximum(jnp.max(high - low), 1.0)
    return Crop((low + high) / 2, side, size=CROP)
