"""An independent renderer: rays through a textured mesh, its own shading, NumPy and Embree only.

What the fit is judged on must not be drawn by the renderer that the fit uses. Nothing here is
shared with `jaxface.rendering` but the conventions for camera, UV and spherical harmonics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh
from scipy import ndimage

from jaxface.evaluation.light import Sun, highlight, irradiance

_OFFSET = 5e-4  # metres: rays start off the surface they left

_SCATTER = np.array([1.0, 0.55, 0.35])  # how far red, green and blue light spread, relative


@dataclass(frozen=True)
class Prop:
    """A mesh of one colour (linear) that stands in the way, in model space."""

    vertices: np.ndarray
    triangles: np.ndarray
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """A mesh in model space (metres) with a texture by corner, a pinhole camera, and occluders."""

    vertices: np.ndarray
    triangles: np.ndarray
    uvs: np.ndarray
    uv_triangles: np.ndarray
    texture_linear: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    focal: float
    principal: tuple[float, float]
    props: tuple[Prop, ...] = ()


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Returns sRGB 0..1 of linear light (IEC 61966-2-1)."""
    x = np.clip(linear, 0.0, 1.0)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


def decode_srgb(srgb: np.ndarray) -> np.ndarray:
    """Returns linear light of sRGB 0..1."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def sample(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Returns bilinear samples of a texture (row 0 on top) at UV coordinates."""
    height, width = texture.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip((1 - uv[:, 1]) * height - 0.5, 0, height - 1)
    x0, y0 = x.astype(int), y.astype(int)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    top = texture[y0, x0] * (1 - fx) + texture[y0, x1] * fx
    return top * (1 - fy) + (texture[y1, x0] * (1 - fx) + texture[y1, x1] * fx) * fy


class _World:
    """The scene in camera space, ready for rays."""

    def __init__(self, scene: Scene) -> None:
        def moved(points: np.ndarray) -> np.ndarray:
            return points @ scene.rotation.T + scene.translation

        self.faces = len(scene.triangles)
        self.face = trimesh.Trimesh(moved(scene.vertices), scene.triangles, process=False)
        vertices, triangles = [self.face.vertices], [scene.triangles]
        colours = []
        count = len(scene.vertices)
        for prop in scene.props:
            vertices.append(moved(prop.vertices))
            triangles.append(prop.triangles + count)
            colours += [prop.colour] * len(prop.triangles)
            count += len(prop.vertices)
        self.colours = np.array(colours, float).reshape(-1, 3)
        self.mesh = trimesh.Trimesh(
            np.concatenate(vertices), np.concatenate(triangles), process=False
        )
        self.rays = trimesh.ray.ray_pyembree.RayMeshIntersector(self.mesh, scale_to_box=False)

    def lit(self, points: np.ndarray, normals: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Returns whether nothing stands between points and a light far away."""
        start = points + _OFFSET * (normals + direction)
        return ~self.rays.intersects_any(start, np.broadcast_to(direction, points.shape))


def visible(
    scene: Scene, points: np.ndarray, normals: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns whether the camera sees points of the surface, and the cosine of the viewing angle.

    Args:
        scene: with its occluders.
        points: `[N, 3]`, model space.
        normals: unit, model space.
        height: of the photo.
        width: of the photo.
    """
    world = _World(scene)
    points = points @ scene.rotation.T + scene.translation
    normals = normals @ scene.rotation.T
    view = -points / np.linalg.norm(points, axis=1, keepdims=True)
    cosine = (normals * view).sum(1)
    at = scene.focal * points[:, :2] / points[:, 2:] + scene.principal
    inside = ((at > 0) & (at < [width, height])).all(1)
    blocked = world.rays.intersects_any(points + _OFFSET * (normals + view), view)
    return inside & ~blocked & (cosine > 0), cosine


def render(
    scene: Scene,
    height: int,
    width: int,
    lighting: np.ndarray,
    *,
    samples: int = 2,
    background: tuple[float, float, float] = (0.25, 0.27, 0.3),
    sun: Sun | None = None,
    subsurface: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns an sRGB photo `[H, W, 3]` and the share of each pixel that anything covers.

    Args:
        scene: what to draw.
        height: pixels.
        width: pixels.
        lighting: SH radiance `[9, 3]`, camera space, without shadows.
        samples: a side; every pixel is the mean of its square.
        background: linear colour.
        sun: a light besides, with cast shadows and highlights.
        subsurface: metres by which red light spreads in skin (a blur of the irradiance).
    """
    world = _World(scene)
    at_x = (np.arange(width * samples) + 0.5) / samples
    at_y = (np.arange(height * samples) + 0.5) / samples
    x, y = np.meshgrid(at_x, at_y)
    (cx, cy), one = scene.principal, np.ones_like(x)
    rays = np.stack([(x - cx) / scene.focal, (y - cy) / scene.focal, one], -1).reshape(-1, 3)
    hit = world.rays.intersects_first(np.zeros_like(rays), rays)
    seen = np.flatnonzero(hit >= 0)
    triangle, ray = hit[seen], rays[seen]
    corners = world.mesh.triangles[triangle]
    weights = _barycentrics(ray, corners)
    points = np.einsum("nk,nkc->nc", weights, corners)
    normals = world.mesh.face_normals[triangle]
    own = triangle < world.faces
    smooth = world.face.vertex_normals[scene.triangles[triangle[own]]]
    normals[own] = np.einsum("nk,nkc->nc", weights[own], smooth)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    light, reached = _light(world, points, normals, lighting, sun)
    shine = 0.0
    if sun is not None and sun.specular:
        view = -ray / np.linalg.norm(ray, axis=1, keepdims=True)
        lobe = highlight(normals, view, sun.direction[None], sun.roughness)
        shine = sun.specular * reached * (lobe * own)[:, None]
    if subsurface:
        pixels = subsurface * samples * scene.focal / np.median(points[:, 2])
        light[own] = _scatter(light[own], seen[own], x.shape, pixels)
    albedo = np.empty_like(light)
    uv = np.einsum("nk,nkc->nc", weights[own], scene.uvs[scene.uv_triangles[triangle[own]]])
    albedo[own] = sample(scene.texture_linear, uv)
    albedo[~own] = world.colours[triangle[~own] - world.faces]
    image = np.tile(np.asarray(background, float), (len(rays), 1))
    image[seen] = albedo * light + shine
    shape = (height, samples, width, samples)
    photo = image.reshape(*shape, 3).mean((1, 3))
    return encode_srgb(photo).astype(np.float32), (hit >= 0).reshape(shape).mean((1, 3))


def incoming(
    scene: Scene, points: np.ndarray, normals: np.ndarray, lighting: np.ndarray, sun: Sun | None
) -> np.ndarray:
    """Returns the irradiance over pi, `[N, 3]`, that reaches points of the surface.

    Args:
        scene: with its occluders.
        points: `[N, 3]`, model space.
        normals: unit, model space.
        lighting: SH radiance `[9, 3]`, camera space, without shadows.
        sun: a light besides, with cast shadows.
    """
    points = points @ scene.rotation.T + scene.translation
    return _light(_World(scene), points, normals @ scene.rotation.T, lighting, sun)[0]


def _light(
    world: _World, points: np.ndarray, normals: np.ndarray, lighting: np.ndarray, sun: Sun | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the irradiance over pi at points in camera space, and the sun's that gets there."""
    light = irradiance(normals, lighting)
    if sun is None:
        return light, np.zeros_like(light)
    # Every sample sees another point of the disc, so that shadows have soft borders.
    jitter = np.random.default_rng(0).standard_normal(points.shape)
    direction = sun.direction + sun.radius * jitter
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    reached = world.lit(points, normals, direction)[:, None] * sun.colour
    light += reached * np.maximum((normals * sun.direction).sum(1, keepdims=True), 0)
    return light, reached


def _scatter(
    light: np.ndarray, pixels: np.ndarray, shape: tuple[int, int], sigma: float
) -> np.ndarray:
    """Returns the irradiance of skin pixels blurred among themselves, red the most."""
    cover = np.zeros(shape)
    cover.flat[pixels] = 1
    result = np.empty_like(light)
    for channel, width in enumerate(sigma * _SCATTER):
        plane = np.zeros(shape)
        plane.flat[pixels] = light[:, channel]
        both = ndimage.gaussian_filter(plane, width), ndimage.gaussian_filter(cover, width)
        result[:, channel] = (both[0] / np.maximum(both[1], 1e-9)).flat[pixels]
    return result


def _barycentrics(rays: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Returns weights of the corners where rays from the origin meet their planes."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    # Volumes of the tetrahedra that the ray spans with each edge (Cramer's rule).
    weights = np.stack(
        [
            (rays * np.cross(b, c)).sum(1),
            (rays * np.cross(c, a)).sum(1),
            (rays * np.cross(a, b)).sum(1),
        ],
        axis=1,
    )
    total = weights.sum(1, keepdims=True)
    return weights / np.where(np.abs(total) < 1e-18, 1e-18, total)


def head_rotation(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Returns the model-to-camera rotation of a head; degrees, yaw to the subject's left."""
    y, p, r = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    tilt = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return tilt @ np.diag([1.0, -1.0, -1.0]) @ nod @ turn
