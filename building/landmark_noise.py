"""Builds `landmark_noise.npz`: how the detector's points deviate from the true ones, per yaw.

python -m building.landmark_noise

Random faces (identity, expression, colours, light, camera) are rendered at several yaws and shown
to the detector. Detected minus true gives, per yaw, a bias and a covariance; the deviations of
neighbouring points go together, so the covariance is stored as factors plus a diagonal.
Negative yaws are the mirror image of positive ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from building.portraits import (
    Canvas,
    make_canvas,
    portrait,
    random_lighting,
    random_paint,
)
from jaxface import assets
from jaxface.landmarks.detector import detect_padded
from jaxface.landmarks.networks import load_networks
from jaxface.landmarks.schemes import OUTER_EYES
from jaxface.morphable.files import load_model
from jaxface.morphable.model import landmark_points, shape
from jaxface.rendering.camera import axis_angle, look_at, project, rotation_matrix
from jaxface.types import Camera, Networks

SIZE = 320
YAWS = (0, 15, 30, 45, 60)
RANK = 24
INTER_OCULAR = 0.063  # metres; the unit is its size in the picture at the depth of the origin
IDENTITY_SCALE = 1.0
MIN_SIGMA = 0.003


def random_camera(rng: np.random.Generator, yaw: float) -> Camera:
    """Returns a camera that sees the head at about `yaw` degrees, with some pitch and roll."""
    camera = look_at(
        np.deg2rad(yaw + rng.uniform(-7, 7)),
        np.deg2rad(rng.normal(0, 7)),
        SIZE,
        SIZE,
        target=tuple(np.array([0.0, -0.03, -0.03]) + rng.normal(0, 0.008, 3)),
        distance=rng.uniform(0.6, 2.0),
        extent=rng.uniform(0.28, 0.42),
    )
    roll = rotation_matrix(jnp.array([0.0, 0.0, np.deg2rad(rng.normal(0, 7))], jnp.float32))
    return Camera(
        rotation=axis_angle(roll @ rotation_matrix(camera.rotation)),
        translation=roll @ camera.translation,
        focal=camera.focal,
        principal=camera.principal,
    )


def random_expression(rng: np.random.Generator, names: tuple[str, ...]) -> np.ndarray:
    """Returns ARKit coefficients: at rest in a third of the faces, else a few of them at random,
    the same on both sides, with a gaze."""
    values = np.zeros(len(names))
    if rng.random() > 1 / 3:
        stems = sorted({n.removesuffix("Left").removesuffix("Right") for n in names})
        stems = [s for s in stems if not s.startswith("eyeLook") and s != "tongueOut"]
        for stem in rng.choice(stems, 4, replace=False):
            amount = rng.uniform(0, 0.6)
            for i, name in enumerate(names):
                if name.removesuffix("Left").removesuffix("Right") == stem:
                    values[i] = amount * rng.uniform(0.8, 1.0)
        side = ("eyeLookInLeft", "eyeLookOutRight"), ("eyeLookOutLeft", "eyeLookInRight")
        for name in side[rng.integers(2)]:
            values[names.index(name)] = rng.uniform(0, 0.5)
    return values


def deviation(
    rng: np.random.Generator, yaw: float, canvas: Canvas, networks: Networks
) -> np.ndarray | None:
    """Returns detected minus true, `[478, 2]`, inter-ocular units, roll removed; None if unseen."""
    model = canvas.model
    identity = IDENTITY_SCALE * rng.normal(size=len(model.identity_names))
    expression = random_expression(rng, model.expression_names)
    vertices = shape(
        model, jnp.asarray(identity, jnp.float32), jnp.asarray(expression, jnp.float32)
    )
    camera = random_camera(rng, yaw)
    backdrop = jnp.asarray(rng.uniform(0.02, 0.7, 3), jnp.float32)
    lighting = random_lighting(rng)
    picture, _, _ = portrait(
        canvas, vertices, random_paint(rng), camera, lighting, backdrop, size=SIZE
    )
    found = detect_padded(picture, jnp.array([SIZE, SIZE], jnp.float32), networks)
    if found.confidence[0] < 0.5:
        return None
    points = np.asarray(found.landmarks[0, :, :2])
    true, _ = project(landmark_points(model, vertices), camera)
    eyes = points[OUTER_EYES[1]] - points[OUTER_EYES[0]]
    right = eyes / np.linalg.norm(eyes)
    axes = np.stack([right, [-right[1], right[0]]], axis=1)
    unit = INTER_OCULAR * float(camera.focal) / float(camera.translation[2])
    return (points - np.asarray(true)) @ axes / unit


def summarize(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns bias `[478, 2]`, factors `[RANK, 478, 2]` and the remaining sigma `[478, 2]`."""
    size = np.sqrt((samples**2).mean((1, 2)))
    samples = samples[size < 3 * np.median(size)]
    bias = samples.mean(0)
    centred = (samples - bias).reshape(len(samples), -1)
    _, values, rows = np.linalg.svd(centred / np.sqrt(len(samples) - 1), full_matrices=False)
    factors = values[:RANK, None] * rows[:RANK]
    rest = centred.var(0, ddof=1) - (factors**2).sum(0)
    sigma = np.sqrt(np.maximum(rest, MIN_SIGMA**2))
    return bias, factors.reshape(RANK, *bias.shape), sigma.reshape(bias.shape)


def build(faces: int) -> dict[str, np.ndarray]:
    """Returns the arrays of `landmark_noise.npz` from `faces` portraits per yaw."""
    canvas, networks = make_canvas(load_model()), load_networks()
    pairs = assets.load_npz("landmark_embedding.npz")["landmark_mirror"]
    rng = np.random.default_rng(7)
    table = {}
    for yaw in YAWS:
        found = [deviation(rng, yaw, canvas, networks) for _ in range(faces)]
        samples = np.stack([s for s in found if s is not None])
        mirrored = samples[:, pairs] * [-1, 1]
        if yaw == 0:
            samples = mirrored = np.concatenate([samples, mirrored])
        table[yaw], table[-yaw] = summarize(samples), summarize(mirrored)
        bias = table[yaw][0]
        error = 100 * np.linalg.norm(samples, axis=2).mean()
        centred = 100 * np.linalg.norm(samples - bias, axis=2).mean()
        share = (table[yaw][1] ** 2).sum() / (samples - bias).var(0).sum()
        print(
            f"yaw {yaw}: {len(found)} faces, {sum(s is not None for s in found)} detected, "
            f"error {error:.2f} % of inter-ocular, without bias {centred:.2f} %, "
            f"factors hold {share:.0%} of the variance",
            flush=True,
        )
    yaws = sorted(table)
    bias, factors, sigma = (np.stack([table[y][i] for y in yaws]) for i in range(3))
    return {
        "yaw": np.deg2rad(yaws).astype(np.float32),
        "bias": bias.astype(np.float16),
        "factors": factors.astype(np.float16),
        "sigma": sigma.astype(np.float16),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=100, help="portraits per yaw")
    parser.add_argument("--out", type=Path, default=assets.folder())
    args = parser.parse_args()
    arrays = build(args.faces)
    np.savez_compressed(args.out / "landmark_noise.npz", **arrays)


if __name__ == "__main__":
    main()
