"""Fixtures that several test modules share."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from jaxtyping import install_import_hook

# Before the first import of jaxface: their functions check what annotations promise at run time.
# Not `synthesis`, which `test_devices.py` calls with shapes in place of arrays, nor `reconstruct`,
# to which `test_faces.py` gives another database.
STAGES = (
    *("blending", "crops", "database", "features", "filters", "fitting", "implicit", "infer"),
    *("landmarks", "materials", "morphable", "observe", "parsing", "refine", "rendering"),
    *("types", "unwrapping"),
)
install_import_hook([f"jaxface.{name}" for name in STAGES], "shape_checks.functions")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
PHOTOS = ROOT / "examples" / "photos"

# Compilations are kept between runs and shared with the processes that tests start: on two cores
# they are most of what the tests cost. An empty folder in JAX_COMPILATION_CACHE_DIR measures what a
# first run takes.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax-tests"))
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
os.environ.setdefault("JAXFACE_CACHE", str(ROOT / ".cache" / "jaxface"))
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(ROOT / ".cache" / "hypothesis"))


@pytest.fixture(autouse=True, scope="module")
def free_programs() -> Iterator[None]:
    """Frees compiled programs after each module: those of all tests are more regions of memory than
    Linux maps for a process (`vm.max_map_count`), which then crashes."""
    yield
    from jaxface.precision import use_program_store

    use_program_store(None)
    jax.clear_caches()
    gc.collect()


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
    from jaxface.morphable.files import load_model

    return load_model()


@pytest.fixture(scope="session")
def vgg():
    """The weights of VGG-16."""
    from jaxface.features.weights import load_vgg

    return load_vgg()


@pytest.fixture(scope="session")
def networks():
    """MediaPipe's networks."""
    from jaxface.landmarks.networks import load_networks

    return load_networks()


@pytest.fixture(scope="session")
def database():
    """The embedded database's faces at 128 texels."""
    from jaxface.database import load_database

    return load_database(size=128)
