"""The square of a photo that is parsed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.landmarks.schemes import IBUG68, OUTER_EYES
from jaxface.types import Crop

SIZE = 384  # pixels a side
ENLARGED = 1.8  # its side over the longer side of the landmarks' box: the head and some margin


def parsing_crop(landmarks: Float[Array, "L D"]) -> Crop:
    """Returns the square around a face that is parsed, the eyes horizontal. No gradient passes.

    Args:
        landmarks: 478 or 68 in pixels, NaN where one is missing; x and y are used.
    """
    xy = jax.lax.stop_gradient(landmarks[:, :2])
    low, high = jnp.nanmin(xy, 0), jnp.nanmax(xy, 0)
    right, left = map(IBUG68.index, OUTER_EYES) if len(xy) == 68 else OUTER_EYES
    eyes = jnp.nan_to_num(xy[left] - xy[right])  # upright if an eye is missing
    side = ENLARGED * jnp.maximum(jnp.max(high - low), 1.0)
    angle = jnp.arctan2(eyes[1], eyes[0])
    return Crop(center=(low + high) / 2, side=side, angle=angle, size=SIZE)
