"""Standard output and error that their readers may leave: `jaxface reconstruct photos/ | head -1`.

A run's product is its folders: what can no longer be printed does not end it.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from jaxface.errors import InputError


class _Stream(io.FileIO):
    """A file descriptor; after the first error, which is kept, what is written is dropped."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                return super().write(data)
            except OSError as error:
                self.error = error
        return len(data)


@contextlib.contextmanager
def lasting_streams() -> Iterator[None]:
    """Keeps stdout and stderr usable in the block, wherever they lead to.

    A pipe without a reader is ignored. Descriptors 0 to 2 that are closed are opened on
    `os.devnull`, or the next file, such as one of a result, would take their place.

    Raises:
        InputError: at the end of the block, if stdout could not be written otherwise.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number
    streams: dict[str, _Stream] = {}
    for number, name in ((1, "stdout"), (2, "stderr")):
        old = getattr(sys, name)
        if old is None or old is not getattr(sys, f"__{name}__"):
            continue
        old.flush()
        streams[name] = stream = _Stream(number, "w", closefd=False)
        new = io.TextIOWrapper(
            io.BufferedWriter(stream), old.encoding, old.errors, line_buffering=old.line_buffering
        )
        setattr(sys, name, new)
    try:
        yield
    except SystemExit as stopped:  # as Typer ends every command
        _flush()
        error = streams["stdout"].error if "stdout" in streams else None
        if error is None or isinstance(error, BrokenPipeError) or stopped.code:
            raise
        raise InputError(f"The output cannot be written: {error.strerror}.") from error
    finally:
        _flush()


def _flush() -> None:
    """Flushes stdout and stderr, as far as there are any."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
