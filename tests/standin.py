"""A cheap stand-in for the reconstruction, with the real journal, folders, threads and signals.

`python standin.py kills OUT PHOTOS COUNT SEED` runs and kills it; `interrupt`, `stuck` and `full`
are one run each, that a test stops or starves.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

from jaxface.batch import Item, Report, run_photos
from jaxface.batch.journal import read_entries
from jaxface.batch.results import is_finished
from jaxface.errors import DetectionError, JaxfaceError
from jaxface.export import PARAMETERS, whole_folder

FILES = 5


class StandIn:
    """Writes what a photo's file holds; a photo called `bad` has no face, `bug` is a bug."""

    def __init__(
        self, settings: str = "one", *, seconds: float = 0.0, size: int = 100, faces: int = 1
    ) -> None:
        self.settings = {"settings": settings}
        self.seconds, self.size, self.faces = seconds, size, faces
        self.computed: list[list[str]] = []
        self.threads: set[str] = set()

    def prepare(self, item: Item, key: str) -> Iterable[Any]:
        if item.path.stem.startswith("bad"):
            raise DetectionError(f"No face was found in {item.path.name}.")
        text = item.path.read_text()
        if self.faces == 1:
            return [(item.folder, key, text)]
        return [(item.folder / f"face{n + 1}", key, text) for n in range(self.faces)]

    def compute(self, jobs: list[Any], check: Callable[[], None]) -> Sequence[Any]:
        self.computed.append([folder.name for folder, _, _ in jobs])
        for folder, _, _ in jobs:
            check()
            time.sleep(self.seconds)
            if folder.name.startswith("bug"):
                raise ValueError("no such thing")
        return [text.upper() for _, _, text in jobs]

    def finish(self, job: Any, result: str) -> dict[str, Any]:
        folder, key, _ = job
        with whole_folder(folder) as place:
            (place / PARAMETERS).write_text(json.dumps({"key": key}))
            for number in range(FILES - 1):
                (place / f"{number}.txt").write_text(result * self.size)
        return {"folder": str(folder), "photo": folder.name, "result": "ok"}

    def batch_key(self, job: Any) -> Hashable:
        return len(job[2]) > 20


class Announcing(StandIn):
    """Prints a line when its work has begun, so that a test need not guess how long starting
    takes."""

    def compute(self, jobs: list[Any], check: Callable[[], None]) -> Sequence[Any]:
        if not self.computed:
            print("ready", flush=True)
        return super().compute(jobs, check)


def make_photos(folder: Path, count: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    photos = [folder / f"p{number:03}.jpg" for number in range(count)]
    for photo in photos:
        photo.write_text(f"photo {photo.stem} ")
    return photos


def assert_whole(output: Path, worker: StandIn) -> None:
    """Whatever stands under its own name is complete, and so is whatever the journal calls done."""
    for folder in output.iterdir():
        if folder.is_dir() and not folder.name.startswith("."):
            files = {file.name: file.read_text() for file in folder.iterdir()}
            key = json.loads(files.pop(PARAMETERS))["key"]
            assert len(files) == FILES - 1 and key, files
            text = f"photo {folder.name} ".upper()
            assert set(files.values()) == {text * worker.size}
    for entry in read_entries(output):
        if entry["event"] == "done":
            assert all(is_finished(output / name, entry["key"]) for name in entry["folders"])


def kills(output: Path, photos: list[Path], count: int, seed: int) -> None:
    """Kills `count` runs at random moments, looks at what they left, and lets one end."""
    output.mkdir(parents=True, exist_ok=True)  # the first run may die before it does
    draw = random.Random(seed)
    worker = StandIn(seconds=0.004)
    redone = 0
    gc.freeze()  # or each run looks through all that was imported: longer than most of them live
    for _ in range(count):
        before = {e["photo"] for e in read_entries(output) if e["event"] == "done"}
        process = os.fork()
        if process == 0:
            # Asking JAX how many threads suit its device takes as long.
            run_photos(photos, output, worker, batch=3, resume=True, readers=1, writers=1)
            os._exit(0)
        time.sleep(draw.uniform(0.0, 0.08))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        assert_whole(output, worker)
        done = [e["photo"] for e in read_entries(output) if e["event"] == "done"]
        assert before <= set(done)
        redone += len(done) - len(set(done))
    killed = len({e["photo"] for e in read_entries(output) if e["event"] == "done"})
    report = run_photos(photos, output, worker, batch=3, resume=True)
    assert len(report.skipped) == killed and report.done == len(photos) - killed
    assert_whole(output, worker)
    left = sorted(p.name for p in output.iterdir())
    assert left == [*(p.stem for p in photos), "run.jsonl"], left
    print(json.dumps({"killed": killed, "redone": redone}))


def main() -> int:
    command, output, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if command == "kills":
        kills(output, make_photos(folder, 120), int(sys.argv[4]), int(sys.argv[5]))
        return 0
    photos = make_photos(folder, 200)
    seconds = 60 if command == "stuck" else 0.02
    worker = Announcing(seconds=seconds, size=2000 if command == "full" else 100)
    try:
        report: Report = run_photos(photos, output, worker, batch=4)
    except KeyboardInterrupt:
        return 130
    except JaxfaceError as error:
        print(f"jaxface: {error}", file=sys.stderr)
        return error.exit_code
    return len(report.failures)


if __name__ == "__main__":
    sys.exit(main())
