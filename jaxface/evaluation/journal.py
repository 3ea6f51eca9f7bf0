"""Journals: files with a JSON object a line, to which a run that goes on appends."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def read_journal(file: Path) -> list[dict[str, Any]]:
    """Returns the lines of a journal, none without a file; one that was cut off is left out."""
    rows = []
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:  # the run was stopped while writing it
            continue
    return rows


def append_to_journal(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Writes rows at the end of a journal; NaN, which JSON does not have, becomes null."""
    with open(file, "a") as stream:
        for row in rows:
            stream.write(json.dumps(_plain(row)) + "\n")


def _plain(value: Any) -> Any:
    """Returns the value with `None` for NaN."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
