"""The photos of a run and the folder of each result. Host code."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from jaxface.errors import InputError
from jaxface.images import check_file, readable
from jaxface.names import folder_name

T = TypeVar("T")


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


def find_photos(
    paths: Iterable[Path], *, deep: bool = False, say: Callable[[str], None] = lambda line: None
) -> list[Path]:
    """Returns the given files, and in place of each given folder the photos in it, sorted by name.

    Photos are files with one of the suffixes of `readable`. Names that begin with a dot are left
    out.

    Args:
        paths: files, folders or addresses.
        deep: search folders inside folders, too.
        say: takes a line about the files of a folder that are left out, if there are any.

    Raises:
        InputError: a folder holds no photo, or a store cannot be reached.

    Example:
        >>> [photo.name for photo in find_photos([Path("examples/photos")])][0]
        'astronaut.jpg'
    """
    photos: list[Path] = []
    for path in paths:
        with store_errors(path):
            files = _visible_files(path, deep) if path.is_dir() else None
        if files is None:
            photos.append(path)
            continue
        inside = [file for file in files if file.suffix.lower() in readable()]
        left_out = _left_out(
            path, [file for file in files if file.suffix.lower() not in readable()]
        )
        if not inside:
            raise InputError(f"There is no photo in the folder {path}. {left_out}".strip())
        if left_out:
            say(left_out)
        photos += inside
    return photos


def _visible_files(folder: Path, deep: bool) -> list[Path]:
    """Returns the files in a folder, sorted by name."""
    inside = folder.rglob("*") if deep else folder.iterdir()
    return sorted(file for file in inside if not file.name.startswith(".") and file.is_file())


def _left_out(folder: Path, files: Sequence[Path]) -> str:
    """Returns a sentence about a folder's files that are no photos by their suffixes."""
    if not files:
        return ""
    kinds = Counter(file.suffix.lower() for file in files)
    named = ", ".join(f"{count} {end or 'without a suffix'}" for end, count in kinds.most_common(8))
    hint = ""
    if "HEIF" not in readable().values() and kinds.keys() & {".heic", ".heif", ".hif"}:
        hint = "; HEIC is read after pip install 'jaxface[heic]'"
    return (
        f"Of {folder} {len(files)} file(s) are left out, whose suffixes are none of a picture that "
        f"is read: {named}{', ...' if len(kinds) > 8 else ''}{hint}."
    )


def result_folders(
    photos: Sequence[Path], output: Path, reserved: Iterable[str] = ()
) -> list[Item]:
    """Returns an item for each photo; its folder is `output`/NAME, or NAME-2, -3, ... if in use.

    NAME is the photo's without its suffix, made fit for every file system (`folder_name`). Names
    that differ in upper and lower case alone are one on some of them, so they count as in use.

    Args:
        photos: in the order of the run.
        output: the folder that holds all results.
        reserved: names that no result folder may have.
    """
    used = {name.casefold() for name in reserved}
    items = []
    for photo in photos:
        stem = folder_name(photo.stem)
        name, number = stem, 1
        while name.casefold() in used:
            number += 1
            name = f"{stem}-{number}"
        used.add(name.casefold())
        items.append(Item(photo, output / name))
    return items


def digest(path: Path) -> str:
    """Returns the first 16 hexadecimal digits of a file's SHA-256.

    Raises:
        InputError: there is no such file, or it may not be read.
    """
    try:
        check_file(path)
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
