"""An independent renderer: rays through a textured mesh, its own shading, NumPy and Embree only.

What the fit is judged on must not be drawn by the renderer that the fit uses. Nothing here is
shared with `jaxface.rendering` but the conventions for camera, UV and spherical harmonics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh


@dataclass(frozen=True)
class Scene:
    """A mesh in model space (metres) with a texture by corner, and a pinhole camera."""

    vertices: np.ndarray
    triangles: np.ndarray
    uvs: np.ndarray
    uv_triangles: np.ndarray
    texture_linear: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    focal: float
    principal: tuple[float, float]


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Returns sRGB 0..1 of linear light (IEC 61966-2-1)."""
    x = np.clip(linear, 0.0, 1.0)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


def decode_srgb(srgb: np.ndarray) -> np.ndarray:
    """Returns linear light of sRGB 0..1."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def irradiance(normals: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Returns irradiance over pi, by Ramamoorthi and Hanrahan 2001, equation 13 (matrix form).

    Args:
        normals: unit, camera space, `[N, 3]`.
        coefficients: radiance in the order L00, L1-1, L10, L11, L2-2 ... L22, `[9, 3]`.
    """
    c1, c2, c3, c4, c5 = 0.429043, 0.511664, 0.743125, 0.886227, 0.247708
    homogeneous = np.concatenate([normals, np.ones((len(normals), 1))], axis=1)
    result = np.empty((len(normals), 3))
    for channel in range(3):
        l00, l1m1, l10, l11, l2m2, l2m1, l20, l21, l22 = coefficients[:, channel]
        matrix = np.array(
            [
                [c1 * l22, c1 * l2m2, c1 * l21, c2 * l11],
                [c1 * l2m2, -c1 * l22, c1 * l2m1, c2 * l1m1],
                [c1 * l21, c1 * l2m1, c3 * l20, c2 * l10],
                [c2 * l11, c2 * l1m1, c2 * l10, c4 * l00 - c5 * l20],
            ]
        )
        result[:, channel] = np.einsum("ni,ij,nj->n", homogeneous, matrix, homogeneous) / np.pi
    return np.maximum(result, 0.0)


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


def render(
    scene: Scene,
    height: int,
    width: int,
    lighting: np.ndarray,
    *,
    samples: int = 2,
    background: tuple[float, float, float] = (0.25, 0.27, 0.3),
    specular: float = 0.0,
    highlight: tuple[float, float, float] = (-0.5, -0.6, -0.7),
) -> tuple[np.ndarray, np.ndarray]:
    """Returns an sRGB photo `[H, W, 3]` and the share of each pixel that the mesh covers.

    Args:
        scene: what to draw.
        height: pixels.
        width: pixels.
        lighting: SH radiance `[9, 3]`, camera space.
        samples: a side; every pixel is the mean of its square.
        background: linear colour.
        specular: strength of a Blinn-Phong lobe outside the light model that is fitted.
        highlight: direction towards its light, camera space.
    """
    camera_vertices = scene.vertices @ scene.rotation.T + scene.translation
    mesh = trimesh.Trimesh(camera_vertices, scene.triangles, process=False)
    intersector = trimesh.ray.ray_pyembree.RayMeshIntersector(mesh, scale_to_box=False)
    at_x = (np.arange(width * samples) + 0.5) / samples
    at_y = (np.arange(height * samples) + 0.5) / samples
    x, y = np.meshgrid(at_x, at_y)
    rays = np.stack(
        [
            (x - scene.principal[0]) / scene.focal,
            (y - scene.principal[1]) / scene.focal,
            np.ones_like(x),
        ],
        axis=-1,
    ).reshape(-1, 3)
    hit = intersector.intersects_first(np.zeros_like(rays), rays)
    seen = np.flatnonzero(hit >= 0)
    triangle = hit[seen]
    corners = camera_vertices[scene.triangles[triangle]]
    weights = _barycentrics(rays[seen], corners)
    normals = np.einsum("nk,nkc->nc", weights, mesh.vertex_normals[scene.triangles[triangle]])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    uv = np.einsum("nk,nkc->nc", weights, scene.uvs[scene.uv_triangles[triangle]])
    color = sample(scene.texture_linear, uv) * irradiance(normals, lighting)
    if specular:
        view = -rays[seen] / np.linalg.norm(rays[seen], axis=1, keepdims=True)
        half = view + np.asarray(highlight) / np.linalg.norm(highlight)
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        color += specular * np.maximum((normals * half).sum(1, keepdims=True), 0) ** 40
    image = np.tile(np.asarray(background, float), (len(rays), 1))
    image[seen] = color
    cover = np.zeros(len(rays))
    cover[seen] = 1.0
    shape = (height, samples, width, samples)
    photo = image.reshape(*shape, 3).mean((1, 3))
    return encode_srgb(photo).astype(np.float32), cover.reshape(shape).mean((1, 3))


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


def random_lighting(rng: np.random.Generator, contrast: float = 0.35) -> np.ndarray:
    """Returns SH radiance of a random, nearly white light that shades a face to about 0.8."""
    coefficients = np.zeros((9, 3))
    tint = 1 + 0.06 * rng.standard_normal(3)
    coefficients[0] = np.sqrt(4 * np.pi) * 0.75 * tint
    direction = rng.standard_normal(3) * [1, 0.7, 0.4] + [0, -0.5, -1.0]
    direction /= np.linalg.norm(direction)
    # L1 in the order y, z, x.
    coefficients[1:4] = (contrast * 2.2 * direction[[1, 2, 0]])[:, None] * tint
    coefficients[4:] = 0.12 * rng.standard_normal((5, 1)) * tint
    return coefficients
