"""Runs over many photos: failures, resume, kills, signals, full disks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from standin import StandIn, assert_whole, make_photos

from jaxface import InputError
from jaxface.batch import run_photos
from jaxface.batch.journal import JOURNAL, read_entries
from jaxface.export import PREFIX

SCRIPT = Path(__file__).with_name("standin.py")


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    return make_photos(tmp_path / "photos", 7)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


def start(*args: object, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [*prefix, sys.executable, str(SCRIPT), *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_bad_photo_among_good_ones(output: Path, photos: list[Path]) -> None:
    folder = photos[0].parent
    for name in ("bad.jpg", "bug.jpg"):
        (folder / name).write_text("photo")
    events: list[dict] = []
    every = [*photos[:3], folder / "bad.jpg", folder / "bug.jpg", *photos[3:], folder / "no.jpg"]
    report = run_photos(every, output, StandIn(), batch=3, on_event=events.append)
    assert report.done == 7
    failed = {path.name: (reason, code) for path, reason, code in report.failures}
    assert failed["bad.jpg"] == ("No face was found in bad.jpg.", 4)
    assert failed["bug.jpg"] == ("ValueError: no such thing", 1)
    assert failed["no.jpg"][1] == 2 and "no file" in failed["no.jpg"][0]
    entries = read_entries(output)
    assert [e["event"] for e in entries].count("failed") == 3
    assert {Path(e["photo"]).name for e in entries if e["event"] == "failed"} == set(failed)
    last = events[-1]
    assert last["done"] == 7 and last["failed"] == 3 and last["total"] == 10
    assert last["seconds_left"] == 0 and last["faces_per_hour"] > 0
    assert_whole(output, StandIn())


def test_resume_does_only_what_is_missing(output: Path, photos: list[Path]) -> None:
    def again(settings: str = "one", resume: bool = True) -> set[str]:
        worker = StandIn(settings)
        report = run_photos(photos, output, worker, resume=resume)
        assert report.done + len(report.skipped) == 7 and not report.failures
        return {name for batch in worker.computed for name in batch}

    assert len(again()) == 7
    assert again() == set()
    photos[1].write_text("another photo")
    assert again() == {"p001"}
    shutil.rmtree(output / "p002")
    (output / "p003" / "parameters.json").write_text("{")
    assert again() == {"p002", "p003"}
    assert len(again("other settings")) == 7
    assert len(again("one")) == 7  # the folders are the other settings'
    assert len(again(resume=False)) == 7
    lines = (output / JOURNAL).read_text().splitlines(keepends=True)
    (output / JOURNAL).write_text("".join(lines[:-1]))
    assert again() == set()  # of this photo an older line says the same


def test_a_photo_of_many_faces_is_done_when_all_are(output: Path, photos: list[Path]) -> None:
    run_photos(photos, output, StandIn(faces=3), batch=2)
    done = [e["folders"] for e in read_entries(output) if e["event"] == "done"]
    assert sorted(done)[0] == ["p000/face1", "p000/face2", "p000/face3"]
    shutil.rmtree(output / "p004" / "face2")
    worker = StandIn(faces=3)
    assert len(run_photos(photos, output, worker, batch=2, resume=True).skipped) == 6
    assert [name for batch in worker.computed for name in batch] == ["face1", "face2", "face3"]


def test_equal_photos_of_two_names_are_two_results(output: Path, photos: list[Path]) -> None:
    photos[1].write_text(photos[0].read_text())
    run_photos(photos, output, StandIn())
    worker = StandIn()
    assert len(run_photos(photos, output, worker, resume=True).skipped) == 7


def test_an_output_that_cannot_be_written_is_one_sentence(photos: list[Path]) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        run_photos(photos, Path("/proc/jaxface"), StandIn())


def test_killed_at_fifty_moments(tmp_path: Path) -> None:
    """Real SIGKILLs of a real run: nothing finished is lost or redone, nothing is half there."""
    process = start("kills", tmp_path / "out", tmp_path / "photos", 50, 1)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error[-3000:]
    found = json.loads(out)
    assert 0 < found["killed"] <= 120 and found["redone"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    output = tmp_path / "out"
    process = start("interrupt", output, tmp_path / "photos")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    while not any(entry["event"] == "done" for entry in read_entries(output)):
        assert process.poll() is None
        time.sleep(0.05)
    begun = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    assert process.returncode == 130 and not error, error
    assert time.monotonic() - begun < 5
    assert_whole(output, StandIn(size=100))
    done = [entry for entry in read_entries(output) if entry["event"] == "done"]
    folders = [p.name for p in output.iterdir() if p.is_dir()]
    assert 0 < len(done) < 200
    assert len(folders) == len(done) and not [n for n in folders if n.startswith(".")]


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    process = start("stuck", tmp_path / "out", tmp_path / "photos")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for _ in range(2):
        time.sleep(0.8)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert process.returncode == 130


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a disk of its own needs root")
    probe = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("a disk of its own needs a mount namespace")
    mount = f'mount -t tmpfs -o size=2m tmpfs {place} && "$@"; code=$?; find {place}; exit $code'
    process = start(
        "full", place / "out", tmp_path / "photos", prefix=("unshare", "-m", "sh", "-c", mount, "-")
    )
    out, error = process.communicate(timeout=60)
    assert process.returncode == 2, (out, error)
    lines = error.strip().splitlines()
    assert len(lines) == 1 and "No space left on device" in lines[0], error
    assert "/p001/parameters.json" in out and f"/{PREFIX}" not in out


@pytest.mark.parametrize(("number", "ends"), [(28, True), (30, True), (36, False)])
def test_what_concerns_the_folder_ends_a_run(
    output: Path, photos: list[Path], number: int, ends: bool
) -> None:
    """A full or read-only disk ends it, a name that is too long fails its photo alone."""

    class Starved(StandIn):
        def finish(self, job, result):
            try:
                raise OSError(number, os.strerror(number))
            except OSError as error:
                raise InputError(f"It cannot be written: {error.strerror}.") from error

    if ends:
        with pytest.raises(InputError, match=os.strerror(number)):
            run_photos(photos, output, Starved())
        assert [entry["event"] for entry in read_entries(output)] == ["run"]
    else:
        assert len(run_photos(photos, output, Starved()).failures) == 7
