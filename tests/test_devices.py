"""Batches over devices, and programs for devices that are not here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from jaxface import observe, reconstruct_face, refine
from jaxface.config import ReconstructConfig
from jaxface.crops import _cut, crop_face
from jaxface.landmarks.detector import detect_padded
from jaxface.landmarks.networks import load_networks
from jaxface.loading import load_assets
from jaxface.reconstruct import _in_turn, infer
from jaxface.types import Assets, Crop, FaceCrop

STAGES = ("observe", "infer", "refine")


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What `on_devices.py` says."""
    return run_on(8, "on_devices.py")


def run_on(devices: int, script: str, *args: str) -> dict[str, Any]:
    """Returns what a script beside this file says on some simulated devices."""
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), *args],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.thorough
def test_no_stage_has_a_collective(found: dict[str, Any]) -> None:
    assert set(found["collectives"]) == set(STAGES)
    assert not any(found["collectives"].values()), found["collectives"]


@pytest.mark.thorough
def test_neither_padding_nor_neighbours_change_a_face(found: dict[str, Any]) -> None:
    """Bit for bit: one program, whatever its other rows hold."""
    assert found["company"] == 0
    assert found["between faces"] > 1e-3  # the comparison can fail


@pytest.mark.thorough
def test_a_batch_equals_single_runs(found: dict[str, Any]) -> None:
    """Up to rounding before the synthesis, which amplifies it; the blend may take another step."""
    apart = dict(found["single"])
    later = [name for name in apart if "synthesis" in name or "materials" in name]
    assert apart.pop("texture mean") < 1e-4
    assert max(apart.pop(name) for name in later) < 0.01
    assert apart.pop(".blend.iterations") < 0.2 and apart.pop(".blend.duality_gap") < 1
    assert max(apart.values()) < 3e-4, apart


def test_rows_in_turn_are_those_of_vmap(rng: np.random.Generator) -> None:
    def function(x: jax.Array, shift: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
        return {"solved": jnp.linalg.solve(x, y), "moved": y + shift}

    axes, rows = (0, None, 0), (rng.normal(size=(3, 4, 4)), np.arange(4.0), rng.normal(size=(3, 4)))
    found, expected = _in_turn(function, axes)(*rows), jax.vmap(function, axes)(*rows)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5)


@pytest.mark.thorough
def test_bad_photos_among_five_over_three_devices(tmp_path: Path) -> None:
    """Each good photo's result is that of the photo alone; each bad one says why."""
    found = run_on(3, "on_three_devices.py", str(tmp_path))
    assert found["together"]["rows"] == 6 and found["alone"]["rows"] == 1
    for report in (found["together"], found["alone"]):
        assert report["done"] == 5
        codes = {name: code for name, (_, code) in report["failed"].items()}
        assert codes == {
            "0-broken.jpg": 2,
            "1-empty.jpg": 2,
            "2-noface.png": 4,
            "3-pixel.png": 2,
        }, report["failed"]
        assert all("\n" not in reason for reason, _ in report["failed"].values())
    most = {"vertices": 0.01, "albedo": 1.0}  # mm, levels
    for name, limit in most.items():
        assert max(each[name] for each in found["same photo"]) < limit, found
        assert found["other photo"][name] > 3 * limit, found


CONFIG = ReconstructConfig.for_quality("draft", refine=True)


@pytest.fixture(scope="module")
def given() -> tuple[FaceCrop, Assets]:
    points = np.random.default_rng(0).uniform(100, 300, (478, 2))
    return crop_face(np.zeros((400, 400, 3)), points), load_assets(CONFIG)


@pytest.mark.slow
def test_the_chain_needs_no_values(given: tuple[FaceCrop, Assets]) -> None:
    """All that is decided between the stages is decided from shapes; many faces have an axis."""
    crop, assets = given
    chain = partial(reconstruct_face, config=CONFIG)
    one = jax.eval_shape(chain, crop, assets)
    assert one.synthesis.texture.shape == (256, 256, 3) and one.blend.weights.shape == (64,)
    crops = jax.tree.map(lambda x: jax.ShapeDtypeStruct((4, *x.shape), x.dtype), crop)
    many = jax.eval_shape(jax.vmap(chain, in_axes=(0, None)), crops, assets)
    for single, stacked in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        assert stacked.shape == (4, *single.shape) and stacked.dtype == single.dtype


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_stages_lower_for_cuda_and_tpu(given: tuple[FaceCrop, Assets], name: str) -> None:
    """One face, and four of a batch."""
    crop, assets = given
    seen = jax.eval_shape(observe, crop, assets, CONFIG)
    result = jax.eval_shape(infer, seen, assets.database, assets, CONFIG)
    stages: dict[str, tuple[Callable[..., Any], Any]] = {
        "observe": (lambda crop: observe(crop, assets, CONFIG), crop),
        "infer": (lambda seen: infer(seen, assets.database, assets, CONFIG), seen),
        "refine": (lambda result: refine(result, assets.database, assets, CONFIG), result),
    }
    stage, argument = stages[name]
    layers = 2 * len(assets.vgg)  # the parser runs all of VGG's convolutions, here for two devices
    rows = jax.tree.map(lambda x: jax.ShapeDtypeStruct((4, *x.shape), x.dtype), argument)
    for function, values in ((stage, argument), (jax.vmap(stage), rows)):
        exported = jax.export.export(jax.jit(function), platforms=["cuda", "tpu"])(values)
        assert exported.platforms == ("cuda", "tpu") and exported.mlir_module_serialized
        rounded = _rounded(exported.mlir_module())
        assert rounded["dot_general"] == 0
        assert rounded["convolution"] > 0  # VGG's
        assert name != "observe" or rounded["convolution"] == layers  # and of no other network


def _rounded(module: str) -> dict[str, int]:
    """Returns how many products of each kind leave it to the device how it rounds the factors."""
    lines = module.splitlines()
    return {
        kind: sum(f"stablehlo.{kind}" in line and "HIGH" not in line for line in lines)
        for kind in ("dot_general", "convolution")
    }


def test_products_left_to_the_device_are_noticed() -> None:
    """`_rounded` sees a product that says nothing."""
    exported = jax.export.export(jax.jit(jnp.matmul), platforms=["tpu"])(jnp.eye(2), jnp.eye(2))
    assert _rounded(exported.mlir_module()) == {"dot_general": 1, "convolution": 0}


@pytest.mark.slow
def test_landmarks_and_the_cut_lower_for_cuda_and_tpu() -> None:
    photo, extent = jnp.zeros((256, 256, 3)), jnp.full(2, 256.0)
    detector = jax.jit(partial(detect_padded, faces=1))
    crop = Crop(jnp.full(2, 128.0), jnp.full((), 256.0), size=512)
    for function, given in (
        (detector, (photo, extent, load_networks())),
        (jax.jit(_cut), (photo, extent, crop)),
    ):
        exported = jax.export.export(function, platforms=["cuda", "tpu"])(*given)
        assert exported.mlir_module_serialized
