"""Landmarks: against MediaPipe's own, closed forms, and mirror images."""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path

import imageio.v3 as imageio
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fast import FAST

from jaxface.errors import DetectionError, InputError
from jaxface.landmarks.detector import detect, detect_padded, pad_photo
from jaxface.landmarks.files import read_landmarks
from jaxface.landmarks.mesh import BLENDSHAPE_NAMES, blendshapes, upright_blendshapes
from jaxface.landmarks.schemes import OUTER_EYES
from jaxface.morphable.model import landmark_points
from jaxface.rendering.camera import look_at, project
from jaxface.rendering.crop import resample, sample
from jaxface.types import Crop

HERE = Path(__file__).parent
PHOTOS = HERE.parent / "examples" / "photos"
NAMES = ("astronaut", "biden", "obama", "obama2")


def photo(name: str) -> np.ndarray:
    return np.asarray(imageio.imread(PHOTOS / f"{name}.jpg"), np.float32)[..., :3] / 255


@pytest.fixture(scope="module")
def references():
    with np.load(HERE / "data" / "landmarks.npz") as data:
        return dict(data)


def inter_ocular(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[OUTER_EYES[0]] - points[OUTER_EYES[1]]))


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_mediapipe(name, networks, references):
    padded, extent = pad_photo(photo(name))
    found = detect_padded(padded, extent, networks, faces=3, mediapipe_sampling=True)
    error = np.linalg.norm(np.asarray(found.landmarks[0, :, :2]) - references[name], axis=1)
    assert error.mean() < 0.005 * inter_ocular(references[name])


def test_blendshapes_agree_with_mediapipe_on_its_landmarks(networks, references):
    assert tuple(references["names"]) == BLENDSHAPE_NAMES
    read = jax.jit(blendshapes)
    for name in NAMES:
        scores = read(jnp.asarray(references[name]), networks)
        np.testing.assert_allclose(scores, references[f"{name}/blendshapes"], atol=0.01)


def test_expressions_of_a_rolled_or_mirrored_face_are_the_same(networks, references):
    read = jax.jit(upright_blendshapes)
    mirror = np.asarray(networks.mirror)
    sides = {"Left": "Right", "Right": "Left"}
    for name in NAMES:
        points = np.pad(references[name], ((0, 0), (0, 1)))
        upright = dict(zip(BLENDSHAPE_NAMES, read(jnp.asarray(points), networks), strict=True))
        cosine, sine = np.cos(2.0), np.sin(2.0)
        rolled = points @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]]) + 300
        found = dict(zip(BLENDSHAPE_NAMES, read(jnp.asarray(rolled), networks), strict=True))
        assert max(abs(found[key] - upright[key]) for key in upright) < 0.002
        flipped = read(jnp.asarray(points[mirror] * [-1, 1, 1]), networks)
        for key, value in zip(BLENDSHAPE_NAMES, flipped, strict=True):
            other = re.sub("Left|Right", lambda side: sides[side[0]], key)
            assert abs(value - upright[other]) < 0.002
        # The eyes are level to within some degrees here: what the network itself says is near.
        raw = np.asarray(references[f"{name}/blendshapes"])
        assert np.abs(np.array(list(upright.values())) - raw).mean() < 0.03


def test_landmarks_of_the_mirror_image_are_mirrored(networks):
    mirror = np.asarray(networks.mirror)
    for name in NAMES:
        image, points = photo(name), []
        for picture in (image, image[:, ::-1]):
            padded, extent = pad_photo(picture)
            points.append(np.asarray(detect_padded(padded, extent, networks).landmarks[0, :, :2]))
        back = points[1][mirror] * [-1, 1] + [image.shape[1], 0]
        distance = np.linalg.norm(points[0] - back, axis=1).mean()
        assert distance < 0.01 * inter_ocular(back)


def test_pixel_centres_remove_the_mirror_bias(networks):
    mirror = np.load(HERE.parent / "pretrained" / "landmark_embedding.npz")["landmark_mirror"]
    shifts = {False: 0.0, True: 0.0}
    for name, biased in itertools.product(("astronaut", "obama2"), shifts):
        image, points = photo(name), []
        for picture in (image, image[:, ::-1]):
            padded, extent = pad_photo(picture)
            found = detect_padded(padded, extent, networks, faces=3, mediapipe_sampling=biased)
            points.append(np.asarray(found.landmarks[0, :, :2]))
        back = points[1][mirror] * [-1, 1] + [image.shape[1], 0]
        shifts[biased] += abs((points[0] - back)[:, 0].mean()) / inter_ocular(back) / 2
    assert shifts[False] < 0.003
    assert shifts[True] > 2 * shifts[False]


@pytest.mark.parametrize("turns", [1, 3])
def test_roll_of_ninety_degrees(turns, networks):
    image = photo("astronaut")[:256, 96:352]
    upright = np.asarray(detect(image, networks).landmarks[0, :, :2])
    turned = np.asarray(
        detect(np.ascontiguousarray(np.rot90(image, turns)), networks).landmarks[0, :, :2]
    )
    for _ in range(turns):  # undo quarter turns: counter-clockwise took (x, y) to (y, W - x)
        turned = np.stack([256 - turned[:, 1], turned[:, 0]], axis=1)
    error = np.linalg.norm(turned - upright, axis=1).mean()
    assert error < 0.01 * inter_ocular(upright)


@pytest.mark.parametrize("degrees", [135, 180])
def test_roll_beyond_ninety_degrees(degrees, networks):
    """Of such faces the first proposals are often wrong, with a confidence of 1."""
    image = photo("astronaut")[:256, 96:352]
    upright = np.asarray(detect(image, networks).landmarks[0, :, :2])
    angle = np.deg2rad(degrees)
    turn = Crop(jnp.array([128.0, 128.0]), jnp.array(256.0), jnp.array(angle), size=256)
    turned = np.asarray(sample((jnp.asarray(image),), jnp.array([256.0, 256.0]), turn))
    found = detect(turned, networks)
    points = np.asarray(turn.points_to_photo(jnp.asarray(found.landmarks[0, :, :2])))
    assert np.linalg.norm(points - upright, axis=1).mean() < 0.05 * inter_ocular(upright)


@pytest.mark.thorough
def test_faces_are_sorted_by_size_and_small_ones_found(networks):
    canvas = np.full((512, 768, 3), 0.5, np.float32)
    head = photo("astronaut")[32:244, 124:336]
    canvas[:212, :212] = head
    small = np.asarray(jax.image.resize(jnp.asarray(head), (96, 96, 3), "linear"))
    canvas[380:476, 600:696] = small
    found = detect(canvas, networks, max_faces=4)
    assert len(found.score) == 2
    centres = np.asarray(found.landmarks[:, :, :2].mean(1))
    assert centres[0, 0] < 212 and centres[1, 0] > 600


def test_no_face_raises(networks):
    noise = np.random.default_rng(0).uniform(size=(200, 240, 3))
    with pytest.raises(DetectionError, match="No face"):
        detect(noise, networks)
    with pytest.raises(DetectionError):
        detect(np.zeros((1, 1, 3)), networks)


@pytest.mark.thorough
def test_gradients_are_finite(networks):
    padded, extent = pad_photo(photo("astronaut")[:256, 96:352])

    def nose(image: jax.Array) -> jax.Array:
        return detect_padded(image, extent, networks, faces=1).landmarks[0, 4, 0]

    gradient = jax.jit(jax.grad(nose), compiler_options=FAST)
    assert jnp.isfinite(gradient(jnp.zeros_like(padded))).all()  # no face, no NaN
    slope = gradient(padded)
    assert jnp.isfinite(slope).all() and jnp.abs(slope).max() > 0


def test_crop_is_bilinear_and_inverts():
    ramp = jnp.stack(jnp.meshgrid(jnp.arange(40) + 0.5, jnp.arange(30) + 0.5), -1)
    image = jnp.concatenate([ramp, ramp[..., :1]], -1)
    crop = Crop(jnp.array([20.0, 15.0]), jnp.array(12.0), jnp.array(0.4), size=8)
    at = jnp.arange(8) + 0.5
    grid = jnp.stack(jnp.meshgrid(at, at), -1).reshape(-1, 2)
    expected = crop.points_to_photo(grid)
    sampled = jax.jit(sample)((image,), jnp.array([30.0, 40.0]), crop).reshape(-1, 3)[:, :2]
    np.testing.assert_allclose(sampled, expected, atol=1e-4)
    np.testing.assert_allclose(crop.points_to_crop(expected), grid, atol=1e-5)


def test_an_upright_crop_shows_what_its_map_says():
    """Colours are places: the resampled pixel is the photo's at the mapped point."""
    ramp = jnp.stack(jnp.meshgrid(jnp.arange(40) + 0.5, jnp.arange(30) + 0.5), -1)
    crop = Crop(jnp.array([20.0, 15.0]), jnp.array(16.0), size=32)
    at = jnp.arange(32) + 0.5
    expected = crop.points_to_photo(jnp.stack(jnp.meshgrid(at, at), -1))
    np.testing.assert_allclose(resample(ramp, crop), expected, atol=1e-3)
    camera = look_at(0.2, 0.1, 30, 40)
    points = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)) * 0.1, jnp.float32)
    seen = crop.points_to_crop(project(points, camera)[0])
    np.testing.assert_allclose(project(points, crop.camera_to_crop(camera))[0], seen, atol=1e-3)
    back = crop.camera_to_photo(crop.camera_to_crop(camera))
    np.testing.assert_allclose(back.principal, camera.principal, atol=1e-4)


def test_reads_landmark_files(tmp_path):
    points = np.random.default_rng(1).uniform(0, 100, (68, 2)).astype(np.float32)
    rows = "\n".join(f"{x + 0.5} {y + 0.5}" for x, y in points)
    (tmp_path / "a.pts").write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")
    (tmp_path / "b.json").write_text(json.dumps({"landmarks": points.tolist()}))
    np.save(tmp_path / "c.npy", np.pad(points, ((0, 0), (0, 1))))
    for name in ("a.pts", "b.json", "c.npy"):
        np.testing.assert_allclose(read_landmarks(tmp_path / name), points, atol=1e-4)
    (tmp_path / "short.json").write_text("[[1, 2], [3, 4]]")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "ragged.json").write_text("[[1, 2], [3]]")
    (tmp_path / "empty.pts").write_text("no points")
    np.save(tmp_path / "nan.npy", np.full((68, 2), np.nan))
    (tmp_path / "pickle.npy").write_bytes(b"\x80\x04N.")
    (tmp_path / "folder.pts").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pts")
    for name in (
        "short.json", "broken.json", "ragged.json", "empty.pts", "nan.npy", "pickle.npy",
        "missing.npy", "face.txt", "folder.pts", "pipe.pts",
    ):  # fmt: skip
        with pytest.raises(InputError, match=name.split(".")[0]):
            read_landmarks(tmp_path / name)


def test_embedding_is_symmetric_and_on_the_right_regions(model):
    points = np.asarray(landmark_points(model, model.mean))
    embedding = np.load(HERE.parent / "pretrained" / "landmark_embedding.npz")
    mirror = embedding["landmark_mirror"]
    np.testing.assert_allclose(points[mirror] * [-1, 1, 1], points, atol=6e-4)
    assert points[OUTER_EYES[1], 0] > 0.03  # the subject's left is +x
    assert points[152, 1] < points[17, 1] < points[0, 1] < points[4, 1] < points[10, 1]
    region = np.asarray(model.vertex_region)[np.asarray(model.triangles)]
    names = model.region_names
    hit = [{names[r] for r in region[t]} for t in np.asarray(model.landmark_triangles)]
    assert all("eyes" in hit[i] for i in range(468, 478))
    assert all("eyes" not in hit[i] and "teeth" not in hit[i] for i in range(468))
    assert all("lips" in hit[i] for i in (0, 13, 14, 17, 61, 291))


def test_noise_covariance_is_usable():
    noise = np.load(HERE.parent / "pretrained" / "landmark_noise.npz")
    yaw = noise["yaw"]
    assert (np.diff(yaw) > 0).all()
    np.testing.assert_allclose(yaw, -yaw[::-1], atol=1e-6)
    assert noise["bias"].shape == (len(yaw), 478, 2)
    assert noise["factors"].shape[0] == len(yaw) and noise["factors"].shape[2:] == (478, 2)
    assert (noise["sigma"] > 0).all()
    front, side = np.abs(noise["bias"][[len(yaw) // 2, 0]]).mean((1, 2))
    assert front < side < 0.2
