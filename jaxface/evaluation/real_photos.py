"""Numbers of a folder of real photos: a line of a journal for each, tables, contact sheets.

A second run over the same folder measures what is not in the journal yet. A line holds what one run
added; the lines of one photo at one quality are one row.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxface.config import ReconstructConfig
from jaxface.errors import DetectionError, InputError
from jaxface.evaluation.journal import append_to_journal, read_journal
from jaxface.evaluation.photo_measures import PARTS, Judged, Ruler
from jaxface.evaluation.photo_sheets import picture_file, write_pictures
from jaxface.images import read_photo

JOURNAL = "photos.jsonl"
KEY = ("photo", "quality", "size")
"""Entries that say what a line is about."""
Say = Callable[[str], None]


def run(
    folder: Path, photos: Sequence[Path], ruler: Ruler, *, say: Say = print
) -> list[dict[str, Any]]:
    """Returns a row a photo after measuring what the journal does not hold.

    Args:
        folder: where the journal and the pictures are.
        photos: files.
        ruler: what they are measured with.
        say: told what has been done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = read_rows(folder)
    for number, path in enumerate(photos):
        about = key(path, ruler.config)
        row = done.get(about, {})
        missing = [part for part in ruler.parts(number, path.name) if part not in row]
        if not missing or not row.get("found", True):
            continue
        since = time.monotonic()
        line = dict(zip(KEY, about, strict=True)) | measure(folder, path, ruler, missing)
        line["seconds"] = round(time.monotonic() - since, 1)
        append_to_journal(folder / JOURNAL, [line])
        became = line.get("failed", f"{line['seconds']:.0f} s")
        say(f"{number + 1}/{len(photos)} {path.name}: {became}")
    rows = read_rows(folder)
    found = [rows.get(key(path, ruler.config)) for path in photos]
    return [row for row in found if row is not None]


def measure(folder: Path, path: Path, ruler: Ruler, parts: Sequence[str]) -> dict[str, Any]:
    """Returns some parts of a photo's row, and writes its pictures."""
    try:
        judged = Judged(read_photo(path), ruler, path.name)
    except (DetectionError, InputError) as error:
        return {"found": False, "failed": str(error)}
    write_pictures(picture_file(folder, path.name, ruler.config), judged.pictures())
    return {"found": True} | {part: PARTS[part](judged) for part in parts}


def key(path: Path, config: ReconstructConfig) -> tuple[str, str, int]:
    """Returns the values of `KEY` of a photo."""
    return path.name, config.quality, config.size


def read_rows(folder: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Returns the rows of a folder's journal by their key."""
    rows: dict[tuple[str, str, int], dict[str, Any]] = {}
    for line in read_journal(folder / JOURNAL):
        about = line["photo"], line["quality"], line["size"]
        rows[about] = rows.get(about, {}) | line
    return rows


def read_labels(folder: Path | None, name: str) -> dict[str, Any]:
    """Returns the labels by the photos' file names of a file `{"photos": {...}}` in a folder; none
    without a folder or file.

    Raises:
        InputError: the file is not such a JSON object.
    """
    file = None if folder is None else folder / name
    if file is None or not file.exists():
        return {}
    try:
        photos = json.loads(file.read_text())["photos"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{file} is no JSON object {{"photos": {{...}}}} ({error}).') from error
    if not isinstance(photos, dict):
        raise InputError(f'{file}: "photos" is no JSON object of file names.')
    return photos
