"""Runs over many photos from the command line, with a stand-in for the reconstruction."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from standin import StandIn, make_photos

from jaxface import cli
from jaxface.batch import Item, run_photo
from jaxface.batch.journal import Journal
from jaxface.batch.timing import StageTimer
from jaxface.cli import work
from jaxface.config import ReconstructConfig
from jaxface.features.correlations import correlate
from jaxface.features.weights import load_vgg


@pytest.fixture
def jaxface(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command line; `last` is the worker that it made."""

    class Fake(StandIn):
        def __init__(
            self, assets: Any, config: Any, *, batch: int, on_event: Any, **_: Any
        ) -> None:
            self.config = config
            super().__init__(config.quality, seconds=float(os.environ.get("SECONDS_EACH", "0")))
            self.rows, self.on_event = batch, on_event
            run.last = self

        def compute(self, jobs: list[Any], check: Any) -> Any:
            with StageTimer(self.on_event, faces=len(jobs)).stage("observe"):
                pass
            return super().compute(jobs, check)

    monkeypatch.setattr(work, "FaceWorker", Fake)
    monkeypatch.setattr(work, "load_assets", lambda *_, **__: None)
    monkeypatch.setattr(work, "read_photo", lambda path: None)

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jaxface", "reconstruct", *map(str, args)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return int(stopped.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_photos(tmp_path / "photos", 5)
    return tmp_path / "photos"


def test_a_folder_of_photos(jaxface, folder: Path, tmp_path: Path) -> None:
    code, out, error = jaxface(folder, "-o", tmp_path / "out", "--batch", 2)
    assert code == 0 and not error
    assert jaxface.last.computed == [["p000", "p001"], ["p002", "p003"], ["p004"]]
    lines = out.splitlines()
    assert lines[0].startswith("[1/5] ") and "faces/h" in lines[0] and "left" in lines[0]
    assert lines[-1] == "5 photo(s) done, 0 finished before, 0 failed."
    assert (tmp_path / "out" / "p004" / "parameters.json").exists()
    code, out, _ = jaxface(folder, "-o", tmp_path / "out", "--resume")
    assert code == 0 and jaxface.last.computed == []
    assert out.splitlines()[-1] == "0 photo(s) done, 5 finished before, 0 failed."


def test_failures_are_listed_with_reasons_and_decide_the_exit_code(
    jaxface, folder: Path, tmp_path: Path
) -> None:
    (folder / "bad.jpg").write_text("")
    code, out, error = jaxface(folder, "-o", tmp_path / "out")
    assert code == 4 and not error
    assert out.splitlines()[-2:] == [
        "5 photo(s) done, 0 finished before, 1 failed.",
        f"  {folder / 'bad.jpg'}: No face was found in bad.jpg.",
    ]


def test_events_are_lines_of_json(jaxface, folder: Path, tmp_path: Path) -> None:
    (folder / "bad.jpg").write_text("")
    code, out, _ = jaxface(folder, "-o", tmp_path / "out", "--log-json", "--batch", 3)
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 4
    kinds = [event["event"] for event in events]
    assert kinds.count("photo") == 6 and kinds.count("stage") == 4 and kinds[-1] == "end"
    assert events[-1]["done"] == 5 and events[-1]["failures"][0]["exit_code"] == 4
    last = next(event for event in reversed(events) if event["event"] == "photo")
    assert {"done", "failed", "skipped", "total", "faces_per_hour", "seconds_left"} <= set(last)


def test_ctrl_c_keeps_what_is_finished(
    jaxface, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(tmp_path / "many", 100)
    monkeypatch.setenv("SECONDS_EACH", "0.02")

    def interrupt() -> None:
        while not (tmp_path / "out" / "p003").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    code, _, error = jaxface(tmp_path / "many", "-o", tmp_path / "out")
    assert code == 130 and error == (
        "jaxface: stopped; what is finished is kept, --resume goes on.\n"
    )
    code, out, _ = jaxface(tmp_path / "many", "-o", tmp_path / "out", "--resume")
    done, before, failed = (int(word) for word in out.splitlines()[-1].split() if word.isdigit())
    assert code == 0 and before >= 4 and done + before == 100 and failed == 0


def test_mistakes_of_a_run(jaxface, folder: Path, tmp_path: Path) -> None:
    def sentence(code: int, word: str, *args: object) -> None:
        found, _, error = jaxface(*args)
        assert found == code and word in error, error
        assert error.startswith("jaxface: ") and error.count("\n") == 1

    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    sentence(2, "no photo", tmp_path / "empty", "-o", out)
    sentence(2, "--landmarks", folder, "-o", out, "--landmarks", "a.npy")
    assert not out.exists()
    with Journal(out):
        sentence(2, f"process {os.getpid()}", folder, "-o", out)
    (tmp_path / "file").write_text("mine")
    sentence(2, "file", folder, "-o", tmp_path / "file")
    sentence(2, "cannot be written", folder, "-o", "/proc/jaxface")
    photo = folder / "p000.jpg"
    sentence(2, "--all-faces", photo, "-o", out / "x", "--resume", "--all-faces")


def test_one_photo_goes_the_same_way_into_the_output_itself(
    jaxface, folder: Path, tmp_path: Path
) -> None:
    out, photo = tmp_path / "out", folder / "p003.jpg"
    code, text, error = jaxface(photo, "-o", out)
    assert code == 0 and not error
    assert (out / "parameters.json").exists() and not (out / "run.jsonl").exists()
    lines = text.splitlines()
    assert lines[0] == str(photo) and lines[1].split()[0] == "observe" and "Summary" in text
    assert jaxface.last.computed == [["out"]]
    assert jaxface(photo, "-o", out, "--resume")[1].splitlines()[-1] == f"{out} is finished."
    assert jaxface.last.computed == []
    photo.write_text("another photo")
    jaxface(photo, "-o", out, "--resume")
    assert jaxface.last.computed == [["out"]]


def test_one_photos_failure_is_raised(jaxface, folder: Path, tmp_path: Path) -> None:
    (folder / "bad.jpg").write_text("")
    code, _, error = jaxface(folder / "bad.jpg", "-o", tmp_path / "out")
    assert code == 4 and error == "jaxface: No face was found in bad.jpg.\n"
    (folder / "bug.jpg").write_text("photo")
    with pytest.raises(ValueError, match="no such thing"):
        run_photo(Item(folder / "bug.jpg", tmp_path / "bug"), StandIn())
    assert not (tmp_path / "out").exists() and not (tmp_path / "bug").exists()


def test_landmarks_belong_to_the_key_of_a_photo(jaxface, folder: Path, tmp_path: Path) -> None:
    out, photo, points = tmp_path / "out", folder / "p000.jpg", tmp_path / "points.npy"
    computed = []
    for value in (1.0, 1.0, 2.0, None):
        given = []
        if value is not None:
            np.save(points, np.full((68, 2), value))
            given = ["--landmarks", points]
        code, _, error = jaxface(photo, "-o", out, "--resume", *given)
        assert code == 0, error
        computed.append(len(jaxface.last.computed))
    assert computed == [1, 0, 1, 1]


def test_old_names_of_options_work(jaxface, folder: Path, tmp_path: Path) -> None:
    for option, count in (("--shard", 3), ("--share", 3)):
        code, _, error = jaxface(folder, "-o", tmp_path / option, option, "1/2")
        assert code == 0 and not error
        assert len(jaxface.last.computed) == count
    code, _, error = jaxface(folder, "-o", tmp_path / "sketch", "--sketch")
    assert code == 0 and not error


def test_seed_and_refine_reach_the_settings(jaxface, folder: Path, tmp_path: Path) -> None:
    photo = folder / "p000.jpg"
    jaxface(photo, "-o", tmp_path / "out", "--seed", 7, "--refine", "--alpha", 2.5)
    config = jaxface.last.config
    assert config.seed == 7 and config.refine and config.synthesis.alpha == 2.5
    jaxface(photo, "-o", tmp_path / "out")
    assert jaxface.last.config.seed == 0 and not jaxface.last.config.refine


def test_every_pair_of_quality_and_size_is_taken_or_refused_at_once(
    jaxface, folder: Path, tmp_path: Path
) -> None:
    """What is taken must be computable: correlations need whole cells at each level's side."""
    needed = set()
    for method in ("default", "paper"):
        for quality in ("draft", "standard", "high"):
            for size in (256, 512, 1024, 2048):
                options = ["--quality", quality, "--size", size, "--method", method]
                code, _, error = jaxface(folder / "p000.jpg", "-o", tmp_path / "out", *options)
                assert code == 0, error
                config = jaxface.last.config
                sides = [int(size * fraction) for fraction, _ in config.synthesis.levels]
                needed |= {(side, config.method) for side in sides}
    assert min(needed)[0] <= 128 and max(needed)[0] == 2048
    vgg = jax.eval_shape(load_vgg)
    for side, method in needed:
        correlation = ReconstructConfig.for_quality(method=method).correlation
        texture, mask = (jax.ShapeDtypeStruct((side, side, *c), jnp.float32) for c in ((3,), ()))
        jax.eval_shape(partial(correlate, config=correlation), texture, mask, vgg)
