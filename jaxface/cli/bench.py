"""`jaxface bench`: faces per hour from crops to textures, and the seconds of each stage."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table

from jaxface import assets as files
from jaxface.batch.timing import StageTimer
from jaxface.config import ReconstructConfig
from jaxface.crops import crop_face
from jaxface.images import read_photo
from jaxface.landmarks.detector import detect
from jaxface.loading import load_assets
from jaxface.reconstruct import (
    device_mesh,
    place,
    reconstruct_crops,
    replicate,
    round_up,
    stack,
)
from jaxface.types import Assets, FaceCrop

STAGES = ("observe", "infer", "refine")
FIGURES = ("faces_per_hour", "seconds_per_face", "compile_seconds", "peak_gigabytes")


def bench(config: ReconstructConfig, batches: list[int], rounds: int, output: Path | None) -> None:
    """Prints a table of faces per hour, seconds per stage and memory, on the demo photo.

    `reconstruct_crops` is measured, without decoding, detection and writing, which other threads do
    at the same time. Each batch size runs once to compile, `rounds` times as a whole, and once with
    a wait after each stage.

    Args:
        config: settings.
        batches: numbers of faces computed at once; all but 1 are rounded up to a multiple of the
            devices.
        rounds: measurements, of which the fastest counts.
        output: JSON file for the figures, or None.
    """
    assets = load_assets(config)
    photo = read_photo(files.path("demo.jpg"))
    found = detect(photo.srgb, assets.networks)
    crop = crop_face(photo.srgb, np.asarray(found.landmarks[0]), blendshapes=found.blendshapes[0])
    mesh = device_mesh()
    console, rows = Console(), []
    for batch in batches:
        count = 1 if batch == 1 else round_up(batch, mesh.size)
        rows.append(_measure(crop, assets, config, mesh, count, rounds))
        console.print(f"batch {rows[-1]['batch']}: {rows[-1]['faces_per_hour']:.0f} faces per hour")
    table = Table(title=f"{jax.devices()[0]} x {mesh.size}, texture {config.size}")
    table.add_column("faces at once")
    for row in rows:
        table.add_column(str(row["batch"]), justify="right")
    for name in FIGURES:
        table.add_row(name.replace("_", " "), *(f"{row[name]:.4g}" for row in rows))
    for name in STAGES:
        cells = [f"{row['stages'].get(name, 0.0):.4g}" for row in rows]
        table.add_row(f"seconds per face, {name}", *cells)
    console.print(table)
    if output is not None:
        about = {"device": str(jax.devices()[0]), "devices": mesh.size, "size": config.size,
                 "quality": config.quality, "jax": jax.__version__, "rows": rows}  # fmt: skip
        output.write_text(json.dumps(about, indent=1) + "\n")


def _measure(
    crop: FaceCrop, assets: Assets, config: ReconstructConfig, mesh: Mesh, batch: int, rounds: int
) -> dict[str, Any]:
    """Returns the figures of a batch size."""
    crops, crops_mesh = crop, None  # as `FaceWorker` does with a batch of 1
    if batch > 1:
        crops, crops_mesh, assets = place(stack([crop], batch), mesh), mesh, replicate(assets, mesh)

    def timed_run(timer: StageTimer | None = None) -> float:
        since = time.perf_counter()
        jax.block_until_ready(
            reconstruct_crops(crops, assets, config, mesh=crops_mesh, progress=timer)
        )
        return time.perf_counter() - since

    with_compile = timed_run()
    fastest = min(timed_run() for _ in range(rounds))
    timer = StageTimer(faces=batch)
    timed_run(timer)
    return {
        "batch": batch,
        "faces_per_hour": 3600 * batch / fastest,
        "seconds_per_face": fastest / batch,
        "compile_seconds": with_compile - fastest,
        "peak_gigabytes": peak() / 1e9,
        "stages": {name: timer.seconds.get(name, 0.0) / batch for name in STAGES},
    }


def peak() -> float:
    """Returns the peak memory in bytes: of the device or, if it reports none, of the process."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    unit = 1 if sys.platform == "darwin" else 1024
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return statistics.get("peak_bytes_in_use", resident)
