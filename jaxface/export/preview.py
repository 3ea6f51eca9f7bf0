"""Images of the result: photo, overlay, views in studio light, a turntable film. Host code."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import ndimage

from jaxface.export.mesh import smooth
from jaxface.export.stored import StoredResult
from jaxface.hair.lashes import lash_mesh
from jaxface.images import Photo, to_bytes
from jaxface.loading import PAINTED
from jaxface.morphable.files import load_model
from jaxface.morphable.model import shape
from jaxface.rendering.camera import look_at, project
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.lighting import studio
from jaxface.rendering.occlusion import sky_seen
from jaxface.rendering.render import render
from jaxface.types import Camera, Crop, FaceModel, HairMesh, Lighting, Materials, Reconstruction

TILE = 512
_VIEWS = (-35.0, 0.0, 35.0)  # degrees of yaw
_TARGET, _EXTENT = (0.0, -0.02, -0.05), 0.3  # metres: of the studio camera
STUDIO_EXPOSURE = 1.7
"""Factor on the radiance of studio views. A face then shows 1.3 times its albedo, as the skin of 72
portraits did on the median: photographers expose for faces, brighter than a white wall."""
_HIGHLIGHT = 0.76  # radiance from which it rolls off
_BACKDROP, _CORNER_FRACTION = (0.075, 0.077, 0.081), 0.5  # linear RGB at the centre; at corners
_TURN_YAW, _TURN_PITCH = 65.0, 6.0  # degrees, amplitudes of the turntable
_FILM_SIZE, _FRAMES = 400, 24  # pixels a side, frames from side to side
_FILM_LAYERS = 2  # surfaces of hair
FILM_RATE = 12  # frames a second


class Head(NamedTuple):
    """A head to render: model, vertices (metres), exposure (`sky_seen`, 0..1) of each, hair."""

    model: FaceModel
    vertices: Float[Array, "V 3"]
    exposure: Float[Array, " V"]
    hair: tuple[HairMesh, ...] = ()


def fine_head(
    model: FaceModel,
    vertices: Float[np.ndarray | Array, "V 3"],
    hair: HairMesh | None = None,
    exposure: Float[Array, " V"] | None = None,
) -> Head:
    """Returns the head after one step of subdivision (see `smooth`), with lashes and hair;
    `exposure` is `sky_seen` of the vertices, if it is known."""
    vertices = jnp.asarray(vertices)
    strands = tuple(mesh for mesh in (lash_mesh(model, vertices, hair), hair) if mesh is not None)
    in_eyes = jnp.asarray([name == "eyes" for name in model.region_names])[model.vertex_region]
    # The eyes' texture holds the shade of the lids.
    exposure = sky_seen(vertices, model.triangles) if exposure is None else exposure
    exposure = jnp.where(in_eyes, 1.0, exposure)
    finer, fine = smooth(model, np.concatenate([vertices, exposure[:, None]], axis=1))
    return Head(finer, fine[:, :3], jnp.clip(fine[:, 3], 0.0, 1.0), strands)


def preview(
    photo: Photo,
    reconstruction: Reconstruction,
    model: FaceModel,
    finer: Head,
) -> np.ndarray:
    """Returns `[TILE, 5 TILE, 3]` sRGB: face in the photo, the fit over it, three studio views.

    Args:
        photo: the input.
        reconstruction: whose camera is in pixels of the photo.
        model: the face model that was fitted.
        finer: `fine_head` of it, the fit's vertices and the hair.
    """
    fit, texture = reconstruction.fit, reconstruction.synthesis.texture
    camera = fit.parameters.camera
    crop, camera = crop_head(photo.srgb, fit.vertices, camera, model)
    fitted = finer.model, finer.vertices, texture, camera, fit.parameters.lighting
    over, alpha = draw(*fitted, exposure=painted_exposure(finer), hair=finer.hair)
    views = [studio_view(finer, texture, reconstruction.materials, yaw) for yaw in _VIEWS]
    overlay = np.asarray(over) * np.asarray(alpha) + crop * (1 - np.asarray(alpha))
    return np.concatenate([crop, overlay, *views], axis=1)


def painted_exposure(head: Head) -> Float[Array, " V"]:
    """Returns the exposure of vertices under the photo's light: `head.exposure` in painted regions,
    1 elsewhere, since skin's texture still holds some of the photo's shadows."""
    painted = jnp.asarray([name in PAINTED for name in head.model.region_names])
    return jnp.where(painted[head.model.vertex_region], head.exposure, 1.0)


def turntable(reconstruction: Reconstruction, finer: Head) -> np.ndarray:
    """Returns the frames `[N, S, S, 3]` (sRGB bytes, `FILM_RATE` a second) of a head that turns
    from side to side and back, a loop.

    Args:
        reconstruction: of a photo.
        finer: `fine_head` of the face model, the fit's vertices and the hair.
    """
    texture, surface = reconstruction.synthesis.texture, reconstruction.materials
    # Small pictures, many of them: what lies under two layers of hair is not missed.
    finer = finer._replace(
        hair=tuple(mesh.replace(layers=min(mesh.layers, _FILM_LAYERS)) for mesh in finer.hair)
    )
    phases = [math.pi * (step / _FRAMES - 0.5) for step in range(_FRAMES + 1)]
    # All are dispatched before the first is waited for.
    views = [
        studio_view(
            *(finer, texture, surface),
            _TURN_YAW * math.sin(phase),
            pitch=_TURN_PITCH * math.cos(phase),
            size=_FILM_SIZE,
            supersample=1,
        )
        for phase in phases
    ]
    frames = [to_bytes(np.asarray(view)) for view in views]
    return np.stack(frames + frames[-2:0:-1])  # there and back


def write_film(path: str | Path, frames: np.ndarray) -> None:
    """Writes frames `[N, H, W, 3]` (sRGB bytes, `FILM_RATE` a second) as H.264 in MP4."""
    import av  # slow import

    height, width = frames.shape[1:3]
    # FFmpeg would take what stands before a colon in a path for a protocol.
    with open(path, "wb") as file, av.open(file, "w", format="mp4") as film:
        stream = film.add_stream(
            "libx264", rate=Fraction(FILM_RATE), height=height, width=width, pix_fmt="yuv420p"
        )
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        film.mux(stream.encode(None))


def render_view(
    stored: StoredResult,
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    neutral: bool = False,
    light: str = "studio",
    size: int = 512,
) -> np.ndarray:
    """Returns `[size, size, 3]` sRGB, a rendering of a stored result.

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
    if light == "photo":
        camera, lighting = _studio_camera(yaw, pitch, size), parameters.lighting
        fine = smooth(model, np.asarray(vertices))
        lashes = lash_mesh(model, vertices, stored.hair)
        strands = tuple(mesh for mesh in (lashes, stored.hair) if mesh is not None)
        view, _ = draw(*fine, stored.texture_linear, camera, lighting, size, hair=strands)
    else:
        head = fine_head(model, vertices, stored.hair)
        view = studio_view(
            *(head, stored.texture_linear, stored.surface, yaw), pitch=pitch, size=size
        )
    return np.asarray(view)


def _studio_camera(yaw: float, pitch: float, size: int) -> Camera:
    """Returns the camera of studio views; angles in degrees."""
    yaw, pitch = math.radians(yaw), math.radians(pitch)
    return look_at(yaw, pitch, size, size, target=_TARGET, extent=_EXTENT)


def studio_view(
    head: Head,
    texture_linear: Float[Array, "T T 3"],
    surface: Materials | None,
    yaw: float,
    *,
    pitch: float = 0.0,
    size: int = TILE,
    supersample: int = 2,
) -> Float[Array, "S S 3"]:
    """Returns `[size, size, 3]` sRGB: the head under studio light, angles in degrees."""
    camera = _studio_camera(yaw, pitch, size)
    return draw(
        *(head.model, head.vertices, texture_linear, camera, studio(), size),
        surface=surface,
        exposure=head.exposure,
        background=_backdrop(size),
        supersample=supersample,
        hair=head.hair,
        develop=_developed,
    )[0]


def _developed(radiance: Float[Array, "... 3"]) -> Float[Array, "... 3"]:
    """Returns the sRGB picture of a studio view's linear RGB: `STUDIO_EXPOSURE`, then Khronos' PBR
    Neutral Tone Mapper (2024), which takes off a dielectric's reflection, keeps colours as they
    are and rolls off highlights from 0.76."""
    colour = STUDIO_EXPOSURE * radiance
    least = jnp.min(colour, -1, keepdims=True)
    colour = colour - jnp.where(least < 0.08, least - 6.25 * least**2, 0.04)
    peak = jnp.max(colour, -1, keepdims=True)
    room = 1.0 - _HIGHLIGHT
    above = jnp.maximum(peak - _HIGHLIGHT, 0.0)
    rolled = 1.0 - room**2 / (above + room)
    white = 1.0 - 1.0 / (0.15 * (peak - rolled) + 1.0)
    bright = colour * rolled / jnp.maximum(peak, _HIGHLIGHT)
    bright = bright + white * (rolled - bright)
    return linear_to_srgb(jnp.where(peak < _HIGHLIGHT, colour, bright))


@cache
def _backdrop(size: int) -> Float[np.ndarray, "S S 3"]:
    """Returns the background of studio views, linear RGB: a Gaussian falloff to the corners."""
    coordinate = (np.arange(size) + 0.5) / size - 0.5
    squared_radius = (coordinate[None, :] ** 2 + (coordinate[:, None] + 0.05) ** 2)[..., None]
    falloff = _CORNER_FRACTION + (1 - _CORNER_FRACTION) * np.exp(-squared_radius / 0.12)
    return np.asarray(falloff * np.array(_BACKDROP), np.float32)


def draw(
    model: FaceModel,
    vertices: Float[Array, "V 3"],
    texture_linear: Float[Array, "T T 3"],
    camera: Camera,
    lighting: Lighting,
    size: int = TILE,
    surface: Materials | None = None,
    exposure: Float[Array, " V"] | None = None,
    background: Float[np.ndarray | Array, "..."] | float = 0.0,
    supersample: int = 2,
    hair: tuple[HairMesh, ...] = (),
    develop: Callable[[Float[Array, "S S 3"]], Float[Array, "S S 3"]] = linear_to_srgb,
) -> tuple[Float[Array, "S S 3"], Float[Array, "S S 1"]]:
    """Returns an image (sRGB, which `develop` makes of linear RGB) and its coverage; see `render`.
    Asynchronous."""
    image, alpha = render(
        *(model, vertices, texture_linear, camera, lighting, size, size),
        supersample=supersample,
        specular=0.0 if surface is None else 1.0,
        surface=surface,
        exposure=exposure,
        background=background,
        hair=hair,
    )
    return develop(image), alpha[..., None]


def crop_head(
    srgb: np.ndarray, vertices: Float[Array, "V 3"], camera: Camera, model: FaceModel
) -> tuple[np.ndarray, Camera]:
    """Returns the photo's square around the head at TILE pixels a side, black outside the photo,
    and its camera."""
    head = np.asarray(model.vertex_region) != model.region_names.index("neck")
    points = np.asarray(project(vertices, camera)[0])[head]
    low, high = points.min(0), points.max(0)
    side = float((high - low).max()) * 1.15
    crop = Crop(jnp.asarray((low + high) / 2), jnp.asarray(side), size=TILE)
    # On the host: compiling a program for each size of photo would take longer.
    corner, step = (low + high) / 2 - side / 2, side / TILE
    offset = corner[::-1] + 0.5 * step - 0.5
    image = [
        ndimage.affine_transform(channel, [step, step], offset, (TILE, TILE), order=1)
        for channel in np.moveaxis(np.asarray(srgb, np.float32), -1, 0)
    ]
    return np.stack(image, -1), crop.camera_to_crop(camera)
