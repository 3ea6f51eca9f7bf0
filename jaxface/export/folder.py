"""Atomic writing of a result's folder. Host code."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxface.errors import InputError
from jaxface.export.stored import PARAMETERS

PREFIX = ".jaxface-"
"""Prefix of the names of folders that are being written."""
MAX_BYTES = 255 - len(f"{PREFIX}-12345678-older")
"""Of a result folder's name: file systems allow 255, of which `whole_folder` takes some."""


def check_folder(folder: str | Path, *, holds_results: bool = False) -> None:
    """Raises `InputError` if a result cannot be written to a folder; writes nothing.

    Args:
        folder: as for `write_result`.
        holds_results: results are written into subfolders, so it may contain other files.
    """
    target = Path(folder)
    if len(os.fsencode(target.name)) > MAX_BYTES:
        raise InputError(
            f"{target} has too long a name; choose a folder's name of at most {MAX_BYTES} bytes."
        )
    if target.exists() and not (target.is_dir() and holds_results) and not _replaceable(target):
        raise InputError(f"{target} exists and is no jaxface result; choose another folder.")
    nearest = next(parent for parent in target.absolute().parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(f"{target} cannot be written: {nearest} is not a writable folder.")


@contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """Yields an empty folder, flushed to disk and renamed to `folder` at the end of the block.

    If the block raises, `folder` is unchanged. If the process is killed, `folder` is unchanged or,
    between the two renamings that replace an older result, missing; leftovers have names that begin
    with `PREFIX`.

    Args:
        folder: it must not exist, be empty, or hold an older result, which is replaced.

    Raises:
        InputError: the folder holds something else, or cannot be written.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "face"
        >>> with whole_folder(target) as work:
        ...     _ = (work / "parameters.json").write_text("{}")
        >>> [file.name for file in target.iterdir()]
        ['parameters.json']
    """
    target = Path(folder)
    check_folder(target)
    temporary = target.parent / f"{PREFIX}{target.name}-{secrets.token_hex(4)}"
    older = temporary.with_name(f"{temporary.name}-older")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            _to_disk(file)
        if target.exists():
            target.rename(older)
        temporary.rename(target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        if older.exists() and not target.exists():
            older.rename(target)
        for leftover in (temporary, older):
            shutil.rmtree(leftover, ignore_errors=True)


def _to_disk(file: Path) -> None:
    """Flushes a file to the disk, so that a power cut cannot leave its name without contents."""
    with open(file, "rb+") as stream:
        os.fsync(stream.fileno())


def _replaceable(folder: Path) -> bool:
    """Returns whether a folder is empty or an older result."""
    return folder.is_dir() and ((folder / PARAMETERS).exists() or not any(folder.iterdir()))
