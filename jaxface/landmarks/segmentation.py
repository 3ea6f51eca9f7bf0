"""Person against background: MediaPipe's selfie segmentation as a pure function."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.landmarks.crops import Region, crop, from_photo, pyramid
from jaxface.landmarks.detector import pad_photo
from jaxface.landmarks.graph import run
from jaxface.landmarks.mesh import landmark_region
from jaxface.landmarks.networks import Networks
from jaxface.precision import jit
from jaxface.rendering.texture import sample_image

SIZE = 256
HEAD = 2.0  # side of the region around a head, in sides of the landmarks' own region


@jit
def segment_padded(
    photo: Float[Array, "H W 3"],
    extent: Float[Array, "2"],
    region: Region,
    networks: Networks,
) -> Float[Array, "H W"]:
    """Returns the probability of a person per pixel, 0 outside the region.

    Args:
      photo: sRGB 0..1, padded (`pad_photo`).
      extent: true `(height, width)`.
      region: the square that is looked at, with 256 x 256 pixels.
      networks: from `load_networks`.

    Differentiable with respect to the photo.
    """
    image = crop(pyramid(photo), extent, region, SIZE)
    network = networks.segmentation
    (mask,) = run(network.header(), network.weights, image[None])
    y, x = jnp.meshgrid(*(jnp.arange(n) + 0.5 for n in photo.shape[:2]), indexing="ij")
    local = from_photo(region, jnp.stack([x, y], axis=-1).reshape(-1, 2))
    inside = ((local >= 0) & (local <= 1)).all(1)
    values = jnp.where(inside, sample_image(mask[0], local * SIZE)[:, 0], 0.0)
    return values.reshape(photo.shape[:2])


def segment(
    photo_srgb: np.ndarray, networks: Networks, *, landmarks: np.ndarray | None = None
) -> Float[Array, "H W"]:
    """Returns the probability of a person for each pixel of a photo. Host function.

    Args:
      photo_srgb: `[H, W, 3]`, sRGB 0..1.
      networks: from `load_networks`.
      landmarks: `[L, 2 or 3]` in pixels; if given, only the square around that head is looked at,
        which is finer, and the rest is 0.

    Source: MediaPipe Selfie Segmentation (general), model card of 2021.

    Example:
      >>> from jaxface.landmarks.networks import load_networks
      >>> segment(np.zeros((64, 48, 3), np.float32), load_networks()).shape
      (64, 48)
    """
    photo, extent = pad_photo(np.asarray(photo_srgb, np.float32))
    if landmarks is None:
        region = Region(extent[::-1] / 2, jnp.max(extent), jnp.zeros(()))
    else:
        region = landmark_region(jnp.asarray(landmarks, jnp.float32))
        region = Region(region.center, HEAD * region.side, jnp.zeros(()))
    height, width = photo_srgb.shape[:2]
    return segment_padded(photo, extent, region, networks)[:height, :width]
