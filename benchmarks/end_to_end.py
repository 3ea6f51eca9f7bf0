"""A run from photo files to written folders: faces an hour, and what waits for what.

python benchmarks/end_to_end.py PHOTO... [--copies 16] [--batch 32] [--quality standard]

Every photo is copied `--copies` times into a folder, which is reconstructed as `jaxface reconstruct
FOLDER` does it. `--trace FILE` writes what every thread did, for chrome://tracing or Perfetto. The
rate counts from the end of the first batch, so that compiling does not; give as many photos as make
three batches of a kind. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxface.batch import FaceWorker, Item, find_photos, run_photos
from jaxface.batch.faces import Job
from jaxface.cli.work import prepare_jax
from jaxface.config import ReconstructConfig
from jaxface.loading import load_assets


class Traced(FaceWorker):
    """Notes when each part begins and ends, and in which thread."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.begun, self.spans = time.monotonic(), list[tuple[str, float, float, str]]()

    def _note(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        since = time.monotonic() - self.begun
        result = call(*arguments)
        until = time.monotonic() - self.begun
        self.spans.append((name, since, until, threading.current_thread().name))
        return result

    def prepare(self, item: Item, key: str) -> list[Job]:
        """Decodes and detects."""
        return self._note("prepare", super().prepare, item, key)

    def compute(self, jobs: list[Job], check: Callable[[], None]) -> Sequence[Any]:
        """Runs the stages, until their results are there."""

        def whole() -> Sequence[Any]:
            results = super(Traced, self).compute(jobs, check)
            results[0][0]()
            return results

        return self._note("compute", whole)

    def finish(self, job: Job, result: Any) -> dict[str, Any]:
        """Encodes and writes."""
        return self._note("finish", super().finish, job, result)


def report(spans: list[tuple[str, float, float, str]], faces: int, batch: int) -> str:
    """Returns the figures as Markdown."""
    by = {name: [s for s in spans if s[0] == name] for name in ("prepare", "compute", "finish")}
    lines = ["| part | calls | median s | threads |", "| --- | --- | --- | --- |"]
    for name, of in by.items():
        median = statistics.median(until - since for _, since, until, _ in of)
        lines.append(f"| {name} | {len(of)} | {median:.3f} | {len({s[3] for s in of})} |")
    device = sorted(by["compute"], key=lambda s: s[1])
    first, last = device[0][2], max(s[2] for s in by["finish"])
    busy = sum(until - since for _, since, until, _ in device[1:])
    rest = faces - min(batch, faces)
    if rest:
        lines.append(f"\nafter the first batch: {3600 * rest / (last - first):.0f} faces an hour;")
        waits = device[-1][2] - first - busy
        lines.append(f"between batches the device waited {waits:.2f} s of {device[-1][2]:.0f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return "\n".join([*lines, f"{faces} faces in {last:.1f} s; host memory at most {peak:.1f} GB"])


def main() -> None:
    """Prints what a run took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--copies", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--quality", default="standard")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--trace", type=Path)
    args = parser.parse_args()
    prepare_jax(None)
    config = ReconstructConfig.for_quality(args.quality, bfloat16=args.bfloat16)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "photos"
        folder.mkdir()
        for number in range(args.copies):
            for photo in args.photos:
                shutil.copy(photo, folder / f"{photo.stem}-{number:04}{photo.suffix}")
        worker = Traced(load_assets(config), config, batch=args.batch)
        done = run_photos(find_photos([folder]), Path(scratch) / "out", worker, batch=worker.rows)
    print(f"{jax.devices()[0]}, batch {worker.rows}, {args.quality}")
    print(report(worker.spans, len(done.rows), worker.rows))
    for path, reason, _ in done.failures:
        print(f"{path.name}: {reason}")
    if args.trace:
        events = [
            {"name": name, "ph": "X", "pid": 0, "tid": thread, "ts": 1e6 * since,
             "dur": 1e6 * (until - since)}
            for name, since, until, thread in worker.spans
        ]  # fmt: skip
        args.trace.write_text(json.dumps(events))


if __name__ == "__main__":
    main()
