"""A photo of a person by ray casting, with the class of every pixel, and what cameras do to it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import imageio.v3 as iio
import numpy as np
import trimesh
from scipy import ndimage

from building.people.parts import BACKGROUND, BEARD, BROW, FACE, Part
from jaxface.evaluation.light import Sun, highlight, irradiance
from jaxface.evaluation.scene import encode_srgb, sample

_LAYERS = 12  # transparent surfaces that a ray passes
_OFFSET = 2e-4  # metres: rays start off the surface they left
_OPAQUE = 0.02


@dataclass(frozen=True)
class View:
    """A pinhole camera: model to camera rotation and translation (metres), pixels."""

    rotation: np.ndarray
    translation: np.ndarray
    focal: float
    principal: tuple[float, float]
    size: int


@dataclass(frozen=True)
class Hits:
    """What rays meet first that is opaque: `[N]` part (-1 nothing), points, normals, colours."""

    part: np.ndarray
    points: np.ndarray
    normals: np.ndarray
    albedo: np.ndarray
    kind: np.ndarray


class World:
    """Parts ready for rays, in model space."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        offsets = np.cumsum([0, *(len(part.vertices) for part in parts)])
        self.mesh = trimesh.Trimesh(
            np.concatenate([part.vertices for part in parts]),
            np.concatenate([p.triangles + o for p, o in zip(parts, offsets, strict=False)]),
            process=False,
        )
        self.owner = np.repeat(np.arange(len(parts)), [len(part.triangles) for part in parts])
        self.first = np.cumsum([0, *(len(part.triangles) for part in parts)])
        self.normals = np.concatenate(
            [trimesh.Trimesh(p.vertices, p.triangles, process=False).vertex_normals for p in parts]
        )
        self.rays = trimesh.ray.ray_pyembree.RayMeshIntersector(self.mesh, scale_to_box=False)

    def cast(self, origins: np.ndarray, directions: np.ndarray, chance: np.ndarray) -> Hits:
        """Returns the first hits of opacity above `chance` `[N]` (stochastic transparency)."""
        count = len(origins)
        found = Hits(
            part=np.full(count, -1),
            points=np.zeros((count, 3)),
            normals=np.zeros((count, 3)),
            albedo=np.zeros((count, 3)),
            kind=np.full(count, BACKGROUND),
        )
        left, start = np.arange(count), origins.copy()
        for _ in range(_LAYERS):
            triangle = self.rays.intersects_first(start[left], directions[left])
            hit = triangle >= 0
            left, triangle = left[hit], triangle[hit]
            if not len(left):
                break
            points, weights = self._place(start[left], directions[left], triangle)
            albedo, opacity, kind, normals = self._surface(points, weights, triangle)
            solid = opacity > np.maximum(chance[left], _OPAQUE)
            these = left[solid]
            found.part[these] = self.owner[triangle[solid]]
            found.points[these], found.albedo[these] = points[solid], albedo[solid]
            found.normals[these], found.kind[these] = normals[solid], kind[solid]
            left, points = left[~solid], points[~solid]
            start[left] = points + _OFFSET * directions[left]
        return found

    def _place(
        self, origins: np.ndarray, directions: np.ndarray, triangle: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns where rays meet the planes of triangles, and the corners' weights there."""
        a, b, c = (self.mesh.triangles[triangle][:, k] for k in range(3))
        edge1, edge2 = b - a, c - a
        p = np.cross(directions, edge2)
        determinant = (edge1 * p).sum(1)
        determinant = np.where(np.abs(determinant) < 1e-16, 1e-16, determinant)
        t = origins - a
        u = (t * p).sum(1) / determinant
        q = np.cross(t, edge1)
        v = (directions * q).sum(1) / determinant
        distance = (edge2 * q).sum(1) / determinant
        weights = np.clip(np.stack([1 - u - v, u, v], 1), 0, 1)
        return origins + distance[:, None] * directions, weights

    def _surface(
        self, points: np.ndarray, weights: np.ndarray, triangle: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns colour, opacity, class and normal where triangles were met."""
        owner = self.owner[triangle]
        albedo, opacity = np.zeros((len(points), 3)), np.ones(len(points))
        kind = np.zeros(len(points), int)
        corner = self.normals[self.mesh.faces[triangle]]
        normals = np.einsum("nk,nkc->nc", weights, corner)
        for index in np.unique(owner):
            part, own = self.parts[index], owner == index
            kind[own] = part.kind
            if part.rgba is not None:
                assert part.uvs is not None and part.uv_triangles is not None
                local = triangle[own] - self.first[index]
                uv = np.einsum("nk,nkc->nc", weights[own], part.uvs[part.uv_triangles[local]])
                rgba = sample(part.rgba, uv)
                albedo[own], opacity[own] = rgba[:, :3], rgba[:, 3]
                if part.kinds is not None:
                    side = np.array(part.kinds.shape) - 1
                    at = np.clip(np.stack([1 - uv[:, 1], uv[:, 0]]).T * side, 0, side).round()
                    kind[own] = part.kinds[tuple(at.astype(int).T)]
            else:
                assert part.pattern is not None
                albedo[own] = part.pattern(points[own])
            if part.outline is not None:
                opacity[own] = opacity[own] * part.outline(points[own])
            if part.round_normals is not None:
                away = points[own] - part.round_normals
                away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
                normals[own] = 0.3 * normals[own] + away
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        return albedo, opacity, kind, normals


def render(
    parts: Sequence[Part],
    view: View,
    lighting: np.ndarray,
    backdrop: np.ndarray,
    rng: np.random.Generator,
    *,
    sun: Sun | None = None,
    samples: int = 4,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns linear radiance `[S, S, 3]` and the share of each class in each pixel
    `[S, S, K + 2]`, those of brows and beard (which are the face's as well) last.

    Args:
        parts: in model space.
        view: the camera.
        lighting: SH radiance `[9, 3]`, camera space, without shadows.
        backdrop: `[S, S, 3]` linear radiance behind the person.
        rng: of transparency and soft shadows.
        sun: a light besides, with cast shadows and highlights, camera space.
        samples: rays through each pixel, an even number.
    """
    world = World(parts)
    row, column, ray = np.meshgrid(
        np.arange(view.size), np.arange(view.size), np.arange(samples), indexing="ij"
    )
    # No two of a pixel in one row or column, nor all on its diagonal: thin things show evenly.
    x = column + ((2 * ray + 1) % (samples + 1) + 0.5) / samples
    y = row + (ray + 0.5) / samples
    cx, cy = view.principal
    rays = np.stack([(x - cx) / view.focal, (y - cy) / view.focal, np.ones_like(x)], -1)
    rays = rays.reshape(-1, 3)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    directions = rays @ view.rotation  # camera to model
    origin = np.broadcast_to(-view.translation @ view.rotation, rays.shape).copy()
    chance = (rng.random((view.size, view.size, 1)) + ray / samples) % 1  # even in each pixel
    hits = world.cast(origin, directions, chance.ravel())
    seen = np.flatnonzero(hits.part >= 0)
    normals = hits.normals[seen] @ view.rotation.T  # camera space
    view_direction = -rays[seen]
    normals = np.where((normals * view_direction).sum(1, keepdims=True) < 0, -normals, normals)
    light, shine = irradiance(normals, lighting), np.zeros((len(seen), 3))
    if sun is not None:
        jitter = sun.radius * rng.standard_normal(normals.shape)
        towards = sun.direction + jitter
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        back = towards @ view.rotation
        start = hits.points[seen] + 1e-3 * back + 1e-3 * hits.normals[seen]
        reached = ~world.rays.intersects_any(start, back)
        lit = reached[:, None] * np.asarray(sun.colour)
        light = light + lit * np.maximum((normals * sun.direction).sum(1, keepdims=True), 0)
        skin = np.isin(hits.kind[seen], (FACE, BROW, BEARD)) | (hits.part[seen] == 0)
        lobe = highlight(normals, view_direction, sun.direction[None], sun.roughness)
        shine = sun.specular * lit * (lobe * skin)[:, None]
    image = np.repeat(backdrop.reshape(-1, 3), samples, 0)
    image[seen] = hits.albedo[seen] * light + shine
    block = (view.size, view.size, samples)
    kinds = hits.kind[:, None] == np.arange(BEARD + 1)
    kinds[:, FACE] |= kinds[:, BROW] | kinds[:, BEARD]
    classes = kinds.reshape(*block, -1).mean(2)
    return image.reshape(*block, 3).mean(2), classes.astype(np.float32)


def developed(linear: np.ndarray, face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns an 8-bit sRGB photo: exposure, white balance, curve, blur, noise, JPEG.

    Args:
        linear: `[S, S, 3]` radiance.
        face: `[S, S]` bool, which is exposed for.
        rng: chooses.
    """
    level = np.median(linear[face].mean(-1)) if face.any() else np.median(linear)
    target = np.exp(rng.normal(np.log(0.25), 0.4))
    image = linear * min(target / max(level, 1e-6), 1e3) * np.exp(rng.normal(0, 0.07, 3))
    if rng.random() < 0.8:
        image = ndimage.gaussian_filter(image, (sigma := 1.6 * rng.beta(1.2, 2.5), sigma, 0))
    if rng.random() < 0.15:
        image = image + rng.uniform(0, 0.15)  # haze
    srgb = encode_srgb(image)
    srgb = np.clip(srgb, 0, 1) ** np.exp(rng.normal(0, 0.12))
    contrast = rng.normal(1.0, 0.12)
    srgb = 0.5 + contrast * (srgb - 0.5)
    grey = srgb.mean(-1, keepdims=True)
    share = 0.0 if rng.random() < 0.08 else np.clip(rng.normal(1.0, 0.15), 0.2, 1.4)
    srgb = grey + share * (srgb - grey)
    size = srgb.shape[0]
    if rng.random() < 0.3:  # a small face, enlarged
        small = rng.uniform(0.2, 0.8)
        small_picture = ndimage.zoom(
            ndimage.gaussian_filter(srgb, (0.4 / small, 0.4 / small, 0)), (small, small, 1), order=1
        )
        factor = size / small_picture.shape[0], size / small_picture.shape[1], 1
        srgb = ndimage.zoom(small_picture, factor, order=1)
    noise = 10 ** rng.uniform(-3.5, -1.4)
    srgb = srgb + noise * rng.standard_normal(srgb.shape) * rng.choice([0.3, 1.0])
    if rng.random() < 0.2:
        ink = np.array([1.0, 0.93, 0.8]) * rng.uniform(0.8, 1)  # an old print
        srgb = srgb * ink + rng.uniform(0, 0.08)
    picture = (np.clip(srgb, 0, 1) * 255 + 0.5).astype(np.uint8)
    if rng.random() < 0.7:
        quality = int(rng.uniform(25, 97))
        data = iio.imwrite("<bytes>", picture, extension=".jpg", quality=quality)
        picture = iio.imread(io.BytesIO(data))[..., :3]
    return picture
