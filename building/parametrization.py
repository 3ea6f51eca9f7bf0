"""Flip-free maps of surfaces onto convex shapes, cuts, and how much a map stretches."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve


def border_loops(triangles: np.ndarray) -> list[np.ndarray]:
    """Returns the border loops, each an ordered list of vertices (counter-clockwise inside)."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    have = {tuple(e) for e in edges.tolist()}
    follow = {a: b for a, b in have if (b, a) not in have}
    loops = []
    while follow:
        start, at = next(iter(follow.items()))
        loop = [start]
        while at != start:
            loop.append(at)
            at = follow[at]
        for vertex in loop:
            del follow[vertex]
        loops.append(np.array(loop))
    return loops


def cut_seam(triangles: np.ndarray, seam: np.ndarray, positions: np.ndarray) -> tuple:
    """Returns triangles cut along a path, and for each vertex the original one.

    The path's first vertex is the tip and stays whole; triangles on the side x > 0 of the others
    get copies.
    """
    count = len(positions)
    copies = {int(v): count + i for i, v in enumerate(seam[1:])}
    left = positions[triangles].mean(1)[:, 0] > 0
    cut = triangles.copy()
    for vertex, copy in copies.items():
        cut[(triangles == vertex) & left[:, None]] = copy
    return cut, np.concatenate([np.arange(count), seam[1:]])


def superellipse(angles: np.ndarray, power: float = 3.0) -> np.ndarray:
    """Returns points of the unit superellipse in the directions of the angles."""
    direction = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radius = (np.abs(direction) ** power).sum(1) ** (-1 / power)
    return direction * radius[:, None]


def solve_map(
    triangles: np.ndarray,
    positions: np.ndarray,
    border: np.ndarray,
    border_uv: np.ndarray,
    density: np.ndarray,
    iterations: int = 40,
) -> np.ndarray:
    """Returns the flip-free map of a disc whose wished density (texels a metre) is `density [V]`.

    Holes are closed by fans first. Weights start as mean values, mirror-symmetric as the mesh is,
    and are divided by the relative stretch of their target vertex in every iteration.
    """
    loops = [x for x in border_loops(triangles) if not set(x) & set(border)]
    fans, centers = [triangles], list[np.ndarray]()
    for loop in loops:
        center = len(positions) + len(centers)
        centers.append(positions[loop].mean(0))
        fans.append(np.stack([np.roll(loop, -1), loop, np.full(len(loop), center)], axis=1))
        density = np.append(density, density[loop].mean())
    points = np.concatenate([positions, np.array(centers).reshape(-1, 3)])
    faces = np.concatenate(fans)
    used = np.zeros(len(points), bool)
    used[faces] = True
    fixed = np.zeros(len(points), bool)
    fixed[border] = True
    free = np.flatnonzero(used & ~fixed)
    number = np.full(len(points), -1)
    number[free] = np.arange(len(free))
    rows, columns, values = [], [], []
    for k in range(3):
        a, b, c = points[faces[:, k]], points[faces[:, k - 2]], points[faces[:, k - 1]]
        u, v = b - a, c - a
        lu, lv = np.linalg.norm(u, axis=1), np.linalg.norm(v, axis=1)
        cosine = np.clip((u * v).sum(1) / np.maximum(lu * lv, 1e-12), -1, 1)
        half = np.tan(np.arccos(cosine) / 2)
        for other, length in ((k - 2, lu), (k - 1, lv)):
            rows.append(faces[:, k])
            columns.append(faces[:, other])
            values.append(half / np.maximum(length, 1e-9))
    row, column = np.concatenate(rows), np.concatenate(columns)
    weight = np.concatenate(values)
    uv = np.zeros((len(points), 2))
    uv[border] = border_uv
    factor = np.ones(len(points))
    best, best_score = uv, np.inf
    area3 = areas(points[faces])
    for _ in range(iterations):
        w = weight * factor[column]
        keep = number[row] >= 0
        matrix = sp.coo_matrix(
            (w[keep], (number[row[keep]], column[keep])), (len(free), len(points))
        )
        matrix = matrix.tocsr()
        total = np.asarray(matrix.sum(1)).ravel()
        system = sp.diags(total) - matrix[:, free]
        uv[free] = spsolve(system.tocsc(), matrix[:, border] @ uv[border])
        area2 = areas(np.pad(uv[faces], ((0, 0), (0, 0), (0, 1))))
        got, wish = np.zeros(len(points)), np.zeros(len(points))
        for k in range(3):
            np.add.at(got, faces[:, k], area2)
            np.add.at(wish, faces[:, k], area3 * density[faces].mean(1) ** 2)
        stretch = np.sqrt(np.maximum(wish, 1e-12) / np.maximum(got, 1e-12))
        stretch /= np.exp(np.average(np.log(stretch[used]), weights=wish[used]))
        score = np.average(np.log(stretch[used]) ** 2, weights=wish[used])
        if score < best_score:
            best, best_score = uv.copy(), score
        # Weights *towards* a vertex that needs more room fall, so that its neighbours move off.
        factor = np.clip(factor * stretch**-0.4, 1e-4, 1e4)
    return best[: len(positions)]


def areas(corners: np.ndarray) -> np.ndarray:
    """Returns the area of each triangle `[F, 3, 3]`."""
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.linalg.norm(cross, axis=1) / 2


def signed_areas(uv: np.ndarray) -> np.ndarray:
    """Returns the signed area of UV triangles `[F, 3, 2]`; positive is not flipped."""
    a, b = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    return (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2


def arc_length(points: np.ndarray) -> np.ndarray:
    """Returns the share of a closed polygon's length before each of its points."""
    step = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    return np.concatenate([[0], np.cumsum(step)])[:-1] / step.sum()


def anisotropy(corners: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Returns the ratio of the singular values of each triangle's map, 1 for a conformal one."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    x = np.linalg.norm(a, axis=1)
    bx = (a * b).sum(1) / np.maximum(x, 1e-12)
    by = np.sqrt(np.maximum((b * b).sum(1) - bx**2, 1e-24))
    flat = np.stack([np.stack([x, bx], 1), np.stack([0 * x, by], 1)], 1)
    image = np.stack([uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]], axis=2)
    values = np.linalg.svd(image @ np.linalg.inv(flat + 1e-12 * np.eye(2)), compute_uv=False)
    return values[:, 0] / np.maximum(values[:, 1], 1e-12)
