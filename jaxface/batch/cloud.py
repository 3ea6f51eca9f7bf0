"""Photos from and results to object stores: any address that fsspec knows. Host code.

A photo is fetched to a file, a result is written to a folder here and then uploaded, its
`parameters.json` last: a folder with that file is whole. A store has no lock, so nothing stops a
second run that writes to the same place.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxface.batch.inputs import Item, Share, in_words
from jaxface.batch.journal import journal_name, read_entries
from jaxface.errors import InputError
from jaxface.export import PARAMETERS

if TYPE_CHECKING:
    from jaxface.batch.runner import Report, Worker

_JOURNAL_EVERY = 30.0  # seconds between two uploads of the journal


def to_path(text: str) -> Path:
    """Returns a path, or for an address such as `s3://bucket/photos` what acts like one.

    Raises:
        InputError: a package that it needs is missing, or there is no such kind of address.

    Example:
        >>> to_path("photos/a.jpg").name
        'a.jpg'
    """
    if "://" not in text:
        return Path(text)
    try:
        from upath import UPath
    except ImportError:
        raise InputError(
            f"{text} is an address: pip install 'jaxface[cloud]', and s3fs, gcsfs or adlfs."
        ) from None
    with in_words(text):
        path: Any = UPath(text)
        path.fs  # noqa: B018  the package of this kind of store is loaded here
        return path


def is_cloud(path: Path) -> bool:
    """Returns whether a path is an address of `to_path`."""
    return not isinstance(path, Path)


@contextmanager
def fetched(item: Item) -> Iterator[Item]:
    """Yields the item with its photo as a file of this machine while the block runs.

    Raises:
        InputError: the store does not give the photo.
    """
    if not is_cloud(item.path):
        yield item
        return
    with tempfile.TemporaryDirectory(prefix="jaxface-") as scratch:
        near = Path(scratch) / item.path.name
        with in_words(item.path):
            near.write_bytes(item.path.read_bytes())
        yield replace(item, path=near)


@contextmanager
def staged(output: Path) -> Iterator[Path]:
    """Yields a folder of this machine that is uploaded to `output` when the block ends well."""
    if not is_cloud(output):
        yield output
        return
    with tempfile.TemporaryDirectory(prefix="jaxface-") as scratch:
        near = Path(scratch) / "result"
        yield near
        upload(near, output)


def upload(folder: Path, target: Path) -> None:
    """Uploads a result's folder; while that lasts `target` is none.

    Raises:
        InputError: the store does not take it.
    """
    files = [file for file in folder.rglob("*") if file.is_file()]
    files.sort(key=lambda file: file.name == PARAMETERS)
    with in_words(target):
        for marker in {folder / PARAMETERS, *(f for f in files if f.name == PARAMETERS)}:
            (target / marker.relative_to(folder).as_posix()).unlink(missing_ok=True)
        for file in files:
            place = target / file.relative_to(folder).as_posix()
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())


def run_in_cloud(
    run: Callable[..., Report],
    photos: Sequence[Path],
    output: Path,
    worker: Worker,
    *,
    resume: bool,
    share: Share,
    tell: Callable[[dict[str, Any]], None],
    **settings: Any,
) -> Report:
    """Returns what `run_photos` returns for an output in a store: it runs in a folder of this
    machine, every result is uploaded at once and removed here, the journal now and then."""
    with tempfile.TemporaryDirectory(prefix="jaxface-") as scratch:
        near = Path(scratch)
        with in_words(output):
            for journal in output.glob("run*.jsonl") if output.exists() else ():
                (near / journal.name).write_bytes(journal.read_bytes())
        proxy = _Uploading(worker, near, output, resume, journal_name(share))
        try:
            report = run(
                photos, near, proxy, share=share, tell=lambda e: tell(proxy.told(e)), **settings
            )
        finally:
            proxy.upload_journal()
        report.rows = [row | {"folder": str(proxy.far(row["folder"]))} for row in report.rows]
        return report


class _Uploading:
    """A `Worker` whose results are uploaded, and that leaves out what the store holds."""

    def __init__(
        self, worker: Worker, near: Path, output: Path, resume: bool, journal: str
    ) -> None:
        self.worker, self.near, self.output, self.resume = worker, near, output, resume
        self.journal = journal
        self.settings, self.compute, self.kind = worker.settings, worker.compute, worker.kind
        self.since = time.monotonic()
        done = [entry for entry in read_entries(near) if entry.get("event") == "done"]
        self.folders = {entry["key"]: entry["folders"] for entry in done}

    compute: Callable[[list[Any], Callable[[], None]], Sequence[Any]]
    kind: Callable[[Any], Hashable]

    def prepare(self, item: Item, key: str) -> Iterable[Any]:
        from jaxface.batch.runner import is_finished

        names = self.folders.get(key, [item.folder.name])  # the journal here may be an older one
        if self.resume and all(is_finished(self.output / name, key) for name in names):
            return []
        return self.worker.prepare(item, key)

    def finish(self, work: Any, result: Any) -> dict[str, Any]:
        row = self.worker.finish(work, result)
        folder = Path(row["folder"])
        upload(folder, self.far(folder))
        shutil.rmtree(folder, ignore_errors=True)
        return row

    def far(self, folder: str | Path) -> Path:
        return self.output / Path(folder).relative_to(self.near).as_posix()

    def told(self, event: dict[str, Any]) -> dict[str, Any]:
        if time.monotonic() - self.since > _JOURNAL_EVERY:
            self.upload_journal()
        return event | {"folder": str(self.far(event["folder"]))} if "folder" in event else event

    def upload_journal(self) -> None:
        self.since = time.monotonic()
        if (self.near / self.journal).exists():
            with in_words(self.output):
                (self.output / self.journal).write_bytes((self.near / self.journal).read_bytes())
