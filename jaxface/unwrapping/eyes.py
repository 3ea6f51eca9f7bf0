"""The eyes' texture: the model's own, with the iris tinted as the photo shows it."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxface.rendering.normals import length
from jaxface.unwrapping.skin import weighted_median

_PUPIL, _IRIS = 7.0, 20.5  # degrees around the eyeball's axis


def axis_angle_of_eyes(
    mean: Float[Array, "V 3"], eye_vertices: Bool[Array, " V"]
) -> Float[Array, " V"]:
    """Returns the angle in degrees between each eye vertex and its eyeball's axis; 180 elsewhere.

    Args:
        mean: vertices of the mean face, whose eyes look along z.
        eye_vertices: which vertices belong to eyeballs.
    """
    angle = jnp.full(mean.shape[0], 180.0)
    for side in (mean[:, 0] > 0, mean[:, 0] <= 0):
        eye = (eye_vertices & side)[:, None]
        low = jnp.min(jnp.where(eye, mean, jnp.inf), axis=0)
        high = jnp.max(jnp.where(eye, mean, -jnp.inf), axis=0)
        offset = mean - jnp.where(jnp.isfinite(low), 0.5 * (low + high), 0.0)
        cosine = offset[:, 2] / jnp.maximum(length(offset), 1e-9)
        degrees = jnp.degrees(jnp.arccos(jnp.clip(cosine, -1.0, 1.0)))
        angle = jnp.where(eye[:, 0], degrees, angle)
    return angle


def tint_iris(
    albedo: Float[Array, "T T 3"],
    seen_albedo: Float[Array, "T T 3"],
    visibility: Float[Array, "T T"],
    angle: Float[Array, "T T"],
    footprint: Float[Array, ""],
) -> Float[Array, "T T 3"]:
    """Returns the albedo with irises of the photo's median colour.

    The gaze is known to a few degrees only and lashes darken the upper half, so that the colour
    is one for both eyes with the model's pattern of light and dark. The fewer pixels an iris has,
    the more of the model's own colour remains.

    Args:
        albedo: the model's own.
        seen_albedo: radiance over shading.
        visibility: 0..1.
        angle: around the eyeball's axis, degrees; 180 outside the eyes.
        footprint: pixels of the photo per texel, on the face.
    """
    ring = ((angle > _PUPIL + 3) & (angle < _IRIS - 2)).astype(jnp.float32)
    weights = ring * visibility
    colour, own = _median(seen_albedo, weights), _median(albedo, ring)
    iris_pixels = jnp.sqrt(jnp.sum(weights)) * footprint
    trust = jnp.clip(iris_pixels / 6.0, 0.0, 1.0) * (jnp.sum(weights) > 0)
    light = jnp.log(jnp.maximum(albedo @ jnp.array([0.2126, 0.7152, 0.0722]), 5e-3))
    pattern = light - weighted_median(light, ring)
    tinted = own + trust * jnp.clip(colour - own, -1.5, 1.5) + pattern[..., None]
    rim = jnp.clip((angle - _PUPIL) / 2.0, 0.0, 1.0) * jnp.clip((_IRIS + 3 - angle) / 3.0, 0.0, 1.0)
    log = jnp.log(jnp.maximum(albedo, 5e-3))
    changed = rim[..., None] > 0
    return jnp.where(
        changed, jnp.clip(jnp.exp(log + rim[..., None] * (tinted - log)), 0, 1), albedo
    )


def _median(colours: Float[Array, "T T 3"], weights: Float[Array, "T T"]) -> Float[Array, "3"]:
    """Returns the median's logarithm. From blue through grey to brown, green lies between red and
    blue: no iris is red, magenta or bright green."""
    median = jnp.stack([weighted_median(colours[..., channel], weights) for channel in range(3)])
    red, green, blue = jnp.log(jnp.maximum(median, 5e-3))
    return jnp.stack([red, jnp.clip(green, 0.5 * (red + blue), jnp.maximum(red, blue)), blue])
