"""Runs over many photos: order, back-pressure, journal, resume, kills, signals, full disks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from standin import StandIn, assert_whole, make_photos

from jaxface import InputError, prepare_face
from jaxface.batch import Item, Journal, find_photos, overlap, run_photos
from jaxface.batch.inputs import result_folders
from jaxface.batch.journal import JOURNAL, read_entries
from jaxface.database import Database
from jaxface.export import PREFIX, whole_folder
from jaxface.mapping import Many, face_mesh
from jaxface.pipeline.batched import round_up, stack
from jaxface.pipeline.chain import _candidates
from jaxface.rendering.color import srgb_to_linear

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


# ---- inputs


def test_a_folder_means_its_photos(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.heic", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "deeper.jpg").mkdir()
    single = tmp_path / "notes.txt"
    names = [photo.name for photo in find_photos([single, tmp_path])]
    assert names == ["notes.txt", "a.png", "b.JPG", "c.heic"]
    with pytest.raises(InputError, match="no photo"):
        find_photos([tmp_path / "deeper.jpg"])


def test_no_two_photos_share_a_folder() -> None:
    photos = [Path(p) for p in ("x/a.jpg", "y/a.png", "a-2.jpg", "z/a.jpg", "run.jsonl.png")]
    items = result_folders(photos, Path("out"), taken={JOURNAL})
    names = [item.folder.name for item in items]
    assert names == ["a", "a-2", "a-2-2", "a-3", "run.jsonl-2"]


# ---- overlap


def test_batches_keep_order_and_kind() -> None:
    batches = []

    def compute(works: list[int], check) -> list[int]:
        batches.append(list(works))
        return [-w for w in works]

    items = list(range(20))
    outcomes = list(
        overlap(
            items,
            lambda i: [] if i == 3 else [i] * (1 + (i == 4)),
            compute,
            lambda work, result: result,
            batch=4,
            kind=lambda w: w % 2,
            readers=3,
        )
    )
    assert {o.item: o.values for o in outcomes} == {
        i: [] if i == 3 else [-i] * (1 + (i == 4)) for i in items
    }
    assert batches[0] == [0, 2, 4, 4] and batches[1] == [1, 5, 7, 9]
    assert all(len({w % 2 for w in works}) == 1 and len(works) <= 4 for works in batches)
    assert sum(works.count(19) for works in batches) == 1 and len(batches) == 6


def test_who_is_ahead_waits() -> None:
    """With one slow writer, readers and device stop a few works after it, whatever is left."""
    started, written, most = [0], [0], [0]

    def prepare(item: int) -> list[int]:
        started[0] += 1
        most[0] = max(most[0], started[0] - written[0])
        return [item]

    def finish(work: int, result: int) -> None:
        time.sleep(0.003)
        written[0] += 1

    outcomes = overlap(
        range(100), prepare, lambda works, check: works, finish, batch=2, readers=2, writers=1
    )
    assert len(list(outcomes)) == 100
    assert most[0] <= 14  # ahead 4, a batch 2, slots 3, and who is between them


def test_host_work_overlaps_the_device() -> None:
    def slow(*_: object) -> list[int]:
        time.sleep(0.02)
        return [1]

    begun = time.monotonic()
    assert len(list(overlap(range(20), slow, slow, slow, readers=1, writers=1))) == 20
    assert time.monotonic() - begun < 0.85 * 20 * 3 * 0.02


def test_a_failing_batch_is_taken_apart() -> None:
    def compute(works: list[int], check) -> list[int]:
        if 2 in works:
            raise ValueError("two")
        return works

    outcomes = {
        o.item: o for o in overlap(range(6), lambda i: [i], compute, lambda w, r: r, batch=3)
    }
    assert [i for i, o in outcomes.items() if o.error] == [2]
    assert outcomes[0].values == [0] and outcomes[5].values == [5]


def test_closing_ends_the_threads() -> None:
    outcomes = overlap(range(1000), lambda i: [i], lambda w, check: w, lambda w, r: r)
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert not [t.name for t in threading.enumerate() if t.name.startswith("jaxface")]


# ---- journal


def test_a_journal_cut_anywhere_keeps_its_whole_lines(output: Path) -> None:
    with Journal(output) as journal:
        for number in range(3):
            journal.write("done", key=str(number), folders=["ä" * number])
    whole = (output / JOURNAL).read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole)):
        (output / JOURNAL).write_bytes(whole[:cut])
        kept = sum(end <= cut + 1 for end in ends)  # a line without its end is whole as well
        assert len(read_entries(output)) == kept
        if cut % 37 == 0:
            with Journal(output) as journal:
                journal.write("failed", key="0")
            events = [entry["event"] for entry in read_entries(output)]
            assert events[kept:] == ["run", "failed"]


def test_a_failure_takes_back_what_was_done(output: Path) -> None:
    with Journal(output) as journal:
        journal.write("done", key="a", folders=["a"])
        journal.write("done", key="b", folders=["b"])
        journal.write("failed", key="a")
    with Journal(output) as journal:
        assert journal.finished() == {"b": ["b"]}


def test_a_second_run_is_refused(output: Path, photos: list[Path]) -> None:
    with Journal(output), pytest.raises(InputError, match=rf"process {os.getpid()} on .* writing"):
        run_photos(photos, output, StandIn())
    assert run_photos(photos, output, StandIn()).done == 7


def test_leftovers_of_a_killed_process_go(output: Path) -> None:
    for place in (output / f"{PREFIX}a-1", output / "b" / f"{PREFIX}face1-2"):
        place.mkdir(parents=True)
        (place / "parameters.json").write_text("{}")
    (output / ".mine").mkdir()
    Journal(output).close()
    assert {p.name for p in output.rglob("*")} == {"b", ".mine", JOURNAL}


# ---- folders


def test_an_older_result_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "face"
    with whole_folder(target) as work:
        (work / "parameters.json").write_text("1")
    with pytest.raises(ZeroDivisionError), whole_folder(target) as work:
        (work / "parameters.json").write_text("2")
        assert (target / "parameters.json").read_text() == "1"
        raise ZeroDivisionError
    assert (target / "parameters.json").read_text() == "1"
    with whole_folder(target) as work:
        (work / "parameters.json").write_text("3")
    assert (target / "parameters.json").read_text() == "3"
    assert [p.name for p in tmp_path.iterdir()] == ["face"]


def test_an_older_result_comes_back_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "face"
    with whole_folder(target) as work:
        (work / "parameters.json").write_text("1")
    real = Path.rename

    def rename(self: Path, other: Path) -> Path:
        if other == target and "older" not in self.name:
            raise OSError(28, "No space left on device")
        return real(self, other)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(InputError, match="No space"), whole_folder(target) as work:
        (work / "parameters.json").write_text("2")
    assert (target / "parameters.json").read_text() == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["face"]


# ---- runs


def test_a_bad_photo_among_good_ones(output: Path, photos: list[Path]) -> None:
    folder = photos[0].parent
    for name in ("bad.jpg", "bug.jpg"):
        (folder / name).write_text("photo")
    events: list[dict] = []
    every = [*photos[:3], folder / "bad.jpg", folder / "bug.jpg", *photos[3:], folder / "no.jpg"]
    report = run_photos(every, output, StandIn(), batch=3, tell=events.append)
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
    time.sleep(0.8)
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
        def finish(self, work, result):
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


# ---- faces


def test_faces_of_any_photo_have_few_kinds() -> None:
    points = np.random.default_rng(0).uniform(0, 1, (478, 2)).astype(np.float32)
    small = prepare_face(np.zeros((200, 300, 3)), 100 * points + 40, focal=400.0)
    assert small.srgb.shape == (512, 512, 3) and float(small.scale) == 1.0
    large = prepare_face(np.zeros((900, 1000, 3)), 800 * points)
    assert large.srgb.shape == (1024, 1024, 3) and 0 < float(large.scale) < 1
    middle = np.asarray(large.center) / large.scale + large.corner
    np.testing.assert_allclose(middle, [500, 450], atol=1e-3)
    assert np.isnan(large.focal) and float(small.focal) == 400.0


def test_missing_landmarks_do_not_move_the_square() -> None:
    points = np.random.default_rng(0).uniform(40, 160, (478, 2)).astype(np.float32)
    points[0], points[1] = (40, 40), (160, 160)
    missing = points.copy()
    missing[468:] = np.nan
    photo = np.random.default_rng(1).uniform(0, 1, (200, 300, 3))
    whole, part = prepare_face(photo, points), prepare_face(photo, missing)
    np.testing.assert_array_equal(whole.srgb, part.srgb)
    assert np.isnan(np.asarray(part.landmarks)[468:]).all()
    with pytest.raises(InputError, match="478 or 68"):
        prepare_face(photo, points[:100])
    with pytest.raises(InputError, match="three"):
        prepare_face(photo, np.full((68, 2), np.nan))


def test_a_batch_is_filled_up_with_its_last_face() -> None:
    points = np.random.default_rng(0).uniform(40, 160, (478, 2)).astype(np.float32)
    photos = np.random.default_rng(1).uniform(0, 1, (2, 200, 300, 3))
    faces = [prepare_face(photo, points) for photo in photos]
    batch = stack(faces, round_up(3, 4))
    assert batch.srgb.shape == (4, 512, 512, 3)
    for row, face in enumerate((faces[0], faces[1], faces[1], faces[1])):
        np.testing.assert_array_equal(batch.srgb[row], face.srgb)


def test_item_is_hashable() -> None:
    assert len({Item(Path("a"), Path("b")), Item(Path("a"), Path("b"))}) == 1


def test_each_face_has_its_own_part_of_a_large_database() -> None:
    """Whose textures then lie along the face axis, where a small database's are shared."""

    class Large:
        def nearest(self, texture: np.ndarray, mask: np.ndarray) -> Database:
            level = round(float(texture.mean()) * 10)
            textures = np.full((3, 8, 8, 3), level, np.uint8)
            return Database(textures, textures[..., 0], (f"face {level}",) * 3)

    rows = np.array([0.2, 0.7]).reshape(2, 1, 1, 1) * np.ones((2, 8, 8, 3))
    seen = SimpleNamespace(partial=srgb_to_linear(rows), skin_mask=np.ones((2, 8, 8)))
    found = _candidates(seen, Large())
    assert [names[0] for names in found.names] == ["face 2", "face 7"]
    run = Many(face_mesh(jax.devices()[:1]))
    weights = np.array([[1.0, 0, 0], [0, 0, 1.0]], np.float32)
    mixed = run(lambda t, w: jnp.tensordot(w, t * 1.0, 1), found.textures, weights)
    np.testing.assert_allclose(np.asarray(mixed)[:, 0, 0, 0], [2, 7])
    small = Database(jnp.ones((3, 8, 8, 3)), jnp.ones((3, 8, 8)), ("a", "b", "c"))
    shared = _candidates(seen, small)
    assert len(shared.names) == 2
    mixed = run(lambda t, w: jnp.tensordot(w, t, 1), shared.textures, weights)
    assert mixed.shape == (2, 8, 8, 3)
