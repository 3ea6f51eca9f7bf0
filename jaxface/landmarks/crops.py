"""Square, rotated regions of a photo, and their sampling at pixel centres."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxface.rendering.texture import halve, sample_image


@struct.dataclass
class Region:
    """A rotated square: centre `(x, y)` and side in pixels, angle in radians (x right, y down)."""

    center: Float[Array, "2"]
    side: Float[Array, ""]
    angle: Float[Array, ""]


def _axes(region: Region) -> tuple[Array, Array]:
    c, s = jnp.cos(region.angle), jnp.sin(region.angle)
    return jnp.stack([c, s]), jnp.stack([-s, c])


def to_photo(region: Region, points: Float[Array, "N 2"]) -> Float[Array, "N 2"]:
    """Returns photo pixels of points given in 0..1 of the region."""
    right, down = _axes(region)
    local = (points - 0.5) * region.side
    return region.center + local[:, :1] * right + local[:, 1:] * down


def from_photo(region: Region, pixels: Float[Array, "N 2"]) -> Float[Array, "N 2"]:
    """Returns photo pixels as points in 0..1 of the region; the inverse of `to_photo`."""
    return (pixels - region.center) @ jnp.stack(_axes(region), axis=1) / region.side + 0.5


def pyramid(photo: Float[Array, "H W 3"], *, levels: int = 5) -> tuple[Array, ...]:
    """Returns the photo and its halves, so that large regions are sampled without aliasing."""
    result = [photo]
    for _ in range(levels - 1):
        # The barrier keeps XLA from fusing all the halvings into every later lookup.
        result.append(jax.lax.optimization_barrier(halve(result[-1])))
    return tuple(result)


def crop(
    levels: tuple[Array, ...],
    extent: Float[Array, "2"],
    region: Region,
    size: int,
    *,
    border: str = "replicate",
    biased: bool = False,
) -> Float[Array, "S S 3"]:
    """Returns the region resampled to `[size, size, 3]`, bilinear and between two levels.

    Args:
      levels: from `pyramid`, of the photo padded to any static size; one level means no filter.
      extent: the photo's true `(height, width)`; nothing outside is read from the first level.
      region: where to look.
      size: side of the crop in pixels.
      border: `replicate` the photo's edge or fill with `zero`.
      biased: sample without the half-pixel offset, as MediaPipe does; for parity tests only.
    """
    at = (jnp.arange(size) + (0.0 if biased else 0.5)) / size
    grid = jnp.stack(jnp.meshgrid(at, at), axis=-1).reshape(-1, 2)
    place = to_photo(region, grid) + (0.5 if biased else 0.0)
    far = extent[::-1]
    inside = ((place > -0.5) & (place < far + 0.5)).all(1)
    place = jnp.clip(place, 0.5, far - 0.5)
    level = jnp.clip(jnp.log2(region.side / size), 0.0, len(levels) - 1.0)
    values = jnp.zeros((len(grid), 3))
    for index, image in enumerate(levels):
        weight = jnp.maximum(0.0, 1.0 - jnp.abs(level - index))
        values = values + weight * sample_image(image, place / 2**index)
    if border == "zero":
        values = jnp.where(inside[:, None], values, 0.0)
    return values.reshape(size, size, 3)
