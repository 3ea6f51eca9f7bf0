"""The photos of a run and the folder of each result. Host code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from jaxface.errors import InputError

T = TypeVar("T")
# Extensions of photos in a folder. HEIC is listed so that it is reported as unsupported.
SUFFIXES = {
    ".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif",
}  # fmt: skip


@dataclass(frozen=True)
class Shard:
    """One process's part of a run by several processes: items index, index + count, ...

    Raises:
        InputError: `index` is not in 0..count - 1.

    Example:
        >>> Shard(1, 4).of("abcdefg")
        ['b', 'f']
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(f"There is no shard {self.index + 1} of {self.count}.")

    def of(self, items: Sequence[T]) -> list[T]:
        """Returns this shard's items of a sequence that all processes list in the same order."""
        return list(items[self.index :: self.count])


WHOLE = Shard()


@dataclass(frozen=True)
class Item:
    """A photo and the folder of its result.

    Attributes:
        path: the photo's file or address.
        folder: its result's; with `--all-faces` the folder that holds `face1`, `face2`, ...
        landmarks: a file of landmarks (`read_landmarks`) used in place of detection, or None.
    """

    path: Path
    folder: Path
    landmarks: Path | None = None


def find_photos(paths: Iterable[Path]) -> list[Path]:
    """Returns the given files, and in place of each given folder the photos in it, sorted by name.

    Folders inside folders are not searched. Names that begin with a dot are left out.

    Raises:
        InputError: a folder holds no photo, or a store cannot be reached.

    Example:
        >>> [photo.name for photo in find_photos([Path("examples/photos")])][0]
        'astronaut.jpg'
    """
    photos: list[Path] = []
    for path in paths:
        with store_errors(path):
            folder = path.is_dir()
            inside = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES] if folder else []
            inside = sorted(photo for photo in inside if photo.is_file())
        if not folder:
            photos.append(path)
            continue
        inside = [photo for photo in inside if not photo.name.startswith(".")]
        if not inside:
            raise InputError(f"There is no photo in the folder {path}.")
        photos += inside
    return photos


def result_folders(
    photos: Sequence[Path], output: Path, reserved: Iterable[str] = ()
) -> list[Item]:
    """Returns an item for each photo; its folder is `output`/NAME, or NAME-2, -3, ... if in use.

    Args:
        photos: in the order of the run.
        output: the folder that holds all results.
        reserved: names that no result folder may have.
    """
    used = set(reserved)
    items = []
    for photo in photos:
        name, number = photo.stem, 1
        while name in used:
            number += 1
            name = f"{photo.stem}-{number}"
        used.add(name)
        items.append(Item(photo, output / name))
    return items


def digest(path: Path) -> str:
    """Returns the first 16 hexadecimal digits of a file's SHA-256.

    Raises:
        InputError: there is no such file, or it may not be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    except FileNotFoundError:
        raise InputError(f"There is no file {path}; check the path.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None


@contextmanager
def store_errors(address: object) -> Iterator[None]:
    """Turns any exception of an object store's client into an `InputError` of one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"There is nothing at {address}; check the address.") from None
    except Exception as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise InputError(f"{address} cannot be reached: {reason[0]}.") from error
