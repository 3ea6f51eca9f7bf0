"""Runs over many photos from the command line, with a stand-in for the reconstruction."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from standin import StandIn, make_photos

from jaxface import cli
from jaxface.batch.journal import Journal
from jaxface.cli import work


@pytest.fixture
def jaxface(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command line; `last` is the worker that it made."""

    class Fake(StandIn):
        def __init__(self, assets: Any, config: Any, *, batch: int, tell: Any, **_: Any) -> None:
            super().__init__(config.quality, seconds=float(os.environ.get("SECONDS_EACH", "0")))
            self.rows, self.tell = batch, tell
            run.last = self

        def compute(self, works: list[Any], check: Any) -> Any:
            self.tell({"event": "stage", "stage": "fit", "elapsed": 0.0, "faces": len(works)})
            return super().compute(works, check)

    monkeypatch.setattr(work, "FaceWorker", Fake)
    monkeypatch.setattr(work, "load_assets", lambda *_, **__: None)

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


def test_failures_are_listed_with_reasons_and_tell_the_exit_code(
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
    assert kinds.count("photo") == 6 and kinds.count("stage") == 2 and kinds[-1] == "end"
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
