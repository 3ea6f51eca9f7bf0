"""The eyes' texture: the model's own white, and an iris of the colour that the photo tells of."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxface.morphable.texels import TexelMap
from jaxface.rendering.color import luminance
from jaxface.rendering.normals import length
from jaxface.types import FaceModel
from jaxface.unwrapping.membrane import scatter_vertices
from jaxface.unwrapping.skin import bluest_quarter, median_colour, small_median, smoothstep

_PUPIL, _IRIS, _WHITE = 7.0, 20.5, 28.0  # degrees around the eyeball's axis
_BLACK = 0.002

# Irises, linear RGB, chosen by eye: dark brown, brown, hazel, green, grey, blue; and about how many
# people have them. Eyes lie on this line: the less melanin, the lighter and the bluer.
_COLOURS = (
    (0.030, 0.014, 0.009),
    (0.090, 0.045, 0.022),
    (0.170, 0.120, 0.055),
    (0.200, 0.200, 0.130),
    (0.220, 0.250, 0.260),
    (0.170, 0.240, 0.330),
)
_SHARES = (0.35, 0.30, 0.12, 0.06, 0.08, 0.09)
_SCLERA = (0.55, 0.48, 0.44)
_HUE, _LEVEL = 0.25, 0.6  # standard deviations of the logarithm of what a photo shows
_KNOWN = 6.0  # pixels across of an iris that is well seen


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


def angle_of_texels(model: FaceModel, texels: TexelMap) -> Float[Array, "T T"]:
    """Returns the angle in degrees between each texel of an eye and its axis; 180 elsewhere."""
    if "eyes" not in model.region_names:
        return jnp.full(texels.triangle_ids.shape, 180.0)
    eyes = model.vertex_region == model.region_names.index("eyes")
    angle = axis_angle_of_eyes(model.mean, eyes)[:, None]
    angle = scatter_vertices(angle, texels.vertex_ids, texels.barycentrics)[..., 0]
    return jnp.where((angle < 179.0) & (texels.triangle_ids >= 0), angle, 180.0)


def paint_iris(
    albedo: Float[Array, "T T 3"],
    seen_albedo: Float[Array, "T T 3"],
    visibility: Float[Array, "T T"],
    angle: Float[Array, "T T"],
    pixels_per_texel: Float[Array, ""],
) -> Float[Array, "T T 3"]:
    """Returns the albedo with irises of the most probable colour.

    The gaze is known to a few degrees only, lashes darken an iris and windows shine in it, so that
    the colour is one for both eyes, with the model's pattern of light and dark. Differentiable.

    Args:
        albedo: the model's own.
        seen_albedo: radiance over shading.
        visibility: 0..1.
        angle: around the eyeball's axis, degrees; 180 outside the eyes.
        pixels_per_texel: pixels of the photo per texel, on the face.
    """
    iris = _between(angle, _PUPIL + 3, _IRIS - 2)
    colour = jnp.exp(_iris_colour(seen_albedo, visibility, angle, pixels_per_texel))
    light = jnp.log(jnp.maximum(luminance(albedo), 5e-3))
    pattern = iris * jnp.clip(light - small_median(light, iris), -0.4, 0.4)
    limb = 1.0 - 0.6 * _ramp(angle, _IRIS - 5, _IRIS)
    painted = colour * (limb * jnp.exp(pattern))[..., None]
    white = median_colour(albedo, _between(angle, _WHITE, _WHITE + 8))
    painted = _mix(jnp.full(3, _BLACK), painted, _ramp(angle, _PUPIL - 1, _PUPIL + 1.5))
    painted = _mix(painted, white, _ramp(angle, _IRIS - 2.5, _IRIS + 4.5))
    return _mix(painted, albedo, _ramp(angle, _WHITE, _WHITE + 6))


def _iris_colour(
    seen_albedo: Float[Array, "T T 3"],
    visibility: Float[Array, "T T"],
    angle: Float[Array, "T T"],
    pixels_per_texel: Float[Array, ""],
) -> Float[Array, "3"]:
    """Returns the posterior mean of the logarithm.

    Reflections are bright, so that the darker half of the ring counts. The white of the eye lies
    in the same shade and the same light: what it lacks is made up for, half of its hue, as lids
    hide in what counts as white.
    """
    ring = _between(angle, _PUPIL + 3, _IRIS - 2) * visibility
    level = luminance(seen_albedo)
    dark = ring * (level <= small_median(level, ring))
    ball = bluest_quarter(seen_albedo, _between(angle, _IRIS + 4, 2 * _IRIS) * visibility)
    white = jnp.maximum(median_colour(seen_albedo, ball), 5e-3)
    gain = jnp.log(white) - jnp.log(jnp.asarray(_SCLERA))
    seen = jnp.log(jnp.maximum(median_colour(seen_albedo, dark), 1e-3))
    shade, known = jnp.clip(jnp.mean(gain), -1.5, 0.5), jnp.log(jnp.asarray(_COLOURS))
    seen = seen - shade - 0.5 * (gain - jnp.mean(gain))

    across = jnp.sqrt(jnp.sum(ring) + 1e-9) * pixels_per_texel
    trust = jnp.clip(across / _KNOWN, 0.0, 1.0) * (jnp.sum(ring) > 0)
    off = seen - known
    lighter = jnp.mean(off, -1)
    hue = jnp.sum((off - lighter[:, None]) ** 2, -1)
    cost = 0.5 * (hue / _HUE**2 + lighter**2 / (2 * _LEVEL**2))
    share = jax.nn.softmax(jnp.log(jnp.asarray(_SHARES)) - trust * cost)
    # Half of a difference in level is the iris, half the shade that it lies in.
    return share @ (known + 0.5 * trust * jnp.clip(lighter, -1.5, 1.5)[:, None])


def _between(angle: Float[Array, "T T"], low: float, high: float) -> Float[Array, "T T"]:
    return ((angle > low) & (angle < high)).astype(jnp.float32)


def _ramp(angle: Float[Array, "T T"], low: float, high: float) -> Float[Array, "T T"]:
    return smoothstep((angle - low) / (high - low))


def _mix(
    inner: Float[Array, "*M 3"], outer: Float[Array, "*N 3"], share: Float[Array, "T T"]
) -> Float[Array, "T T 3"]:
    return inner + share[..., None] * (outer - inner)
