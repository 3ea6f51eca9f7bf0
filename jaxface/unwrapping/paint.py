"""Scalp, eyes and teeth, which are never in the skin mask, painted into the texture."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxface.filters import log_encode
from jaxface.rendering.color import luminance
from jaxface.rendering.texture import sample_image
from jaxface.types import FaceModel, TexelMap
from jaxface.unwrapping.eyes import angle_of_texels, paint_eyes
from jaxface.unwrapping.lid_shade import lid_shade
from jaxface.unwrapping.regions import region_mask
from jaxface.unwrapping.scalp import colour_scalp
from jaxface.unwrapping.teeth import whiten_teeth
from jaxface.unwrapping.visible import Projection, VisibleTexels

HAIR_LUMINANCE = (0.002, 0.995)  # below is noise, above is saturated; black hair is 0.01
EYE_FACING, TEETH_FACING = 0.5, 0.2  # least cosines of the viewing angle


def paint_parts(
    low_frequency: Float[Array, "T T 3"],
    albedo: Float[Array, "T T 3"],
    shading: Float[Array, "T T 3"],
    seen: VisibleTexels,
    vertices: Float[Array, "V 3"],
    model: FaceModel,
    texels: TexelMap,
) -> Float[Array, "T T 3"]:
    """Returns the low-frequency albedo with scalp, eyes and teeth painted. Differentiable.

    Args:
        low_frequency: complete albedo, linear RGB.
        albedo: the model's, linear RGB.
        shading: radiance of a white surface, linear RGB.
        seen: the photo at each texel.
        vertices: of the face, whose lids shade the eyes, metres.
        model: the face model.
        texels: of the model.
    """
    level = luminance(seen.radiance)
    usable = (level > HAIR_LUMINANCE[0]) & (level < HAIR_LUMINANCE[1])
    shown = seen.visibility * seen.head * usable
    texture = colour_scalp(low_frequency, seen.radiance / shading, shown, model, texels)

    # Eyes and teeth are small: a texel's mean would mix pupils, reflections and lids.
    view = seen.projection
    at_centres = sample_image(seen.photo_linear, view.xy) / shading
    angle = angle_of_texels(model, texels)
    eyes = angle < 180.0
    skin = region_mask(model, texels, "skin")[..., None]
    skin_level = jnp.sum(skin * log_encode(low_frequency)) / jnp.maximum(3.0 * jnp.sum(skin), 1.0)
    shade = lid_shade(vertices, model, texels)
    weight = _weight(view, eyes, EYE_FACING)
    painted = paint_eyes(albedo, shade, at_centres, *weight, angle, skin_level)
    texture = jnp.where(eyes[..., None], painted, texture)
    teeth = region_mask(model, texels, "teeth")
    return whiten_teeth(texture, at_centres, *_weight(view, teeth > 0, TEETH_FACING), teeth)


def _weight(
    view: Projection, part: Bool[Array, "T T"], facing: float
) -> tuple[Float[Array, "T T"], Float[Array, ""]]:
    """Returns 1 where a part is visible, and the mean width of its texels there, pixels."""
    seen = (view.unoccluded & (view.facing > facing) & part).astype(jnp.float32)
    return seen, jnp.sum(view.pixels_per_texel * seen) / jnp.maximum(jnp.sum(seen), 1.0)
