"""Segmentation of the person: MediaPipe's selfie segmentation as a pure function."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.landmarks.detector import pad_photo
from jaxface.landmarks.graph import apply
from jaxface.landmarks.mesh import landmark_crop
from jaxface.precision import jit
from jaxface.rendering.crop import pyramid, sample
from jaxface.rendering.texture import sample_image
from jaxface.types import Crop, Networks

SIZE = 256
HEAD_SCALE = 2.0  # side of the crop around a head over that of `landmark_crop`


@jit
def segment_padded(
    photo: Float[Array, "H W 3"],
    image_size: Float[Array, "2"],
    crop: Crop,
    networks: Networks,
) -> Float[Array, "H W"]:
    """Returns the probability of a person per pixel, 0 outside the crop.

    Differentiable with respect to the photo.

    Args:
      photo: sRGB 0..1, padded (`pad_photo`).
      image_size: true `(height, width)`, pixels.
      crop: the square that is segmented, at 256 x 256 pixels.
      networks: from `load_networks`.
    """
    image = sample(pyramid(photo), image_size, crop)
    (mask,) = apply(networks.segmentation, image[None])
    y, x = jnp.meshgrid(*(jnp.arange(n) + 0.5 for n in photo.shape[:2]), indexing="ij")
    crop_xy = crop.points_to_crop(jnp.stack([x, y], axis=-1))
    inside = jnp.all((crop_xy >= 0) & (crop_xy <= SIZE), axis=-1)
    return jnp.where(inside, sample_image(mask[0], crop_xy)[..., 0], 0.0)


def segment(
    photo_srgb: np.ndarray, networks: Networks, *, landmarks: np.ndarray | None = None
) -> Float[Array, "H W"]:
    """Returns the probability of a person for each pixel of a photo. Host function.

    Args:
      photo_srgb: `[H, W, 3]`, sRGB 0..1.
      networks: from `load_networks`.
      landmarks: `[L, 2 or 3]` in pixels; if given, only the square around that head is segmented,
        at a higher resolution, and the rest is 0.

    Source: MediaPipe Selfie Segmentation (general), model card of 2021.

    Example:
      >>> from jaxface.landmarks.networks import load_networks
      >>> segment(np.zeros((64, 48, 3), np.float32), load_networks()).shape
      (64, 48)
    """
    photo, image_size = pad_photo(np.asarray(photo_srgb, np.float32))
    if landmarks is None:
        crop = Crop(image_size[::-1] / 2, jnp.max(image_size), size=SIZE)
    else:
        face = landmark_crop(jnp.asarray(landmarks, jnp.float32))
        crop = Crop(face.center, HEAD_SCALE * face.side, size=SIZE)
    height, width = photo_srgb.shape[:2]
    return segment_padded(photo, image_size, crop, networks)[:height, :width]
