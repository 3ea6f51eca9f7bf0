"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import numpy as np
import pytest
from jaxtyping import install_import_hook

# Before the first import of jaxface: their functions check what annotations promise at run time.
# Not `synthesis`, which `test_devices.py` calls with shapes in place of arrays.
STAGES = (
    *("blending", "database", "features", "fitting", "implicit", "landmarks", "materials"),
    *("morphable", "pipeline", "rendering", "types", "unwrapping"),
)
install_import_hook([f"jaxface.{name}" for name in STAGES], "shape_checks.functions")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
PHOTOS = ROOT / "examples" / "photos"

# Compilations are kept between runs: on two cores they are most of what the tests cost.
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".cache" / "jax-tests"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
os.environ.setdefault("JAXFACE_CACHE", str(ROOT / ".cache" / "jaxface"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The evaluation data, where this checkout has it beside it."""
    if not SHARED.is_dir():
        pytest.skip(f"the evaluation data is not at {SHARED}")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def model():
    """The embedded face model."""
    from jaxface.morphable.model import load_model

    return load_model()
