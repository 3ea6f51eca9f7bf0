"""Painted portraits of the face model, for building what is measured with the landmark detector.

The paint is procedural (skin, lips, brows, lashes, iris), so that it needs no texture and differs
from portrait to portrait; the shape, the camera and the light are given.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import trimesh
from jaxtyping import Array, Float

from jaxface.rendering.camera import project, rotation_matrix
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.interpolate import interpolate
from jaxface.rendering.lighting import shade
from jaxface.rendering.normals import normalize, vertex_normals
from jaxface.rendering.rasterize import rasterize
from jaxface.types import Camera, FaceModel, Lighting

SUPERSAMPLE = 2
IRIS, PUPIL = 20.5, 8.0  # degrees from the eye's pole; the model's iris ring is at 20.5
EYE_VERTICES = 338
BROW_KNOTS = 7


class Canvas(NamedTuple):
    """What the paint needs to know of the model."""

    model: FaceModel
    weights: Float[Array, "V R"]
    occlusion: Float[Array, " V"]
    brow: Float[Array, "3"]
    brow_reach: Float[Array, "2"]
    eyes: Float[Array, "2 3"]


class Paint(NamedTuple):
    """Linear RGB of each part, and how dense the brows and the scalp's hair are."""

    skin: Float[Array, "3"]
    lips: Float[Array, "3"]
    hair: Float[Array, "3"]
    iris: Float[Array, "3"]
    brow_density: Float[Array, ""]
    hair_density: Float[Array, ""]


def ambient_occlusion(vertices: np.ndarray, triangles: np.ndarray, *, rays: int = 48) -> np.ndarray:
    """Returns the share of the hemisphere over each vertex that is open, `[V]`."""
    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    normals = np.asarray(mesh.vertex_normals)
    rng = np.random.default_rng(0)
    open_share = np.zeros(len(vertices))
    for _ in range(rays):
        # A unit vector plus the normal is distributed as the cosine over the hemisphere.
        random = rng.normal(size=(len(vertices), 3))
        direction = normals + random / np.linalg.norm(random, axis=1, keepdims=True)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        open_share += ~mesh.ray.intersects_any(vertices + 2e-4 * normals, direction)
    return open_share / rays


def make_canvas(model: FaceModel) -> Canvas:
    """Returns the canvas of a model: region weights, occlusion, brow line, eye centres."""
    mean, region = np.asarray(model.mean), np.asarray(model.vertex_region)
    names = list(model.region_names)
    brow = mean[(region == names.index("brows")) & (mean[:, 0] > 0)]
    eyes = mean[-2 * EYE_VERTICES :].reshape(2, EYE_VERTICES, 3)
    return Canvas(
        model=model,
        weights=jnp.asarray(np.eye(len(names), dtype=np.float32)[region]),
        occlusion=jnp.asarray(
            ambient_occlusion(mean, np.asarray(model.triangles)), dtype=jnp.float32
        ),
        brow=jnp.asarray(np.polyfit(brow[:, 0], brow[:, 1], 2), dtype=jnp.float32),
        brow_reach=jnp.asarray([brow[:, 0].min(), brow[:, 0].max()], dtype=jnp.float32),
        eyes=jnp.asarray((eyes[:, 0] + eyes[:, -1]) / 2),
    )


def _smooth(low: float, high: float, x: Array) -> Array:
    t = jnp.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _brow(canvas: Canvas, place: Array) -> Array:
    """Returns how much of a brow covers each point of the mean face."""
    x, y = jnp.abs(place[..., 0]), place[..., 1]
    low, high = canvas.brow_reach
    along = jnp.clip((x - low) / (high - low), 0.0, 1.0)
    half = 0.0045 - 0.0030 * along**2
    off = jnp.abs(y - jnp.polyval(canvas.brow, x)) / half
    ends = _smooth(-0.12, 0.08, (x - low) / (high - low))
    ends *= _smooth(-0.10, 0.10, (high - x) / (high - low))
    return ends * (1 - _smooth(0.6, 1.25, off)) * (place[..., 2] > -0.02)


def _eye(canvas: Canvas, place: Array, paint: Paint) -> Array:
    """Returns the eyeball's colour at points of the mean face."""
    centre = jnp.where(place[..., :1] > 0, canvas.eyes[0], canvas.eyes[1])
    angle = jnp.rad2deg(jnp.arccos(jnp.clip(normalize(place - centre)[..., 2:], -0.999999, 1.0)))
    rim = 1 - 0.6 * _smooth(IRIS - 6, IRIS, angle)
    colour = paint.iris * rim + (0.62 - paint.iris * rim) * _smooth(IRIS - 1, IRIS + 1, angle)
    return colour * _smooth(PUPIL - 1, PUPIL + 1, angle) + 0.003


@partial(jax.jit, static_argnames="size")
def portrait(
    canvas: Canvas,
    vertices: Float[Array, "V 3"],
    paint: Paint,
    camera: Camera,
    lighting: Lighting,
    backdrop: Float[Array, "3"],
    *,
    size: int,
) -> tuple[Float[Array, "S S 3"], Float[Array, "s s 4"], Float[Array, "s s"]]:
    """Returns the sRGB picture, the raster (twice as large) and how much each pixel faces us.

    Args:
      canvas: from `make_canvas`.
      vertices: of this portrait, model space, metres.
      paint: colours.
      camera: for `size` x `size` pixels.
      lighting: in camera space.
      backdrop: linear RGB.
      size: side in pixels.
    """
    model, side = canvas.model, size * SUPERSAMPLE
    xy, depth = project(vertices, camera)
    raster, _ = rasterize(xy * SUPERSAMPLE, depth, model.triangles, side, side)
    rotation = rotation_matrix(camera.rotation)
    values = [
        vertex_normals(vertices, model.triangles) @ rotation.T,
        vertices @ rotation.T + camera.translation,
        model.mean,
        canvas.occlusion[:, None],
        canvas.weights,
    ]
    pixel = interpolate(jnp.concatenate(values, axis=1), raster, model.triangles)
    normals, view = normalize(pixel[..., :3]), normalize(-pixel[..., 3:6])
    place, occlusion, weights = pixel[..., 6:9], pixel[..., 9:10], pixel[..., 10:]
    part = dict(zip(model.region_names, jnp.moveaxis(weights, -1, 0)[..., None], strict=True))

    colour = paint.skin * jnp.ones_like(place)
    hair = paint.hair_density * part["scalp"]
    hair = jnp.maximum(hair, paint.brow_density * _brow(canvas, place)[..., None])
    for share, tint in (
        (_smooth(0.2, 0.8, part["lips"]), paint.lips),
        (part["inner_mouth"] + part["tongue"], jnp.array([0.25, 0.07, 0.06])),
        (part["teeth"], jnp.array([0.65, 0.6, 0.5])),
        (0.8 * _smooth(0.3, 0.9, part["sockets"]), jnp.array([0.06, 0.03, 0.02])),
        (hair, paint.hair),
        (part["eyes"] > 0.5, _eye(canvas, place, paint)),
    ):
        colour = colour + share * (tint - colour)
    facing = jnp.sum(normals * view, axis=-1)
    light = jnp.maximum(shade(normals, lighting), 0.0) * occlusion
    half = normalize(view + normalize(jnp.array([-0.4, -0.7, -0.8])))
    gloss = jnp.where(part["eyes"] > 0.5, 0.5, 0.03)
    power = jnp.where(part["eyes"] > 0.5, 400.0, 12.0)
    shine = gloss * jnp.maximum(jnp.sum(normals * half, -1, keepdims=True), 1e-3) ** power
    picture = colour * light + shine * occlusion
    picture = jnp.where(raster[..., 3:] > 0, picture, backdrop)
    picture = picture.reshape(size, SUPERSAMPLE, size, SUPERSAMPLE, 3).mean((1, 3))
    return linear_to_srgb(jnp.clip(picture, 0.0, 1.0)), raster, facing


def random_paint(rng: np.random.Generator) -> Paint:
    """Returns plausible colours of one person: melanin from light to dark, matching hair."""
    dark = rng.beta(1.2, 1.6)
    skin = np.exp((1 - dark) * np.log([0.62, 0.40, 0.29]) + dark * np.log([0.075, 0.036, 0.023]))
    lips = skin * np.array([0.85, 0.55, 0.55]) + np.array([0.03, 0.0, 0.0])
    hair = rng.uniform(0.3, 1.0) ** 3 * np.array([0.35, 0.22, 0.12]) * (1 - dark) + 0.008
    iris = (
        np.array([0.09, 0.05, 0.02])
        if rng.random() < 0.6 + 0.4 * dark
        else (np.array([0.10, 0.16, 0.20]))
    )
    values = (
        skin,
        lips,
        hair,
        iris,
        rng.uniform(0.5, 0.95),
        rng.choice([0.0, 0.9, 0.95]),
    )
    return Paint(*(jnp.asarray(v, dtype=jnp.float32) for v in values))


def random_lighting(rng: np.random.Generator) -> Lighting:
    """Returns soft light: ambient and two lamps from the front hemisphere."""
    from jaxface.rendering.lighting import directional

    total = jnp.zeros((9, 3))
    ambient = rng.uniform(0.35, 0.7)
    for strength in (rng.uniform(0.2, 0.7), rng.uniform(0.0, 0.3)):
        direction = np.array([rng.uniform(-1, 1), rng.uniform(-1, 0.2), -rng.uniform(0.4, 1)])
        colour = strength * (1 + 0.08 * rng.normal(size=3))
        lamp = directional(
            jnp.asarray(direction, jnp.float32),
            jnp.asarray(colour, jnp.float32),
            ambient=ambient / 2,
        )
        total = total + lamp.coefficients
    return Lighting(coefficients=total)
