"""The square of a photo that the fit works on."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from jaxface.precision import jit
from jaxface.types import FitResult

CROP = 256
CROP_MARGIN = 1.6


@struct.dataclass
class Crop:
    """What the fit sees of a photo. Pixels are the crop's, but for `corner`, the photo's.

    `image`: sRGB and a weight of every pixel. `zoom`: pixels of the crop a pixel of the photo.
    """

    image: Float[Array, "S S 4"]
    landmarks: Float[Array, "L 2"]
    present: Float[Array, " L"]
    principal: Float[Array, "2"]
    log_focal: Float[Array, ""]
    focal_known: Bool[Array, ""]
    corner: Float[Array, "2"]
    zoom: Float[Array, ""]


def make_crop(
    photo_srgb: Float[Array, "H W 3"],
    landmarks: Float[Array, "L D"],
    focal: float | Float[Array, ""] | None,
    person_mask: Float[Array, "H W"] | None,
    principal: Float[Array, "2"] | None,
    photo_size: float | Float[Array, ""] | None,
    usual_focal: float,
) -> Crop:
    """Returns the square that the fit works on; see `fit` and `FitConfig.usual_focal`."""
    height, width = photo_srgb.shape[:2]
    landmarks = jnp.asarray(landmarks, float)[:, :2]
    present = jnp.all(jnp.isfinite(landmarks), axis=1)
    landmarks = jnp.where(present[:, None], landmarks, jnp.nanmean(landmarks, axis=0))
    corner, zoom = crop_window(jax.lax.stop_gradient(landmarks))
    mask = jnp.ones((height, width)) if person_mask is None else person_mask
    image = cut(jnp.concatenate([photo_srgb, mask[..., None]], axis=2), corner, zoom)
    principal = jnp.array([width / 2.0, height / 2.0]) if principal is None else principal
    side = max(height, width) if photo_size is None else photo_size
    focal = jnp.asarray(jnp.nan if focal is None else focal)
    known = jnp.isfinite(focal)
    likely = jnp.where(known, focal, usual_focal * side)
    return Crop(
        image=image,
        landmarks=(landmarks - corner) * zoom,
        present=present.astype(jnp.float32),
        principal=(principal - corner) * zoom,
        log_focal=jnp.log(likely * zoom),
        focal_known=known,
        corner=corner,
        zoom=zoom,
    )


def in_whole(result: FitResult, crop: Crop) -> FitResult:
    """Returns a fit of the crop with camera and landmarks in pixels of the photo."""
    camera = result.parameters.camera
    principal = crop.principal / crop.zoom + crop.corner
    camera = camera.replace(focal=camera.focal / crop.zoom, principal=principal)
    return result.replace(
        parameters=result.parameters.replace(camera=camera),
        landmarks=result.landmarks / crop.zoom + crop.corner,
    )


def crop_window(
    landmarks: Float[Array, "L 2"],
) -> tuple[Float[Array, "2"], Float[Array, ""]]:
    """Returns the corner and the zoom of the square of the photo that the fit works on."""
    low, high = landmarks.min(0), landmarks.max(0)
    side = CROP_MARGIN * jnp.maximum(jnp.max(high - low), 1.0)
    return (low + high) / 2 - side / 2, CROP / side


@jit
def cut(
    image: Float[Array, "H W C"], corner: Float[Array, "2"], zoom: Float[Array, ""]
) -> Float[Array, "S S C"]:
    """Returns `CROP` x `CROP` pixels of the image, resampled without aliasing; outside is zero."""
    return jax.image.scale_and_translate(
        image,
        (CROP, CROP, image.shape[2]),
        (0, 1),
        jnp.stack([zoom, zoom]),
        -corner[::-1] * zoom,
        method="linear",
        antialias=True,
    )
