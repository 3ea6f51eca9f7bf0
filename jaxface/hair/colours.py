"""The colours of hair, and where it is transparent, by the photo."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxface.filters import blur, dilate, masked_blur, smoothstep
from jaxface.hair.outline import Window, depth_of_hair, outwards
from jaxface.hair.seen import SURE, median
from jaxface.parsing.classes import BACKGROUND, FACE, HAIR, OTHER
from jaxface.rendering.camera import project, rotation_matrix
from jaxface.rendering.color import luminance
from jaxface.rendering.hair import DIMMEST
from jaxface.rendering.lighting import shade
from jaxface.types import HairStyles, Lighting

_TOLERANCE = 0.012  # metres behind the nearest surface at which a vertex still counts as seen
_MARGIN = 6  # pixels of the window around hair in which it may be drawn before the background
_FACING = (0.1, 0.4)  # cosine to the camera from which what is seen is believed
_SPACING = 3.0  # pixels of the window: half of what is between two vertices
_SKIN = (0.2, 0.6)  # share of hair at which a vertex is transparent, width of the ramp above
_TRUST = 4.0  # weight of what is seen against one neighbour's opinion
_MIRRORED = 0.1  # weight of what is seen on the other side
_STEEP = 6  # exponent of the cosine to the vertical with which hair hangs from hair
_SUPPORT = 1.25  # opacity over that of what it hangs from, at most
_DARKEST = 2e-3  # linear RGB; the logarithm is taken of no less
_ALBEDO = (0.003, 0.9)
_TONES = 0.5  # log albedo by which hair is lighter or darker in places
_SHEEN = 0.35  # distance, in log ratios of two channels, that is light's
_FAINT = (0.05, 0.35)  # the same, from grey of grey hair and of hair with a colour
_REDS = (0.5, 1.5)  # log of red over green, over that of green over blue
_FINE = 4.0  # pixels of the window: wider structure is tone, finer is detail
_CONTRASTS = (0.15, 0.45)
_ROUNDS = 40  # by which what is seen is carried to what is not


def colour(
    vertices: Float[Array, "N 3"],
    style: HairStyles,
    linear: Float[Array, "W W 3"],
    window: Window,
    lighting: Lighting,
    face_light: Float[Array, "3"],
) -> tuple[Float[Array, "N 4"], Float[Array, ""]]:
    """Returns albedo (linear RGB) and opacity of a style's vertices, and the detail's contrast.

    The albedo is the photo over the light on a round body with hair: its median, and by place the
    tone. Differentiable in photo, light and vertices.

    Args:
        vertices: of the style on the head, metres.
        style: one of the styles.
        linear: the photo in the window, linear RGB.
        window: its classes, head and camera.
        lighting: in camera space.
        face_light: mean of its irradiance over pi on the face, from which the light is known.
    """
    xy, depth = project(vertices, window.camera)

    def at(image: Float[Array, "W W C"]) -> Float[Array, "N C"]:
        place = [xy[:, 1] - 0.5, xy[:, 0] - 0.5]
        planes = jnp.moveaxis(image, -1, 0)
        return jnp.stack([jax.scipy.ndimage.map_coordinates(p, place, order=1) for p in planes], -1)

    def before(surface: Float[Array, "W W"]) -> Float[Array, " N"]:
        limit = at(jnp.where(jnp.isfinite(surface), surface, 1e3)[..., None])[:, 0]
        return 1.0 * ((depth < limit + _TOLERANCE) & style.used)

    here = at(blur(window.classes, _SPACING))  # or vertices would binarise a border into teeth
    hair, background = here[:, HAIR], here[:, BACKGROUND]
    total = hair + here[:, FACE] + background
    # Beside the photo's hair it stays: the outlines differ a little.
    around = at(dilate(window.hair, _MARGIN)[..., None])[:, 0]
    share = (hair + around * background) / jnp.maximum(total, 1e-3)
    opaque = jnp.clip((share - _SKIN[0]) / _SKIN[1], 0.0, 1.0)
    normals = outwards(vertices) @ rotation_matrix(window.camera.rotation).T
    # At the head's sides a pixel more or less would decide.
    facing = smoothstep(-normals[:, 2], *_FACING)
    known = _TRUST * facing * before(window.head_depth)
    known = known * jnp.clip(total - here[:, OTHER], 0.0, 1.0)
    opaque, known = _with_mirror_image(opaque, known, style.mirror)
    opacity = _hanging(_carried(opaque, known, style.neighbours, 1.0, 1e-3), vertices, style)

    light = shade(normals, lighting)
    light = jnp.maximum(light, DIMMEST * jnp.maximum(face_light, 1e-3))
    solid = window.hair**SURE
    nearest = jnp.minimum(depth_of_hair(vertices, style, window), window.head_depth)
    weight = before(nearest) * hair**SURE
    # The mean of lightness, a cube root: of linear light gloss and gaps would be most of it.
    lightness = masked_blur(jnp.cbrt(jnp.maximum(linear, _DARKEST)), solid, _FINE)
    radiance = at(lightness) ** 3
    log = natural(jnp.log(jnp.clip(radiance / light, *_ALBEDO)))
    common = median(log[:, None], weight[:, None])
    tone = jnp.clip(jnp.mean(log - common, -1), -_TONES, _TONES)
    tone, weight = _with_mirror_image(tone, weight, style.mirror)
    tone = _carried(tone, weight, style.neighbours, 0.0, 0.05)
    albedo = jnp.exp(common + tone[:, None])
    return jnp.concatenate([albedo, opacity[:, None]], -1), _contrast(linear, solid)


def _contrast(linear: Float[Array, "W W 3"], solid: Float[Array, "W W"]) -> Float[Array, ""]:
    """Returns the standard deviation of fine log luminance in the hair."""
    log = jnp.log(jnp.maximum(luminance(linear), _DARKEST))[..., None]
    fine = log - masked_blur(log, solid, _FINE)
    deviation = jnp.sqrt(jnp.maximum(masked_blur(fine**2, solid, _FINE), 1e-8))
    mean = jnp.sum(solid * deviation[..., 0]) / jnp.maximum(jnp.sum(solid), 1.0)
    return jnp.clip(mean, *_CONTRASTS)


def natural(log: Float[Array, "N 3"]) -> Float[Array, "N 3"]:
    """Returns log colours of the nearest hue that hair has: melanin reflects more green than blue,
    and about as much more red than green; up to `_SHEEN` off that is the sky's, a lamp's or the
    camera's. Grey and white hair is more common than hair of so faint a colour."""
    red, yellow = log[..., 0] - log[..., 1], log[..., 1] - log[..., 2]
    hue, edges = jnp.stack([red, yellow], -1), jnp.array([[slope, 1.0] for slope in _REDS])
    edges = edges / jnp.linalg.norm(edges, axis=-1, keepdims=True)
    on_edges = jnp.maximum(hue @ edges.T, 0.0)[..., None] * edges
    first = jnp.sum((hue[..., None, :] - on_edges) ** 2, -1)
    redless = (first[..., 0] < first[..., 1])[..., None]
    nearest = jnp.where(redless, on_edges[..., 0, :], on_edges[..., 1, :])
    inside = (red >= _REDS[0] * yellow) & (red <= _REDS[1] * yellow)
    off = jnp.where(inside[..., None], 0.0, hue - nearest)
    distance = jnp.sqrt(jnp.sum(off**2, -1, keepdims=True) + 1e-12)
    hue = hue - off * jnp.minimum(_SHEEN / distance, 1.0)
    chroma = jnp.sqrt(jnp.sum(hue**2, -1, keepdims=True) + 1e-12)
    red, yellow = jnp.moveaxis(hue * smoothstep(chroma, *_FAINT), -1, 0)
    green = jnp.mean(log, -1) - (red - yellow) / 3.0
    return jnp.stack([green + red, green, green - yellow], -1)


def _with_mirror_image(
    values: Float[Array, " N"], weight: Float[Array, " N"], mirror: Int[Array, " N"]
) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
    """Returns values and weights with those of the mirror images as well, which count where there
    is little of their own."""
    other = _MIRRORED * weight[mirror]
    total = weight + other
    return (weight * values + other * values[mirror]) / jnp.maximum(total, 1e-6), total


def _carried(
    values: Float[Array, " N"],
    weight: Float[Array, " N"],
    neighbours: Int[Array, "N J"],
    prior: float,
    doubt: float,
) -> Float[Array, " N"]:
    """Returns values carried over the mesh from where they have weight: by Jacobi's rounds,

    x = (weight value + mean of the neighbours' x + doubt prior) / (weight + 1 + doubt).
    """

    def step(x: Array, _: None) -> tuple[Array, None]:
        around = jnp.mean(x[neighbours], 1)
        return (weight * values + around + doubt * prior) / (weight + 1.0 + doubt), None

    start = jnp.where(weight > 0, values, prior)
    return jax.lax.scan(step, start, None, length=_ROUNDS)[0]


def _hanging(
    opacity: Float[Array, " N"], vertices: Float[Array, "N 3"], style: HairStyles
) -> Float[Array, " N"]:
    """Returns the opacity of hair that hangs from hair: little where it is little above, and none
    where no hair leads to the scalp."""
    away = vertices[style.neighbours] - vertices[:, None]
    rise = away[..., 1] / jnp.sqrt(jnp.sum(away**2, -1) + 1e-12)
    weight = jnp.maximum(rise, 0.0) ** _STEEP
    total = jnp.sum(weight, 1)

    def fall(x: Array, _: None) -> tuple[Array, None]:
        above = jnp.sum(weight * x[style.neighbours], 1) / jnp.maximum(total, 1e-6)
        return jnp.where(total > 0.2, jnp.minimum(x, _SUPPORT * above), x), None

    opacity = jax.lax.scan(fall, opacity, None, length=_ROUNDS)[0]

    def grow(x: Array, _: None) -> tuple[Array, None]:
        return jnp.minimum(opacity, jnp.maximum(x, jnp.max(x[style.neighbours], 1))), None

    return jax.lax.scan(grow, opacity * style.rooted, None, length=2 * _ROUNDS)[0]
