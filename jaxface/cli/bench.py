"""What `jaxface bench` does: faces an hour through the device stages, and where the time goes."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from jaxface import assets as files
from jaxface.images import read_photo
from jaxface.landmarks.detector import detect
from jaxface.mapping import Many, face_mesh
from jaxface.pipeline import (
    Face,
    ReconstructConfig,
    load_assets,
    prepare_assets,
    prepare_face,
    run_stages,
)
from jaxface.pipeline.assets import Assets
from jaxface.pipeline.batched import round_up, stack

_STAGES = {"person": "fit", "fit_face": "fit", "unwrap_face": "unwrap", "blend_face": "blend",
           "surface": "materials", "in_photo": "fit"}  # fmt: skip
_STEP = "_advance"  # an evaluation of the synthesis and its step: no loop, so its cost is known


class Meter:
    """Runs stages as another `Run` does, waits for each, and adds up its seconds.

    `steps`: of the synthesis, each with its operations as XLA counts them and its seconds.
    """

    def __init__(self, run: Many) -> None:
        self.run = run
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.steps: list[tuple[float, float]] = []
        self._costs: dict[Any, float] = {}

    def __call__(self, stage: Any, *arguments: Any, **static: Any) -> Any:
        name = stage.__name__
        cost = self._cost(stage, arguments, static) if name == _STEP else 0.0
        since = time.perf_counter()
        result = jax.block_until_ready(self.run(stage, *arguments, **static))
        taken = time.perf_counter() - since
        self.seconds[_STAGES.get(name, "synthesize")] += taken
        if name == _STEP:
            self.steps.append((cost, taken))
        return result

    def _cost(self, stage: Any, arguments: Any, static: Any) -> float:
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(arguments[0]))
        if shapes not in self._costs:
            # XLA counts for a CPU alone.
            host = Many(face_mesh(jax.local_devices(backend="cpu")[:1]))
            abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
            found = host.lower(stage, *abstract, **static).cost_analysis() or {}
            self._costs[shapes] = float(found.get("flops", 0.0))
        return self._costs[shapes]


def bench(config: ReconstructConfig, batches: list[int], rounds: int, output: Path | None) -> None:
    """Measures the chain from prepared faces to textures on the photo that comes with jaxface.

    Decoding, detection and writing are left out: other threads do these beside the device.
    Each batch size runs once to compile, `rounds` times freely, and once stage by stage.
    """
    assets = load_assets(config)
    photo = read_photo(files.path("demo.jpg"))
    found = detect(photo.srgb, assets.networks)
    face = prepare_face(
        photo.srgb, np.asarray(found.landmarks[0]), blendshapes=found.blendshapes[0]
    )
    many = Many(face_mesh())
    assets = prepare_assets(assets)
    console, rows = Console(), []
    for batch in batches:
        rows.append(_measure(face, assets, config, many, round_up(batch, many.mesh.size), rounds))
        console.print(f"batch {rows[-1]['batch']}: {rows[-1]['faces_per_hour']:.0f} faces an hour")
    table = Table(title=f"{jax.devices()[0]} x {many.mesh.size}, texture {config.size}")
    names = ["faces_per_hour", "seconds_per_face", "compile_seconds", "teraflops_in_steps",
             "peak_gigabytes"]  # fmt: skip
    stages = ["fit", "unwrap", "blend", "synthesize", "materials"]
    table.add_column("faces at once")
    for row in rows:
        table.add_column(str(row["batch"]), justify="right")
    for name in names:
        table.add_row(name.replace("_", " "), *(f"{row[name]:.4g}" for row in rows))
    for name in stages:
        cells = (f"{row['stages'].get(name, 0.0):.4g}" for row in rows)
        table.add_row(f"seconds per face, {name}", *cells)
    console.print(table)
    if output is not None:
        about = {"device": str(jax.devices()[0]), "devices": many.mesh.size, "size": config.size,
                 "quality": config.quality, "jax": jax.__version__, "rows": rows}  # fmt: skip
        output.write_text(json.dumps(about, indent=1) + "\n")


def _measure(
    face: Face, assets: Assets, config: ReconstructConfig, many: Many, batch: int, rounds: int
) -> dict[str, Any]:
    faces = many.place(stack([face], batch))

    def once(run: Any) -> float:
        since = time.perf_counter()
        jax.block_until_ready(run_stages(faces, assets, config, run=run)[0])
        return time.perf_counter() - since

    first = once(many)
    taken = min(once(many) for _ in range(rounds))
    meter = Meter(many)
    once(meter)
    operations, seconds = (sum(column) for column in zip(*meter.steps, strict=True))
    return {
        "batch": batch,
        "faces_per_hour": 3600 * batch / taken,
        "seconds_per_face": taken / batch,
        "compile_seconds": first - taken,
        "teraflops_in_steps": operations / seconds / 1e12,
        "peak_gigabytes": peak() / 1e9,
        "stages": {name: value / batch for name, value in meter.seconds.items()},
    }


def peak() -> float:
    """Returns the most bytes in use so far: of the device, or of the process where it says none."""
    found = jax.local_devices()[0].memory_stats() or {}
    unit = 1 if sys.platform == "darwin" else 1024
    return found.get("peak_bytes_in_use", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
