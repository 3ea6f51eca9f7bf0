"""The eyes' texture: the model's sclera, and irises of the most probable colour."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxface.filters import smoothstep
from jaxface.rendering.color import luminance
from jaxface.rendering.normals import length
from jaxface.types import FaceModel, TexelMap
from jaxface.unwrapping.lid_shade import WHITE_OF_EYE
from jaxface.unwrapping.membrane import vertices_to_texels
from jaxface.unwrapping.statistics import median_colour, part_median, top_quartile_blue_weights

PUPIL, IRIS, WHITE = 7.0, 20.5, 28.0  # degrees around the eyeball's axis
PUPIL_ALBEDO = 0.002

IRIS_COLOURS = (
    (0.030, 0.014, 0.009),
    (0.090, 0.045, 0.022),
    (0.170, 0.120, 0.055),
    (0.200, 0.200, 0.130),
    (0.220, 0.250, 0.260),
    (0.170, 0.240, 0.330),
)
"""Albedo of irises, linear RGB, chosen by eye: dark brown, brown, hazel, green, grey, blue. Eyes
lie on this line: the less melanin, the lighter and the bluer."""
IRIS_PRIOR = (0.35, 0.30, 0.12, 0.06, 0.08, 0.09)
"""Prior probability of each: roughly its fraction of people."""
DARK_SKIN, LIGHT_ODDS = -1.65, 8.0
"""Log level of the skin's albedo below which irises lighter than brown grow rare, and how fast
their log odds fall. Chosen on 72 portraits, whose levels were 0.09 to 0.18 higher then: of the 12
labelled irises below -1.65, 11 are brown (the other in dim light), of the 50 above -1.55, 15."""
SCLERA = (0.55, 0.48, 0.44)
"""Albedo of the white of the eye, linear RGB."""
HUE_SIGMA, LEVEL_SIGMA = 0.25, 0.6  # standard deviations of the log colour that a photo shows
SHADE_BOUNDS = (-1.5, 0.5)  # natural logarithms: shade of the lids over the eye
MAX_LEVEL = 1.5  # natural logarithm: brightness of an iris relative to one of the colours
SCLERA_HUE = 0.5  # fraction of the sclera's hue that is put down to light; lids are mixed into it
IRIS_FRACTION = 0.5  # fraction of a brightness difference that is the iris; the rest is shade
SEEN_PIXELS = 6.0  # width of the visible irises in the photo from which confidence is 1
MAX_PATTERN = 0.4  # natural logarithm: the model's pattern of light and dark in the iris
LIMBAL_DARKENING = 0.6  # fraction of light lost at the iris' rim


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
    angle = vertices_to_texels(angle, texels)[..., 0]
    return jnp.where((angle < 179.0) & texels.mask, angle, 180.0)


def paint_eyes(
    albedo: Float[Array, "T T 3"],
    shade: Float[Array, "T T 3"],
    seen_albedo: Float[Array, "T T 3"],
    visibility: Float[Array, "T T"],
    pixels_per_texel: Float[Array, ""],
    angle: Float[Array, "T T"],
    skin_level: Float[Array, ""],
) -> Float[Array, "T T 3"]:
    """Returns the eyes' albedo times the lids' shade: white with the model's veins, and irises of
    the most probable colour.

    The gaze is known to a few degrees only, lashes darken an iris and reflections brighten it: so
    both eyes get one colour (`iris_log_colour`) under the model's pattern of light and dark, with a
    dark rim and pupil. Differentiable.

    Args:
        albedo: the model's, linear RGB.
        shade: of the lids, `lid_shade`.
        seen_albedo: radiance over shading, linear RGB.
        visibility: 0..1.
        pixels_per_texel: mean width of a seen texel, pixels of the photo.
        angle: around the eyeball's axis, degrees; 180 outside the eyes.
        skin_level: mean log albedo of the skin.
    """
    iris = _between(angle, PUPIL + 3, IRIS - 2)
    seen = seen_albedo, visibility, pixels_per_texel, angle
    colour = jnp.exp(iris_log_colour(*seen, skin_level))
    level = jnp.log(jnp.maximum(luminance(albedo), 5e-3))
    pattern = iris * jnp.clip(level - part_median(level, iris), -MAX_PATTERN, MAX_PATTERN)
    limb = 1.0 - LIMBAL_DARKENING * smoothstep(angle, IRIS - 5, IRIS)
    painted = colour * (limb * jnp.exp(pattern))[..., None]
    painted = _lerp(jnp.full(3, PUPIL_ALBEDO), painted, smoothstep(angle, PUPIL - 1, PUPIL + 1.5))

    # The red of the lids lights the white beside them, and is not in the colour of an iris.
    of_lids = shade[..., :1]
    usual = median_colour(albedo, _between(angle, WHITE, 2 * WHITE))
    white = jnp.asarray(WHITE_OF_EYE) * shade * albedo / jnp.maximum(usual, 1e-3)
    return _lerp(painted * of_lids, white, smoothstep(angle, IRIS - 2.5, IRIS + 4.5))


def iris_log_colour(
    seen_albedo: Float[Array, "T T 3"],
    visibility: Float[Array, "T T"],
    pixels_per_texel: Float[Array, ""],
    angle: Float[Array, "T T"],
    skin_level: Float[Array, ""],
) -> Float[Array, "3"]:
    """Returns the posterior mean of the irises' log albedo, over `IRIS_COLOURS` with `IRIS_PRIOR`
    times exp(LIGHT_ODDS min(skin_level - DARK_SKIN, 0)) for those lighter than brown.

    The observation is the log of the median colour of the ring's darker half (reflections are
    bright), less the log ratio of the seen sclera to `SCLERA`, which lies in the same light: all of
    its mean, and `SCLERA_HUE` of the rest. With the observation less a known colour split into
    level (mean over RGB) and hue (the rest), the log likelihood is
    -confidence (|hue|^2 / sigma_hue^2 + level^2 / (2 sigma_level^2)) / 2, with
    confidence = clip(width of the visible irises in pixels / 6, 0, 1).

    Args:
        seen_albedo: radiance over shading, linear RGB.
        visibility: 0..1.
        pixels_per_texel: mean width of a seen texel, pixels of the photo.
        angle: around the eyeball's axis, degrees; 180 outside the eyes.
        skin_level: mean log albedo of the skin.
    """
    ring = _between(angle, PUPIL + 3, IRIS - 2) * visibility
    level = luminance(seen_albedo)
    dark = ring * (level <= part_median(level, ring))
    around = _between(angle, IRIS + 4, 2 * IRIS) * visibility
    sclera = top_quartile_blue_weights(seen_albedo, around)
    white = jnp.maximum(median_colour(seen_albedo, sclera), 5e-3)
    gain = jnp.log(white) - jnp.log(jnp.asarray(SCLERA))
    shade = jnp.clip(jnp.mean(gain), *SHADE_BOUNDS)
    seen = jnp.log(jnp.maximum(median_colour(seen_albedo, dark), 1e-3))
    seen = seen - shade - SCLERA_HUE * (gain - jnp.mean(gain))

    width = jnp.sqrt(jnp.sum(ring) + 1e-9) * pixels_per_texel
    confidence = jnp.clip(width / SEEN_PIXELS, 0.0, 1.0) * (jnp.sum(ring) > 0)
    known = jnp.log(jnp.asarray(IRIS_COLOURS))
    difference = seen - known
    level_difference = jnp.mean(difference, -1)
    hue = jnp.sum((difference - level_difference[:, None]) ** 2, -1)
    cost = 0.5 * (hue / HUE_SIGMA**2 + level_difference**2 / (2 * LEVEL_SIGMA**2))
    light = jnp.arange(len(IRIS_COLOURS)) > 1
    prior = jnp.log(jnp.asarray(IRIS_PRIOR))
    prior = prior + light * LIGHT_ODDS * jnp.minimum(skin_level - DARK_SKIN, 0.0)
    posterior = jax.nn.softmax(prior - confidence * cost)
    level_change = IRIS_FRACTION * confidence * jnp.clip(level_difference, -MAX_LEVEL, MAX_LEVEL)
    return posterior @ (known + level_change[:, None])


def _between(angle: Float[Array, "T T"], low: float, high: float) -> Float[Array, "T T"]:
    """Returns 1 on the ring between two angles, degrees."""
    return ((angle > low) & (angle < high)).astype(jnp.float32)


def _lerp(
    inner: Float[Array, "*M 3"], outer: Float[Array, "*N 3"], weight: Float[Array, "T T"]
) -> Float[Array, "T T 3"]:
    """Returns the linear interpolation: inner at weight 0, outer at 1."""
    return inner + weight[..., None] * (outer - inner)
