"""Photos and results in object stores: any address that fsspec knows. Host code.

A photo is fetched to a file of this machine; a result is written to a folder of this machine and
then uploaded, its `parameters.json` last: a folder that has this file is complete. A store has no
lock, so two runs must not write to the same address.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxface.batch.inputs import Item, Shard, store_errors
from jaxface.batch.journal import journal_name, read_entries
from jaxface.batch.results import OnEvent, Report, Worker, is_finished
from jaxface.errors import InputError
from jaxface.export import PARAMETERS

_JOURNAL_EVERY = 30.0  # seconds between two uploads of the journal


def to_path(text: str) -> Path:
    """Returns a `Path`, or for an address such as `s3://bucket/photos` a `UPath`, its equivalent.

    Raises:
        InputError: the text is empty, a package that the address needs is missing, or fsspec knows
            no such protocol.

    Example:
        >>> to_path("photos/a.jpg").name
        'a.jpg'
    """
    if not text:  # as of a variable that is not set: `Path` would take it for this folder
        raise InputError("An empty path was given; name a file or a folder.")
    if "://" not in text:
        return Path(text)
    try:
        from upath import UPath
    except ImportError:
        raise InputError(
            f"{text} is an address: pip install 'jaxface[cloud]', and s3fs, gcsfs or adlfs."
        ) from None
    with store_errors(text):
        path: Any = UPath(text)
        path.fs  # noqa: B018  loads the package of this protocol, so that a missing one is reported
        return path


def is_cloud(path: Path) -> bool:
    """Returns whether a path is an address (`UPath`), not a file of this machine."""
    return not isinstance(path, Path)


@contextmanager
def fetched(item: Item) -> Iterator[Item]:
    """Yields the item with its photo as a file of this machine, removed at the end of the block.

    Raises:
        InputError: the photo cannot be read from the store.
    """
    if not is_cloud(item.path):
        yield item
        return
    with tempfile.TemporaryDirectory(prefix="jaxface-") as scratch:
        local = Path(scratch) / item.path.name
        with store_errors(item.path):
            local.write_bytes(item.path.read_bytes())
        try:
            yield replace(item, path=local)
        except InputError as error:
            raise InputError(str(error).replace(str(local), str(item.path))) from error


@contextmanager
def staged(output: Path) -> Iterator[Path]:
    """Yields a folder of this machine; uploads it to `output` if the block raises nothing.

    If `output` is on this machine, yields it as it is.
    """
    if not is_cloud(output):
        yield output
        return
    with tempfile.TemporaryDirectory(prefix="jaxface-") as scratch:
        local = Path(scratch) / "result"
        yield local
        upload(local, output)


def upload(folder: Path, target: Path) -> None:
    """Uploads a result's folder; until that is complete, `target` has no `parameters.json`.

    Raises:
        InputError: the store cannot be written to.
    """
    files = [file for file in folder.rglob("*") if file.is_file()]
    files.sort(key=lambda file: file.name == PARAMETERS)
    with store_errors(target):
        for marker in {folder / PARAMETERS, *(f for f in files if f.name == PARAMETERS)}:
            (target / marker.relative_to(folder).as_posix()).unlink(missing_ok=True)
        for file in files:
            remote_file = target / file.relative_to(folder).as_posix()
            remote_file.parent.mkdir(parents=True, exist_ok=True)
            remote_file.write_bytes(file.read_bytes())


def run_in_cloud(
    run: Callable[..., Report],
    photos: Sequence[Path],
    output: Path,
    worker: Worker,
    *,
    resume: bool,
    shard: Shard,
    on_event: OnEvent,
    **settings: Any,
) -> Report:
    """Returns the report of `run_photos` for an output in a store.

    The run writes to a temporary folder of this machine; each result is uploaded at once and
    removed there, the journal every `_JOURNAL_EVERY` seconds and at the end.
    """
    with tempfile.TemporaryDirectory(prefix="jaxface-") as scratch:
        local = Path(scratch)
        with store_errors(output):
            for journal in output.glob("run*.jsonl") if output.exists() else ():
                (local / journal.name).write_bytes(journal.read_bytes())
        uploading = _Uploading(worker, local, output, resume, journal_name(shard))
        try:
            report = run(
                *(photos, local, uploading),
                resume=resume,
                shard=shard,
                on_event=lambda event: on_event(uploading.translate(event)),
                **settings,
            )
        finally:
            uploading.upload_journal()
        for row in report.rows:
            row["folder"] = str(uploading.remote(row["folder"]))
        return report


class _Uploading:
    """A `Worker` that uploads the results of another, and skips those that the store holds."""

    def __init__(
        self, worker: Worker, local: Path, output: Path, resume: bool, journal: str
    ) -> None:
        self.worker, self.local, self.output, self.resume = worker, local, output, resume
        self.journal = journal
        self.settings, self.compute = worker.settings, worker.compute
        self.batch_key = worker.batch_key
        self.uploaded = time.monotonic()
        done = [entry for entry in read_entries(local) if entry.get("event") == "done"]
        self.folders = {entry["key"]: entry["folders"] for entry in done}

    compute: Callable[[list[Any], Callable[[], None]], Sequence[Any]]
    batch_key: Callable[[Any], Hashable]

    def prepare(self, item: Item, key: str) -> Iterable[Any]:
        """Returns the worker's jobs, none if the store holds the finished result."""
        # By the store, not the journal, whose last lines may not have been uploaded.
        names = self.folders.get(key, [item.folder.name])
        if self.resume and all(is_finished(self.output / name, key) for name in names):
            return []
        return self.worker.prepare(item, key)

    def finish(self, job: Any, result: Any) -> dict[str, Any]:
        """Returns the worker's row; uploads the result and removes the local one."""
        row = self.worker.finish(job, result)
        folder = Path(row["folder"])
        upload(folder, self.remote(folder))
        shutil.rmtree(folder, ignore_errors=True)
        return row

    def remote(self, folder: str | Path) -> Path:
        """Returns the address of a local folder's result."""
        return self.output / Path(folder).relative_to(self.local).as_posix()

    def translate(self, event: dict[str, Any]) -> dict[str, Any]:
        """Returns an event with the address of its folder; uploads the journal when it is due."""
        if time.monotonic() - self.uploaded > _JOURNAL_EVERY:
            self.upload_journal()
        return event | {"folder": str(self.remote(event["folder"]))} if "folder" in event else event

    def upload_journal(self) -> None:
        """Replaces the journal in the store."""
        self.uploaded = time.monotonic()
        if (self.local / self.journal).exists():
            with store_errors(self.output):
                (self.output / self.journal).write_bytes((self.local / self.journal).read_bytes())
