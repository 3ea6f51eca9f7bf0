"""Sampling of images and textures: bilinear, and trilinear in a mip pyramid.

Williams, *Pyramidal Parametrics* (SIGGRAPH 1983).
"""

from __future__ import annotations

import itertools
import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxface.precision import jit

SPLINE_VARIANCE = 1 / 3
"""Of the cubic B-spline of `sample_spline`, along each axis, pixels squared."""


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
    height, width, channels = image.shape
    return _bilinear(image.reshape(-1, channels), jnp.array([width, height]), jnp.array(0), xy)


def sample_spline(image: Float[Array, "H W C"], xy: Float[Array, "*N 2"]) -> Float[Array, "*N C"]:
    """Returns the cubic B-spline whose coefficients are the pixels, the border replicated.

    Twice continuously differentiable in the coordinates, unlike `sample_image`; blurs as a Gaussian
    of variance `SPLINE_VARIANCE` does. Unser, *Splines: A Perfect Fit for Signal and Image
    Processing* (1999).

    Args:
        image: any channels.
        xy: `(x, y)`; the centre of the top-left pixel is (0.5, 0.5).

    Example:
        >>> sample_spline(jnp.arange(6.0).reshape(1, 6, 1), jnp.array([3.0, 0.5])).item()
        2.5
    """
    height, width = image.shape[:2]
    position = jnp.clip(xy - 0.5, -0.5, jnp.array([width, height], xy.dtype) - 0.5)
    corner = jnp.floor(position)
    t = (position - corner)[..., None]
    cubics = (1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3
    weights = jnp.concatenate(cubics, -1) / 6
    places = corner.astype(jnp.int32)[..., None] + jnp.arange(-1, 3)
    x, y = jnp.clip(places[..., 0, :], 0, width - 1), jnp.clip(places[..., 1, :], 0, height - 1)
    values = image[y[..., :, None], x[..., None, :]]
    return jnp.einsum("...y,...x,...yxc->...c", weights[..., 1, :], weights[..., 0, :], values)


def _bilinear(
    pixels: Float[Array, "P C"],
    size: Int[Array, "*#N 2"],
    start: Int[Array, "*#N"],
    xy: Float[Array, "*#N 2"],
) -> Float[Array, "*N C"]:
    """Returns bilinear samples at `xy` of images of that (width, height), stored from row start."""
    last = size - 1
    position = jnp.clip(xy - 0.5, 0.0, last.astype(xy.dtype))
    corner = jnp.floor(position)
    fx, fy = (position - corner)[..., 0:1], (position - corner)[..., 1:2]
    corner = corner.astype(jnp.int32)
    right, below = jnp.moveaxis(jnp.minimum(corner + 1, last), -1, 0)
    x, y = corner[..., 0], corner[..., 1]
    row, next_row = start + y * size[..., 0], start + below * size[..., 0]
    top = pixels[row + x] * (1 - fx) + pixels[row + right] * fx
    bottom = pixels[next_row + x] * (1 - fx) + pixels[next_row + right] * fx
    return top * (1 - fy) + bottom * fy


@jit
def sample_texture(
    texture: Float[Array, "T S C"],
    uv: Float[Array, "*N 2"],
    derivatives: Float[Array, "*N 2 2"] | None = None,
) -> Float[Array, "*N C"]:
    """Returns the texture at UV coordinates, the border replicated: bilinear or mip-mapped.

    With derivatives, a lookup is trilinear between the two levels whose texels are closest in size
    to the pixel (the longer of its two sides on the texture, as in OpenGL): minified textures do
    not alias, and all their texels get a gradient.

    Differentiable in the texture, away from texel centres in the coordinates, and away from whole
    levels in the derivatives.

    Args:
        texture: any channels; row 0 is the top, v = 1.
        uv: origin at the bottom left, 0..1.
        derivatives: of u and v (rows) by the pixel's x and y (columns), from `screen_derivatives`.

    Example:
        >>> sample_texture(jnp.eye(2)[..., None], jnp.array([[0.25, 0.75]])).item()
        1.0
    """
    height, width = texture.shape[:2]
    xy = jnp.stack([uv[..., 0] * width, (1.0 - uv[..., 1]) * height], axis=-1)
    if derivatives is None:
        return sample_image(texture, xy)
    texels = derivatives * jnp.array([[width], [height]], xy.dtype)
    square = jnp.max(jnp.sum(texels * texels, axis=-2), axis=-1)
    levels = 1 + int(math.log2(max(height, width)))
    return sample_pyramid(texture, xy, jnp.sqrt(jnp.maximum(square, 1.0)), levels=levels)


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
        footprint: width of a sample in pixels of the image; 1 and less is bilinear.
        levels: of the pyramid, the full image included.

    Example:
        >>> checker = jnp.indices((4, 4)).sum(0)[..., None] % 2 * 1.0
        >>> sample_pyramid(checker, jnp.array([2.0, 2.0]), jnp.array(2.0), levels=2).item()
        0.5
    """
    level = jnp.clip(jnp.log2(jnp.maximum(footprint, 1.0)), 0.0, levels - 1.0)[..., None]
    images = [image]
    for _ in range(levels - 1):
        images.append(halve(images[-1]))
    pixels = jnp.concatenate([image.reshape(-1, image.shape[-1]) for image in images])
    sizes = jnp.array([(image.shape[1], image.shape[0]) for image in images])
    starts = jnp.array([0, *itertools.accumulate(len(i) * i.shape[1] for i in images[:-1])])
    finer = jnp.minimum(level[..., 0].astype(jnp.int32), max(levels - 2, 0))

    def sample_level(index: Array) -> Array:
        scale = 2.0 ** -index[..., None].astype(xy.dtype)
        return _bilinear(pixels, sizes[index], starts[index], xy * scale)

    fraction = level - finer[..., None]
    coarser = jnp.minimum(finer + 1, levels - 1)
    return (1 - fraction) * sample_level(finer) + fraction * sample_level(coarser)
