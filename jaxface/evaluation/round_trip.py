"""The round trip: a photo, and its result rendered over it with the fitted camera and light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxface.evaluation.measures import psnr
from jaxface.export.preview import Head, painted_exposure
from jaxface.features.lpips import lpips
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.render import render
from jaxface.types import Assets, Camera, FaceCrop, Lighting, Reconstruction

_BACK = ("scalp", "neck")  # regions that are no face
_SKIN = 0.9  # skin mask from which a pixel is judged

_lpips = jax.jit(lpips)


@dataclass(frozen=True)
class RoundTrip:
    """A photo and its result in the pixels of one square, sRGB 0..1.

    Attributes:
        photo: the square of the photo.
        fitted: the result under the fitted spherical harmonics; the photo beside it.
        refined: the result under the shading that unwrapping separated from the albedo; the photo
            beside it.
        skin: the skin mask of the texel in each pixel, 0 beside the mesh.
        face: where the mesh lies, without scalp and neck.
    """

    photo: Float[np.ndarray, "S S 3"]
    fitted: Float[np.ndarray, "S S 3"]
    refined: Float[np.ndarray, "S S 3"]
    skin: Float[np.ndarray, "S S"]
    face: Bool[np.ndarray, "S S"]


def render_round_trip(
    crop: FaceCrop, result: Reconstruction, head: Head, assets: Assets
) -> RoundTrip:
    """Returns the result rendered into the crop that it was made from.

    Args:
        crop: of the photo.
        result: whose camera is in pixels of the photo.
        head: `fine_head` of the fit's vertices.
        assets: with the texels of the result's textures.
    """
    parameters, seen = result.fit.parameters, result.unwrapped
    camera = crop.crop.camera_to_crop(parameters.camera)
    size, texture = crop.srgb.shape[0], jnp.asarray(result.synthesis.texture)
    shown, alpha = _view(head, texture, camera, parameters.lighting, painted_exposure(head), size)
    lit = _flat(head, texture * jnp.asarray(seen.shading), camera, size)
    back = [assets.model.region_names.index(name) for name in _BACK]
    front = 1.0 * (~jnp.isin(assets.texels.region_ids, jnp.asarray(back)) & assets.texels.mask)
    maps = jnp.stack([seen.skin_mask, front, front], axis=-1)
    skin, face, _ = np.moveaxis(np.asarray(_flat(head, maps, camera, size)), -1, 0)
    photo, over = np.asarray(crop.srgb), np.asarray(alpha)[..., None] > 0.5
    return RoundTrip(
        photo=photo,
        fitted=np.where(over, np.asarray(linear_to_srgb(shown)), photo),
        refined=np.where(over, np.asarray(linear_to_srgb(lit)), photo),
        skin=skin,
        face=face > 0.5,
    )


def round_trip_errors(trip: RoundTrip, alexnet: Any) -> dict[str, float]:
    """Returns PSNR (dB of sRGB) and LPIPS on skin pixels, in fitted and in refined light.

    For LPIPS, what is not skin is the photo in both pictures. NaN where there is no skin.

    Args:
        trip: the pictures.
        alexnet: weights, `load_alexnet()`.
    """
    skin = trip.skin > _SKIN
    photo, weights = jnp.asarray(trip.photo), jnp.asarray(skin, jnp.float32)
    result = {}
    for light, picture in (("fitted", trip.fitted), ("refined", trip.refined)):
        mixed = jnp.asarray(np.where(skin[..., None], picture, trip.photo), jnp.float32)
        distance = float(_lpips(alexnet, mixed, photo, mask=weights))
        result[f"PSNR {light} light"] = psnr(picture[skin], trip.photo[skin])
        result[f"LPIPS {light} light"] = distance if skin.any() else float("nan")
    return result


def _flat(
    head: Head, texture: Float[Array, "T T 3"], camera: Camera, size: int
) -> Float[Array, "S S 3"]:
    """Returns a texture seen from a camera without shading; 0 beside the head."""
    white = Lighting(jnp.zeros((9, 3)).at[0].set(jnp.sqrt(4 * jnp.pi)))
    return _view(head, texture, camera, white, jnp.ones(len(head.vertices)), size)[0]


def _view(
    head: Head,
    texture: Float[Array, "T T 3"],
    camera: Camera,
    lighting: Lighting,
    exposure: Float[Array, " V"],
    size: int,
) -> tuple[Float[Array, "S S 3"], Float[Array, "S S"]]:
    scene = head.model, head.vertices, texture, camera, lighting
    return render(*scene, size, size, exposure=exposure)
