"""Files and folders that can be made again: where they lie, written whole, checked. Host code.

A cache that is missing, damaged, read-only or written by another process at the same time costs
time, not the result.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np


def cache_folder() -> Path:
    """Returns the folder of the user's caches: `$JAXFACE_CACHE` or `~/.cache/jaxface`.

    For a user without a home directory, a path below `os.devnull`: no cache is read or written.
    """
    if folder := os.environ.get("JAXFACE_CACHE"):
        return Path(folder)
    try:
        return Path.home() / ".cache" / "jaxface"
    except RuntimeError:
        return Path(os.devnull) / "jaxface"


def read_arrays(file: Path) -> dict[str, np.ndarray] | None:
    """Returns the arrays of an npz; None if it is absent or damaged (each has a CRC-32)."""
    try:
        with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as data:
            return {key: data[key] for key in data.files}
    except Exception:  # it is only a cache: what it holds can be made again
        return None


def write_arrays(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes arrays as npz, whole or not at all; does nothing if that fails."""
    data = BytesIO()
    np.savez(data, **arrays)  # type: ignore[arg-type]
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, data.getbuffer())


def write_whole(file: Path, data: bytes | memoryview) -> None:
    """Writes a file whole or not at all. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    try:
        with open(handle, "wb") as stream:
            stream.write(data)
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


@contextlib.contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder`, whose place it takes at the end of the block.

    If the block raises, `folder` is unchanged. Where two processes make the same at once, either's
    is kept. Who has mapped a file of the older folder keeps it.

    Raises:
        OSError: the folder cannot be written.

    Example:
        >>> target = Path(tempfile.mkdtemp()) / "packed"
        >>> with replaced_folder(target) as work:
        ...     _ = (work / "faces.u8").write_bytes(b"0")
        >>> [file.name for file in target.parent.rglob("*")]
        ['packed', 'faces.u8']
    """
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    older = temporary.with_name(f"{temporary.name}-older")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        with contextlib.suppress(FileNotFoundError):
            folder.rename(older)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # made by another process in between
                raise
    finally:
        for leftover in (temporary, older):
            shutil.rmtree(leftover, ignore_errors=True)


def row_checksums(rows: Iterable[np.ndarray]) -> np.ndarray:
    """Returns the CRC-32 `[K]` (uint32) of the bytes of K arrays, or of an array's K rows.

    Example:
        >>> row_checksums(np.frombuffer(b"123456789", np.uint8)[None]).tolist() == [0xCBF43926]
        True
    """
    return np.array([zlib.crc32(np.ascontiguousarray(row).data) for row in rows], np.uint32)
