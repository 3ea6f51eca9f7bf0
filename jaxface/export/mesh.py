"""The face model's mesh for file formats: one UV per vertex, NumPy arrays. Host code."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import sparse

from jaxface.morphable.subdivision import subdivide
from jaxface.rendering.normals import vertex_normals
from jaxface.types import FaceModel


class Corners(NamedTuple):
    """N vertices, split along the UV seams.

    `source`: `[N]` the model's vertex of each. `uvs`: `[N, 2]`, origin bottom-left. `triangles`:
    `[F, 3]` indices into the N.
    """

    source: np.ndarray
    uvs: np.ndarray
    triangles: np.ndarray


def split_corners(model: FaceModel) -> Corners:
    """Returns the vertices split where a vertex has several UVs, in a deterministic order."""
    triangles, uv_triangles = np.asarray(model.triangles), np.asarray(model.uv_triangles)
    pairs = np.stack([triangles.ravel(), uv_triangles.ravel()], axis=1)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return Corners(
        source=unique[:, 0],
        uvs=np.asarray(model.uvs, np.float32)[unique[:, 1]],
        triangles=inverse.reshape(-1, 3).astype(np.uint32),
    )


def smooth(model: FaceModel, vertices: np.ndarray) -> tuple[FaceModel, jnp.ndarray]:
    """Returns model and vertices after one step of subdivision, for smooth silhouettes.

    Further columns of `vertices` are subdivided too. Only topology, UVs and regions of the returned
    model are those of the finer mesh.
    """
    quads = np.asarray(model.quads)
    fine = subdivide(quads, np.asarray(model.uv_quads))
    rows, columns, weights = sparse.find(fine.matrix)
    order = np.lexsort((columns, -weights, rows))
    nearest = columns[order][np.searchsorted(rows[order], np.arange(fine.matrix.shape[0]))]
    finer = model.replace(
        triangles=jnp.asarray(_halves(fine.quads)),
        quads=jnp.asarray(fine.quads),
        uv_triangles=jnp.asarray(_halves(fine.uv_quads)),
        uv_quads=jnp.asarray(fine.uv_quads),
        uvs=jnp.asarray(fine.uv_matrix @ np.asarray(model.uvs), jnp.float32),
        vertex_region=model.vertex_region[nearest],
    )
    return finer, jnp.asarray(fine.matrix @ np.asarray(vertices), jnp.float32)


def _halves(quads: np.ndarray) -> np.ndarray:
    """Returns the two triangles of each quad, first all first ones."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)


def normals(model: FaceModel, vertices: np.ndarray) -> np.ndarray:
    """Returns unit vertex normals `[V, 3]`; a vertex without area gets +z."""
    normal = np.asarray(vertex_normals(jnp.asarray(vertices), model.triangles))
    degenerate = np.linalg.norm(normal, axis=1) < 0.5
    return np.where(degenerate[:, None], np.array([0, 0, 1], np.float32), normal)


def tangents(corners: Corners, vertices: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Returns tangents `[N, 4]` as glTF defines them: the unit direction of increasing u orthogonal
    to the normal, and the sign for which sign cross(normal, tangent) is that of increasing v.

    Args:
        corners: the split vertices.
        vertices: `[N, 3]` of the split vertices.
        normal: `[N, 3]`, unit.
    """
    point, uv = vertices[corners.triangles], corners.uvs[corners.triangles].astype(float)
    edges, uv_edges = point[:, 1:] - point[:, :1], uv[:, 1:] - uv[:, :1]
    (a, b), (c, d) = uv_edges[:, 0].T[..., None], uv_edges[:, 1].T[..., None]
    sign = np.where(a * d - b * c < 0, -1.0, 1.0)
    along = np.zeros((2, len(vertices), 3))
    for index, direction in enumerate(
        (d * edges[:, 0] - b * edges[:, 1], a * edges[:, 1] - c * edges[:, 0])
    ):
        for corner in range(3):
            np.add.at(along[index], corners.triangles[:, corner], sign * direction)
    tangent = along[0] - (along[0] * normal).sum(1, keepdims=True) * normal
    length = np.linalg.norm(tangent, axis=1, keepdims=True)
    # Where u has no gradient: any unit vector orthogonal to the normal.
    fallback = np.cross(normal, np.where(np.abs(normal[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]]))
    fallback /= np.linalg.norm(fallback, axis=1, keepdims=True)
    tangent = np.where(length > 1e-12, tangent / np.maximum(length, 1e-12), fallback)
    projection = (np.cross(normal, tangent) * along[1]).sum(1, keepdims=True)
    handedness = np.where(projection < 0, -1.0, 1.0)
    return np.concatenate([tangent, handedness], axis=1).astype(np.float32)


def triangle_regions(model: FaceModel) -> np.ndarray:
    """Returns the region of each triangle `[F]`: the most frequent of its corners."""
    regions = np.sort(np.asarray(model.vertex_region)[np.asarray(model.triangles)], axis=1)
    return regions[:, 1]
