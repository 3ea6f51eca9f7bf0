"""Whether faces are one person's: distances of their looks, groups, and odd ones out.

Host code: NumPy and SciPy, not for `jit`.

The look is a histogram of gradients of the face without its pose and expression. Within a film,
where light, hair and camera are the same, it tells people apart; over years it does not: of pairs
of strangers a third are nearer than `obama.jpg` is to `obama2.jpg`.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import Delaunay

from jaxface.landmarks.schemes import IBUG68
from jaxface.morphable.files import load_model

SIDE, SAMPLES = 64, 2  # of the frontal face, pixels; samples of the photo per pixel, a side
CELL, BINS = 8, 8  # pixels a side of a histogram's cell; directions of gradients
MAX_DISTANCE = 0.065
"""Distance from which looks are different people's. Chosen on 36 portraits; of 36 others 1.0 % of
pairs of strangers are nearer, and 17 % of portraits farther from their transformed selves (size,
turn, light, JPEG), on dlib's landmarks, which are often wrong on the smaller picture."""
ODD_DISTANCE = 1.3
"""Units of `MAX_DISTANCE` from its nearest other from which a photo is an odd one. On the same
portraits it finds 92 % of strangers beside one or two photos of a person (of the 36 on which it was
chosen: 91 %), and takes 11 % of transformed photos for strangers (8 %)."""
_FLOOR = 0.02  # added to sRGB under the logarithm, against noise in the dark
_QUIET = 1e-4  # squared gradient of a cell that counts as none


def look(
    photo_srgb: Float[np.ndarray, "H W 3"], landmarks: Float[np.ndarray, "478 D"]
) -> Float[np.ndarray, "8 8 8"]:
    """Returns the look of a face, of norm 1: histograms of its gradients' directions.

    The face is warped to the mean face seen from the front (triangles between 68 landmarks), its
    logarithm differentiated, and the gradients of each cell are sorted by direction, in units of
    those around it, under a square root (Hellinger's distance).

    Args:
        photo_srgb: 0..1.
        landmarks: pixels.

    Source: Dalal and Triggs, *Histograms of Oriented Gradients for Human Detection* (CVPR 2005).
    """
    corners, barycentrics, inside = _frontal_grid()
    points = np.asarray(landmarks, float)[list(IBUG68), :2]
    at = np.einsum("pk,pkc->pc", barycentrics, points[corners])
    height, width = photo_srgb.shape[:2]
    columns = np.clip(at[:, 0], 0, width - 1).astype(int)
    rows = np.clip(at[:, 1], 0, height - 1).astype(int)
    grey = photo_srgb[rows, columns].mean(-1)
    grey = grey.reshape(SIDE, SAMPLES, SIDE, SAMPLES).mean((1, 3))
    down, across = np.gradient(np.log(grey + _FLOOR))
    size = np.hypot(down, across) * inside
    place = np.arctan2(down, across) / (2 * np.pi) * BINS % BINS
    first = place.astype(int) % BINS
    share = place - np.floor(place)
    histogram = np.zeros((SIDE, SIDE, BINS))
    where = np.indices((SIDE, SIDE))
    histogram[where[0], where[1], first] += size * (1 - share)
    histogram[where[0], where[1], (first + 1) % BINS] += size * share
    count = SIDE // CELL
    cells = histogram.reshape(count, CELL, count, CELL, BINS).sum((1, 3))
    energy = np.pad((cells**2).sum(-1), 1, mode="edge")
    around = sum(energy[i : i + count, j : j + count] for i in range(3) for j in range(3)) / 9
    cells = np.sqrt(cells / np.sqrt(around + _QUIET)[..., None])
    covered = inside.reshape(count, CELL, count, CELL).mean((1, 3)) > 0.5
    cells *= covered[..., None]
    return cells / max(float(np.linalg.norm(cells)), 1e-6)


@functools.cache
def _frontal_grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns for each sample of the frontal face the landmarks around it `[P, 3]` and their
    weights; and which pixels `[SIDE, SIDE]` lie within the landmarks."""
    model = load_model()
    corners = np.asarray(model.mean)[np.asarray(model.triangles)[model.landmark_triangles]]
    points = np.einsum("lk,lkc->lc", np.asarray(model.landmark_barycentrics), corners)
    points = points[list(IBUG68), :2] * [1, -1]
    low, high = points.min(0), points.max(0)
    count = SIDE * SAMPLES
    steps = ((np.arange(count) + 0.5) / count - 0.5) * (high - low).max()
    x, y = np.meshgrid(*(0.5 * (low + high)[:, None] + steps))
    grid = np.stack([x, y], -1).reshape(-1, 2)
    mesh = Delaunay(points)
    triangle = mesh.find_simplex(grid)
    first = np.einsum(
        "pij,pj->pi", mesh.transform[triangle, :2], grid - mesh.transform[triangle, 2]
    )
    barycentrics = np.concatenate([first, 1 - first.sum(1, keepdims=True)], 1)
    inside = (triangle >= 0).reshape(SIDE, SAMPLES, SIDE, SAMPLES).all((1, 3))
    return mesh.simplices[triangle], barycentrics, inside


def distances(looks: list[Float[np.ndarray, "k 8 8 8"]]) -> Float[np.ndarray, "K K"]:
    """Returns the distances between K tracks of a face in units of `MAX_DISTANCE`: 1 less the
    product of their mean looks.

    Args:
        looks: of each track, `look` of some of its frames.
    """
    means = np.stack([each.mean(0).ravel() for each in looks])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)
    return (1 - means @ means.T) / MAX_DISTANCE


def odd_ones(distances: Float[np.ndarray, "K K"]) -> list[int]:
    """Returns the items whose nearest other is farther than `ODD_DISTANCE`.

    Args:
        distances: between items, in units of `MAX_DISTANCE`.
    """
    if len(distances) < 2:
        return []
    others = np.where(np.eye(len(distances), dtype=bool), np.inf, distances)
    return np.flatnonzero(others.min(1) > ODD_DISTANCE).tolist()


def group(
    distances: Float[np.ndarray, "K K"],
    apart: Bool[np.ndarray, "K K"],
    weights: Float[np.ndarray, " K"] | Int[np.ndarray, " K"],
) -> Int[np.ndarray, " K"]:
    """Returns the number of each item's group, from 0: the two nearest groups are joined until
    all are more than 1 apart (agglomerative clustering with weighted average linkage).

    Args:
        distances: between items; 1 is the threshold.
        apart: pairs that never share a group.
        weights: of the items in averages.
    """
    members = [[item] for item in range(len(distances))]
    between = np.where(apart | np.eye(len(distances), dtype=bool), np.inf, distances).astype(float)
    mass = np.asarray(weights, float).copy()
    while len(members) > 1:
        a, b = sorted(np.unravel_index(np.argmin(between), between.shape))
        if between[a, b] > 1.0:
            break
        row = (mass[a] * between[a] + mass[b] * between[b]) / (mass[a] + mass[b])
        row[a] = np.inf
        between[a], between[:, a] = row, row
        between = np.delete(np.delete(between, b, 0), b, 1)
        members[a] += members.pop(b)
        mass[a] += mass[b]
        mass = np.delete(mass, b)
    labels = np.empty(len(distances), int)
    for number, items in enumerate(members):
        labels[items] = number
    return labels
