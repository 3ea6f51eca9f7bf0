"""Cast shadows: where the head stands in its own light, and the photo is dark on that side."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.morphable.texels import TexelMap
from jaxface.rendering.camera import to_camera
from jaxface.rendering.lighting import shade
from jaxface.rendering.normals import normalize
from jaxface.types import Camera, FaceModel, FitResult
from jaxface.unwrapping.skin import blur_within, grow, shrink
from jaxface.unwrapping.visibility import Projection, project_texels

_WINDOW = 256  # side of the lamp's depth buffer, pixels
_FAR = 10.0  # metres from the lamp to the face
_TOLERANCE = 3e-3  # metres
_SPREAD = 0.3  # radians off the harmonics' direction where the lamp may stand
_DIRECTED = (
    0.7,
    1.1,
)  # a lamp's light over all light: from none that casts shadows to one that does
_DARKER = (0.03, 0.10)  # log ratios below the skin around, between which a shadow is certain
_AROUND = 1 / 16  # width of the skin around, of the texture's side


def cast_shadows(
    fit: FitResult,
    model: FaceModel,
    texels: TexelMap,
    view: Projection,
    log_level: Float[Array, "T T"],
    seen: Float[Array, "T T"],
) -> Float[Array, "T T"]:
    """Returns how sure it is that a texel lies in a shadow which the head casts on itself, 0..1.

    The harmonics know no shadows, but their linear band tells where a lamp would stand and how
    strong it is. In shadow is what the head hides from a lamp near there, and what is darker than
    the skin around and than its mirror image, which the lamp reaches. So shadows that fall on both
    sides alike, as those of a lamp right above, are not found: creases and stubble look the same.
    Under soft light there is none. No gradient passes.

    Args:
        fit: the fitted face.
        model: the face model of the fit.
        texels: of the model.
        view: of the texels, from the photo.
        log_level: logarithm of the photo over what the fit makes of it.
        seen: weight of the texels that the photo shows.
    """
    fit, view, log_level, seen = jax.lax.stop_gradient((fit, view, log_level, seen))
    parameters = fit.parameters
    size = texels.triangle_ids.shape[0]
    band = jnp.mean(parameters.lighting.coefficients, -1)[jnp.array([3, 1, 2])]
    centre = normalize(band)
    points = to_camera(fit.vertices, parameters.camera)
    points = points - jnp.mean(points, 0)
    lamp_view = Camera(
        rotation=jnp.zeros(3),
        translation=jnp.array([0.0, 0.0, _FAR]),
        focal=jnp.asarray(_FAR),
        principal=jnp.zeros(2),
    )

    def hidden(turn: Float[Array, "2"]) -> Float[Array, "T T"]:
        direction = normalize(centre + turn @ _frame(centre)[:2])
        lit = project_texels(
            points @ _frame(direction).T,
            lamp_view,
            model.triangles,
            model.uvs,
            model.uv_triangles,
            texels.triangle_ids,
            texels.vertex_ids,
            texels.barycentrics,
            window=_WINDOW,
            tolerance=_TOLERANCE,
        )
        return 1.0 * (~lit.unoccluded & (lit.facing > 0.1))

    turns = _SPREAD * jnp.array([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    possible = grow(jnp.max(jax.lax.map(hidden, turns), 0), max(1, size // 256))

    # A lamp that gives a surface facing it irradiance pi E has a linear band of pi E Y_1.
    lamp = jnp.linalg.norm(band) / (jnp.pi * 0.48860251190)
    level = jnp.mean(shade(view.normals, parameters.lighting), -1)
    level = jnp.sum(level * seen) / jnp.maximum(jnp.sum(seen), 1e-6)
    directed = _ramp(lamp / jnp.maximum(level, 1e-3), *_DIRECTED)
    lit = seen * (1 - possible)
    off = log_level - blur_within(log_level[..., None], lit, _AROUND * size)[..., 0]
    darker = jnp.minimum(-off, off[:, ::-1] - off) * lit[:, ::-1]
    shadow = directed * possible * _ramp(darker, *_DARKER)
    speck = max(1, size // 256)  # a crease where the fit is a little off is no shadow
    return grow(shrink(shadow, speck), speck)


def _frame(direction: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Returns the rotation that looks from a lamp at the face; its third row is the view."""
    forward = -direction
    steep = jnp.abs(forward[1]) > 0.9
    right = normalize(jnp.cross(jnp.where(steep, jnp.eye(3)[0], jnp.eye(3)[1]), forward))
    return jnp.stack([right, jnp.cross(forward, right), forward])


def _ramp(x: Array, low: float, high: float) -> Array:
    return jnp.clip((x - low) / (high - low), 0.0, 1.0)
