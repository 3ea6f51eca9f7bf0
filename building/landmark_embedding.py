"""Builds `landmark_embedding.npz`: where the detector's 478 points lie on the face model.

python -m building.landmark_embedding

Painted portraits of random faces are rendered from many views and shown to the detector; each
detected point is traced back to the surface, carried to the mean face, averaged robustly and made
symmetric. So the embedding has the detector's own meaning of every point.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import trimesh
from scipy.interpolate import RBFInterpolator
from scipy.optimize import linear_sum_assignment

from building.portraits import (
    EYE_VERTICES,
    SUPERSAMPLE,
    make_canvas,
    portrait,
    random_lighting,
    random_paint,
)
from jaxface import assets
from jaxface.landmarks.detector import detect_padded
from jaxface.landmarks.networks import load_networks
from jaxface.landmarks.schemes import (
    FACE_OVAL,
    IBUG68,
    LEFT_IRIS,
    LOWER_LIP,
    OUTER_EYES,
    RIGHT_IRIS,
    UPPER_LIP,
)
from jaxface.morphable.model import shape
from jaxface.rendering.camera import look_at
from jaxface.types import FaceModel

SIZE = 512
VIEWS = tuple((yaw, pitch) for yaw in range(-40, 41, 10) for pitch in (-12, 0, 12, 25))
ROUNDS = 3
IDENTITY_SCALE = 0.7
IRIS_RING, MERIDIANS = 3, 24
MIN_SUPPORT = 5.0
MAX_STRAY = 0.02  # metres


def unmarked_model() -> FaceModel:
    """Returns the geometry of the default model; what is built later (UV, albedo) is empty."""
    fields: dict[str, Any] = dict.fromkeys(FaceModel.__dataclass_fields__, jnp.zeros(0))
    fields |= {"albedo_names": (), "name": "default"}
    for key, value in assets.load_npz("face_model.npz").items():
        if value.dtype.kind == "U":
            fields[key] = tuple(value.tolist())
        elif key in fields:
            kind = jnp.int32 if value.dtype.kind in "iu" else jnp.float32
            fields[key] = jnp.asarray(value, kind)
    return FaceModel(**fields)


def collect(model: FaceModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns points on the mean face `[N, 478, 3]`, their weights `[N, 478]` and the detector's
    own 3D points of the frontal views `[478, 3]`."""
    canvas, networks = make_canvas(model), load_networks()
    rng = np.random.default_rng(0)
    mean, triangles = np.asarray(model.mean), np.asarray(model.triangles)
    inside = [model.region_names.index(n) for n in ("inner_mouth", "teeth", "tongue")]
    hidden = np.isin(np.asarray(model.vertex_region), inside)[triangles].all(1)
    jaw = model.expression_names.index("jawOpen")
    oval, lips = list(FACE_OVAL), list(UPPER_LIP + LOWER_LIP)
    places, weights, frontal = [], [], []
    for index, (yaw, pitch) in enumerate(VIEWS * ROUNDS):
        identity = jnp.asarray(IDENTITY_SCALE * rng.normal(size=len(model.identity_names)))
        opening = 0.0 if index % 2 else rng.uniform(0.1, 0.35)
        expression = jnp.zeros(len(model.expression_names)).at[jaw].set(opening)
        camera = look_at(
            np.deg2rad(yaw + rng.uniform(-4, 4)),
            np.deg2rad(pitch + rng.uniform(-4, 4)),
            SIZE,
            SIZE,
            target=(0.0, -0.02, -0.03),
            distance=rng.uniform(0.8, 1.6),
        )
        picture, raster, facing = portrait(
            canvas,
            shape(model, identity.astype(jnp.float32), expression),
            random_paint(rng),
            camera,
            random_lighting(rng),
            jnp.asarray(rng.uniform(0.1, 0.6, 3), jnp.float32),
            size=SIZE,
        )
        found = detect_padded(picture, jnp.array([SIZE, SIZE], jnp.float32), networks)
        if found.confidence[0] < 0.9:
            continue
        points = np.asarray(found.landmarks[0])
        if abs(yaw) < 5 and pitch == 0:
            frontal.append(points)
        pixel = np.clip((points[:, :2] * SUPERSAMPLE).astype(int), 0, SIZE * SUPERSAMPLE - 1)
        b0, b1, _, hit = np.asarray(raster)[pixel[:, 1], pixel[:, 0]].T
        triangle = hit.astype(int) - 1
        corners = mean[triangles[np.maximum(triangle, 0)]]
        place = np.einsum("lk,lkc->lc", np.stack([b0, b1, 1 - b0 - b1], 1), corners)
        cosine = np.asarray(facing)[pixel[:, 1], pixel[:, 0]]
        weight = np.clip((cosine - 0.35) / 0.3, 0.0, 1.0)
        weight[oval] *= cosine[oval] > 0.65
        weight[lips] *= 4.0 if opening else 0.25
        weight[(triangle < 0) | hidden[np.maximum(triangle, 0)]] = 0.0
        places.append(place)
        weights.append(weight)
    print(f"{len(places)} of {len(VIEWS) * ROUNDS} portraits detected")
    scaled = [p - p.mean(0) for p in frontal]
    reference = np.mean([p / np.linalg.norm(p) for p in scaled], axis=0)
    return np.stack(places), np.stack(weights), reference


def robust_mean(places: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weighted geometric medians `[478, 3]` and the spread around them, metres."""
    middle = np.einsum("nl,nlc->lc", weights, places) / np.maximum(weights.sum(0), 1e-9)[:, None]
    for _ in range(30):
        far = np.maximum(np.linalg.norm(places - middle, axis=2), 5e-4)
        share = weights / far
        middle = np.einsum("nl,nlc->lc", share, places) / np.maximum(share.sum(0), 1e-9)[:, None]
    far = np.linalg.norm(places - middle, axis=2)
    return middle, np.sqrt((weights * far**2).sum(0) / np.maximum(weights.sum(0), 1e-9))


def mirror_pairs(reference: np.ndarray) -> np.ndarray:
    """Returns the index of each point's mirror image, from the frontal detections."""
    flipped = reference * [-1, 1, 1]
    flipped[:, 0] += 2 * reference[list(FACE_OVAL[0:1]), 0].mean()
    cost = np.linalg.norm(reference[:468, None] - flipped[None, :468], axis=2)
    _, pairs = linear_sum_assignment(cost**2)
    if (pairs[pairs] != np.arange(468)).any():
        raise RuntimeError("The detected points are not symmetric enough to be paired.")
    # Iris points go centre, image right, top, image left, bottom in either eye.
    swap = np.array([0, 3, 2, 1, 4])
    return np.concatenate([pairs, LEFT_IRIS[0] + swap, RIGHT_IRIS[0] + swap])


def carry(places: np.ndarray, known: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns the places with the unknown ones carried by a thin-plate spline of the known."""
    spline = RBFInterpolator(reference[known], places[known], smoothing=1e-6)
    return np.where(known[:, None], places, spline(reference))


def average(
    places: np.ndarray, weights: np.ndarray, reference: np.ndarray, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns symmetric places `[478, 3]`, their spread and support `[478]`.

    A point of the far cheek that misses it hits whatever is behind: samples far from where the
    inner face's spline puts the point are left out.
    """
    middle, _ = robust_mean(places, weights)
    eyes = np.abs(reference[list(OUTER_EYES), 0]).max()
    inner = np.abs(reference[:, 0]) < 1.05 * eyes
    inner[list(FACE_OVAL)] = False
    guess = carry(middle, inner, reference)
    near = np.linalg.norm(places - guess, axis=2) < MAX_STRAY
    weights = weights * (near | inner)
    middle, spread = robust_mean(places, weights)
    support = weights.sum(0)
    support = np.minimum(support, support[pairs])
    for _ in range(2):
        middle = (middle + middle[pairs] * [-1, 1, 1]) / 2
        middle = carry(middle, support > MIN_SUPPORT, reference)
    return (middle + middle[pairs] * [-1, 1, 1]) / 2, spread, support


def nearest(
    mean: np.ndarray, triangles: np.ndarray, allowed: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns triangle ids and barycentrics of the nearest allowed points."""
    ids = np.flatnonzero(allowed)
    corners = mean[triangles[ids]]
    gap = np.linalg.norm(corners.mean(1)[None] - points[:, None], axis=2)
    near = np.argsort(gap, axis=1)[:, :80]
    flat = corners[near.ravel()]
    closest = trimesh.triangles.closest_point(flat, np.repeat(points, near.shape[1], axis=0))
    off = np.linalg.norm(closest.reshape(*near.shape, 3) - points[:, None], axis=2)
    best = np.argmin(off, axis=1)
    row = np.arange(len(points))
    chosen = ids[near[row, best]]
    at = closest.reshape(*near.shape, 3)[row, best]
    weights = trimesh.triangles.points_to_barycentric(mean[triangles[chosen]], at)
    weights = np.clip(weights, 0, 1)
    return chosen, weights / weights.sum(1, keepdims=True)


def iris_vertices(model: FaceModel, reference: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Returns the vertices of points 468 to 477: pupil pole and four points of the iris ring."""
    mean, mirror = np.asarray(model.mean), np.asarray(model.mirror)
    start = len(mean) - EYE_VERTICES  # the right eye
    ring = start + 1 + IRIS_RING * MERIDIANS + np.arange(MERIDIANS)
    chosen = {RIGHT_IRIS[0]: start}
    for point in RIGHT_IRIS[1:]:
        direction = (reference[point] - reference[RIGHT_IRIS[0]])[:2] * [1, -1]
        direction[np.argmin(np.abs(direction))] = 0  # the points are right, top, left, bottom
        chosen[point] = ring[np.argmax((mean[ring, :2] - mean[start, :2]) @ direction)]
    chosen |= {int(pairs[point]): int(mirror[vertex]) for point, vertex in chosen.items()}
    return np.array([chosen[point] for point in (*RIGHT_IRIS, *LEFT_IRIS)])


def build(model: FaceModel) -> dict[str, np.ndarray]:
    """Returns the arrays of `landmark_embedding.npz`."""
    mean, triangles = np.asarray(model.mean), np.asarray(model.triangles)
    region = np.asarray(model.vertex_region)[triangles]
    places, weights, reference = collect(model)
    pairs = mirror_pairs(reference)
    middle, spread, support = average(places, weights, reference, pairs)

    names = model.region_names
    outer = [names.index(n) for n in ("skin", "lips", "brows", "lids", "nose", "ears", "neck")]
    surface = np.asarray(np.isin(region, [*outer, names.index("scalp")]).all(1))
    jaw = np.asarray(model.expression_basis[model.expression_names.index("jawOpen")])
    drop = np.linalg.norm(jaw, axis=1)[triangles].mean(1)
    lips = (region == names.index("lips")).sum(1) >= 2
    low = drop > 0.35 * drop[lips].max()
    ids, barycentrics = nearest(mean, triangles, surface, middle)
    for points, allowed in ((UPPER_LIP, surface & ~low), (LOWER_LIP, surface & low)):
        which = list(points)
        ids[which], barycentrics[which] = nearest(mean, triangles, allowed, middle[which])
    for point, vertex in enumerate(iris_vertices(model, reference, pairs), start=468):
        ids[point] = np.flatnonzero((triangles == vertex).any(1))[0]
        barycentrics[point] = triangles[ids[point]] == vertex
    few = np.flatnonzero(support <= MIN_SUPPORT).tolist()
    print(f"carried by the spline: {few}; spread {1e3 * np.median(spread):.2f} mm")
    scheme = list(IBUG68)
    return {
        "landmark_triangles": ids.astype(np.int32),
        "landmark_barycentrics": barycentrics.astype(np.float32),
        "landmark68_triangles": ids[scheme].astype(np.int32),
        "landmark68_barycentrics": barycentrics[scheme].astype(np.float32),
        "landmark_mirror": pairs.astype(np.int32),
        "landmark_spread": spread.astype(np.float32),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=assets.folder())
    args = parser.parse_args()
    arrays = build(unmarked_model())
    np.savez_compressed(args.out / "landmark_embedding.npz", **arrays)


if __name__ == "__main__":
    main()
