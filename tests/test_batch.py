"""What runs are made of: inputs, pipeline, journal, folders."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from standin import StandIn, make_photos

from jaxface import InputError
from jaxface.batch import Journal, find_photos, run_photos, run_pipeline
from jaxface.batch.inputs import result_folders
from jaxface.batch.journal import JOURNAL, read_entries
from jaxface.export import PREFIX, whole_folder


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    return make_photos(tmp_path / "photos", 7)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


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
    photos = [
        Path(p) for p in ("x/a.jpg", "y/a.png", "a-2.jpg", "z/a.jpg", "run.jsonl.png", "z/A.jpg")
    ]
    items = result_folders(photos, Path("out"), reserved={JOURNAL})
    names = [item.folder.name for item in items]
    assert names == ["a", "a-2", "a-2-2", "a-3", "run.jsonl-2", "A-4"]


# ---- pipeline


def test_batches_keep_order_and_key() -> None:
    batches = []

    def compute(jobs: list[int], check) -> list[int]:
        batches.append(list(jobs))
        return [-w for w in jobs]

    items = list(range(20))
    outcomes = list(
        run_pipeline(
            items,
            lambda i: [] if i == 3 else [i] * (1 + (i == 4)),
            compute,
            lambda job, result: result,
            batch=4,
            batch_key=lambda w: w % 2,
            readers=3,
        )
    )
    assert {o.item: o.values for o in outcomes} == {
        i: [] if i == 3 else [-i] * (1 + (i == 4)) for i in items
    }
    assert batches[0] == [0, 2, 4, 4] and batches[1] == [1, 5, 7, 9]
    assert all(len({w % 2 for w in jobs}) == 1 and len(jobs) <= 4 for jobs in batches)
    assert sum(jobs.count(19) for jobs in batches) == 1 and len(batches) == 6


def test_who_is_ahead_waits() -> None:
    """With one slow writer, readers and device stop a few jobs after it, whatever is left."""
    started, written, most = [0], [0], [0]

    def prepare(item: int) -> list[int]:
        started[0] += 1
        most[0] = max(most[0], started[0] - written[0])
        return [item]

    def finish(job: int, result: int) -> None:
        time.sleep(0.003)
        written[0] += 1

    outcomes = run_pipeline(
        range(100), prepare, lambda jobs, check: jobs, finish, batch=2, readers=2, writers=1
    )
    assert len(list(outcomes)) == 100
    assert most[0] <= 14  # ahead 4, a batch 2, slots 3, and who is between them


def test_host_work_overlaps_the_device() -> None:
    at_work, most, lock = [0], [0], threading.Lock()

    def slow(*_: object) -> list[int]:
        with lock:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        time.sleep(0.02)
        with lock:
            at_work[0] -= 1
        return [1]

    assert len(list(run_pipeline(range(20), slow, slow, slow, readers=1, writers=1))) == 20
    assert most[0] == 3  # a reader, the device and a writer


def test_a_failing_batch_is_taken_apart() -> None:
    def compute(jobs: list[int], check) -> list[int]:
        if 2 in jobs:
            raise ValueError("two")
        return jobs

    outcomes = {
        o.item: o for o in run_pipeline(range(6), lambda i: [i], compute, lambda w, r: r, batch=3)
    }
    assert [i for i, o in outcomes.items() if o.error] == [2]
    assert outcomes[0].values == [0] and outcomes[5].values == [5]


def test_closing_ends_the_threads() -> None:
    outcomes = run_pipeline(range(1000), lambda i: [i], lambda w, check: w, lambda w, r: r)
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
