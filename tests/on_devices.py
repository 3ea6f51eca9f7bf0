"""The stages on 8 simulated devices, beside single runs: prints what it finds as JSON.

`XLA_FLAGS=--xla_force_host_platform_device_count=8 python on_devices.py`
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxface.features.correlations import CorrelationConfig
from jaxface.fitting import FitConfig
from jaxface.fitting.solver import SolverConfig
from jaxface.images import read_photo
from jaxface.landmarks.detector import detect
from jaxface.mapping import Many, Shared, _mapped, _value, face_mesh
from jaxface.pipeline import (
    Assets,
    Face,
    ReconstructConfig,
    load_assets,
    prepare_assets,
    prepare_face,
    run_stages,
    stages,
)
from jaxface.pipeline.batched import stack, unstack
from jaxface.synthesis import SynthesisConfig
from jaxface.types import Reconstruction

PHOTO = Path(__file__).resolve().parents[1] / "examples" / "photos" / "astronaut.jpg"
COLLECTIVE = re.compile(
    r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast)"
)
SMALL = ReconstructConfig(
    size=64,
    fit=FitConfig(
        solver=SolverConfig(max_iterations=4), pixel_solver=SolverConfig(max_iterations=3)
    ),
    correlation=CorrelationConfig(layers=("relu1_1", "relu2_1", "relu3_1")),
    synthesis=SynthesisConfig(levels=((0.5, 2), (1.0, 3))),
)


class Watch(Many):
    """Runs the very programs whose compiled text was searched for collectives."""

    def __call__(self, stage: Callable[..., Any], *arguments: Any, **static: Any) -> Any:
        shared = tuple(isinstance(argument, Shared) for argument in arguments)
        values = tuple(map(_value, arguments))
        shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(values))
        key = stage, shapes, tuple(sorted(static.items()))
        if key not in programs:
            mapped = _mapped(stage, shared, tuple(sorted(static.items())), self.mesh)
            programs[key] = mapped.lower(*values).compile()
            found = COLLECTIVE.findall(programs[key].as_text())
            collectives.setdefault(stage.__name__, []).extend(found)
        return programs[key](*values)


programs: dict[Any, Any] = {}
collectives: dict[str, list[str]] = {}


def small_assets(faces: int) -> Assets:
    assets = load_assets(SMALL)
    return assets.replace(database=assets.database.take(range(faces)))


def some_faces(assets: Assets, count: int) -> list[Face]:
    """Returns one face moved over its photo and under changing exposure."""
    photo = read_photo(PHOTO).srgb
    found = detect(photo, assets.networks)
    faces = []
    for number in range(count):
        moved = np.roll(photo, (3 * number, 7 * number), (0, 1)) * (1 - 0.06 * number)
        points = np.asarray(found.landmarks[0])[:, :2] + (7 * number, 3 * number)
        focal = None if number % 2 else 900.0
        faces.append(prepare_face(moved, points, blendshapes=found.blendshapes[0], focal=focal))
    return faces


def apart(a: Reconstruction, b: Reconstruction) -> dict[str, float]:
    """Returns the greatest difference of each array, relative to its greatest value."""
    found = {}
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        name = jax.tree_util.keystr(path)
        found[name] = float(np.abs(x - y).max() / max(np.abs(x).max(), 1e-9))
    texture, other = np.asarray(a.synthesis.texture), np.asarray(b.synthesis.texture)
    found["texture mean"] = float(np.abs(texture - other).mean())
    return found


def main() -> None:
    assert len(jax.devices()) == 8, jax.devices()
    stages.BLEND_SIZE = 64  # of what takes long, only as much as shows that it is right
    plain = small_assets(3)
    assets = prepare_assets(plain)
    run = Watch(face_mesh())
    faces = some_faces(plain, 8)

    def batch(members: list[Face]) -> list[Reconstruction]:
        results, names = run_stages(run.place(stack(members, 8)), assets, SMALL, run=run)
        return unstack(results, names, len(members))

    whole = batch(faces)
    compiled = len(programs)
    pair = batch([faces[2], faces[5]])  # on another device, beside others, filled up with itself
    single, _ = run_stages(faces[5], plain, SMALL)
    found = {
        "collectives": collectives,
        "compiled again": len(programs) - compiled,
        "company": max(apart(whole[5], pair[1]).values()),
        "single": apart(single, whole[5]),
        "between faces": apart(whole[0], whole[5])["texture mean"],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
