"""Catmull-Clark subdivision as one sparse matrix. Host code."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse


class Subdivision(NamedTuple):
    """A finer mesh; `matrix @ vertices` and `uv_matrix @ uvs` give its vertices and UVs.

    The first V rows are the coarse mesh's own vertices (moved), then come edges and faces.
    """

    matrix: sparse.csr_matrix
    quads: np.ndarray
    uv_matrix: sparse.csr_matrix
    uv_quads: np.ndarray


def subdivide(quads: np.ndarray, uv_quads: np.ndarray, *, levels: int = 1) -> Subdivision:
    """Returns the mesh after `levels` steps of Catmull and Clark's subdivision (1978).

    Open borders become the cubic B-spline of their own vertices, so that the collar stays put.
    UVs are subdivided linearly: a texture stays where it is, seams included. A quad whose last two
    corners are one is a triangle, of which the first step makes three quads.

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
    count, faces = int(quads.max()) + 1, len(quads)
    sides = np.stack([quads, np.roll(quads, -1, axis=1)], -1).reshape(-1, 2)
    real = sides[:, 0] != sides[:, 1]  # a triangle has a side of no length
    edges, of_real = np.unique(np.sort(sides[real], axis=1), axis=0, return_inverse=True)
    of_side = np.full(len(sides), -1)
    of_side[real] = of_real = of_real.reshape(-1)
    fine = _fine_quads(quads, of_side.reshape(faces, 4), count, len(edges))
    corners, side_face = quads.ravel()[real], np.repeat(np.arange(faces), 4)[real]

    identity = sparse.identity(count, format="csr")
    centre = _average(side_face, corners, (faces, count))
    middle = _average(np.repeat(np.arange(len(edges)), 2), edges.ravel(), (len(edges), count))
    if not smooth:
        return sparse.vstack([identity, middle, centre]).tocsr(), fine

    # Edge points: the mean of both ends and both faces, or the middle on a border.
    sharing = np.bincount(of_real, minlength=len(edges))
    around_edge = _average(of_real, side_face, (len(edges), faces)) @ centre
    inner_edge = sparse.diags((sharing == 2).astype(float))
    edge_points = middle + inner_edge @ (around_edge - middle) * 0.5

    # Vertex points: (F + 2 R + (n - 3) P) / n; on a border (previous + 6 P + next) / 8.
    border = edges[sharing == 1]
    on_border = np.zeros(count, bool)
    on_border[border] = True
    valence = np.bincount(edges.ravel(), minlength=count)
    mean_face = _average(corners, side_face, (count, faces)) @ centre
    ends = edges.ravel()
    mean_edge = _average(ends, np.repeat(np.arange(len(edges)), 2), (count, len(edges))) @ middle
    scale = np.where(on_border, 0.0, 1.0 / np.maximum(valence, 1))
    inner = sparse.diags(scale) @ (
        mean_face + 2 * mean_edge + sparse.diags(valence - 3.0) @ identity
    )
    along = _average(border.ravel(), border[:, ::-1].ravel(), (count, count))
    outer = sparse.diags(on_border.astype(float)) @ (0.75 * identity + 0.25 * along)
    return sparse.vstack([inner + outer, edge_points, centre]).tocsr(), fine


def _fine_quads(quads: np.ndarray, edge: np.ndarray, count: int, edges: int) -> np.ndarray:
    """Each corner of a face makes a quad: corner, next edge, centre, previous edge."""
    centre = np.broadcast_to((count + edges + np.arange(len(quads)))[:, None], quads.shape)
    previous = np.roll(edge, 1, axis=1)
    previous = np.where(previous < 0, np.roll(edge, 2, axis=1), previous)
    made = np.stack([quads, count + edge, centre, count + previous], -1)
    return made[edge >= 0].astype(np.int32)


def _average(rows: np.ndarray, columns: np.ndarray, size: tuple[int, int]) -> sparse.csr_matrix:
    """The matrix whose row averages the columns that are paired with it."""
    ones = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=size)
    total = np.maximum(np.asarray(ones.sum(1)).ravel(), 1)
    return (sparse.diags(1.0 / total) @ ones).tocsr()
