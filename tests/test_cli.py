"""The command line as users meet it: mistakes are one sentence, results are whole or absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from conftest import PHOTOS, ROOT
from PIL import Image
from test_golden import assert_same_albedo

from jaxface import cli
from jaxface.morphable.files import load_model
from jaxface.morphable.texels import texel_map

RESULT_FILES = {
    "face.glb",
    "face.obj",
    "face.mtl",
    "hair.png",
    "lashes.png",
    "albedo.png",
    "albedo_lowfreq.png",
    "partial.png",
    "visibility.png",
    "skin_mask.png",
    "preview.png",
    "normal.png",
    "roughness.png",
    "occlusion.png",
    "specular.png",
    "turntable.mp4",
    "viewer.html",
    "parameters.json",
    "report.md",
}


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


def in_a_process(*args: object, **environment: str) -> Done:
    """Runs `run.py` as users do."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *map(str, args)],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | environment,
        check=False,
        timeout=600,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def jaxface(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process: no second start of JAX."""

    def run(*args: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["jaxface", *map(str, args)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return Done(int(stopped.value.code or 0), *capsys.readouterr())

    return run


def assert_one_sentence(done: Done, code: int, word: str) -> None:
    assert done.returncode == code, done.stderr[-2000:]
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("jaxface: ") and word in lines[0], done.stderr


@pytest.fixture(scope="session")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One photo reconstructed by the command line, at draft quality."""
    folder = tmp_path_factory.mktemp("cli") / "face"
    done = in_a_process("reconstruct", PHOTOS / "astronaut.jpg", "-o", folder, "--quality", "draft")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Summary" in done.stdout and "infer" in done.stdout
    return folder


@pytest.mark.slow
def test_reconstruct_writes_a_whole_folder(result: Path) -> None:
    assert {p.name for p in result.iterdir()} >= RESULT_FILES
    parameters = json.loads((result / "parameters.json").read_text())
    assert parameters["landmark_error_percent"] < 3
    texture = np.asarray(Image.open(result / "albedo.png"))
    assert texture.shape == (256, 256, 3) and texture.std() > 10
    charts = np.asarray(texel_map(load_model(), 256).mask)
    assert_same_albedo(texture, "astronaut-draft", charts)


@pytest.mark.slow
def test_render_turns_the_head(jaxface: Run, result: Path, tmp_path: Path) -> None:
    for name, options in (("a", []), ("b", ["--yaw", "60", "--neutral", "--light", "photo"])):
        done = jaxface("render", result, "-o", tmp_path / f"{name}.png", "--size", "128", *options)
        assert done.returncode == 0, done.stderr[-2000:]
    a, b = (np.asarray(Image.open(tmp_path / f"{n}.png"), float) for n in "ab")
    assert a.shape == (128, 128, 3) and np.abs(a - b).mean() > 3


def test_a_file_that_reads_as_an_option(
    jaxface: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-dash.jpg").write_text("no photo")
    assert_one_sentence(jaxface("reconstruct", "-dash.jpg"), 2, "write ./-dash.jpg")
    for args in (["./-dash.jpg"], ["--", "-dash.jpg"]):
        assert_one_sentence(jaxface("reconstruct", *args), 2, "not a picture")


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (["reconstruct", "nowhere.jpg"], 2, "no file"),
        (["reconstruct", str(ROOT / "pyproject.toml")], 2, "not a picture"),
        (["reconstruct", "PHOTO", "--quality", "best"], 2, "draft, standard or high"),
        (["reconstruct", "PHOTO", "--size", "300"], 2, "--size"),
        (["reconstruct", "PHOTO", "--method", "magic"], 2, "--method"),
        (["reconstruct", "PHOTO", "--model", "nobody"], 2, "nobody"),
        (["reconstruct", "PHOTO", "--landmarks", "x.txt"], 2, ".pts"),
        (["reconstruct", "PHOTO", "--landmarks", "x.npy"], 2, "x.npy"),
        (["reconstruct", "PHOTO", "--alpha", "2"], 2, "--refine"),
        (["reconstruct", "PHOTO", "--feature-cache", "--method", "paper"], 2, "--feature-cache"),
        (["reconstruct", "PHOTO", "--sketch", "--method", "paper"], 2, "--feature-cache"),
        (["reconstruct", "PHOTO", "--shard", "3/2"], 2, "shard 3 of 2"),
        (["reconstruct", "PHOTO", "--shard", "x"], 2, "--shard"),
        (["reconstruct", "PHOTO", "--all-faces", "--resume"], 2, "--all-faces"),
        (["reconstruct", "PHOTO", "--person", "--all-faces"], 2, "--person"),
        (["reconstruct", "PHOTO", "--person", "--video"], 2, "--video"),
        (["reconstruct", "PHOTO", "PHOTO", "--video"], 2, "one file"),
        (["reconstruct", str(ROOT / "pyproject.toml"), "--video"], 2, "not a video"),
        (["reconstruct", *["PHOTO"] * 17, "--person"], 2, "16 or fewer"),
        (["reconstruct", "PHOTO", "--database", "nowhere"], 3, "nowhere"),
        (["reconstruct", "PHOTO", "--engine", "steam"], 2, "--engine"),
        (["reconstruct", "PHOTO", "--engine", "ray", "--person"], 2, "--engine ray"),
        (["bench", "--batch", "1,x"], 2, "--batch"),
        (["render", "nowhere"], 2, "nowhere"),
        (["render", "nowhere", "--light", "moon"], 2, "--light"),
    ],
)
def test_mistakes(jaxface: Run, tmp_path: Path, args: list[str], code: int, word: str) -> None:
    args = [str(PHOTOS / "astronaut.jpg") if a == "PHOTO" else a for a in args]
    out = tmp_path / "out"
    assert_one_sentence(jaxface(*args, "-o", out), code, word)
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "variable"),
    [
        ("gpu", "cpu"),
        (None, "cuda"),
        pytest.param("tpu", "cpu", marks=pytest.mark.slow),
        pytest.param("abacus", "cpu", marks=pytest.mark.slow),
        pytest.param(None, "abacus", marks=pytest.mark.slow),
        pytest.param(None, "tpu", marks=pytest.mark.slow),
    ],
)
def test_a_device_that_is_not_here(option: str | None, variable: str, tmp_path: Path) -> None:
    """By `--device` or by `JAX_PLATFORMS`: not the next best one in its place, no traceback."""
    wanted = option or variable
    if jax.default_backend() in (wanted, {"cuda": "gpu"}.get(wanted)):
        pytest.skip("it is here")
    photo, out = PHOTOS / "astronaut.jpg", tmp_path / "out"
    given = [] if option is None else ["--device", option]
    done = in_a_process("reconstruct", photo, "-o", out, *given, JAX_PLATFORMS=variable)
    assert_one_sentence(done, 2, f"no device '{wanted}'")
    assert not out.exists()


def test_an_unwritable_folder_is_said_before_the_work(jaxface: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for target in (tmp_path / "file" / "out", tmp_path / "file", tmp_path):
        done = jaxface("reconstruct", PHOTOS / "astronaut.jpg", "-o", target)
        assert_one_sentence(done, 2, str(target))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_no_face(jaxface: Run, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    done = jaxface("reconstruct", tmp_path / "noise.png", "-o", tmp_path / "out")
    assert done.returncode == 4 and "No face" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_asset(jaxface: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAXFACE_ASSETS", str(tmp_path))
    done = jaxface("reconstruct", PHOTOS / "astronaut.jpg", "-o", tmp_path / "out")
    assert done.returncode == 3 and "missing" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_assets_commands(jaxface: Run) -> None:
    listed = jaxface("assets", "list")
    assert listed.returncode == 0 and "face_model.npz" in listed.stdout
    verified = jaxface("assets", "verify")
    assert verified.returncode == 0 and "as they should be" in verified.stdout


def test_help_names_the_commands(jaxface: Run) -> None:
    text = jaxface("--help").stdout
    for command in ("reconstruct", "demo", "render", "transfer", "evaluate", "bench", "assets"):
        assert command in text


def test_help_names_the_options_and_hides_their_old_names(
    jaxface: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = jaxface("reconstruct", "--help").stdout
    for option in ("--refine", "--feature-cache", "--shard", "--seed", "--landmarks", "--actors"):
        assert option in text
    assert "--sketch" not in text and "--share" not in text
    commands = jaxface("database", "--help").stdout
    assert "cache-features" in commands and "sketch" not in commands
    assert "VGG-16 features" in jaxface("database", "sketch", "--help").stdout


def test_evaluate_says_what_it_lacks(
    jaxface: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert_one_sentence(jaxface("evaluate"), 2, "--quick or --full")
    assert_one_sentence(jaxface("evaluate", "--quick", "--skins", tmp_path), 2, "--package")
    none = tmp_path / "none"
    assert_one_sentence(jaxface("evaluate", "--quick", "--ict", none), 2, str(none))
    assert_one_sentence(jaxface("evaluate", "--quick", "--recogniser", none), 2, str(none))
    both = jaxface("evaluate", "--quick", "--photos", tmp_path)
    assert_one_sentence(both, 2, "--photos with a folder")
    assert_one_sentence(jaxface("evaluate", "--photos", none), 2, str(none))
    assert_one_sentence(jaxface("evaluate", "--photos", tmp_path, "--labels", none), 2, "--labels")
    assert_one_sentence(jaxface("evaluate", "--quick", "--constancy", 1), 2, "--constancy")
    assert_one_sentence(jaxface("evaluate", "--photos", tmp_path, "--ict", none), 2, "--ict")
    assert_one_sentence(jaxface("evaluate", "--quick", "--hide", "all"), 2, "--hide")
    methods = jaxface("evaluate", "--photos", tmp_path, "--methods", "ours")
    assert_one_sentence(methods, 2, "only with --hide")
    some = jaxface("evaluate", "--photos", tmp_path, "--hide", "all", "--constancy", 1)
    assert_one_sentence(some, 2, "--constancy")
    from jaxface.cli import evaluation

    monkeypatch.setattr(evaluation, "find_spec", lambda name: name)
    assert_one_sentence(jaxface("evaluate", "--photos", tmp_path, "--hide", "ear"), 2, "'ear'")
    monkeypatch.setattr(evaluation, "find_spec", lambda name: None)
    assert_one_sentence(jaxface("evaluate", "--quick"), 2, "jaxface[evaluation]")
    assert_one_sentence(jaxface("evaluate", "--photos", tmp_path), 2, "jaxface[evaluation]")
