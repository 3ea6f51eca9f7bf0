"""Crops of a photo: an upright one resampled without aliasing, a turned one from a pyramid.

`jaxface.types.Crop` is the affine map between a photo and its crop.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.rendering.texture import halve, sample_image
from jaxface.types import Crop


def resample(image: Float[Array, "H W C"], crop: Crop) -> Float[Array, "S S C"]:
    """Returns the pixels of an upright crop, bilinear without aliasing; outside is zero.

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


def repeat_edge(padded: Float[Array, "H W C"], extent: Float[Array, "2"]) -> Float[Array, "H W C"]:
    """Returns a padded photo whose padding repeats the photo's last row and column.

    Args:
        padded: the photo in the upper left corner.
        extent: true `(height, width)`.
    """
    rows = jnp.minimum(jnp.arange(padded.shape[0]), extent[0].astype(jnp.int32) - 1)
    columns = jnp.minimum(jnp.arange(padded.shape[1]), extent[1].astype(jnp.int32) - 1)
    return padded[rows][:, columns]


def pyramid(photo: Float[Array, "H W 3"], *, levels: int = 5) -> tuple[Array, ...]:
    """Returns the photo and its halves, so that large crops are sampled without aliasing."""
    result = [photo]
    for _ in range(levels - 1):
        # The barrier keeps XLA from fusing all the halvings into every later lookup.
        result.append(jax.lax.optimization_barrier(halve(result[-1])))
    return tuple(result)


def sample(
    levels: tuple[Array, ...],
    extent: Float[Array, "2"],
    crop: Crop,
    *,
    border: str = "replicate",
    biased: bool = False,
) -> Float[Array, "S S 3"]:
    """Returns the pixels of a crop at any angle, bilinear and between two levels of a pyramid.

    Differentiable in the levels.

    Args:
        levels: from `pyramid`, of the photo padded to any static size; one level means no filter.
        extent: the photo's true `(height, width)`; nothing outside is read from the first level.
        crop: where to look.
        border: `replicate` the photo's edge or fill with `zero`.
        biased: sample without the half-pixel offset, as MediaPipe does; for parity tests only.
    """
    size = crop.size
    at = jnp.arange(size) + (0.0 if biased else 0.5)
    grid = jnp.stack(jnp.meshgrid(at, at), axis=-1).reshape(-1, 2)
    place = crop.points_to_photo(grid) + (0.5 if biased else 0.0)
    far = extent[::-1]
    inside = ((place > -0.5) & (place < far + 0.5)).all(1)
    place = jnp.clip(place, 0.5, far - 0.5)
    level = jnp.clip(jnp.log2(crop.side / size), 0.0, len(levels) - 1.0)
    values = jnp.zeros((len(grid), 3))
    for index, image in enumerate(levels):
        weight = jnp.maximum(0.0, 1.0 - jnp.abs(level - index))
        values = values + weight * sample_image(image, place / 2**index)
    if border == "zero":
        values = jnp.where(inside[:, None], values, 0.0)
    return values.reshape(size, size, 3)
