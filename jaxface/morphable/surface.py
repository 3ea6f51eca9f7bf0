"""Fits the face model to a 3D surface (a scan) by non-rigid ICP. Host code.

Used to register other topologies and to measure the model's expressiveness, not for photos.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from jaxface.types import FaceModel

# Regions of the model that are fitted; eyes, sockets and inner mouth are absent from scans.
OUTER = ("skin", "lips", "brows", "lids", "nose", "ears", "scalp", "neck")
SAMPLES_PER_TRIANGLE = 6
MARK_SIGMA = 0.2e-3  # metres, of corresponding points: small, as they are few among many vertices
NORMAL_WEIGHT = 0.008  # metres per unit of difference between normals, in nearest-point search


@dataclass(frozen=True)
class SurfaceFit:
    """The fitted model and the registration of the target to it.

    `identity`: coefficients. `vertices`: of the fitted model, model space, metres. A target point x
    is `scale * x @ rotation.T + translation` in model space. `distance`: of each target vertex to
    the fitted surface, metres.
    """

    identity: np.ndarray
    vertices: np.ndarray
    rotation: np.ndarray
    scale: float
    translation: np.ndarray
    distance: np.ndarray


def similarity(
    source: Float[np.ndarray, "N 3"], target: Float[np.ndarray, "N 3"], *, scale: bool = True
) -> tuple[np.ndarray, float, np.ndarray]:
    """Returns rotation, scale and translation from source to target by least squares (Umeyama)."""
    p, q = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(q.T @ p)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(sign) @ vt
    factor = float((s * sign).sum() / (p**2).sum()) if scale else 1.0
    return rotation, factor, target.mean(0) - factor * rotation @ source.mean(0)


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Returns area-weighted unit normals of a mesh."""
    corner = vertices[triangles] * 1e3
    face = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, triangles[:, k], face)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)


class _Samples:
    """Random points on the model's outer surface, linear in the vertices."""

    def __init__(self, model: FaceModel) -> None:
        self.mean = np.asarray(model.mean, float)
        self.basis = np.asarray(model.identity_basis, float)
        triangles = np.asarray(model.triangles)
        regions = [model.region_names.index(x) for x in OUTER]
        kept = np.isin(np.asarray(model.vertex_region), regions)[triangles].all(1)
        self.triangles = np.repeat(triangles[kept], SAMPLES_PER_TRIANGLE, axis=0)
        rng = np.random.default_rng(0)
        self.weights = rng.dirichlet(np.ones(3), len(self.triangles))

    def points_and_normals(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns positions and unit normals of the points."""
        corner = vertices[self.triangles]
        points = np.einsum("nk,nkc->nc", self.weights, corner)
        normal = np.cross((corner[:, 1] - corner[:, 0]) * 1e3, (corner[:, 2] - corner[:, 0]) * 1e3)
        return points, normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)

    def modes(self, index: np.ndarray) -> np.ndarray:
        """Returns `[n, 3, I]`, derivatives of the chosen points by the identity coefficients."""
        corner = self.basis[:, self.triangles[index]]
        return np.einsum("nk,inkc->nci", self.weights[index], corner)


def fit_surface(
    vertices: Float[np.ndarray, "N 3"],
    triangles: Int[np.ndarray, "M 3"],
    target_points: Float[np.ndarray, "P 3"],
    model_points: Float[np.ndarray, "P 3"],
    model: FaceModel,
    *,
    sigma: float = 0.7e-3,
    steps: int = 12,
    scale: bool = False,
    marks: tuple[np.ndarray, np.ndarray] | None = None,
) -> SurfaceFit:
    """Returns the identity (neutral expression) whose surface fits a target's.

    Each step pairs every target vertex with the nearest model sample (in position and normal), then
    solves one regularised least-squares problem for a rigid motion of the target and the identity:
    point-to-plane residuals with robust weights, tangential ones with a small weight, prior
    N(0, 1).

    Args:
        vertices: the target, metres, any pose.
        triangles: of the target, for its normals; vertices without triangles are ignored.
        target_points: P corresponding points on the target, metres, for the initial alignment.
        model_points: the same points on the model's mean, metres.
        model: the face model.
        sigma: standard deviation of a distance, metres: smaller weighs the prior less.
        steps: iterations.
        scale: also estimate the target's scale, once, from the corresponding points.
        marks: vertices `[P, 3]` and barycentrics `[P, 3]` of the corresponding points on the model,
            if they are also to be constrained while the surface is fitted.

    Source: Amberg, Romdhani and Vetter 2007 (optimal step non-rigid ICP), for a linear model.
    """
    samples = _Samples(model)
    modes = len(samples.basis)
    rotation, factor, shift = similarity(target_points, model_points, scale=scale)
    points = factor * vertices @ rotation.T + shift
    used = np.unique(triangles)
    moved_marks = factor * target_points @ rotation.T + shift
    identity = np.zeros(modes)
    for step in range(steps):
        sample_points, normals = samples.points_and_normals(_shape(samples, identity))
        target_normals = vertex_normals(points, triangles)
        tree = cKDTree(np.concatenate([sample_points, normals * NORMAL_WEIGHT], axis=1))
        query = np.concatenate([points, target_normals * NORMAL_WEIGHT], axis=1)[used]
        distance, nearest = tree.query(query)
        inliers = distance < (0.015 if step < 5 else 0.006)
        chosen = nearest[inliers]
        p, n, q = sample_points[chosen], normals[chosen], points[used[inliers]]
        basis = samples.modes(chosen)
        jacobian = _jacobian(q, basis)
        plane = np.einsum("nc,ncp->np", n, jacobian)
        residual = q - p
        plane_residual = (n * residual).sum(1)
        robust = 1 / (1 + (plane_residual / 1.5e-3) ** 2) if step > 5 else np.ones(len(p))
        tangent = 0.15**2
        flat = jacobian.reshape(-1, 6 + modes)
        normal_matrix = plane.T @ (plane * robust[:, None]) + tangent * flat.T @ flat
        gradient = plane.T @ (robust * plane_residual) + tangent * flat.T @ residual.reshape(-1)
        current_sigma = sigma * max(1.0, 6 * 0.6**step)
        prior = np.concatenate([np.zeros(6), np.ones(modes)])
        normal_matrix = normal_matrix / current_sigma**2 + np.diag(prior + 1e-9)
        gradient = gradient / current_sigma**2 + prior * np.concatenate([np.zeros(6), identity])
        if marks is not None:
            corners, weights = marks
            on_model = np.einsum("pk,pkc->pc", weights, _shape(samples, identity)[corners])
            mark_modes = np.einsum("pk,ipkc->pci", weights, samples.basis[:, corners])
            rows = _jacobian(moved_marks, mark_modes).reshape(-1, 6 + modes) / MARK_SIGMA
            normal_matrix += rows.T @ rows
            gradient += rows.T @ (moved_marks - on_model).ravel() / MARK_SIGMA
        delta = -np.linalg.solve(normal_matrix, gradient)
        identity = identity + delta[6:]
        increment = _rotation(delta[:3])
        points, moved_marks = (x @ increment.T + delta[3:6] for x in (points, moved_marks))
        rotation, shift = increment @ rotation, increment @ shift + delta[3:6]
    fitted = _shape(samples, identity)
    return SurfaceFit(
        identity=identity,
        vertices=fitted,
        rotation=rotation,
        scale=factor,
        translation=shift,
        distance=_distance(samples, fitted, points),
    )


def _jacobian(points: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Returns `[n, 3, 6 + I]`, derivatives of target minus model by rigid motion and identity."""
    rotation_columns = np.stack([np.cross(axis, points) for axis in np.eye(3)], axis=2)
    translation_columns = np.broadcast_to(np.eye(3), (len(points), 3, 3))
    return np.concatenate([rotation_columns, translation_columns, -modes], axis=2)


def _shape(samples: _Samples, identity: np.ndarray) -> np.ndarray:
    """Returns the model's vertices, metres."""
    return samples.mean + np.tensordot(identity, samples.basis, 1)


def _distance(samples: _Samples, vertices: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns the distance of points to the plane of the nearest sample, metres."""
    sample_points, normals = samples.points_and_normals(vertices)
    distance, nearest = cKDTree(sample_points).query(points)
    plane = np.abs(((points - sample_points[nearest]) * normals[nearest]).sum(1))
    # Beyond 4 mm the plane is no approximation of the surface: distance to the sample.
    return np.where(distance > 0.004, distance, plane)


def _rotation(vector: np.ndarray) -> np.ndarray:
    """Returns the rotation matrix of an axis-angle vector."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
