"""A run spread over the machines of a Ray cluster. Host code.

Ray Data assigns blocks of photos to actors and restarts actors that died. A block is a shard of the
run with a journal of its own, so an actor that takes over a block continues where the other one
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
from jaxface.batch.inputs import Shard
from jaxface.batch.results import OnEvent, Report, Worker, ignore_event
from jaxface.batch.runner import run_photos
from jaxface.batch.timing import Pace
from jaxface.errors import InputError, JaxfaceError

MIN_BATCHES_PER_BLOCK = 8
"""More waste less on a block's incomplete last batch, fewer repeat less after an actor died."""
MAX_BLOCKS_PER_ACTOR = 64
"""Each block has a journal, and all actors read all journals."""


def run_on_ray(
    photos: Sequence[Path],
    output: Path,
    make_worker: Callable[[], Worker],
    *,
    batch: int = 1,
    resume: bool = False,
    actors: int | None = None,
    cpus: int = 4,
    on_event: OnEvent = ignore_event,
) -> Report:
    """Runs `run_photos` in actors of a Ray cluster and returns a report of all photos.

    The cluster is that of `RAY_ADDRESS` or of `ray start` on this machine, else a new one on this
    machine. Every machine of the cluster needs jaxface, and photos and output at the same paths or
    addresses. If an actor dies, another one repeats the results that it was writing.

    Args:
        photos: files or addresses; see `find_photos` and `to_path`.
        output: folder of all results and the journals, or an address.
        make_worker: called in each actor to make its worker; pickled.
        batch: maximum number of faces that an actor computes at once.
        resume: skip photos that were finished before.
        actors: maximum number of actors. Default: one per GPU, or one per `cpus` cores without
            GPUs.
        cpus: number of cores of an actor if the cluster has no GPU.
        on_event: takes a `photo` event for each photo, when its block is done; see `run_photos`.

    Raises:
        InputError: Ray is missing, or the output cannot be written.
        JaxfaceError: `make_worker` raised it.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError("--engine ray needs Ray: pip install 'jaxface[ray]'.") from None
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it logs recovered errors, too
    ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    cores = max(1, min(cpus, int(resources.get("CPU", 1))))
    max_actors = actors or gpus or max(1, int(resources.get("CPU", 1)) // cores)
    per_block = max(
        MIN_BATCHES_PER_BLOCK * batch, math.ceil(len(photos) / (MAX_BLOCKS_PER_ACTOR * max_actors))
    )
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
            max_size=max_actors,
            initial_size=min(max_actors, count),
            max_tasks_in_flight_per_actor=1,
        ),
        num_gpus=1 if gpus else None,
        num_cpus=None if gpus else cores,
    )  # fmt: skip
    total, pace = Report(), Pace(len(photos))
    for row in done.iter_rows():
        part: Report | JaxfaceError = row["report"]
        if isinstance(part, JaxfaceError):
            raise part
        # Without `resume`, photos that an actor skipped were done in this run by one that died.
        total.done += part.done + (0 if resume else len(part.skipped))
        total.skipped += part.skipped if resume else []
        total.rows += part.rows
        total.failures += part.failures
        figures = pace.after(total, len(part.rows))
        for event in row["events"]:
            on_event(event | figures)
    return total


def _absolute(path: Path) -> Path:
    """Returns an absolute path or the address: actors have another working folder."""
    return path if is_cloud(path) else path.absolute()


class _Actor:
    """Runs blocks of the photos, one at a time."""

    def __init__(
        self,
        make_worker: Callable[[], Worker],
        photos: Sequence[Path],
        output: Path,
        count: int,
        settings: dict[str, Any],
    ) -> None:
        """Takes the arguments of `run_photos`, and how many blocks there are."""
        self.make_worker = make_worker
        self.worker: Worker | None = None
        self.photos, self.output, self.count, self.settings = photos, output, count, settings

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Returns the report of a block, or the exception that ends the run, and its events."""
        shard, events = Shard(int(row["block"]), self.count), list[Any]()
        try:
            self.worker = self.worker or self.make_worker()
            report: Report | JaxfaceError = run_photos(
                *(self.photos, self.output, self.worker),
                shard=shard,
                on_event=events.append,
                **self.settings,
            )
        except JaxfaceError as error:  # concerns all photos: the whole run ends
            report = error
        return {"report": report, "events": events}
