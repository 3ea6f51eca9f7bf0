"""The outline of hair: a style on a head, drawn outwards or inwards until it fits the photo's."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxface.parsing.classes import FACE, HAIR
from jaxface.rendering.camera import project
from jaxface.rendering.hair import CROWN
from jaxface.rendering.normals import normalize, vertex_normals
from jaxface.rendering.rasterize import rasterize
from jaxface.types import Camera, FaceModel, HairStyles

WINDOW = 256
"""Pixels a side of the window in which outlines are compared."""
_ROUNDS = 4
_STEP = 0.012  # metres by which a round moves the outline at most
_ANGLES, _RADII, _EXTENT = 72, 128, 0.75  # of the polar grid; its radius over the window's side
_LOWEST = 0.6  # sine, below the horizon, of the lowest ray that is compared: below hair hangs
_AROUND = 4  # rays to either side whose median is taken
_SHARPNESS = 25.0  # concentration of the kernel over image angles, at the outline
_GAP, _GAP_REACH = 3e-3, 8  # metres that hair stays off the head; anchors it is measured from


class Window(NamedTuple):
    """What outlines are compared in.

    `classes`: `[W, W, K]` probabilities. `head_depth`: `[W, W]` metres, infinite beside the head.
    `camera`: in pixels of the window. `below`: `[W, W]` whether a pixel lies below the chin.
    """

    classes: Float[Array, "W W K"]
    head_depth: Float[Array, "W W"]
    camera: Camera
    below: Bool[Array, "W W"]

    @property
    def hair(self) -> Float[Array, "W W"]:
        """Probability of hair."""
        return self.classes[..., HAIR]

    @property
    def seen(self) -> Bool[Array, "W W"]:
        """Whether a pixel shows hair."""
        return self.hair > 0.5

    @property
    def inside(self) -> Bool[Array, "W W"]:
        """Whether a pixel lies in the photo."""
        return jnp.sum(self.classes, -1) > 0.5


def fit_outline(
    style: HairStyles, model: FaceModel, neutral: Float[Array, "V 3"], window: Window
) -> Float[Array, "N 3"]:
    """Returns the vertices of a style on a head, its outline as near to the photo's as it goes.

    Args:
        style: one of the styles.
        model: the face model.
        neutral: the head without expression, metres.
        window: the photo.
    """
    vertices = follow(style, model, neutral)
    for _ in range(_ROUNDS):
        vertices = _moved(vertices, style, window)
        vertices = _off_head(vertices, style, model, neutral)
    return vertices


def follow(
    style: HairStyles, model: FaceModel, neutral: Float[Array, "V 3"]
) -> Float[Array, "N 3"]:
    """Returns a style's vertices on a head, metres; linear in `neutral`.

    Args:
        style: one of the styles.
        model: the face model.
        neutral: the head, metres.
    """
    moved = (neutral - model.mean)[style.anchors]
    return style.vertices + jnp.sum(style.weights[..., None] * moved, 1)


def outwards(points: Float[Array, "N 3"]) -> Float[Array, "N 3"]:
    """Returns unit vectors away from the axis of head and neck: up from the cranium's middle above
    it, level below it."""
    away = points - jnp.asarray(CROWN)
    return normalize(away * jnp.where(away[:, 1:2] < 0, jnp.array([1.0, 0.0, 1.0]), 1.0))


def depth_of_hair(
    vertices: Float[Array, "N 3"], style: HairStyles, window: Window
) -> Float[Array, "W W"]:
    """Returns the depth of the nearest hair in each pixel, metres; infinite where there is none."""
    xy, depth = project(vertices, window.camera)
    raster, _ = rasterize(xy, depth, style.triangles, WINDOW, WINDOW)
    return jnp.where(raster[..., 3] > 0, raster[..., 2], jnp.inf)


def overlap(
    vertices: Float[Array, "N 3"], style: HairStyles, window: Window
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns intersection over union of the hair drawn and the hair seen: of all, and of what lies
    above the chin, since below it shoulders and clothes may hide hair.

    Hair that is drawn on skin does not count: it is made transparent.
    """
    drawn = depth_of_hair(vertices, style, window) < window.head_depth
    drawn &= window.inside & (window.classes[..., FACE] < 0.5)

    def ratio(where: Bool[Array, "W W"]) -> Float[Array, ""]:
        both, either = drawn & window.seen & where, (drawn | window.seen) & where
        return jnp.sum(both) / jnp.maximum(jnp.sum(either), 1)

    return ratio(window.inside), ratio(window.inside & ~window.below)


def _moved(vertices: Float[Array, "N 3"], style: HairStyles, window: Window) -> Float[Array, "N 3"]:
    """Returns the vertices moved outwards or inwards by the outlines' distance on the rays around
    them: on those nearest to a vertex at the outline, on all of them at the middle."""
    centre, middle = project(jnp.asarray(CROWN)[None], window.camera)
    drawn = depth_of_hair(vertices, style, window) < window.head_depth
    person = window.hair + window.classes[..., FACE]
    seen = _reach(_polar(window.hair, centre[0]), _polar(person, centre[0]))
    made = _reach(_polar(1.0 * drawn, centre[0]), jnp.ones((_ANGLES, _RADII)))
    step = _EXTENT * WINDOW / _RADII
    beyond = jnp.clip((seen / step).astype(jnp.int32) + 2, 0, _RADII - 1)[:, None]
    inside = jnp.take_along_axis(_polar(1.0 * window.inside, centre[0]), beyond, 1)[:, 0]
    cut = (inside < 0.5) & (seen < made)  # hair goes on out of the photo
    angle = 2.0 * jnp.pi * jnp.arange(_ANGLES) / _ANGLES
    known = (seen > 0) & (made > 0) & ~cut & (jnp.sin(angle) < _LOWEST)
    metres = middle[0] / window.camera.focal
    shift = jnp.clip(_median_around(seen - made, known) * metres, -_STEP, _STEP)

    away = project(vertices, window.camera)[0] - centre[0]
    radius = jnp.sqrt(jnp.sum(away**2, -1) + 1e-6)
    cosine = away @ jnp.stack([jnp.cos(angle), jnp.sin(angle)]) / radius[:, None]
    outline = made[jnp.argmax(cosine, 1)]
    edge = jnp.clip(radius / jnp.maximum(outline, 1.0), 0.0, 1.0)[:, None]
    kernel = known * jnp.exp(_SHARPNESS * edge**2 * (cosine - 1.0))
    moved = kernel @ shift / (jnp.sum(kernel, 1) + 1e-3)
    return vertices + (style.freedom * moved)[:, None] * outwards(vertices)


def _median_around(values: Float[Array, " A"], known: Bool[Array, " A"]) -> Float[Array, " A"]:
    """Returns the median of the known values on the rays around each one, 0 where there is none:
    what juts out on fewer rays is no hair, but something behind it. No derivative."""
    around = jnp.arange(_ANGLES)[:, None] + jnp.arange(-_AROUND, _AROUND + 1)
    window = jnp.where(known, jax.lax.stop_gradient(values), jnp.nan)[around % _ANGLES]
    return jnp.nan_to_num(jnp.nanmedian(window, 1))


def _polar(image: Float[Array, "W W"], centre: Float[Array, "2"]) -> Float[Array, "A R"]:
    """Returns an image on rays from a centre; 0 outside the image."""
    angle = 2.0 * jnp.pi * jnp.arange(_ANGLES)[:, None] / _ANGLES
    radius = _radii()
    x, y = (c + radius * f(angle) - 0.5 for c, f in zip(centre, (jnp.cos, jnp.sin), strict=True))
    return jax.scipy.ndimage.map_coordinates(image, [y, x], order=1, cval=0.0)


def _radii() -> Float[Array, " R"]:
    """Returns the radii of the polar grid, pixels."""
    return (jnp.arange(_RADII) + 0.5) * (_EXTENT * WINDOW / _RADII)


def _reach(hair: Float[Array, "A R"], person: Float[Array, "A R"]) -> Float[Array, " A"]:
    """Returns the greatest radius at which each ray meets hair before it leaves the person, in
    pixels; 0 if none."""
    within = jnp.cumprod(person > 0.5, 1) > 0
    return jnp.max(jnp.where((hair > 0.5) & within, _radii(), 0.0), 1)


def _off_head(
    vertices: Float[Array, "N 3"],
    style: HairStyles,
    model: FaceModel,
    neutral: Float[Array, "V 3"],
) -> Float[Array, "N 3"]:
    """Returns the vertices pushed out of the head where they are in it."""
    near, weight = style.anchors[:, :_GAP_REACH], style.weights[:, :_GAP_REACH]
    normals = vertex_normals(neutral, model.triangles)[near]
    height = jnp.sum((vertices[:, None] - neutral[near]) * normals, -1)
    height = jnp.sum(weight * height, 1) / jnp.maximum(jnp.sum(weight, 1), 1e-6)
    normal = normalize(jnp.sum(weight[..., None] * normals, 1))
    return vertices + jnp.maximum(_GAP - height, 0.0)[:, None] * normal
