"""`OUT/run.jsonl`: the photos that a run has finished, and the lock on its folder. Host code.

Each shard of a run writes a journal of its own, `run-2-of-8.jsonl`, and reads those of all shards.

Every line is a JSON object with an `event`: `run` when a process locks the folder, `done` or
`failed` for a photo. A line is flushed to the disk before the next one is written; a last line
that is incomplete, because the process was killed, is ignored. The lock is the kernel's (`flock`)
on this file: it ends with the process, however that ends.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import time
from collections.abc import Iterable
from glob import escape
from pathlib import Path
from typing import Any

from jaxface.batch.inputs import WHOLE, Shard
from jaxface.errors import InputError
from jaxface.export import PREFIX
from jaxface.locking import lock

JOURNAL = "run.jsonl"


def journal_name(shard: Shard) -> str:
    """Returns the name of a shard's journal."""
    if shard.count == 1:
        return JOURNAL
    return f"run-{shard.index + 1}-of-{shard.count}.jsonl"


class Journal:
    """The journal of an output folder, locked by one process at a time. A context manager.

    Raises:
        InputError: the folder cannot be written, or another run has locked it.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with Journal(folder) as journal:
        ...     journal.write("done", photo="a.jpg", folders=["a"])
        >>> [entry["event"] for entry in read_entries(folder)]
        ['run', 'done']
    """

    def __init__(
        self, output: Path, shard: Shard = WHOLE, names: Iterable[str] = (), **details: Any
    ) -> None:
        """Locks the folder, which is made if it is missing, and writes a `run` line.

        Args:
            output: the folder.
            shard: of the run; different shards may hold the folder at the same time.
            names: folders of the shard's results; unfinished ones that a killed process left are
                removed.
            details: of the `run` line.
        """
        self.output, self.file = output, output / journal_name(shard)
        self._open: list[int] = []
        # The whole run locks the folder exclusively; a shard locks it shared with other shards and
        # its own journal exclusively.
        wanted = [self.file] if shard.count == 1 else [output / JOURNAL, self.file]
        for file in wanted:
            self._lock(file, shared=file != self.file)
        self._file = self._open[-1]
        try:
            _remove_unfinished(output, None if shard.count == 1 else names)
            self.entries = read_entries(output)
            self._end_line()
            self.write("run", pid=os.getpid(), host=socket.gethostname(), **details)
        except BaseException:
            self.close()
            raise

    def _lock(self, file: Path, *, shared: bool) -> None:
        """Opens and locks a file of the folder; raises `InputError`, unlocking all, if it fails."""
        try:
            self.output.mkdir(parents=True, exist_ok=True)
            self._open.append(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666))
        except OSError as error:
            self.close()
            reason = error.strerror or error
            raise InputError(f"{self.output} cannot be written: {reason}.") from error
        try:
            lock(self._open[-1], shared=shared)
        except OSError as error:
            self.close()
            if isinstance(error, BlockingIOError):
                raise InputError(f"{_holder(self.output)} is writing to {self.output}.") from None
            reason = error.strerror or error
            raise InputError(f"{file} cannot be locked: {reason}.") from error

    def write(self, event: str, **details: Any) -> None:
        """Appends a line and flushes it to the disk.

        Raises:
            InputError: it cannot be written.
        """
        entry = {"event": event, "time": round(time.time(), 3)} | details
        line = (json.dumps(entry) + "\n").encode()
        try:
            written = os.write(self._file, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{self.file} cannot be written: {reason}.") from error

    def finished(self, name: str | None = None) -> dict[str, list[str]]:
        """Returns the result folders of finished photos by key, as of when the journal was opened.

        A photo is finished if the last line of its key is `done`, not `failed`.

        Args:
            name: only lines that were written under this name of a run count.
        """
        done: dict[str, list[str]] = {}
        for entry in self.entries:
            if name is not None and entry.get("name") != name:
                continue
            key = str(entry.get("key"))
            if entry.get("event") == "done" and isinstance(entry.get("folders"), list):
                done[key] = entry["folders"]
            elif entry.get("event") == "failed":
                done.pop(key, None)
        return done

    def close(self) -> None:
        """Unlocks the folder."""
        while self._open:
            os.close(self._open.pop())

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end_line(self) -> None:
        """Appends a newline to an incomplete last line, so that the next line is complete."""
        written = self.file.read_bytes()
        if written and not written.endswith(b"\n"):
            os.write(self._file, b"\n")


def read_entries(output: Path) -> list[dict[str, Any]]:
    """Returns the complete lines of all journals in a folder, in the order of their times."""
    files = sorted(output.glob("run*.jsonl"))
    lines = [line for file in files for line in file.read_bytes().splitlines()]
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # cut off
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return sorted(entries, key=lambda e: e.get("time", 0.0)) if len(files) > 1 else entries


def _holder(output: Path) -> str:
    """Returns who holds the lock, for an error message, by the journal's last `run` line."""
    runs = [entry for entry in read_entries(output) if entry.get("event") == "run"]
    if not runs:
        return "Another run"
    return f"Another run (process {runs[-1].get('pid')} on {runs[-1].get('host')})"


def _remove_unfinished(output: Path, names: Iterable[str] | None) -> None:
    """Removes unfinished result folders of killed processes: all, or those of some names."""
    patterns = [f"{PREFIX}*", f"*/{PREFIX}*"]
    if names is not None:
        safe = [escape(name) for name in names]
        patterns = [*(f"{PREFIX}{name}-*" for name in safe), *(f"{n}/{PREFIX}*" for n in safe)]
    for pattern in patterns:
        for folder in output.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)
