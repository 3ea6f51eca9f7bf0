"""Crops of a photo: upright ones by antialiased resampling, rotated ones from a pyramid.

`jaxface.types.Crop` is the affine map between a photo and its crop.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.rendering.texture import halve, sample_image
from jaxface.types import Crop


def resample(image: Float[Array, "H W C"], crop: Crop) -> Float[Array, "S S C"]:
    """Returns the image of an upright crop, antialiased bilinear; outside the photo is zero.

    Differentiable in the image.
    """
    corner = crop.center - 0.5 * crop.side
    return jax.image.scale_and_translate(
        image,
        (crop.size, crop.size, image.shape[2]),
        (0, 1),
        jnp.stack([crop.scale, crop.scale]),
        -corner[::-1] * crop.scale,
        method="linear",
        antialias=True,
    )


def repeat_edge(
    padded: Float[Array, "H W C"], image_size: Float[Array, "2"]
) -> Float[Array, "H W C"]:
    """Returns a padded photo whose padding repeats the photo's last row and column.

    Args:
        padded: the photo in the upper left corner.
        image_size: true `(height, width)`, pixels.
    """
    rows = jnp.minimum(jnp.arange(padded.shape[0]), image_size[0].astype(jnp.int32) - 1)
    columns = jnp.minimum(jnp.arange(padded.shape[1]), image_size[1].astype(jnp.int32) - 1)
    return padded[rows][:, columns]


def pyramid(photo: Float[Array, "H W 3"], *, levels: int = 5) -> tuple[Array, ...]:
    """Returns the mip pyramid of a photo, each level half the size of the one before."""
    result = [photo]
    for _ in range(levels - 1):
        # The barrier keeps XLA from fusing all the halvings into every later lookup.
        result.append(jax.lax.optimization_barrier(halve(result[-1])))
    return tuple(result)


def sample(
    levels: tuple[Array, ...],
    image_size: Float[Array, "2"],
    crop: Crop,
    *,
    border: str = "replicate",
    mediapipe_sampling: bool = False,
) -> Float[Array, "S S 3"]:
    """Returns the image of a crop at any angle, by trilinear lookup in a pyramid.

    Differentiable in the levels.

    Args:
        levels: from `pyramid`, of the photo padded to any static size; one level means no filter.
        image_size: the photo's true `(height, width)`, pixels; the first level is not read outside.
        crop: the square that is sampled.
        border: `replicate` the photo's edge or fill with `zero`.
        mediapipe_sampling: without the half-pixel offset, as MediaPipe samples; for parity tests.
    """
    size = crop.size
    at = jnp.arange(size) + (0.0 if mediapipe_sampling else 0.5)
    grid = jnp.stack(jnp.meshgrid(at, at), axis=-1).reshape(-1, 2)
    position = crop.points_to_photo(grid) + (0.5 if mediapipe_sampling else 0.0)
    size_xy = image_size[::-1]
    inside = ((position > -0.5) & (position < size_xy + 0.5)).all(1)
    position = jnp.clip(position, 0.5, size_xy - 0.5)
    level = jnp.clip(jnp.log2(crop.side / size), 0.0, len(levels) - 1.0)
    values = jnp.zeros((len(grid), 3))
    for index, image in enumerate(levels):
        weight = jnp.maximum(0.0, 1.0 - jnp.abs(level - index))
        values = values + weight * sample_image(image, position / 2**index)
    if border == "zero":
        values = jnp.where(inside[:, None], values, 0.0)
    return values.reshape(size, size, 3)
