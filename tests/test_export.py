"""Files that other programs read: GLB, OBJ, the result folder."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from jaxface.errors import InputError
from jaxface.export import draw_stages, load_result, render_view, write_result
from jaxface.export.glb import encode_glb
from jaxface.export.mesh import Corners, tangents
from jaxface.export.video import write_track
from jaxface.images import Photo
from jaxface.morphable.files import load_model
from jaxface.morphable.model import shape
from jaxface.morphable.texels import texel_map
from jaxface.rendering.camera import look_at, project
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.lighting import studio
from jaxface.types import (
    BlendResult,
    Correlations,
    FaceParameters,
    FitResult,
    Materials,
    Reconstruction,
    SynthesisResult,
    Track,
    UnwrapResult,
)

SIDE = 64
VALIDATE = """
const validator = require('gltf-validator');
const bytes = new Uint8Array(require('fs').readFileSync(process.argv[1]));
validator.validateBytes(bytes).then(report => console.log(JSON.stringify(report.issues)));
"""


@pytest.fixture(scope="module")
def case() -> SimpleNamespace:
    model = load_model()
    key = np.random.default_rng(0)
    identity = jnp.asarray(0.5 * key.standard_normal(len(model.identity_names)), jnp.float32)
    expression = jnp.zeros(52).at[model.expression_names.index("jawOpen")].set(0.5)
    texture = jnp.asarray(key.uniform(0.1, 0.9, (SIDE, SIDE, 3)), jnp.float32)
    parameters = FaceParameters(
        identity=identity,
        expression=expression,
        albedo=jnp.zeros(len(model.albedo_names)),
        camera=look_at(0.2, 0.0, 120, 100),
        lighting=studio(),
    )
    vertices = shape(model, identity, expression)
    zero, mask = jnp.zeros(()), jnp.ones((SIDE, SIDE))
    fit = FitResult(
        parameters, vertices, jnp.zeros((478, 2)), zero, zero, jnp.array(True), jnp.array(9)
    )
    unwrapped = UnwrapResult(texture, texture, texture, mask, mask, mask, texture)
    correlations = Correlations(values=(), support=(), layers=())
    blend = BlendResult(
        jnp.array([0.25, 0.75]), correlations, zero, jnp.array(3), faces=jnp.array([2, 0])
    )
    flat = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0]), (SIDE, SIDE, 3))
    surface = Materials(0 * mask, flat, 0.5 * mask, 0.7 * mask)
    synthesis = SynthesisResult(texture, jnp.array([2.0, 1.0]))
    result = Reconstruction(fit, unwrapped, blend, synthesis, surface)
    photo = Photo(key.uniform(0, 1, (120, 100, 3)).astype(np.float32), None, "face.jpg")
    details = {"timings": {"fit": 1.5}}
    charts = np.asarray(texel_map(model, SIDE).mask)
    return SimpleNamespace(model=model, result=result, photo=photo, details=details, charts=charts)


@pytest.fixture(scope="module")
def folder(case: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("export") / "result"
    write(case, target)
    return target


def write(case: SimpleNamespace, target: Path, detail: str = "none") -> None:
    write_result(
        *(target,),
        photo=case.photo,
        reconstruction=case.result,
        model=case.model,
        details=case.details,
        face_names=("bob", "cid", "ann"),
        detail=detail,
    )


def test_folder_is_complete(folder: Path) -> None:
    names = {file.name for file in folder.iterdir()}
    pictures = ("albedo", "albedo_lowfreq", "partial", "visibility", "skin_mask", "preview")
    pictures += ("normal", "roughness", "specular", "occlusion", "lashes")
    files = {"face.glb", "face.obj", "face.mtl", "parameters.json", "report.md"}
    files |= {"viewer.html", "turntable.mp4"}
    assert names == files | {f"{name}.png" for name in pictures}
    assert [path.name for path in folder.parent.iterdir()] == ["result"]


@pytest.mark.slow
def test_detail_reaches_the_files(case: SimpleNamespace, folder: Path, tmp_path: Path) -> None:
    """Relief: the GLB has four triangles, the OBJ sixteen where the model has one; lashes stay."""
    write(case, tmp_path / "result", "relief")
    counts = []
    for place in (folder, tmp_path / "result"):
        obj = trimesh.load(place / "face.obj", process=False).geometry
        glb = trimesh.load(place / "face.glb", process=False).geometry
        face = sum(len(part.faces) for name, part in glb.items() if name.startswith("face"))
        counts.append([face, len(obj["face"].faces), len(obj["lashes"].faces)])
    face, sculpted, lashes = np.array(counts[1]) / counts[0]
    assert abs(face - 4) < 0.1 and abs(sculpted - 16) < 0.4 and lashes == 1


def test_stages_show_landmarks_fit_and_textures(case: SimpleNamespace) -> None:
    points, _ = project(case.result.fit.vertices, case.result.fit.parameters.camera)
    landmarks = np.asarray(points[:9]).copy()
    landmarks[0] = np.nan
    fitted = case.result.fit.replace(landmarks=points[20:29])
    sheet = draw_stages(case.photo, landmarks, case.result.replace(fit=fitted), case.model)
    assert sheet.shape == (1024, 2048, 3) and 0 <= sheet.min() <= sheet.max() <= 1
    green, red = (np.all(sheet == np.float32(c), -1) for c in ((0.1, 1, 0.2), (1, 0.15, 0.1)))
    assert green[:512, :512].any() and not green[:512, 1024:].any()
    assert red[:512, 512:1024].any() and not red[:512, :512].any()
    assert np.all(sheet[512:, 512:1024] == 1)  # all of the texture counts as skin
    np.testing.assert_allclose(sheet[512, 0], linear_to_srgb(case.result.unwrapped.partial[0, 0]))


def test_meshes_agree_in_trimesh(folder: Path, case: SimpleNamespace) -> None:
    """OBJ shows the expression; GLB is at rest and its targets lead to the same vertices."""
    objects = trimesh.load(folder / "face.obj", process=False).geometry
    assert set(objects) == {"face", "lashes"}
    obj = objects["face"]
    glb = trimesh.load(folder / "face.glb", process=False)
    rest = shape(case.model, case.result.fit.parameters.identity, jnp.zeros(52))
    parts = [part for name, part in glb.geometry.items() if name.startswith("face")]
    corners = np.concatenate([part.triangles.reshape(-1, 9) for part in parts])
    expected = np.asarray(rest)[np.asarray(case.model.triangles)].reshape(-1, 9)
    order = [np.lexsort(array.round(6).T) for array in (corners, expected)]
    np.testing.assert_allclose(corners[order[0]], expected[order[1]], atol=2e-6)
    vertices = np.asarray(case.result.fit.vertices)[np.asarray(case.model.triangles)]
    np.testing.assert_allclose(obj.triangles, vertices, atol=1e-6)

    texture = np.asarray(obj.visual.material.image.convert("RGB"))
    truth = np.asarray(linear_to_srgb(case.result.synthesis.texture)) * 255
    np.testing.assert_allclose(texture[case.charts], truth[case.charts], atol=0.51)
    other = parts[0].visual.material.baseColorTexture
    assert (np.asarray(other.convert("RGB")) == texture).all()
    uvs = np.asarray(case.model.uvs)[np.asarray(case.model.uv_triangles)].reshape(-1, 6)
    found = np.concatenate([part.visual.uv[part.faces].reshape(-1, 6) for part in parts])
    order = [np.lexsort(array.round(5).T) for array in (found, uvs)]
    np.testing.assert_allclose(found[order[0]].sum(1), uvs[order[1]].sum(1), atol=1e-4)


def test_glb_carries_the_arkit_targets(folder: Path, case: SimpleNamespace) -> None:
    data = (folder / "face.glb").read_bytes()
    length = int.from_bytes(data[12:16], "little")
    document = json.loads(data[20 : 20 + length])
    mesh = document["meshes"][0]
    assert mesh["extras"]["targetNames"][:52] == list(case.model.expression_names)
    assert len(mesh["weights"]) == 67 and not any(mesh["weights"][52:])
    assert mesh["weights"][case.model.expression_names.index("jawOpen")] == 0.5
    assert all(len(part["targets"]) == 67 for part in mesh["primitives"])


@pytest.fixture(scope="module")
def validator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which Node finds Khronos' validator."""
    place, package = tmp_path_factory.mktemp("node"), "gltf-validator@2.0.0-dev.3.10"
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--fetch-retries=0"]
    try:
        subprocess.run([*install, package], cwd=place, capture_output=True, check=True, timeout=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("the Khronos validator cannot be installed (no network)")
    return place


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm for the Khronos validator")
@pytest.mark.parametrize("name", ["face.glb", "animation.glb"])
def test_khronos_validator_finds_nothing(
    folder: Path, tracked: Path, validator: Path, name: str
) -> None:
    file = (folder if name == "face.glb" else tracked) / name
    command = ["node", "-e", VALIDATE, str(file)]
    done = subprocess.run(command, cwd=validator, capture_output=True, check=True, text=True)
    issues = json.loads(done.stdout)
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


SECONDS = np.array([0.0, 0.04, 0.12, 0.16, 0.2, 0.5, 0.7])  # of frames, unevenly spaced


@pytest.fixture(scope="module")
def tracked(case: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a video of seven frames adds: a shot of five, one without the person, a shot of one."""
    target, jaw = tmp_path_factory.mktemp("video"), case.model.expression_names.index("jawOpen")
    cameras = [look_at(0.1 * step, 0.05 * step, 100, 100) for step in range(7)]
    track = Track(
        expression=jnp.zeros((7, 52)).at[:, jaw].set(jnp.linspace(0.0, 0.6, 7)),
        camera=jax.tree.map(lambda *leaves: jnp.stack(leaves), *cameras),
        landmark_error=jnp.zeros(7).at[jnp.array([2, 5])].set(jnp.nan),
    )
    write_track(
        *(target, track, case.result, case.model),
        seconds=SECONDS,
        shots=np.array([0, 0, 0, 0, 0, -1, 1]),
    )
    return target


def test_a_track_is_a_table(tracked: Path) -> None:
    with open(tracked / "expressions.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["found"] for row in rows] == list("1101101")
    assert [row["shot"] for row in rows] == [*"00000", "", "1"]
    assert {
        value for name, value in rows[5].items() if name not in ("frame", "seconds", "found")
    } == {""}
    found = np.array([[float(value or "nan") for value in row.values()] for row in rows])
    names = list(rows[0])
    expected = {"jawOpen": [0.0, 0.1, 0.2, 0.3, 0.4, np.nan, 0.6], "seconds": SECONDS}
    for name, values in expected.items():
        np.testing.assert_allclose(found[:, names.index(name)], values, atol=1e-2)
    angles = found[3, names.index("yaw_degrees")], found[3, names.index("pitch_degrees")]
    np.testing.assert_allclose(angles, np.degrees([0.3, 0.15]), atol=1e-2)


def test_an_animation_has_the_frames_seconds_and_jumps_at_cuts(tracked: Path) -> None:
    data = (tracked / "animation.glb").read_bytes()
    length = int.from_bytes(data[12:16], "little")
    document, binary = json.loads(data[20 : 20 + length]), data[28 + length :]

    def keys(accessor: int) -> np.ndarray:
        view = document["accessors"][accessor]
        at = document["bufferViews"][view["bufferView"]].get("byteOffset", 0)
        count = view["count"] * {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[view["type"]]
        return np.frombuffer(binary, np.float32, count, at)

    sampler = document["animations"][0]["samplers"][0]
    times, weights = keys(sampler["input"]), keys(sampler["output"])
    np.testing.assert_allclose(times, [*SECONDS[:5], SECONDS[6] - 1e-3, SECONDS[6]], atol=1e-6)
    jaw = weights.reshape(7, -1).max(1)
    np.testing.assert_allclose(jaw, [0.0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.6], atol=1e-6)


def test_tangents_follow_the_uv_axes(case: SimpleNamespace) -> None:
    """On a sheet whose u runs along y and v along -x, tangents are y and the hand is right."""
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    sheet = Corners(np.arange(4), uvs, np.array([[0, 1, 2], [0, 2, 3]], np.uint32))
    points = np.stack([-uvs[:, 1], uvs[:, 0], 0 * uvs[:, 0]], 1)
    out = np.tile([0.0, 0.0, 1.0], (4, 1))
    np.testing.assert_allclose(tangents(sheet, points, out), [[0, 1, 0, 1]] * 4, atol=1e-6)
    np.testing.assert_allclose(tangents(sheet, points, -out), [[0, 1, 0, -1]] * 4, atol=1e-6)


def test_result_reads_back(folder: Path, case: SimpleNamespace) -> None:
    stored = load_result(folder)
    parameters = stored.parameters
    data = json.loads((folder / "parameters.json").read_text())
    truth = case.result.fit.parameters
    np.testing.assert_allclose(parameters.identity, truth.identity, atol=1e-6)
    np.testing.assert_allclose(parameters.camera.translation, truth.camera.translation, atol=1e-6)
    texture = case.result.synthesis.texture
    np.testing.assert_allclose(stored.texture_linear[case.charts], texture[case.charts], atol=0.01)
    view = render_view(stored, yaw=30, neutral=True, light="photo", size=48)
    assert view.shape == (48, 48, 3) and view.std() > 0.05
    assert data["blend"]["weights"] == {"ann": 0.25, "bob": 0.75}
    assert "bob 0.75" in (folder / "report.md").read_text()


def test_folders_of_others_are_left_alone(case: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match="no jaxface result"):
        write(case, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    with pytest.raises(InputError, match="no complete jaxface result"):
        load_result(tmp_path)


def test_nothing_is_left_when_writing_fails(
    case: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jaxface.export.result.write_png", full)
    with pytest.raises(InputError, match="No space left"):
        write(case, tmp_path / "result")
    assert not list(tmp_path.iterdir())


def test_glb_is_deterministic(case: SimpleNamespace) -> None:
    rest, surface = np.asarray(case.model.mean), case.result.materials
    arguments = case.model, rest, np.zeros(52), np.zeros((4, 4, 3)), surface
    assert encode_glb(*arguments) == encode_glb(*arguments)
