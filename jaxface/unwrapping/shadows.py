"""Shadows that the head casts on itself: occluded from the dominant light, dark in the photo."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import dilate, linear_ramp, masked_blur, opening
from jaxface.rendering.camera import to_camera
from jaxface.rendering.lighting import shade
from jaxface.rendering.normals import normalize
from jaxface.types import Camera, FaceModel, FitResult, Lighting, TexelMap
from jaxface.unwrapping.config import ShadowConfig
from jaxface.unwrapping.visible import project_texels

LIGHT_WINDOW = 256  # side of the depth buffer seen from the light, pixels: 1 to 2 mm on the face
LIGHT_DISTANCE = 10.0  # metres from the face: rays that are nearly parallel
LIGHT_FACING = 0.1  # least cosine to the light: below, a texel is dark by shading
SURROUND = 1 / 16  # of the texture's side: Gaussian of the mean over the lit skin around
MIN_RADIUS = 1 / 256  # of the texture's side: narrower shadows are creases where the fit is off
Y1 = 0.48860251190  # of the linear spherical harmonics


def self_shadow_mask(
    fit: FitResult, model: FaceModel, texels: TexelMap, config: ShadowConfig = ShadowConfig()
) -> Float[Array, "T T"]:
    """Returns 1 on texels that the head occludes from the dominant light, or close beside them.

    The light's direction is the linear band of the harmonics. Depth tests are made from it and from
    four directions around it (`lamp_spread`); occlusion in one of the five is enough. No gradient
    passes.

    Args:
        fit: the fitted face.
        model: the face model of the fit.
        texels: of the model.
        config: `lamp_spread` and `depth_tolerance` are used.
    """
    fit = jax.lax.stop_gradient(fit)
    dominant_direction = normalize(_linear_band(fit.parameters.lighting))
    points = to_camera(fit.vertices, fit.parameters.camera)
    points = points - jnp.mean(points, 0)
    light_view = Camera(
        rotation=jnp.zeros(3),
        translation=jnp.array([0.0, 0.0, LIGHT_DISTANCE]),
        focal=jnp.asarray(LIGHT_DISTANCE),
        principal=jnp.zeros(2),
    )

    def hidden(offset: Float[Array, "2"]) -> Float[Array, "T T"]:
        direction = normalize(dominant_direction + offset @ _frame(dominant_direction)[:2])
        lit = project_texels(
            points @ _frame(direction).T,
            light_view,
            model,
            texels,
            window=LIGHT_WINDOW,
            tolerance=config.depth_tolerance,
        )
        return 1.0 * (~lit.unoccluded & (lit.facing > LIGHT_FACING))

    offsets = config.lamp_spread * jnp.array([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    size = texels.mask.shape[0]
    return dilate(jnp.max(jax.lax.map(hidden, offsets), 0), max(1, round(MIN_RADIUS * size)))


def cast_shadows(
    log_level: Float[Array, "T T"],
    seen: Float[Array, "T T"],
    hidden: Float[Array, "T T"],
    normals: Float[Array, "T T 3"],
    lighting: Lighting,
    config: ShadowConfig = ShadowConfig(),
) -> Float[Array, "T T"]:
    """Returns the confidence that a texel lies in a shadow which the head casts on itself, 0..1.

    confidence = ramp(E_1 / mean E) hidden ramp(d). E_1 = |linear band of the harmonics| / (pi Y_1)
    is the dominant light's irradiance, E all irradiance on the face: soft light casts no shadows. d
    is the log ratio by which the texel is darker than the lit skin around and than its mirror
    image, which must be lit. Shadows that fall on both sides alike, as of a light right above, are
    not found: creases and stubble look the same. No gradient passes.

    Args:
        log_level: natural logarithm of the photo over the rendered fit.
        seen: weight of the texels that the photo shows.
        hidden: from `self_shadow_mask`.
        normals: of the texels, camera space.
        lighting: of the fit.
        config: `directed` and `darker` are used.
    """
    given = log_level, seen, hidden, normals, lighting
    log_level, seen, hidden, normals, lighting = jax.lax.stop_gradient(given)
    size = log_level.shape[0]
    dominant_irradiance = jnp.linalg.norm(_linear_band(lighting)) / (jnp.pi * Y1)
    total = jnp.mean(shade(normals, lighting), -1)
    total = jnp.sum(total * seen) / jnp.maximum(jnp.sum(seen), 1e-6)
    directed = linear_ramp(dominant_irradiance / jnp.maximum(total, 1e-3), *config.directed)
    lit = seen * (1 - hidden)
    residual = log_level - masked_blur(log_level[..., None], lit, SURROUND * size)[..., 0]
    darker = jnp.minimum(-residual, residual[:, ::-1] - residual) * lit[:, ::-1]
    shadow = directed * hidden * linear_ramp(darker, *config.darker)
    return opening(shadow, max(1, round(MIN_RADIUS * size)))


def _linear_band(lighting: Lighting) -> Float[Array, "3"]:
    """Returns the coefficients of x, y and z, the mean over the channels."""
    return jnp.mean(lighting.coefficients, -1)[jnp.array([3, 1, 2])]


def _frame(direction: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Returns the rotation to the light's view; its third row is the viewing direction."""
    forward = -direction
    near_vertical = jnp.abs(forward[1]) > 0.9
    right = normalize(jnp.cross(jnp.where(near_vertical, jnp.eye(3)[0], jnp.eye(3)[1]), forward))
    return jnp.stack([right, jnp.cross(forward, right), forward])
