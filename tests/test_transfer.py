"""A finished face on another model's mesh."""

from __future__ import annotations

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from PIL import Image

from jaxface.errors import InputError
from jaxface.export import transfer
from jaxface.export.layout import Sheet, resample, sheets
from jaxface.images import write_png
from jaxface.morphable.adapters.follow import follow
from jaxface.types import FaceModel

SIZE = 128


def place_texture(size: int) -> np.ndarray:
    """Returns a texture that says where it is: u in red, v in green."""
    at = (np.arange(size, dtype=np.float32) + 0.5) / size
    u, v = np.meshgrid(at, 1 - at)
    return np.stack([u, v, np.full_like(u, 0.5)], -1)


@pytest.fixture(scope="module")
def result(model: FaceModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What of a result's folder counts, of a face that smiles with its jaw half open."""
    folder = tmp_path_factory.mktemp("result")
    identity = np.zeros(len(model.identity_names))
    identity[:6] = 1.5, -1.0, 0.5, 1.0, -0.5, 1.0
    given = {"jawOpen": 0.5, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.6}
    data = {
        "model": "default",
        "identity": dict(zip(model.identity_names, identity.tolist(), strict=True)),
        "expression": {name: given.get(name, 0.0) for name in model.expression_names},
        "albedo": dict.fromkeys(model.albedo_names, 0.0),
        "camera": {"rotation": [np.pi, 0, 0], "translation": [0, 0, 1],
                   "focal": 1e3, "principal": [256, 256]},
        "lighting": np.zeros((9, 3)).tolist(),
    }  # fmt: skip
    (folder / "parameters.json").write_text(json.dumps(data))
    write_png(folder / "albedo.png", place_texture(SIZE))
    write_png(folder / "normal.png", np.full((SIZE, SIZE, 3), [0.5, 0.5, 1.0], np.float32))
    for name in ("roughness", "specular"):
        write_png(folder / f"{name}.png", np.full((SIZE, SIZE), 0.5, np.float32))
    return folder


def flat(model: FaceModel) -> tuple[FaceModel, np.ndarray]:
    """Returns a square whose canonical UVs are x and y."""
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    quads = jnp.array([[0, 1, 2, 3]])
    square = model.replace(
        quads=quads, uv_quads=quads, uvs=jnp.asarray(uvs), mean=jnp.zeros((4, 3)),
        vertex_region=jnp.zeros(4, int),
    )  # fmt: skip
    return square, np.concatenate([uvs, np.zeros((4, 1), np.float32)], 1)


def test_normals_turn_with_the_layout(model: FaceModel) -> None:
    """On a square turned by 90 degrees what leaned along u leans against v."""
    square, vertices = flat(model)
    corners = vertices[None, :, :2]
    turned = np.stack([corners[..., 1], 1 - corners[..., 0]], -1)
    textures = {
        "normal": np.full((SIZE, SIZE, 3), [0.6, 0.0, 0.8], np.float32),
        "albedo": place_texture(SIZE),
    }
    made = resample(textures, square, vertices, Sheet("", np.arange(1), turned), SIZE)
    np.testing.assert_allclose(made["normal"], textures["normal"][..., [1, 0, 2]] * [1, -1, 1],
                               atol=1e-5)  # fmt: skip
    expected = np.rot90(textures["albedo"], -1)
    np.testing.assert_allclose(made["albedo"][2:-2, 2:-2], expected[2:-2, 2:-2], atol=1e-5)


def test_tiles_are_told_apart() -> None:
    uvs = np.array([[[0.1, 0.2]] * 4, [[1.4, 0.5]] * 4, [[0.3, 1.0]] * 4])
    names = {sheet.name: sheet for sheet in sheets(np.array([5, 6, 7]), uvs)}
    assert set(names) == {"1001", "1002", "1011"}
    assert names["1002"].quads.tolist() == [6]
    np.testing.assert_allclose(names["1002"].uvs[0, 0], [0.4, 0.5])


def test_follow_is_the_bounded_ridge_regression(rng: np.random.Generator) -> None:
    basis, truth = rng.normal(0, 0.01, (5, 40, 3)), np.array([0.3, 0.9, 0.0, 1.0, 0.5])
    goal = np.tensordot(truth, basis, 1)
    found = follow(basis, goal, mean=truth, sigma=0.25, bounds=(0.0, 1.0))
    np.testing.assert_allclose(found, truth, atol=1e-5)
    found = follow(basis, 3 * goal, mean=truth, sigma=0.25, bounds=(0.0, 1.0))
    assert found.min() >= 0 and found.max() <= 1
    free = follow(basis, goal, mean=np.zeros(5), sigma=0.25, bounds=(-9.0, 9.0))
    rows = basis.reshape(5, -1) / 3e-3
    np.testing.assert_allclose(
        free, np.linalg.solve(rows @ rows.T + 16 * np.eye(5), rows @ goal.ravel() / 3e-3), atol=1e-5
    )


@pytest.mark.thorough
def test_a_face_moves_to_ict(result: Path, shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    transfer(result, f"ict:{shared / 'ict_facekit'}", folder)
    data = json.loads((folder / "parameters.json").read_text())
    assert data["median_distance_mm"] < 3
    assert data["expression"]["jawOpen"] > 0.25 and data["expression"]["mouthSmileLeft"] > 0.3
    lines = (folder / "face.obj").read_text().splitlines()
    with np.load(shared / "ict_facekit" / "face_and_head.npz") as ict:
        polygons = ict["polygons"]
    vertices = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    assert len(vertices) > 11248 and 0.3 < np.ptp(vertices[:11248, 1]) < 0.4
    faces = {frozenset(int(c.split("/")[0]) - 1 for c in line.split()[1:])
             for line in lines if line.startswith("f ")}  # fmt: skip
    official = [frozenset(p[p >= 0].tolist()) for p in polygons]
    assert all(face in faces for face in official)
    mesh = trimesh.load(folder / "face.obj", process=False)
    assert mesh is not None and {f.name for f in folder.glob("albedo.*.png")} == {
        f"albedo.{name}.png" for name in ("1001", "1002", "interior")
    }
    # The texture that says where it is gives the canonical place, mirror images on either side.
    with Image.open(folder / "albedo.1001.png") as image:
        picture = np.asarray(image, float) / 255
    assert picture.shape == (SIZE, SIZE, 3)
    mirrored = picture[:, ::-1]
    assert np.median(abs(picture[..., 0] + mirrored[..., 0] - 1)) < 0.03
    assert np.median(abs(picture[..., 1] - mirrored[..., 1])) < 0.03


def test_what_is_no_result_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no complete jaxface result"):
        transfer(tmp_path, "ict:nowhere", tmp_path / "out")
