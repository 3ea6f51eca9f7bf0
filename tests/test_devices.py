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

from jaxface.landmarks.detector import detect_padded
from jaxface.landmarks.networks import load_networks
from jaxface.mapping import Shared, one
from jaxface.pipeline import ReconstructConfig, load_assets, prepare_face, run_stages
from jaxface.pipeline.face import _cut

STAGES = {
    "person", "fit_face", "unwrap_face", "blend_face", "_prepare", "blended_correlations",
    "_begin", "_advance", "projected", "_finish", "level_seams", "surface", "in_photo",
}  # fmt: skip
WITH_VGG = {"blend_face", "blended_correlations", "_begin", "_advance"}


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What `on_devices.py` says."""
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax-tests"),
        "PYTHONPATH": str(ROOT),
    }
    script = Path(__file__).with_name("on_devices.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.thorough
def test_no_stage_has_a_collective(found: dict[str, Any]) -> None:
    assert set(found["collectives"]) == STAGES
    assert not any(found["collectives"].values()), found["collectives"]


@pytest.mark.thorough
def test_neither_padding_nor_neighbours_change_a_face(found: dict[str, Any]) -> None:
    """Bit for bit: one program, whatever its other rows hold."""
    assert found["company"] == 0 and found["compiled again"] == 0
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


class Recorder:
    """Goes through the chain with shapes alone, and keeps every stage that it meets."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple[Callable, tuple, dict]] = {}

    def __call__(self, stage: Callable, *arguments: Any, **static: Any) -> Any:
        self.calls[stage.__name__] = stage, arguments, static
        return jax.eval_shape(partial(one, stage, **static), *arguments)


@pytest.fixture(scope="module")
def calls() -> dict[str, tuple[Callable, tuple, dict]]:
    config = ReconstructConfig.for_quality("draft")
    points = np.random.default_rng(0).uniform(100, 300, (478, 2))
    face = prepare_face(np.zeros((400, 400, 3)), points)
    record = Recorder()
    assets = load_assets(config)
    run_stages(jax.eval_shape(lambda: face), assets, config, run=record)
    return record.calls


@pytest.mark.slow
def test_the_chain_needs_no_values(calls: dict) -> None:
    """All that the host decides between the stages, it decides from shapes."""
    assert set(calls) == STAGES


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(STAGES))
def test_stages_lower_for_cuda_and_tpu(calls: dict, name: str) -> None:
    """One face, and four of a batch."""
    stage, arguments, static = calls[name]
    values = [a.value if isinstance(a, Shared) else a for a in arguments]
    axes = [None if isinstance(a, Shared) else 0 for a in arguments]
    call = partial(stage, **static)
    rows = [
        value
        if axis is None
        else jax.tree.map(lambda x: jax.ShapeDtypeStruct((4, *x.shape), x.dtype), value)
        for value, axis in zip(values, axes, strict=True)
    ]
    for function, given in ((call, values), (jax.vmap(call, in_axes=tuple(axes)), rows)):
        exported = jax.export.export(jax.jit(function), platforms=["cuda", "tpu"])(*given)
        assert exported.platforms == ("cuda", "tpu") and exported.mlir_module_serialized
        rounded = _rounded(exported.mlir_module())
        assert rounded["dot_general"] == 0
        assert (rounded["convolution"] > 0) == (name in WITH_VGG)


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
    cut = jax.jit(partial(_cut, size=512))
    for function, given in (
        (detector, (photo, extent, load_networks())),
        (cut, (photo, extent, jnp.zeros(2), jnp.ones(()))),
    ):
        exported = jax.export.export(function, platforms=["cuda", "tpu"])(*given)
        assert exported.mlir_module_serialized
