"""Types of a run: worker, events, report; keys of results."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from jaxface.batch.inputs import Item, digest
from jaxface.export import PARAMETERS

OnEvent = Callable[[dict[str, Any]], None]
"""Takes an event of a run: a dictionary of JSON values with the key `event` (`stage`, `photo`)."""


def ignore_event(event: dict[str, Any]) -> None:
    """Does nothing: the default of `on_event`."""


class Worker(Protocol):
    """Turns photos into result folders in three steps, which `run_pipeline` overlaps.

    Attributes:
        settings: JSON values that, with the photo, determine the result; part of its key.
    """

    @property
    def settings(self) -> dict[str, Any]: ...

    def prepare(self, item: Item, key: str) -> Iterable[Any]:
        """Reads a photo; returns a job for each of its faces. `key` goes into the result."""
        ...

    def compute(self, jobs: list[Any], check: Callable[[], None]) -> Sequence[Any]:
        """Returns the results of a batch of jobs; calls `check` regularly (see `run_pipeline`)."""
        ...

    def finish(self, job: Any, result: Any) -> dict[str, Any]:
        """Writes a result; returns its row of the summary, with the `folder` that was written."""
        ...

    def batch_key(self, job: Any) -> Hashable:
        """Returns what jobs of one batch must have in common, such as array shapes."""
        ...


@dataclass
class Report:
    """The outcome of a run.

    Attributes:
        done: number of photos finished in this run.
        rows: the row of the summary of each face that was written (`Worker.finish`).
        skipped: photos that were finished before.
        failures: of each photo that failed its path, the reason and the exit code.
    """

    done: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failures: list[tuple[Path, str, int]] = field(default_factory=list)


def result_key(settings: dict[str, Any], item: Item) -> str:
    """Returns 16 hexadecimal digits that change with whatever a result depends on.

    These are the settings, the contents of the photo and of its landmarks' file, and the name of
    the result's folder, so that equal photos of two names are two results.

    Args:
        settings: of the worker.
        item: with its photo as a file of this machine.

    Raises:
        InputError: a file cannot be read.
    """
    parts = [json.dumps(settings, sort_keys=True, default=str), digest(item.path), item.folder.name]
    if item.landmarks is not None:
        parts.append(digest(item.landmarks))
    return sha256(os.fsencode("\n".join(parts))).hexdigest()[:16]


def is_finished(folder: Path, key: str) -> bool:
    """Returns whether a folder is a complete result with this key."""
    try:
        return json.loads((folder / PARAMETERS).read_text()).get("key") == key
    except (OSError, ValueError, AttributeError):
        return False
