"""Contact sheets of real photos: each photo with its result from three sides and its albedo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from jaxface.config import ReconstructConfig
from jaxface.images import to_bytes

PER_SHEET, ACROSS = 12, 2  # photos on a sheet, and beside each other
TILE = 196  # pixels a side of a picture on a sheet: ACROSS times five of them are below 2,000
_STORED = 384  # pixels a side of a picture in its file
_LABEL = 14  # pixels, height of a label


def picture_file(folder: Path, name: str, config: ReconstructConfig) -> Path:
    """Returns the file of a photo's pictures."""
    return folder / "pictures" / f"{name}_{config.quality}_{config.size}.jpg"


def write_pictures(file: Path, pictures: Iterable[np.ndarray]) -> None:
    """Writes square pictures (sRGB 0..1) side by side into a JPEG file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tiles = [_resize(Image.fromarray(to_bytes(picture)), _STORED) for picture in pictures]
    Image.fromarray(np.concatenate([np.asarray(tile) for tile in tiles], 1)).save(file, quality=92)


def write_sheets(
    folder: Path, rows: Sequence[dict[str, Any]], config: ReconstructConfig
) -> list[Path]:
    """Writes the contact sheets of rows of the journal into `folder`/sheets; returns their paths.

    A sheet holds twelve photos: head of the photo; result from the front, turned by 45 degrees to
    its left and to its right; albedo.
    """
    files = {row["photo"]: picture_file(folder, row["photo"], config) for row in rows}
    named = [(name, file) for name, file in files.items() if file.exists()]
    (folder / "sheets").mkdir(exist_ok=True)
    written = []
    for start in range(0, len(named), PER_SHEET):
        written.append(folder / "sheets" / f"{config.quality}_{start // PER_SHEET:02d}.png")
        _sheet(named[start : start + PER_SHEET]).save(written[-1])
    return written


def _sheet(named: Sequence[tuple[str, Path]]) -> Image.Image:
    """Returns a sheet of photos' pictures under their names."""
    strips = []
    for _, file in named:
        with Image.open(file) as strip:
            strips.append(strip.resize((strip.width * TILE // strip.height, TILE)))
    width, height = max(strip.width for strip in strips), TILE + _LABEL
    sheet = Image.new("RGB", (ACROSS * width, -(-len(named) // ACROSS) * height), "white")
    pen = ImageDraw.Draw(sheet)
    for index, ((name, _), strip) in enumerate(zip(named, strips, strict=True)):
        x, y = index % ACROSS * width, index // ACROSS * height
        sheet.paste(strip, (x, y + _LABEL))
        pen.text((x + 3, y + 1), name, fill="black")
    return sheet


def _resize(picture: Image.Image, size: int) -> Image.Image:
    return picture.resize((size, size), Image.Resampling.LANCZOS)
