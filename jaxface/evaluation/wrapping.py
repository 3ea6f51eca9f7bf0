"""The canonical UV on a mesh of another topology, by way of the model fitted to it in 3D."""

from __future__ import annotations

import numpy as np
import trimesh
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from jaxface.fitting.schemes import with_landmarks68
from jaxface.morphable.surface import OUTER
from jaxface.types import FaceModel

_NEAR = 0.08  # of the UV square: how far a landmark moves what is around it


def closest_point(
    mesh: trimesh.Trimesh, points: np.ndarray, candidates: int = 12
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the nearest points of a mesh, distances and triangles, among near triangles."""
    _, near = cKDTree(mesh.triangles.mean(1)).query(points, k=candidates)
    repeated = np.repeat(points, candidates, axis=0)
    closest = trimesh.triangles.closest_point(mesh.triangles[near.ravel()], repeated)
    closest = closest.reshape(-1, candidates, 3)
    distance = np.linalg.norm(closest - points[:, None], axis=2)
    best = distance.argmin(1)
    row = np.arange(len(points))
    return closest[row, best], distance[row, best], near[row, best]


def wrap(
    points: np.ndarray, triangles: np.ndarray, fitted: np.ndarray, model: FaceModel
) -> np.ndarray:
    """Returns canonical UVs by corner, `[3 M, 2]`, of a mesh that the model was fitted to: those of
    the nearest points of the fitted surface.

    Args:
        points: of the mesh, model space.
        triangles: of the mesh, `[M, 3]`.
        fitted: the model's vertices.
        model: whose UVs are given.
    """
    own = np.asarray(model.triangles)
    regions = [model.region_names.index(x) for x in OUTER]
    kept = np.flatnonzero(np.isin(np.asarray(model.vertex_region), regions)[own].all(1))
    mesh = trimesh.Trimesh(fitted, own[kept], process=False)
    corners_uv = np.asarray(model.uvs)[np.asarray(model.uv_triangles)[kept]]

    def uv_at(places: np.ndarray) -> np.ndarray:
        near, _, face = closest_point(mesh, places)
        weights = trimesh.triangles.points_to_barycentric(mesh.triangles[face], near)
        weights = np.clip(np.nan_to_num(weights, nan=1 / 3), 0, 1)
        weights /= weights.sum(1, keepdims=True)
        return np.einsum("nk,nkc->nc", weights, corners_uv[face])

    # By corner: each triangle keeps to one side of the seam, that of its centre.
    corners = points[triangles]
    uv, center = uv_at(points)[triangles], uv_at(corners.mean(1))
    far = np.abs(uv - center[:, None]).max(2) > 0.06
    return np.where(far[..., None], center[:, None], uv).reshape(-1, 2)


def pin(
    uv: np.ndarray, triangles: np.ndarray, vertices: np.ndarray, model: FaceModel
) -> np.ndarray:
    """Returns canonical UVs by corner, moved so that landmarks lie where the model has them.

    Nearest points slide along smooth surfaces (brows by a centimetre). The shift of 43 of the 68
    landmarks, without the contour and the inner lips, is continued by a thin-plate spline.

    Args:
        uv: by corner, from `wrap`.
        triangles: of the mesh, `[M, 3]`.
        vertices: of the mesh that are the 68 landmarks.
        model: whose UVs are given.
    """
    sparse, inner = with_landmarks68(model), np.arange(17, 60)
    corners = np.asarray(model.uv_triangles)[np.asarray(sparse.landmark_triangles)[inner]]
    weights = np.asarray(sparse.landmark_barycentrics)[inner]
    goal = np.einsum("lk,lkc->lc", weights, np.asarray(model.uvs)[corners])
    flat = triangles.ravel()
    place = np.stack([uv[flat == vertex].mean(0) for vertex in vertices[inner]])
    near, _ = cKDTree(place).query(uv)
    fade = np.exp(-0.5 * (near / _NEAR) ** 2)[:, None]
    spline = RBFInterpolator(place, goal - place, smoothing=1e-4)
    return uv + fade * spline(uv)


def eyeballs(model: FaceModel) -> tuple[np.ndarray, np.ndarray]:
    """Returns the triangles of the model's eyes and their UVs by corner, `[3 N, 2]`."""
    triangles = np.asarray(model.triangles)
    eyes = np.asarray(model.vertex_region) == model.region_names.index("eyes")
    chosen = eyes[triangles].all(1)
    uv = np.asarray(model.uvs)[np.asarray(model.uv_triangles)[chosen]]
    return triangles[chosen], uv.reshape(-1, 2)
