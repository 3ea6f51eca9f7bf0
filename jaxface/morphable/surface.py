"""Fits the face model to a 3D surface (a scan): correspondence by nearest points. Host code.

Used to register other topologies and to measure what the model can express; the photo pipeline
does not need it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from jaxface.types import FaceModel

# Regions of the model that take part; eyes, sockets and inner mouth have no counterpart in scans.
OUTER = ("skin", "lips", "brows", "lids", "nose", "ears", "scalp", "neck")
SAMPLES_PER_TRIANGLE = 6
MARK_SIGMA = 0.2e-3  # metres, of corresponding points: they are few among many vertices
NORMAL_WEIGHT = 0.008  # metres that a unit of difference between normals counts for


@dataclass(frozen=True)
class SurfaceFit:
    """The model on a surface. `distance` is in the target's order, metres.

    `vertices` lie in model space; `to_model` of the target: `x @ rotation.T * scale + translation`.
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
    """Returns rotation, scale and translation that bring source next to target (Umeyama 1991)."""
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
    """Points spread over the model's front, linear in the vertices."""

    def __init__(self, model: FaceModel) -> None:
        self.mean = np.asarray(model.mean, float)
        self.basis = np.asarray(model.identity_basis, float)
        triangles = np.asarray(model.triangles)
        regions = [model.region_names.index(x) for x in OUTER]
        kept = np.isin(np.asarray(model.vertex_region), regions)[triangles].all(1)
        self.triangles = np.repeat(triangles[kept], SAMPLES_PER_TRIANGLE, axis=0)
        rng = np.random.default_rng(0)
        self.weights = rng.dirichlet(np.ones(3), len(self.triangles))

    def place(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        corner = vertices[self.triangles]
        points = np.einsum("nk,nkc->nc", self.weights, corner)
        normal = np.cross((corner[:, 1] - corner[:, 0]) * 1e3, (corner[:, 2] - corner[:, 0]) * 1e3)
        return points, normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)

    def modes(self, index: np.ndarray) -> np.ndarray:
        """Returns `[n, 3, I]`: how the chosen points move with the identity."""
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
    """Returns the identity (neutral expression) whose surface is nearest to a target's.

    Every step pairs each target vertex with the nearest of many points on the model (position and
    normal), then solves one regularised least-squares problem for a rigid motion of the target
    and the identity: point-to-plane distances with robust weights, a little of the tangential
    ones, prior N(0, 1).

    Args:
        vertices: the target, metres, any pose.
        triangles: the target's, for its normals; vertices without triangles take no part.
        target_points: a few corresponding points on the target ...
        model_points: ... and on the model's mean, for the first alignment.
        model: the face model.
        sigma: standard deviation of a distance, metres: smaller fits closer and strays further.
        steps: of correspondence.
        scale: also estimate the target's scale, once, from the corresponding points.
        marks: vertices `[P, 3]` and barycentrics `[P, 3]` of the corresponding points on the model,
            if they are to stay together while the surface is fitted.

    Source: Amberg, Romdhani and Vetter 2007 (optimal step non-rigid ICP), for a linear model.
    """
    samples = _Samples(model)
    modes = len(samples.basis)
    rotation, factor, shift = similarity(target_points, model_points, scale=scale)
    points = factor * vertices @ rotation.T + shift
    used = np.unique(triangles)
    pinned = factor * target_points @ rotation.T + shift
    identity = np.zeros(modes)
    for step in range(steps):
        here, normals = samples.place(_shape(samples, identity))
        own = vertex_normals(points, triangles)
        tree = cKDTree(np.concatenate([here, normals * NORMAL_WEIGHT], axis=1))
        query = np.concatenate([points, own * NORMAL_WEIGHT], axis=1)[used]
        distance, nearest = tree.query(query)
        good = distance < (0.015 if step < 5 else 0.006)
        chosen = nearest[good]
        p, n, q = here[chosen], normals[chosen], points[used[good]]
        basis = samples.modes(chosen)
        full = _jacobian(q, basis)
        plane = np.einsum("nc,ncp->np", n, full)
        residual = q - p
        off = (n * residual).sum(1)
        robust = 1 / (1 + (off / 1.5e-3) ** 2) if step > 5 else np.ones(len(off))
        tangent = 0.15**2
        flat = full.reshape(-1, 6 + modes)
        normal = plane.T @ (plane * robust[:, None]) + tangent * flat.T @ flat
        gradient = plane.T @ (robust * off) + tangent * flat.T @ residual.reshape(-1)
        width = sigma * max(1.0, 6 * 0.6**step)
        prior = np.concatenate([np.zeros(6), np.ones(modes)])
        normal = normal / width**2 + np.diag(prior + 1e-9)
        gradient = gradient / width**2 + prior * np.concatenate([np.zeros(6), identity])
        if marks is not None:
            corners, weights = marks
            place = np.einsum("pk,pkc->pc", weights, _shape(samples, identity)[corners])
            shift_of = np.einsum("pk,ipkc->pci", weights, samples.basis[:, corners])
            rows = _jacobian(pinned, shift_of).reshape(-1, 6 + modes) / MARK_SIGMA
            normal += rows.T @ rows
            gradient += rows.T @ (pinned - place).ravel() / MARK_SIGMA
        delta = -np.linalg.solve(normal, gradient)
        identity = identity + delta[6:]
        small = _rotation(delta[:3])
        points, pinned = (x @ small.T + delta[3:6] for x in (points, pinned))
        rotation, shift = small @ rotation, small @ shift + delta[3:6]
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
    """Returns `[n, 3, 6 + I]`: how target minus model changes with the motion and the identity."""
    turn = np.stack([np.cross(axis, points) for axis in np.eye(3)], axis=2)
    move = np.broadcast_to(np.eye(3), (len(points), 3, 3))
    return np.concatenate([turn, move, -modes], axis=2)


def _shape(samples: _Samples, identity: np.ndarray) -> np.ndarray:
    return samples.mean + np.tensordot(identity, samples.basis, 1)


def _distance(samples: _Samples, vertices: np.ndarray, points: np.ndarray) -> np.ndarray:
    here, normals = samples.place(vertices)
    distance, nearest = cKDTree(here).query(points)
    plane = np.abs(((points - here[nearest]) * normals[nearest]).sum(1))
    # Far from every sample the plane says nothing.
    return np.where(distance > 0.004, distance, plane)


def _rotation(vector: np.ndarray) -> np.ndarray:
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
