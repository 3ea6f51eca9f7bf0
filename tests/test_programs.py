"""Programs kept between starts: found again, other ones for other calls, never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxface.precision import jit

START = """
import sys
from dataclasses import fields
from pathlib import Path
import jax, jax.numpy as jnp
from jaxface.programs import LOAD_EVENT, keep_programs
from jaxface.rendering.camera import look_at, project
from jaxface.types import FaceModel, FaceParameters, FitResult, UnwrapResult
from jaxface.unwrapping import explain_albedo

keep_programs(Path(sys.argv[1]))
loaded, traced = [], []
def listen(event, seconds, fun_name="", **_):
    if event == LOAD_EVENT:
        loaded.append(event)
    if event.endswith("jaxpr_trace_duration"):
        traced.append(fun_name)
jax.monitoring.register_event_duration_secs_listener(listen)

def empty(kind, **known):
    return kind(**({field.name: None for field in fields(kind)} | known))

albedo = {"albedo_mean": jnp.zeros((8, 8, 3)), "albedo_basis": jnp.ones((2, 8, 8, 3))}
model = empty(FaceModel, mean=jnp.ones((1, 3)), **albedo)
fit = empty(FitResult, parameters=empty(FaceParameters, albedo=jnp.zeros(2)))
seen = empty(UnwrapResult, partial=jnp.full((9, 9, 3), 0.3), skin_mask=jnp.ones((9, 9)))
albedo = explain_albedo(fit, seen, model).parameters.albedo  # by LAPACK
other = explain_albedo(fit, seen, model.replace(mean=jnp.ones((2, 3))))  # which is not used

wide, high = look_at(0.1, 0.2, 64, 96), look_at(0.1, 0.2, 96, 64)
point = project(jnp.ones((1, 3)), wide)[0]
turned = jax.grad(lambda yaw: project(jnp.ones((1, 3)), look_at(yaw, 0.0, 64, 64))[0].sum())(0.1)
values = (albedo, other.parameters.albedo, wide.principal, high.principal, point, turned)
print(repr([value.tolist() for value in values]), file=sys.stderr)
print(len(loaded), sum(name in ("explain_albedo", "look_at", "project") for name in traced))
"""


def start(folder: Path, cache: Path, **environment: str) -> tuple[int, int, str]:
    """Returns how many programs a process loads, how often it traces, and what it computes."""
    done = subprocess.run(
        [sys.executable, "-c", START, str(folder)],
        env={
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    loaded, traced = map(int, done.stdout.split())
    return loaded, traced, done.stderr.splitlines()[-1]


def test_a_second_start_loads_what_the_first_compiled(tmp_path: Path) -> None:
    folder, cache = tmp_path / "programs", tmp_path / "jax"
    # Of the five, two differ in the shape of an argument that is not used: they are compiled to the
    # same, which JAX's cache gives the second, and what comes from there cannot be kept.
    loaded, traced, values = start(folder, cache)
    assert (loaded, traced) == (0, 5)
    assert start(folder, cache) == (4, 1, values)
    # What is computed otherwise is another program.
    assert start(folder, cache, JAX_DEFAULT_MATMUL_PRECISION="highest")[:2] == (0, 5)

    several = "--xla_force_host_platform_device_count=4"
    assert start(folder, cache, XLA_FLAGS=several)[:2] == (0, 5)
    assert start(folder, cache, XLA_FLAGS=several)[:2] == (4, 1)

    # A broken file is no hindrance: JAX's cache has the program, and without that XLA makes it.
    for file in folder.glob("*/*.program"):
        file.write_bytes(file.read_bytes()[:100])
    assert start(folder, cache) == (0, 5, values)
    assert start(folder, tmp_path / "empty") == (0, 5, values)
    assert start(folder, tmp_path / "empty") == (4, 1, values)

    # After a change of the source (its digest is in the names) what is still the same is loaded.
    for file in folder.glob("*/*.call"):
        file.rename(file.with_name(f"of-another-source-{file.name}"))
    assert start(folder, tmp_path / "empty") == (4, 5, values)


def test_the_command_lines_jax_cache_belongs_to_the_kept_programs(tmp_path: Path) -> None:
    """What JAX loads from a cache cannot be kept: other libraries' programs would stay there."""
    code = """
import jax
from jaxface import programs
from jaxface.cli.work import prepare_jax
prepare_jax("cpu")
prepare_jax("cpu")
print(programs._folder)
print(jax.config.jax_compilation_cache_dir)
"""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | {"JAXFACE_CACHE": str(tmp_path)},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    kept, cache = map(Path, done.stdout.split())
    assert kept.parent == tmp_path / "programs" and cache == kept / "jax"


def test_the_command_line_gives_lapack_one_thread() -> None:
    """SciPy's, which JAX calls, and wherever it is loaded: looked at after JAX has used it."""
    code = """
import jax.numpy as jnp
from jaxface.cli.work import prepare_jax
from threadpoolctl import threadpool_info
prepare_jax("cpu")
jnp.linalg.cholesky(jnp.eye(3)).block_until_ready()
print(*(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"OPENBLAS_NUM_THREADS": "2"},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert set(done.stdout.split()) == {"1"}


@pytest.mark.parametrize("kind", ["nested", "another package's"])
def test_functions_that_their_names_do_not_tell_are_jitted_alone(kind: str) -> None:
    def nested(x: jax.Array) -> jax.Array:
        return x + 1

    function = jit(nested if kind == "nested" else elsewhere)
    assert type(function) is type(jax.jit(nested))
    assert float(function(jnp.zeros(()))) == 1


def elsewhere(x: jax.Array) -> jax.Array:
    return x + 1
