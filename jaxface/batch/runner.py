"""A run over photos: finished ones are journalled, and skipped when it is resumed. Host code."""

from __future__ import annotations

import errno
import os
from collections.abc import Hashable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from jaxface.batch.cloud import fetched, is_cloud, run_in_cloud, staged
from jaxface.batch.inputs import WHOLE, Item, Shard, result_folders
from jaxface.batch.journal import JOURNAL, Journal, journal_name
from jaxface.batch.overlap import run_pipeline
from jaxface.batch.results import OnEvent, Report, Worker, ignore_event, is_finished, result_key
from jaxface.batch.timing import Pace
from jaxface.errors import JaxfaceError
from jaxface.export.gallery import GALLERY
from jaxface.names import decodable, printable

# Errors of the output folder, after which no result can be written: they end the run.
FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
MAX_READERS = 8  # threads; more contend in the decoder


def run_photo(item: Item, worker: Worker, *, batch: int = 1, resume: bool = False) -> Report:
    """Processes one photo into its own folder and returns the report.

    The result and its key are those of `run_photos`; there is no journal and no other thread, and
    an exception is raised as it is.

    Args:
        item: the photo; its folder may be an address.
        worker: called in turn: `prepare`, `compute`, `finish`.
        batch: maximum number of faces computed at once.
        resume: skip the photo if its folder is finished with the same settings and contents.
    """
    report = Report()
    with fetched(item) as local:
        key = result_key(worker.settings, local)
        if resume and is_finished(item.folder, key):
            report.skipped.append(item.path)
            return report
        with staged(item.folder) as folder:
            groups: dict[Hashable, list[Any]] = {}
            for job in worker.prepare(replace(local, folder=folder), key):
                groups.setdefault(worker.batch_key(job), []).append(job)
            for jobs in groups.values():
                for first in range(0, len(jobs), batch):
                    part = jobs[first : first + batch]
                    results = worker.compute(part, lambda: None)
                    report.rows += map(worker.finish, part, results)
    report.done = 1
    for row in report.rows:
        written = Path(row["folder"]).relative_to(folder).as_posix()
        row["folder"] = str(item.folder if written == "." else item.folder / written)
    return report


def run_photos(
    photos: Sequence[Path],
    output: Path,
    worker: Worker,
    *,
    batch: int = 1,
    resume: bool = False,
    name: str | None = None,
    shard: Shard = WHOLE,
    readers: int | None = None,
    writers: int | None = None,
    on_event: OnEvent = ignore_event,
) -> Report:
    """Processes all photos, one output folder each, and returns a report.

    A photo that fails is journalled with its reason, and the run goes on. After Ctrl-C or SIGTERM
    results that are being written are completed, then `KeyboardInterrupt` is raised.

    Args:
        photos: files or addresses; see `find_photos` and `to_path`.
        output: folder of all results and the journal, or an address.
        worker: processes a photo.
        batch: maximum number of faces computed at once.
        resume: skip photos that the journal and their folders both state to be finished, with the
            same settings and the same contents.
        name: of the run, written into the journal; photos finished under the same name are skipped
            even without `resume`.
        shard: this process's part of the photos, if several processes work on them. All are given
            the same photos and output, and each skips what any of them has finished.
        readers: threads that decode and detect. Default: 1 on a CPU, else half as many as cores,
            at most `MAX_READERS`.
        writers: threads that encode and write. Default: as `readers`.
        on_event: takes a `photo` event for each photo, with `result` (`ok`, `skipped`, `failed`),
            `done`, `failed`, `skipped`, `total`, `faces_per_hour` and `seconds_left`.

    Raises:
        InputError: the output cannot be written, or another run has locked it.
    """
    if is_cloud(output):
        return run_in_cloud(
            run_photos, photos, output, worker,
            batch=batch, resume=resume, name=name, shard=shard, readers=readers, writers=writers,
            on_event=on_event,
        )  # fmt: skip
    journals = {journal_name(Shard(index, shard.count)) for index in range(shard.count)}
    items = shard.of(result_folders(photos, output, reserved={JOURNAL, GALLERY, *journals}))
    report, pace = Report(), Pace(len(items))
    folders = [item.folder.name for item in items]
    with Journal(output, shard, folders, photos=len(items), settings=worker.settings) as journal:
        finished = journal.finished(None if resume else name) if resume or name else {}
        keys: dict[Item, str] = {}

        def prepare(item: Item) -> Iterable[Any]:
            with fetched(item) as local:
                keys[item] = key = result_key(worker.settings, local)
                results = [output / folder for folder in finished.get(key, [])]
                if results and all(is_finished(folder, key) for folder in results):
                    return []
                return list(worker.prepare(local, key))

        outcomes = run_pipeline(
            items,
            prepare,
            worker.compute,
            worker.finish,
            batch=batch,
            batch_key=worker.batch_key,
            readers=readers or host_threads(),
            writers=writers or host_threads(),
            fatal=_is_fatal,
        )
        with closing(outcomes):  # type: ignore[type-var]
            for outcome in outcomes:
                item, error = outcome.item, outcome.error
                entry: dict[str, Any] = {
                    "photo": decodable(str(item.path)),
                    "key": keys.pop(item, None),
                }
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
                    entry |= {"result": "ok", "folder": decodable(str(item.folder))}
                del entry["key"]
                on_event({"event": "photo"} | entry | pace.after(report, len(outcome.values)))
    return report


def host_threads() -> int:
    """Returns the default number of threads that read, and of those that write."""
    if jax.default_backend() == "cpu":  # the computation itself uses all cores
        return 1
    return max(2, min(MAX_READERS, (os.cpu_count() or 2) // 2))


def explain(error: Exception) -> tuple[str, int]:
    """Returns the reason of a failure as one line, and its exit code (1 for a bug)."""
    if isinstance(error, JaxfaceError):
        return str(error), error.exit_code
    first = str(error).strip().splitlines()[:1]
    return printable(": ".join([type(error).__name__, *first])), 1


def _is_fatal(error: Exception) -> bool:
    """Returns whether an exception, or the cause of a user's error, is one of `FATAL`."""
    cause = error.__cause__ if isinstance(error, JaxfaceError) else error
    return isinstance(cause, OSError) and cause.errno in FATAL


def _inside(folder: Path, output: Path) -> str:
    """Returns a folder's path relative to the output."""
    return folder.relative_to(output).as_posix()
