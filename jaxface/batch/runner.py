"""A run over many photos: what is done is journalled, what was done is skipped. Host code."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import jax

from jaxface.batch.cloud import fetched, is_cloud, run_in_cloud
from jaxface.batch.inputs import ALL, Item, Share, digest, result_folders
from jaxface.batch.journal import JOURNAL, Journal
from jaxface.batch.overlap import overlap
from jaxface.errors import JaxfaceError
from jaxface.export import PARAMETERS

Tell = Callable[[dict[str, Any]], None]
# Of the folder rather than of a photo: nothing more can be written.
FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


class Worker(Protocol):
    """What is done with a photo, in the three parts that overlap; see `overlap`.

    `settings` is everything that the result depends on besides the photo. `prepare` takes the key
    that `finish` writes into `parameters.json`, and `finish` returns a line for the summary whose
    `folder` was written.
    """

    @property
    def settings(self) -> dict[str, Any]: ...
    def prepare(self, item: Item, key: str) -> Iterable[Any]: ...
    def compute(self, works: list[Any], check: Callable[[], None]) -> Sequence[Any]: ...
    def finish(self, work: Any, result: Any) -> dict[str, Any]: ...
    def kind(self, work: Any) -> Hashable: ...


@dataclass
class Report:
    """What became of a run.

    Attributes:
        done: photos that were finished now.
        rows: of each face that was written, what `finish` returned.
        skipped: photos that were finished before.
        failures: photo, reason and exit code.
    """

    done: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failures: list[tuple[Path, str, int]] = field(default_factory=list)


def run_photos(
    photos: Sequence[Path],
    output: Path,
    worker: Worker,
    *,
    batch: int = 1,
    resume: bool = False,
    name: str | None = None,
    share: Share = ALL,
    readers: int | None = None,
    writers: int | None = None,
    tell: Tell = lambda event: None,
) -> Report:
    """Does all photos, each into a folder of its own inside `output`, and returns what became.

    A photo that fails is journalled with its reason, and the others follow. After Ctrl-C or
    SIGTERM what is being written is written to its end, then `KeyboardInterrupt` is raised.

    Args:
        photos: files or addresses; see `find_photos` and `to_path`.
        output: folder of all results and the journal, or an address.
        worker: what to do.
        batch: faces computed at once.
        resume: skip photos that the journal and their folder both say are finished, with the same
            settings and the same contents.
        name: of the run in the journal; photos finished under it are skipped without `resume`, too.
        share: this process's part of the photos, if several work on them; each gives the same
            photos, and the same output, where all of them find what is finished.
        readers: threads that decode and detect; one on a CPU, on other devices half as many
            as cores, and 8 at most, if not given.
        writers: threads that encode and write; as many.
        tell: takes an event (`event` is `photo`) for each photo, with `done`, `failed`, `total`,
            `faces_per_hour` and `seconds_left`.

    Raises:
        InputError: the output cannot be written, or is another run's.
    """
    if is_cloud(output):
        return run_in_cloud(
            run_photos, photos, output, worker,
            batch=batch, resume=resume, name=name, share=share, readers=readers, writers=writers,
            tell=tell,
        )  # fmt: skip
    items = share.of(result_folders(photos, output, taken={JOURNAL}))
    settings = json.dumps(worker.settings, sort_keys=True, default=str)
    report, pace = Report(), Pace(len(items))
    own = [item.folder.name for item in items]
    with Journal(output, share, own, photos=len(items), settings=worker.settings) as journal:
        finished = journal.finished(None if resume else name) if resume or name else {}
        keys: dict[Item, str] = {}

        def prepare(item: Item) -> Iterable[Any]:
            with fetched(item) as near:
                keys[item] = key = key_of(settings, near)
                folders = [output / folder for folder in finished.get(key, [])]
                if folders and all(is_finished(folder, key) for folder in folders):
                    return []
                return list(worker.prepare(near, key))

        outcomes = overlap(
            items,
            prepare,
            worker.compute,
            worker.finish,
            batch=batch,
            kind=worker.kind,
            readers=readers or host_threads(),
            writers=writers or host_threads(),
            fatal=_is_fatal,
        )
        with closing(outcomes):  # type: ignore[type-var]
            for outcome in outcomes:
                item, error = outcome.item, outcome.error
                entry: dict[str, Any] = {"photo": str(item.path), "key": keys.pop(item, None)}
                if name is not None:
                    entry["name"] = name
                if error is not None:
                    reason, code = explain(error)
                    journal.write("failed", **entry, reason=reason, exit_code=code)
                    report.failures.append((item.path, reason, code))
                    entry |= {"result": "failed", "reason": reason}
                elif not outcome.values:
                    report.skipped.append(item.path)
                    entry |= {"result": "skipped"}
                else:
                    names = sorted(_inside(Path(v["folder"]), output) for v in outcome.values)
                    journal.write("done", **entry, folders=names)
                    report.rows += outcome.values
                    report.done += 1
                    entry |= {"result": "ok", "folder": str(item.folder)}
                del entry["key"]
                tell({"event": "photo"} | entry | pace.after(report, len(outcome.values)))
    return report


def host_threads() -> int:
    """Returns how many threads to read with, and as many to write with, beside the device."""
    if jax.default_backend() == "cpu":  # the computation takes all cores itself
        return 1
    return max(2, min(8, (os.cpu_count() or 2) // 2))


def key_of(settings: str, item: Item) -> str:
    """Returns what tells a result from others: its settings, its photo's contents, its name.

    Raises:
        InputError: the photo cannot be read.
    """
    whole = f"{settings}\n{digest(item.path)}\n{item.folder.name}"
    return sha256(whole.encode()).hexdigest()[:16]


def is_finished(folder: Path, key: str) -> bool:
    """Returns whether a folder is a whole result with that key."""
    try:
        return json.loads((folder / PARAMETERS).read_text()).get("key") == key
    except (OSError, ValueError, AttributeError):
        return False


def explain(error: Exception) -> tuple[str, int]:
    """Returns the reason of a failure as one line, and its exit code (1 for a bug)."""
    if isinstance(error, JaxfaceError):
        return str(error), error.exit_code
    first = str(error).strip().splitlines()[:1]
    return ": ".join([type(error).__name__, *first]), 1


def _is_fatal(error: Exception) -> bool:
    cause = error.__cause__ if isinstance(error, JaxfaceError) else error
    return isinstance(cause, OSError) and cause.errno in FATAL


def _inside(folder: Path, output: Path) -> str:
    return folder.relative_to(output).as_posix()


class Pace:
    """How fast a run is, and what that means for the rest."""

    def __init__(self, total: int) -> None:
        self.total, self.faces, self.since = total, 0, time.monotonic()

    def after(self, report: Report, faces: int) -> dict[str, Any]:
        """Returns the figures after a photo of some faces; those without a value yet are None."""
        self.faces += faces
        seconds = max(time.monotonic() - self.since, 1e-3)
        failed, skipped = len(report.failures), len(report.skipped)
        new = report.done + failed
        left = self.total - new - skipped
        return {
            "done": report.done,
            "failed": failed,
            "skipped": skipped,
            "total": self.total,
            "faces_per_hour": round(3600 * self.faces / seconds, 1) if self.faces else None,
            "seconds_left": round(seconds * left / new, 1) if new else None,
        }
