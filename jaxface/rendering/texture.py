"""Sampling of images and textures: bilinear, and trilinear between the levels of a pyramid."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def sample_image(image: Float[Array, "H W C"], xy: Float[Array, "*N 2"]) -> Float[Array, "*N C"]:
    """Returns the image at pixel coordinates, bilinear, the border replicated.

    Differentiable in the image and, away from pixel centres, in the coordinates.

    Args:
        image: any channels.
        xy: `(x, y)`; the centre of the top-left pixel is (0.5, 0.5).

    Example:
        >>> sample_image(jnp.arange(4.0).reshape(1, 4, 1), jnp.array([2.0, 0.5])).item()
        1.5
    """
    height, width = image.shape[:2]
    place = jnp.clip(xy - 0.5, 0.0, jnp.array([width - 1.0, height - 1.0], xy.dtype))
    corner = jnp.floor(place)
    fx, fy = (place - corner)[..., 0:1], (place - corner)[..., 1:2]
    x, y = corner[..., 0].astype(jnp.int32), corner[..., 1].astype(jnp.int32)
    right, below = jnp.minimum(x + 1, width - 1), jnp.minimum(y + 1, height - 1)
    top = image[y, x] * (1 - fx) + image[y, right] * fx
    bottom = image[below, x] * (1 - fx) + image[below, right] * fx
    return top * (1 - fy) + bottom * fy


def sample_texture(
    texture: Float[Array, "T S C"], uv: Float[Array, "*N 2"]
) -> Float[Array, "*N C"]:
    """Returns the texture at UV coordinates, bilinear, the border replicated.

    Differentiable in the texture and, away from texel centres, in the coordinates.

    Args:
        texture: any channels; row 0 is the top, v = 1.
        uv: origin at the bottom left, 0..1.

    Example:
        >>> sample_texture(jnp.eye(2)[..., None], jnp.array([0.25, 0.75])).item()
        1.0
    """
    height, width = texture.shape[:2]
    xy = jnp.stack([uv[..., 0] * width, (1.0 - uv[..., 1]) * height], axis=-1)
    return sample_image(texture, xy)


def halve(image: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
    """Returns the image at half the size, the mean of 2 x 2 pixels; an odd border is replicated."""
    height, width, channels = image.shape
    image = jnp.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return image.reshape((height + 1) // 2, 2, (width + 1) // 2, 2, channels).mean(axis=(1, 3))


def sample_pyramid(
    image: Float[Array, "H W C"],
    xy: Float[Array, "*N 2"],
    footprint: Float[Array, "*N"],
    *,
    levels: int,
) -> Float[Array, "*N C"]:
    """Returns the image averaged over about `footprint` pixels, trilinear in a pyramid.

    Differentiable in the image, the coordinates and the footprint.

    Args:
        image: any channels.
        xy: pixel coordinates in the full image.
        footprint: width in pixels of what one sample stands for; 1 and less is bilinear.
        levels: of the pyramid, the full image included.

    Example:
        >>> checker = jnp.indices((4, 4)).sum(0)[..., None] % 2 * 1.0
        >>> sample_pyramid(checker, jnp.array([2.0, 2.0]), jnp.array(2.0), levels=2).item()
        0.5
    """
    level = jnp.clip(jnp.log2(jnp.maximum(footprint, 1.0)), 0.0, levels - 1.0)[..., None]
    total = jnp.zeros((*xy.shape[:-1], image.shape[-1]), image.dtype)
    for index in range(levels):
        weight = jnp.maximum(0.0, 1.0 - jnp.abs(level - index))
        total = total + weight * sample_image(image, xy / 2**index)
        image = halve(image)
    return total
