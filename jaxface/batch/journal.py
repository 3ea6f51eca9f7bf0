"""`OUT/run.jsonl`: what a run has finished, a line each, and the lock on its folder. Host code.

Every line is JSON and says what `event` it is: `run` when a process takes the folder, `done` or
`failed` for a photo. A line is on the disk before the next one begins; one that was cut off by
the end of its process counts for nothing. The lock is the kernel's, on this file: it ends with the
process, however that ends.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: runs are not locked there
    fcntl = None  # type: ignore[assignment]

from jaxface.errors import InputError
from jaxface.export import PREFIX

JOURNAL = "run.jsonl"


class Journal:
    """The journal of an output folder, held by one process at a time. A context manager.

    Raises:
        InputError: the folder cannot be written, or another run holds it.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with Journal(folder) as journal:
        ...     journal.write("done", photo="a.jpg", folders=["a"])
        >>> [entry["event"] for entry in read_entries(folder)]
        ['run', 'done']
    """

    def __init__(self, output: Path, **details: Any) -> None:
        """Takes the folder, which is made if it is missing, and writes a `run` line of details."""
        self.output = output
        try:
            output.mkdir(parents=True, exist_ok=True)
            self._file = os.open(output / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{output} cannot be written: {reason}.") from error
        try:
            if fcntl:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            if isinstance(error, BlockingIOError):
                raise InputError(f"{_holder(output)} is writing to {output}.") from None
            reason = error.strerror or error
            raise InputError(f"{output / JOURNAL} cannot be locked: {reason}.") from error
        try:
            _remove_unfinished(output)
            self.entries = read_entries(output)
            self._end_line()
            self.write("run", pid=os.getpid(), host=socket.gethostname(), **details)
        except BaseException:
            self.close()
            raise

    def write(self, event: str, **details: Any) -> None:
        """Appends a line and waits until it is on the disk.

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
            raise InputError(f"{self.output / JOURNAL} cannot be written: {reason}.") from error

    def finished(self) -> dict[str, list[str]]:
        """Returns by key the folders of the photos that were done when the journal was opened.

        A `failed` line after a `done` line of the same key takes it back.
        """
        done: dict[str, list[str]] = {}
        for entry in self.entries:
            key = str(entry.get("key"))
            if entry.get("event") == "done" and isinstance(entry.get("folders"), list):
                done[key] = entry["folders"]
            elif entry.get("event") == "failed":
                done.pop(key, None)
        return done

    def close(self) -> None:
        """Gives the folder back."""
        os.close(self._file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end_line(self) -> None:
        """Ends a line that was cut off, so that the next one is whole."""
        whole = (self.output / JOURNAL).read_bytes()
        if whole and not whole.endswith(b"\n"):
            os.write(self._file, b"\n")


def read_entries(output: Path) -> list[dict[str, Any]]:
    """Returns the journal's whole lines; a folder without a journal has none."""
    try:
        lines = (output / JOURNAL).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # cut off
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries


def _holder(output: Path) -> str:
    runs = [entry for entry in read_entries(output) if entry.get("event") == "run"]
    if not runs:
        return "Another run"
    return f"Another run (process {runs[-1].get('pid')} on {runs[-1].get('host')})"


def _remove_unfinished(output: Path) -> None:
    """Removes what a killed process left half-written, here and in the folders of its photos."""
    for pattern in (f"{PREFIX}*", f"*/{PREFIX}*"):
        for folder in output.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)
