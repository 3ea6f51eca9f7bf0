"""Shadows that the head casts on itself: hidden from the lamp, and dark in the photo."""

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

LAMP_WINDOW = 256  # side of the lamp's depth buffer, pixels: 1 to 2 mm on the face
LAMP_DISTANCE = 10.0  # metres from the face: rays that are nearly parallel
LAMP_FACING = 0.1  # cosine below which a texel turns away from the lamp: shading, not shadow
SURROUND = 1 / 16  # of the texture's side: width of the skin around
SPECK = 1 / 256  # of the texture's side: a crease where the fit is a little off is no shadow
Y1 = 0.48860251190  # of the linear spherical harmonics


def hidden_from_lamp(
    fit: FitResult, model: FaceModel, texels: TexelMap, config: ShadowConfig = ShadowConfig()
) -> Float[Array, "T T"]:
    """Returns 1 on texels that the head hides from a lamp near the light's dominant direction.

    The linear band of the harmonics points to the lamp. Depth tests are made from there and from
    four directions around it, of which one that is hidden is enough. No gradient passes.

    Args:
        fit: the fitted face.
        model: the face model of the fit.
        texels: of the model.
        config: `lamp_spread` and `depth_tolerance` are used.
    """
    fit = jax.lax.stop_gradient(fit)
    centre = normalize(_linear_band(fit.parameters.lighting))
    points = to_camera(fit.vertices, fit.parameters.camera)
    points = points - jnp.mean(points, 0)
    lamp_view = Camera(
        rotation=jnp.zeros(3),
        translation=jnp.array([0.0, 0.0, LAMP_DISTANCE]),
        focal=jnp.asarray(LAMP_DISTANCE),
        principal=jnp.zeros(2),
    )

    def hidden(turn: Float[Array, "2"]) -> Float[Array, "T T"]:
        direction = normalize(centre + turn @ _frame(centre)[:2])
        lit = project_texels(
            points @ _frame(direction).T,
            lamp_view,
            model,
            texels,
            window=LAMP_WINDOW,
            tolerance=config.depth_tolerance,
        )
        return 1.0 * (~lit.unoccluded & (lit.facing > LAMP_FACING))

    turns = config.lamp_spread * jnp.array([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    size = texels.mask.shape[0]
    return dilate(jnp.max(jax.lax.map(hidden, turns), 0), max(1, round(SPECK * size)))


def cast_shadows(
    log_level: Float[Array, "T T"],
    seen: Float[Array, "T T"],
    hidden: Float[Array, "T T"],
    normals: Float[Array, "T T 3"],
    lighting: Lighting,
    config: ShadowConfig = ShadowConfig(),
) -> Float[Array, "T T"]:
    """Returns the certainty that a texel lies in a shadow which the head casts on itself, 0..1.

    It is the product of three: the lamp's part of the irradiance E, from the harmonics' linear band
    of pi E Y_1; what is hidden from the lamp; and how much darker the texel is than the skin around
    and than its mirror image, which the lamp reaches. So shadows that fall on both sides alike, as
    those of a lamp right above, are not found: creases and stubble look the same. Under soft light
    there is none. No gradient passes.

    Args:
        log_level: natural logarithm of the photo over the rendered fit.
        seen: weight of the texels that the photo shows.
        hidden: from `hidden_from_lamp`.
        normals: of the texels, camera space.
        lighting: of the fit.
        config: `directed` and `darker` are used.
    """
    given = log_level, seen, hidden, normals, lighting
    log_level, seen, hidden, normals, lighting = jax.lax.stop_gradient(given)
    size = log_level.shape[0]
    lamp = jnp.linalg.norm(_linear_band(lighting)) / (jnp.pi * Y1)
    total = jnp.mean(shade(normals, lighting), -1)
    total = jnp.sum(total * seen) / jnp.maximum(jnp.sum(seen), 1e-6)
    directed = linear_ramp(lamp / jnp.maximum(total, 1e-3), *config.directed)
    lit = seen * (1 - hidden)
    off = log_level - masked_blur(log_level[..., None], lit, SURROUND * size)[..., 0]
    darker = jnp.minimum(-off, off[:, ::-1] - off) * lit[:, ::-1]
    shadow = directed * hidden * linear_ramp(darker, *config.darker)
    return opening(shadow, max(1, round(SPECK * size)))


def _linear_band(lighting: Lighting) -> Float[Array, "3"]:
    """Returns the coefficients of x, y and z, the mean over the channels."""
    return jnp.mean(lighting.coefficients, -1)[jnp.array([3, 1, 2])]


def _frame(direction: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Returns the rotation that looks from a lamp at the face; its third row is the view."""
    forward = -direction
    steep = jnp.abs(forward[1]) > 0.9
    right = normalize(jnp.cross(jnp.where(steep, jnp.eye(3)[0], jnp.eye(3)[1]), forward))
    return jnp.stack([right, jnp.cross(forward, right), forward])
