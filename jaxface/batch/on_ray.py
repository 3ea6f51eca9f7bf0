"""A run spread over the machines of a Ray cluster. Host code.

Ray Data hands blocks of photos to actors and starts those that died again. A block is a share of
the run with a journal of its own, so an actor that takes over a block goes on where the other
stopped.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxface.batch.cloud import is_cloud
from jaxface.batch.inputs import Share
from jaxface.batch.runner import Pace, Report, Tell, Worker, run_photos
from jaxface.errors import InputError, JaxfaceError

_BATCHES, _BLOCKS = 8, 64  # in a block at least; for an actor at most


def run_on_ray(
    photos: Sequence[Path],
    output: Path,
    make_worker: Callable[[], Worker],
    *,
    batch: int = 1,
    resume: bool = False,
    actors: int | None = None,
    cpus: int = 4,
    tell: Tell = lambda event: None,
) -> Report:
    """Does what `run_photos` does on a Ray cluster, and returns what became.

    The cluster is the one that `RAY_ADDRESS` or this machine's `ray start` says, or else a new one
    on this machine. Every machine of it needs jaxface, and finds photos and output at the same
    paths or addresses. There are as many actors at a time as there are blocks for, from 1 to
    `actors`. Of an actor that dies what was being written is lost; another one does it again.

    Args:
        photos: files or addresses; see `find_photos` and `to_path`.
        output: folder of all results and the journals, or an address.
        make_worker: makes the worker, in each actor; it is pickled.
        batch: faces computed at once by an actor.
        resume: skip photos that were finished before.
        actors: at most; one for each GPU if not given, without any one for every `cpus` cores.
        cpus: cores of an actor where the cluster has no GPU.
        tell: takes an event for each photo, when its block is done; see `run_photos`.

    Raises:
        InputError: Ray is missing, or the output cannot be written.
        JaxfaceError: what `make_worker` raises.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError("--engine ray needs Ray: pip install 'jaxface[ray]'.") from None
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what it survives is no error
    ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    there = ray.cluster_resources()
    gpus = int(there.get("GPU", 0))
    cores = max(1, min(cpus, int(there.get("CPU", 1))))
    most = actors or gpus or max(1, int(there.get("CPU", 1)) // cores)
    per_block = max(_BATCHES * batch, math.ceil(len(photos) / (_BLOCKS * most)))
    count = math.ceil(len(photos) / per_block)
    photos, output = ([_absolute(photo) for photo in photos], _absolute(output))
    blocks = ray.data.from_items([{"block": i} for i in range(count)], override_num_blocks=count)
    done = blocks.map(
        _Actor,  # type: ignore[arg-type]
        fn_constructor_kwargs={
            "make_worker": make_worker, "photos": photos, "output": output, "count": count,
            "settings": {"batch": batch, "resume": resume, "name": secrets.token_hex(4)},
        },
        compute=ray.data.ActorPoolStrategy(
            min_size=1,
            max_size=most,
            initial_size=min(most, count),
            max_tasks_in_flight_per_actor=1,
        ),
        num_gpus=1 if gpus else None,
        num_cpus=None if gpus else cores,
    )  # fmt: skip
    whole, pace = Report(), Pace(len(photos))
    for row in done.iter_rows():
        part: Report | JaxfaceError = row["report"]
        if isinstance(part, JaxfaceError):
            raise part
        # Without `resume`, what an actor found finished is what one before it had done.
        whole.done += part.done + (0 if resume else len(part.skipped))
        whole.skipped += part.skipped if resume else []
        whole.rows += part.rows
        whole.failures += part.failures
        figures = pace.after(whole, len(part.rows))
        for event in row["events"]:
            tell(event | figures)
    return whole


def _absolute(path: Path) -> Path:
    """Actors have a working folder of their own."""
    return path if is_cloud(path) else path.absolute()


class _Actor:
    """Does blocks of the photos, one at a time."""

    def __init__(
        self,
        make_worker: Callable[[], Worker],
        photos: Sequence[Path],
        output: Path,
        count: int,
        settings: dict[str, Any],
    ) -> None:
        self.make_worker = make_worker
        self.worker: Worker | None = None
        self.photos, self.output, self.count, self.settings = photos, output, count, settings

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        share, events = Share(int(row["block"]), self.count), list[Any]()
        try:
            self.worker = self.worker or self.make_worker()
            report: Report | JaxfaceError = run_photos(
                *(self.photos, self.output, self.worker),
                share=share,
                tell=events.append,
                **self.settings,
            )
        except JaxfaceError as error:  # of no photo: the whole run ends
            report = error
        return {"report": report, "events": events}
