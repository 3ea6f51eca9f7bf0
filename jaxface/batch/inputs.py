"""Which photos a run takes, and the folder of each. Host code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from jaxface.errors import InputError

T = TypeVar("T")
# Of a folder these are taken; HEIC to be told that it cannot be read.
SUFFIXES = {
    ".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif",
}  # fmt: skip


@dataclass(frozen=True)
class Share:
    """A process's part of a run that several share: every `count`-th photo from `index` on.

    Raises:
        InputError: there is no such part.

    Example:
        >>> Share(1, 4).of("abcdefg")
        ['b', 'f']
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(f"There is no share {self.index + 1} of {self.count}.")

    def of(self, items: Sequence[T]) -> list[T]:
        """Returns its part of what all processes list alike."""
        return list(items[self.index :: self.count])


ALL = Share()


@dataclass(frozen=True)
class Item:
    """A photo of a run and the folder of its result."""

    path: Path
    folder: Path


def find_photos(paths: Iterable[Path]) -> list[Path]:
    """Returns the photos that arguments name: files as they are, of folders the photos in them.

    Folders are not searched any deeper. Names that begin with a dot are left out.

    Raises:
        InputError: a folder holds no photo, or a store cannot be reached.

    Example:
        >>> [photo.name for photo in find_photos([Path("examples/photos")])][0]
        'astronaut.jpg'
    """
    found: list[Path] = []
    for path in paths:
        with in_words(path):
            folder = path.is_dir()
            inside = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES] if folder else []
            inside = sorted(photo for photo in inside if photo.is_file())
        if not folder:
            found.append(path)
            continue
        inside = [photo for photo in inside if not photo.name.startswith(".")]
        if not inside:
            raise InputError(f"There is no photo in the folder {path}.")
        found += inside
    return found


def result_folders(photos: Sequence[Path], output: Path, taken: Iterable[str] = ()) -> list[Item]:
    """Returns the photos with a folder of their own, named after them; doubles are numbered.

    Args:
        photos: in the order of the run.
        output: the folder that holds them all.
        taken: names that no folder may have.
    """
    used = set(taken)
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
    """Returns what a photo's file holds, as 16 hexadecimal digits of its SHA-256.

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
def in_words(place: object) -> Iterator[None]:
    """Turns what a store raises, which may be anything, into one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"There is nothing at {place}; check the address.") from None
    except Exception as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise InputError(f"{place} cannot be reached: {reason[0]}.") from error
