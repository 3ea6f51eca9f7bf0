"""Square, rotated regions of a photo, and their sampling at pixel centres."""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float


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


def crop(
    photo: Float[Array, "H W 3"],
    extent: Float[Array, "2"],
    region: Region,
    size: int,
    *,
    border: str = "replicate",
    biased: bool = False,
) -> Float[Array, "S S 3"]:
    """Returns the region resampled to `[size, size, 3]`, bilinear.

    Args:
      photo: the photo, padded to any static size.
      extent: its true `(height, width)`; nothing outside is read.
      region: where to look.
      size: side of the crop in pixels.
      border: `replicate` the photo's edge or fill with `zero`.
      biased: sample without the half-pixel offset, as MediaPipe does; for parity tests only.
    """
    offset = 0.0 if biased else 0.5
    at = (jnp.arange(size) + offset) / size
    grid = jnp.stack(jnp.meshgrid(at, at), axis=-1).reshape(-1, 2)
    x, y = jnp.split(to_photo(region, grid) - offset, 2, axis=1)
    x, y = x[:, 0], y[:, 0]
    height, width = extent
    inside = (x > -1) & (x < width) & (y > -1) & (y < height)
    x, y = jnp.clip(x, 0, width - 1), jnp.clip(y, 0, height - 1)
    x0, y0 = jnp.floor(x).astype(jnp.int32), jnp.floor(y).astype(jnp.int32)
    x1 = jnp.minimum(x0 + 1, jnp.int32(width) - 1)
    y1 = jnp.minimum(y0 + 1, jnp.int32(height) - 1)
    tx, ty = (x - x0)[:, None], (y - y0)[:, None]
    top = photo[y0, x0] * (1 - tx) + photo[y0, x1] * tx
    bottom = photo[y1, x0] * (1 - tx) + photo[y1, x1] * tx
    values = top * (1 - ty) + bottom * ty
    if border == "zero":
        values = jnp.where(inside[:, None], values, 0.0)
    return values.reshape(size, size, -1)
