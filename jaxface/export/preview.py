"""Pictures of the result: photo, overlay, views under studio light, a turning head. Host code."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.export.mesh import smooth
from jaxface.export.stored import StoredResult
from jaxface.images import Photo, to_bytes
from jaxface.morphable.model import load_model, shape
from jaxface.rendering.camera import look_at, project
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.lighting import studio
from jaxface.rendering.render import render
from jaxface.types import Camera, FaceModel, Lighting, Materials, Reconstruction

TILE = 512
_VIEWS = (-35.0, 0.0, 35.0)  # degrees of yaw
_TARGET, _EXTENT = (0.0, -0.02, -0.05), 0.3  # metres: the head with some of its neck
_GLOW, _CORNERS = (0.085, 0.088, 0.095), 0.25  # linear colour behind the head, share in corners
_TURN, _NOD = 65.0, 6.0  # degrees
_FILM, _FRAMES = 400, 24  # pixels a side, pictures from side to side
FILM_RATE = 24  # frames a second


def preview(photo: Photo, reconstruction: Reconstruction, model: FaceModel) -> np.ndarray:
    """Returns `[TILE, 5 TILE, 3]` sRGB: face in the photo, the fit over it, three studio views.

    Args:
        photo: the input.
        reconstruction: whose camera is in pixels of the photo.
        model: the face model that was fitted.
    """
    fit, texture = reconstruction.fit, reconstruction.synthesis.texture
    camera = fit.parameters.camera
    crop, camera = crop_head(photo.srgb, fit.vertices, camera, model)
    over, alpha = draw(model, fit.vertices, texture, camera, fit.parameters.lighting)
    overlay = over * alpha + crop * (1 - alpha)
    finer, vertices = smooth(model, np.asarray(fit.vertices))
    views = [studio_view(finer, vertices, texture, reconstruction.materials, yaw) for yaw in _VIEWS]
    return np.concatenate([crop, overlay, *views], axis=1)


def turntable(reconstruction: Reconstruction, model: FaceModel) -> np.ndarray:
    """Returns the frames `[N, S, S, 3]` (sRGB bytes, 24 a second) of a head that turns from side
    to side, for an endless film.

    Args:
        reconstruction: of a photo.
        model: the face model that was fitted.
    """
    finer, vertices = smooth(model, np.asarray(reconstruction.fit.vertices))
    texture, surface = reconstruction.synthesis.texture, reconstruction.materials
    frames = []
    for step in range(_FRAMES + 1):
        phase = math.pi * (step / _FRAMES - 0.5)
        view = studio_view(
            *(finer, vertices, texture, surface),
            _TURN * math.sin(phase),
            pitch=_NOD * math.cos(phase),
            size=_FILM,
            supersample=1,
        )
        # Each frame is used twice, there and back, and stands for two of the film.
        frames.append(to_bytes(view))
    turn = frames + frames[-2:0:-1]
    return np.repeat(np.stack(turn), 2, axis=0)


def render_view(
    stored: StoredResult,
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    neutral: bool = False,
    light: str = "studio",
    size: int = 512,
) -> np.ndarray:
    """Returns `[size, size, 3]` sRGB: a result from another side.

    Args:
        stored: from `load_result`.
        yaw: degrees that the head turns to the subject's left.
        pitch: degrees that the chin rises.
        neutral: without the photo's expression.
        light: `studio` or `photo`.
        size: pixels a side.
    """
    model, parameters = load_model(stored.model), stored.parameters
    expression = parameters.expression * (0.0 if neutral else 1.0)
    vertices = shape(model, parameters.identity, expression)
    finer, vertices = smooth(model, np.asarray(vertices))
    camera = _studio_camera(yaw, pitch, size)
    if light == "photo":
        lighting = parameters.lighting
        return draw(finer, vertices, stored.texture_linear, camera, lighting, size)[0]
    return studio_view(
        *(finer, vertices, stored.texture_linear, stored.surface, yaw), pitch=pitch, size=size
    )


def _studio_camera(yaw: float, pitch: float, size: int) -> Camera:
    """Angles in degrees."""
    yaw, pitch = math.radians(yaw), math.radians(pitch)
    return look_at(yaw, pitch, size, size, target=_TARGET, extent=_EXTENT)


def studio_view(
    model: FaceModel,
    vertices: Float[Array, "V 3"],
    texture_linear: Float[Array, "T T 3"],
    surface: Materials | None,
    yaw: float,
    *,
    pitch: float = 0.0,
    size: int = TILE,
    supersample: int = 2,
) -> np.ndarray:
    """Returns `[size, size, 3]` sRGB: the head under studio light, angles in degrees."""
    camera = _studio_camera(yaw, pitch, size)
    return draw(
        *(model, vertices, texture_linear, camera, studio(), size),
        surface=surface,
        background=_backdrop(size),
        supersample=supersample,
    )[0]


def _backdrop(size: int) -> Float[Array, "S S 3"]:
    """Returns a soft glow behind the head, linear."""
    at = (np.arange(size) + 0.5) / size - 0.5
    off = (at[None, :] ** 2 + (at[:, None] + 0.05) ** 2)[..., None]
    glow = _CORNERS + (1 - _CORNERS) * np.exp(-off / 0.12)
    return jnp.asarray(glow * np.array(_GLOW), jnp.float32)


def draw(
    model: FaceModel,
    vertices: Float[Array, "V 3"],
    texture_linear: Float[Array, "T T 3"],
    camera: Camera,
    lighting: Lighting,
    size: int = TILE,
    surface: Materials | None = None,
    background: Float[Array, "..."] | float = 0.0,
    supersample: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a picture (sRGB) and its coverage `[size, size, 1]`; see `render`."""
    image, alpha = render(
        *(model, vertices, texture_linear, camera, lighting, size, size),
        supersample=supersample,
        specular=0.0 if surface is None else 1.0,
        surface=surface,
        background=background,
    )
    return np.asarray(linear_to_srgb(image)), np.asarray(alpha)[..., None]


def crop_head(
    srgb: np.ndarray, vertices: Float[Array, "V 3"], camera: Camera, model: FaceModel
) -> tuple[np.ndarray, Camera]:
    """Returns the photo's square around the head at TILE pixels a side, and its camera."""
    head = np.asarray(model.vertex_region) != model.region_names.index("neck")
    points = np.asarray(project(vertices, camera)[0])[head]
    low, high = points.min(0), points.max(0)
    side = float((high - low).max()) * 1.15
    corner = (low + high) / 2 - side / 2
    scale = TILE / side
    grid = (np.arange(TILE) + 0.5) / scale - 0.5
    rows, columns = grid + corner[1], grid + corner[0]
    image = _bilinear(srgb, rows, columns)
    return image, Camera(
        rotation=camera.rotation,
        translation=camera.translation,
        focal=camera.focal * scale,
        principal=(camera.principal - jnp.asarray(corner, jnp.float32)) * scale,
    )


def _bilinear(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Samples `image` at every row and column index (pixel centres are whole), black outside."""
    result = image
    for axis, positions in ((0, rows), (1, columns)):
        last = result.shape[axis] - 1
        below = np.clip(np.floor(positions), 0, last).astype(int)
        above = np.minimum(below + 1, last)
        share = np.clip(positions - below, 0, 1).astype(np.float32)
        inside = ((positions > -1) & (positions < last + 1)).astype(np.float32)
        shape = [-1 if i == axis else 1 for i in range(3)]
        share, inside = share.reshape(shape), inside.reshape(shape)
        first, second = (np.take(result, index, axis) for index in (below, above))
        result = (first * (1 - share) + second * share) * inside
    return result
