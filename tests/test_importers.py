"""The files in the programs that people open them with: Blender, three.js, Assimp.

What each makes of them is compared with the model itself, and its picture of the albedo with ours.
"""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import imageio.v3 as iio
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from jaxface import assets
from jaxface.export.glb import encode_glb
from jaxface.export.obj import encode_mtl, encode_obj
from jaxface.export.textures import pad
from jaxface.export.visemes import visemes_of
from jaxface.hair.lashes import lash_basis, lash_mesh
from jaxface.images import write_png
from jaxface.morphable.texels import texel_map
from jaxface.rendering.camera import look_at, rotation_matrix
from jaxface.rendering.color import linear_to_srgb, srgb_to_linear
from jaxface.rendering.lighting import directional
from jaxface.rendering.render import render
from jaxface.types import Materials

BLENDER = ROOT / ".cache" / "blender" / "bin" / "python"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
OPTIONS = (
    "--headless --no-sandbox --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader "
    "--hide-scrollbars --virtual-time-budget=20000 --force-device-scale-factor=1"
)
SHAPES = ("jawOpen", "viseme_O", "eyeBlinkLeft")
TARGET, SIZE = (0.0, -0.04, -0.05), 256
THREE = """<!doctype html><style>body {margin: 0} canvas {display: block}</style>
<pre id="told" hidden></pre><script>@THREE@</script><script>
const {SIZE, EYE, TARGET, FOV, SHAPES} = @JOB@;
const renderer = new THREE.WebGLRenderer({alpha: true, preserveDrawingBuffer: true});
renderer.setSize(SIZE, SIZE);
document.body.prepend(renderer.domElement);
const scene = new THREE.Scene(), camera = new THREE.PerspectiveCamera(FOV, 1, 0.01, 10);
camera.position.set(...EYE);
camera.lookAt(...TARGET);
scene.add(new THREE.AmbientLight(0xffffff, Math.PI));  // what a white surface reflects is 1
const bytes = Uint8Array.from(atob("@FACE@"), (c) => c.charCodeAt(0));
new THREE.GLTFLoader().parseAsync(bytes.buffer, "").then((gltf) => {
  const told = [];
  gltf.scene.traverse((node) => {
    if (!node.isMesh) return;
    const names = node.morphTargetDictionary, weights = node.morphTargetInfluences;
    const at = node.geometry.attributes.position, moved = {};
    const about = {parent: node.parent.name, material: node.material.name, names,
                   weights: [...weights], index: node.geometry.index.count,
                   uv: Boolean(node.geometry.attributes.uv),
                   map: node.material.map.image.width};
    weights.fill(0);
    for (const shape of SHAPES) {
      weights[names[shape]] = 1;
      const point = node.position.clone();
      moved[shape] = [];
      for (let i = 0; i < at.count; i++) {
        node.getVertexPosition(i, point);
        moved[shape].push([point.x, point.y, point.z]);
      }
      weights[names[shape]] = 0;
    }
    node.visible = !/^lashes/.test(node.material.name);
    told.push({...about, moved});
  });
  scene.add(gltf.scene);
  renderer.render(scene, camera);
  const picture = renderer.domElement.toDataURL("image/png").split(",")[1];
  document.getElementById("told").textContent = JSON.stringify({told, picture});
});
</script>"""
ASSIMP = """
const fs = require('fs');
require('assimpjs')().then(assimp => {
  const files = new assimp.FileList();
  files.AddFile('face.glb', new Uint8Array(fs.readFileSync(process.argv[1])));
  const result = assimp.ConvertFileList(files, 'assjson');
  if (!result.IsSuccess()) throw new Error(result.GetErrorCode());
  console.log(new TextDecoder().decode(result.GetFile(0).GetContent()));
});
"""


@pytest.fixture(scope="module")
def case(model, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A face with its lashes, in a texture that tells every place from every other."""
    folder = tmp_path_factory.mktemp("importers")
    rng, side = np.random.default_rng(0), 128
    neutral = np.asarray(model.mean)
    x, y = np.meshgrid(*[(np.arange(side) + 0.5) / side] * 2)
    wave = np.stack([x, y, 0.5 + 0.5 * np.sin(9 * x + 5 * y)], -1)
    albedo = (0.15 + 0.7 * wave + 0.02 * rng.standard_normal((side, side, 1))).astype(np.float32)
    albedo = np.round(255 * pad(albedo, np.asarray(texel_map(model, side).mask))) / 255
    flat = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0]), (side, side, 3))
    half = jnp.full((side, side), 0.5)
    lashes = lash_mesh(model, neutral)
    expression = np.zeros(52)
    expression[model.expression_names.index("mouthPucker")] = 0.25
    (folder / "face.glb").write_bytes(
        encode_glb(
            *(model, neutral, expression, albedo, Materials(half, flat, half, half)),
            lashes=(lashes, lash_basis(model)),
        )
    )
    (folder / "face.obj").write_text(encode_obj(model, neutral, hair={"lashes": lashes}))
    (folder / "face.mtl").write_text(encode_mtl("albedo.png", hair=["lashes"]))
    write_png(folder / "albedo.png", albedo)
    write_png(folder / "lashes.png", np.ones((8, 8, 4)))

    names, visemes = visemes_of(model.expression_names)
    basis = np.asarray(model.expression_basis)
    basis = np.concatenate([basis, np.tensordot(visemes, basis, 1)])
    names = [*model.expression_names, *names]
    camera = look_at(0.5, 0.1, SIZE, SIZE, target=TARGET, extent=0.34)
    pucker = model.mean + 0.25 * model.expression_basis[model.expression_names.index("mouthPucker")]
    white = directional(jnp.array([0.0, 0.0, 1.0]), jnp.zeros(3), ambient=1.0)
    linear = srgb_to_linear(jnp.asarray(albedo, jnp.float32))
    image, cover = render(model, pucker, linear, camera, white, SIZE, SIZE, supersample=2)
    eye = -np.asarray(rotation_matrix(camera.rotation)).T @ np.asarray(camera.translation)
    return SimpleNamespace(
        folder=folder,
        names=names,
        moved={name: neutral + basis[names.index(name)] for name in SHAPES},
        neutral=neutral,
        lashes=lashes,
        triangles=len(model.triangles),
        eye=eye.tolist(),
        fov=2 * math.atan(SIZE / 2 / float(camera.focal)),
        picture=np.asarray(linear_to_srgb(image)),
        cover=np.asarray(cover),
    )


def assert_same_points(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-6) -> None:
    """Whether two sets of points are the same, whatever their order and number of copies."""
    from scipy.spatial import cKDTree

    assert cKDTree(expected).query(found)[0].max() < tolerance
    assert cKDTree(found).query(expected)[0].max() < tolerance


def assert_same_picture(rgba: np.ndarray, case: SimpleNamespace) -> None:
    """The outline within a pixel's border, the colours within three levels of 255."""
    shown, ours = rgba[..., 3] > 127, case.cover > 0.5
    assert (shown & ours).sum() / (shown | ours).sum() > 0.985
    inner = (rgba[..., 3] == 255) & (case.cover > 0.999)
    error = np.abs(rgba[..., :3] / 255 - case.picture)[inner]
    assert inner.mean() > 0.2 and error.mean() < 3 / 255


@pytest.fixture(scope="module")
def blender() -> Path:
    if not BLENDER.exists():
        pytest.skip(
            "Blender's Python package is not in .cache/blender; `make thorough` puts it there"
        )
    return BLENDER


def in_blender(blender: Path, file: Path, **job: object) -> dict:
    script = Path(__file__).parent / "blender_import.py"
    command = [blender, script, file, json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    told = re.search(r"^TOLD(.*)$", done.stdout, re.M)
    assert told, done.stderr[-2000:]
    return json.loads(told[1])


@pytest.mark.thorough
def test_blender_opens_the_glb(case, blender) -> None:
    shot = case.folder / "blender.png"
    told = in_blender(
        *(blender, case.folder / "face.glb"),
        shapes=SHAPES,
        picture=str(shot),
        size=SIZE,
        eye=case.eye,
        target=TARGET,
        fov=case.fov,
    )
    assert set(told["meshes"]) == {"face", "lashes"}
    face, lashes = (told["meshes"][name] for name in ("face", "lashes"))
    assert face["shapes"] == lashes["shapes"] == case.names
    assert face["weights"] == lashes["weights"] == {"mouthPucker": 0.25}
    assert face["triangles"] == case.triangles and face["uvs"] == 1
    assert lashes["parent"] == "face" and lashes["vertices"] == len(case.lashes.vertices)
    # A vertex is there once for each side of a seam and each material, not once for each primitive.
    assert len(case.neutral) <= face["vertices"] < 1.1 * len(case.neutral)
    assert set(face["materials"]) == {"eyes", "mouth", "skin"}
    assert {"albedo", "normal", "roughness", "specular", "lashes"} <= set(told["images"])
    assert told["images"]["albedo"] == [128, 128]
    for name in SHAPES:
        assert_same_points(np.array(face["moved"][name]), case.moved[name])
    assert_same_picture(iio.imread(shot), case)


@pytest.mark.thorough
def test_blender_opens_the_obj(case, blender) -> None:
    told = in_blender(blender, case.folder / "face.obj")
    assert set(told["meshes"]) == {"face", "lashes"}
    face = told["meshes"]["face"]
    assert face["triangles"] == case.triangles and face["materials"] == ["face"]
    assert told["images"]["albedo.png"] == [128, 128]
    assert_same_points(np.array(face["rest"]), case.neutral)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_three_opens_the_glb(case) -> None:
    job = {"SIZE": SIZE, "EYE": case.eye, "TARGET": TARGET, "FOV": math.degrees(case.fov)}
    parts = {
        "JOB": json.dumps(job | {"SHAPES": SHAPES}),
        "FACE": base64.b64encode((case.folder / "face.glb").read_bytes()).decode(),
        "THREE": assets.path("three.js").read_text(),
    }
    page = case.folder / "three.html"
    page.write_text(re.sub(r"@([A-Z]+)@", lambda match: parts[match[1]], THREE), encoding="utf-8")
    command = [BROWSER, *OPTIONS.split(), f"--window-size={SIZE},{SIZE}"]
    for _ in range(3):  # on a busy machine the page may be taken before the face is there
        done = subprocess.run(
            [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=240
        )
        text = re.search(r'<pre id="told" hidden="">(.*?)</pre>', done.stdout, re.S)
        if text and text[1]:
            break
    assert text and text[1]
    told, picture = json.loads(text[1]).values()
    parts = [part for part in told if part["parent"] == "face" and "lashes" not in part["material"]]
    assert {part["material"] for part in parts} == {"eyes", "mouth", "skin"}
    assert sum(part["index"] for part in parts) == 3 * case.triangles
    for part in told:
        assert list(part["names"]) == case.names
        assert part["weights"][part["names"]["mouthPucker"]] == 0.25 == sum(part["weights"])
    assert all(part["map"] == 128 and part["uv"] for part in parts)
    for name in SHAPES:
        points = np.concatenate([part["moved"][name] for part in parts])
        assert_same_points(points, case.moved[name])
    assert_same_picture(iio.imread(base64.b64decode(picture), extension=".png"), case)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm for Assimp")
def test_assimp_opens_the_glb(case, tmp_path) -> None:
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--fetch-retries=0"]
    try:
        subprocess.run([*install, "assimpjs@0.0.10"], cwd=tmp_path, check=True, timeout=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("Assimp cannot be installed (no network)")
    command = ["node", "-e", ASSIMP, str(case.folder / "face.glb")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True)
    scene = json.loads(done.stdout)
    face = [mesh for mesh in scene["meshes"] if mesh["name"].startswith("face")]
    assert len(face) == 3 and len(scene["meshes"]) == 4
    assert sum(len(mesh["faces"]) for mesh in face) == case.triangles
    points = np.concatenate([np.reshape(mesh["vertices"], (-1, 3)) for mesh in face])
    assert len(points) < 1.1 * len(case.neutral)
    assert_same_points(points, case.neutral)
    assert all(len(mesh["normals"]) == len(mesh["vertices"]) for mesh in face)
    assert len(scene["textures"]) == 5
