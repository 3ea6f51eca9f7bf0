"""Catmull-Clark subdivision as one sparse matrix. Host code."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse


class Subdivision(NamedTuple):
    """A finer mesh; `matrix @ vertices` and `uv_matrix @ uvs` give its vertices and UVs.

    The first V rows are the moved vertices of the coarse mesh, then edge points, then face points.
    """

    matrix: sparse.csr_matrix
    quads: np.ndarray
    uv_matrix: sparse.csr_matrix
    uv_quads: np.ndarray


def subdivide(quads: np.ndarray, uv_quads: np.ndarray, *, levels: int = 1) -> Subdivision:
    """Returns the mesh after `levels` steps of Catmull and Clark's subdivision (1978).

    Open borders become cubic B-splines of their vertices. UVs are subdivided linearly: textures
    stay in place, seams included. A quad whose last two corners are equal is a triangle, which the
    first step divides into three quads.

    Args:
        quads: `[Q, 4]` vertex indices, every one from 0 to the largest in use.
        uv_quads: `[Q, 4]` UV indices of the same quads.
        levels: number of steps; each makes four quads of a quad.

    Example:
        >>> square = np.array([[0, 1, 2, 3]])
        >>> fine = subdivide(square, square)
        >>> fine.quads.shape, fine.matrix.shape
        ((4, 4), (9, 4))
    """
    matrix = sparse.identity(quads.max() + 1, format="csr")
    uv_matrix = sparse.identity(uv_quads.max() + 1, format="csr")
    for _ in range(levels):
        step, quads = _step(quads, smooth=True)
        uv_step, uv_quads = _step(uv_quads, smooth=False)
        matrix, uv_matrix = step @ matrix, uv_step @ uv_matrix
    return Subdivision(matrix.tocsr(), quads, uv_matrix.tocsr(), uv_quads)


def _step(quads: np.ndarray, *, smooth: bool) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Returns the matrix of one step and its quads; linear subdivision if not `smooth`."""
    count, faces = int(quads.max()) + 1, len(quads)
    sides = np.stack([quads, np.roll(quads, -1, axis=1)], -1).reshape(-1, 2)
    has_length = sides[:, 0] != sides[:, 1]  # a triangle's fourth side has no length
    edges, edge_of_side = np.unique(np.sort(sides[has_length], axis=1), axis=0, return_inverse=True)
    edge_id = np.full(len(sides), -1)
    edge_id[has_length] = edge_of_side = edge_of_side.reshape(-1)
    fine = _fine_quads(quads, edge_id.reshape(faces, 4), count, len(edges))
    corners, side_face = quads.ravel()[has_length], np.repeat(np.arange(faces), 4)[has_length]

    identity = sparse.identity(count, format="csr")
    face_centres = _average(side_face, corners, (faces, count))
    edge_ends, end_edge = edges.ravel(), np.repeat(np.arange(len(edges)), 2)
    edge_midpoints = _average(end_edge, edge_ends, (len(edges), count))
    if not smooth:
        return sparse.vstack([identity, edge_midpoints, face_centres]).tocsr(), fine

    # Edge points: the mean of both ends and both faces, or the middle on a border.
    face_count = np.bincount(edge_of_side, minlength=len(edges))
    adjacent_centres = _average(edge_of_side, side_face, (len(edges), faces)) @ face_centres
    is_inner = sparse.diags((face_count == 2).astype(float))
    edge_points = edge_midpoints + is_inner @ (adjacent_centres - edge_midpoints) * 0.5

    # Vertex points: (F + 2 R + (n - 3) P) / n; on a border (previous + 6 P + next) / 8.
    border = edges[face_count == 1]
    on_border = np.zeros(count, bool)
    on_border[border] = True
    valence = np.bincount(edges.ravel(), minlength=count)
    mean_face = _average(corners, side_face, (count, faces)) @ face_centres
    mean_edge = _average(edge_ends, end_edge, (count, len(edges))) @ edge_midpoints
    scale = np.where(on_border, 0.0, 1.0 / np.maximum(valence, 1))
    inner_points = sparse.diags(scale) @ (
        mean_face + 2 * mean_edge + sparse.diags(valence - 3.0) @ identity
    )
    border_mean = _average(border.ravel(), border[:, ::-1].ravel(), (count, count))
    border_points = sparse.diags(on_border.astype(float)) @ (0.75 * identity + 0.25 * border_mean)
    return sparse.vstack([inner_points + border_points, edge_points, face_centres]).tocsr(), fine


def _fine_quads(quads: np.ndarray, edge: np.ndarray, count: int, edges: int) -> np.ndarray:
    """Returns a quad for each corner of a face: corner, next edge, centre, previous edge."""
    face_centres = np.broadcast_to((count + edges + np.arange(len(quads)))[:, None], quads.shape)
    previous = np.roll(edge, 1, axis=1)
    previous = np.where(previous < 0, np.roll(edge, 2, axis=1), previous)
    fine = np.stack([quads, count + edge, face_centres, count + previous], -1)
    return fine[edge >= 0].astype(np.int32)


def _average(rows: np.ndarray, columns: np.ndarray, size: tuple[int, int]) -> sparse.csr_matrix:
    """Returns the matrix whose row r averages all columns c with (r, c) in (rows, columns)."""
    ones = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=size)
    total = np.maximum(np.asarray(ones.sum(1)).ravel(), 1)
    return (sparse.diags(1.0 / total) @ ones).tocsr()
