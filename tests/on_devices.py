"""The stages on 8 simulated devices, beside single runs: prints what it finds as JSON.

`XLA_FLAGS=--xla_force_host_platform_device_count=8 python on_devices.py`
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxface.blending import solve_simplex
from jaxface.config import ReconstructConfig
from jaxface.crops import crop_face
from jaxface.features.correlations import CorrelationConfig
from jaxface.fitting import FitConfig
from jaxface.fitting.solver import SolverConfig
from jaxface.images import read_photo
from jaxface.landmarks.detector import detect
from jaxface.loading import load_assets
from jaxface.reconstruct import (
    FACES,
    _sharded_vmap,
    device_mesh,
    infer,
    observe,
    place,
    refine,
    replicate,
    stack,
    unstack,
)
from jaxface.synthesis import SynthesisConfig
from jaxface.types import Assets, FaceCrop, Reconstruction
from jaxface.unwrapping import UnwrapConfig

PHOTO = Path(__file__).resolve().parents[1] / "examples" / "photos" / "astronaut.jpg"
TOLERANCE = inspect.signature(solve_simplex).parameters["tolerance"].default
COLLECTIVE = re.compile(
    r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast)"
)
SMALL = ReconstructConfig(
    size=64,
    refine=True,
    fit=FitConfig(
        solver=SolverConfig(max_iterations=4), pixel_solver=SolverConfig(max_iterations=3)
    ),
    correlation=CorrelationConfig(layers=("relu1_1", "relu2_1"), blend_side=64),
    synthesis=SynthesisConfig(levels=((1.0, 3),)),
    unwrap=UnwrapConfig(window=256),
)


def small_assets(faces: int) -> Assets:
    assets = load_assets(SMALL)
    return assets.replace(database=assets.database.take(jnp.arange(faces)))


def some_faces(assets: Assets, count: int) -> list[FaceCrop]:
    """Returns one face moved over its photo and under changing exposure."""
    photo = read_photo(PHOTO).srgb
    found = detect(photo, assets.networks)
    faces = []
    for number in range(count):
        moved = np.roll(photo, (3 * number, 7 * number), (0, 1)) * (1 - 0.06 * number)
        points = np.asarray(found.landmarks[0])[:, :2] + (7 * number, 3 * number)
        focal = None if number % 2 else 900.0
        faces.append(crop_face(moved, points, blendshapes=found.blendshapes[0], focal=focal))
    return faces


def apart(a: Reconstruction, b: Reconstruction) -> dict[str, float]:
    """Returns the greatest difference of each array, relative to its greatest value."""
    found = {}
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        name = jax.tree_util.keystr(path)
        scale = max(np.abs(x).max(initial=0.0), 1e-9)
        if name == ".blend.duality_gap":  # below the solver's tolerance it is rounding, or 0
            scale = max(scale, TOLERANCE)
        found[name] = float(np.abs(x - y).max(initial=0.0) / scale)
    texture, other = np.asarray(a.synthesis.texture), np.asarray(b.synthesis.texture)
    found["texture mean"] = float(np.abs(texture - other).mean())
    return found


def main() -> None:
    assert len(jax.devices()) == 8, jax.devices()
    plain = small_assets(3)
    mesh = device_mesh()
    assets = replicate(plain, mesh)
    shared, database = assets.replace(database=None), assets.database
    faces = some_faces(plain, 8)
    crops = place(stack(faces, 8), mesh)
    axes = (0, None, None, None)
    collectives = {}

    def compiled(function, axes, *arguments):
        program = _sharded_vmap(function, axes, mesh).lower(*arguments).compile()
        collectives[function.__name__] = COLLECTIVE.findall(program.as_text())
        return program

    def shapes(function, axes, *arguments):
        """The next program is compiled for what this one returns, without running it."""
        found = jax.eval_shape(_sharded_vmap(function, axes, mesh), *arguments)
        rows = NamedSharding(mesh, PartitionSpec(FACES))
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=rows), found)

    observed = compiled(observe, axes[:3], crops, shared, SMALL)
    seen = shapes(observe, axes[:3], crops, shared, SMALL)
    inferred = compiled(infer, axes, seen, database, shared, SMALL)
    result = shapes(infer, axes, seen, database, shared, SMALL)
    refined = compiled(refine, axes, result, database, shared, SMALL)

    def batch(members: list[FaceCrop]) -> list[Reconstruction]:
        """The very programs whose compiled text was searched for collectives."""
        seen = observed(place(stack(members, 8), mesh), shared, SMALL)
        result = refined(inferred(seen, database, shared, SMALL), database, shared, SMALL)
        return unstack(result, len(members))

    whole = batch(faces)
    pair = batch([faces[2], faces[5]])  # on another device, beside others, filled up with itself
    alone = plain.replace(database=None)
    single = infer(observe(faces[5], alone, SMALL), plain.database, alone, SMALL)
    single = refine(single, plain.database, alone, SMALL, stepwise=True)
    found = {
        "collectives": collectives,
        "company": max(apart(whole[5], pair[1]).values()),
        "single": apart(single, whole[5]),
        "between faces": apart(whole[0], whole[5])["texture mean"],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
