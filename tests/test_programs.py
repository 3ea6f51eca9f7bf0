"""Programs kept between starts: found again, other ones for other calls, never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from jaxface.cli import programs
from jaxface.cli.programs import Programs, evict
from jaxface.precision import jit, use_program_store
from jaxface.pytrees import pytree, static

START = """
import sys
from dataclasses import fields
from pathlib import Path
import jax, jax.numpy as jnp
from jaxface.batch.timing import LOAD_EVENT
from jaxface.cli.programs import Programs
from jaxface.precision import use_program_store
from jaxface.rendering.camera import look_at, project
from jaxface.types import FaceModel, FaceParameters, FitResult, UnwrapResult
from jaxface.unwrapping.exposure import estimate_albedo_coefficients

use_program_store(Programs(Path(sys.argv[1])))
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
albedo = estimate_albedo_coefficients(fit, seen, model).parameters.albedo  # by LAPACK
unused = model.replace(mean=jnp.ones((2, 3)))  # the mean is not used
other = estimate_albedo_coefficients(fit, seen, unused)

wide, high = look_at(0.1, 0.2, 64, 96), look_at(0.1, 0.2, 96, 64)
point = project(jnp.ones((1, 3)), wide)[0]
alone = "estimate_albedo_coefficients", "look_at", "project"
traced_alone = sum(name in alone for name in traced)
turned = jax.grad(lambda yaw: project(jnp.ones((1, 3)), look_at(yaw, 0.0, 64, 64))[0].sum())(0.1)
values = (albedo, other.parameters.albedo, wide.principal, high.principal, point, turned)
print(repr([value.tolist() for value in values]), file=sys.stderr)
print(len(loaded), traced_alone)
"""


def start(folder: Path, cache: Path) -> tuple[int, int, str]:
    """Returns how many programs a process loads, how often it traces, and what it computes."""
    done = subprocess.run(
        [sys.executable, "-c", START, str(folder)],
        env={
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    loaded, traced = map(int, done.stdout.split())
    return loaded, traced, done.stderr.splitlines()[-1]


def test_a_second_start_loads_what_the_first_traced(tmp_path: Path) -> None:
    folder, cache = tmp_path / "programs", tmp_path / "jax"
    # Of the five, two differ in the shape of an argument that is not used: they are compiled to the
    # same, which JAX's cache gives the second, and what comes from there cannot be kept.
    loaded, traced, values = start(folder, cache)
    assert (loaded, traced) == (0, 5)
    assert start(folder, cache) == (4, 1, values)


@pytest.fixture
def store(tmp_path: Path):
    """A store that the library's functions use during a test, without JAX's own cache: a slow
    machine keeps even these small programs there, and what it supplies is not stored."""
    folder = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    reset_cache()
    made = Programs(tmp_path)
    use_program_store(made)
    yield made
    use_program_store(None)
    jax.config.update("jax_compilation_cache_dir", folder)
    reset_cache()


def stored(store: Programs, kind: str = "call") -> set[Path]:
    return set(store.folder.glob(f"*.{kind}"))


@pytree
class _Settings:
    weight: float = 2.0
    count: int = static(default=3)


def _scaled(x: jax.Array, settings: _Settings, times: int = 1) -> jax.Array:
    return settings.weight * settings.count * times * x


_scaled.__module__ = "jaxface.rendering.camera"  # as if it were the package's


def scaled(*args: Any, **kwargs: Any) -> float:
    """Returns what a function computes that was jitted anew, as after another start."""
    return float(jit(_scaled, static_argnames="times")(*args, **kwargs))


def test_calls_are_told_apart_by_types_and_static_values_alone(store: Programs) -> None:
    one = jnp.ones(())
    assert scaled(one, _Settings()) == 6
    assert scaled(2 * one, _Settings(weight=5.0)) == 30  # other values: the same program
    assert len(stored(store)) == 1
    assert scaled(one, _Settings(count=1)) == 2
    assert scaled(one, _Settings(), times=4) == 24
    assert scaled(np.float32(1), _Settings(weight=jnp.float32(2))) == 6
    assert len(stored(store)) == 4
    use_program_store(None)
    assert scaled(one, _Settings(), times=4) == 24


def test_what_is_traced_is_no_call_of_its_own(store: Programs) -> None:
    function = jit(_scaled)
    slope = jax.grad(lambda weight: function(jnp.ones(()), _Settings(weight=weight)))(2.0)
    assert float(slope) == 3 and not stored(store)
    rows = jax.vmap(lambda x: function(x, _Settings()))(jnp.arange(3.0))
    assert rows.tolist() == [0, 6, 12] and not stored(store)


def test_under_debug_nans_jax_looks_for_the_operation(store: Programs) -> None:
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match="nan"):
        scaled(np.float32("nan"), _Settings())
    assert not stored(store)


def test_another_source_or_setting_makes_another_program(
    store: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled(jnp.ones(()), _Settings())
    monkeypatch.setattr(programs, "_source", lambda: "another")
    scaled(jnp.ones(()), _Settings())
    assert len(stored(store)) == 2
    assert len(stored(store, "program")) == 1  # what is still the same is not compiled again
    for setting in (jax.default_matmul_precision("highest"), jax.threefry_partitionable(False)):
        with setting:
            assert Programs(store.folder.parent).folder != store.folder
    with jax.debug_nans(True):
        assert Programs(store.folder.parent).folder == store.folder
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    assert Programs(store.folder.parent).folder != store.folder


def test_two_stores_share_a_folder(store: Programs, tmp_path: Path) -> None:
    """As two processes do that start at the same time."""
    assert scaled(jnp.ones(()), _Settings()) == 6
    use_program_store(Programs(tmp_path))
    assert scaled(jnp.ones(()), _Settings(weight=5.0)) == 15
    assert len(stored(store)) == 1
    assert not list(store.folder.glob("*.tmp"))


def test_threads_share_a_store(store: Programs) -> None:
    function = jit(_scaled)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(
            lambda n: float(function(jnp.ones(()), _Settings(weight=1.0 * n))), range(32)
        )
    assert list(found) == [3 * n for n in range(32)]
    assert len(stored(store)) == 1


@pytest.mark.parametrize("damage", [lambda data: data[:50], lambda data: data[::-1], lambda _: b""])
def test_a_damaged_program_is_made_again(store: Programs, damage: Any) -> None:
    assert scaled(jnp.ones(()), _Settings()) == 6
    (file,) = stored(store, "program")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match="damaged"):
        programs._read(file)
    use_program_store(Programs(store.folder.parent))
    assert scaled(jnp.ones(()), _Settings()) == 6
    assert float(programs._read(file)(jnp.ones(()), _Settings())) == 6


@pytest.mark.parametrize("kind", ["call", "program"])
def test_files_that_are_mixed_up_are_not_taken_for_each_other(store: Programs, kind: str) -> None:
    assert scaled(jnp.ones(()), _Settings()) == 6
    assert scaled(jnp.ones(()), _Settings(), times=4) == 24
    one, other = stored(store, kind)
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    use_program_store(Programs(store.folder.parent))
    assert scaled(jnp.ones(()), _Settings()) == 6
    assert scaled(jnp.ones(()), _Settings(), times=4) == 24


@pytest.mark.parametrize("data", [b"", b"\xff\x00", b"/", b"one two three"])
def test_a_damaged_call_is_made_again(store: Programs, data: bytes) -> None:
    assert scaled(jnp.ones(()), _Settings()) == 6
    (file,) = stored(store)
    whole = file.read_bytes()
    file.write_bytes(data)
    use_program_store(Programs(store.folder.parent))
    assert scaled(jnp.ones(()), _Settings()) == 6
    assert file.read_bytes() == whole


def test_a_folder_that_fills_up_costs_no_result(
    store: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(programs, "write_whole", full)
    assert scaled(jnp.ones(()), _Settings()) == 6
    assert not stored(store)
    with pytest.raises(OSError, match="No space"):
        Programs(store.folder.parent)


@pytest.mark.parametrize("kind", ["nested", "another package's"])
def test_functions_that_their_names_do_not_tell_are_not_stored(store: Programs, kind: str) -> None:
    def nested(x: jax.Array) -> jax.Array:
        return x + 1

    assert float(jit(nested if kind == "nested" else elsewhere)(jnp.zeros(()))) == 1
    assert not stored(store)


def elsewhere(x: jax.Array) -> jax.Array:
    return x + 1


def test_old_programs_go_and_then_the_oldest_ones(tmp_path: Path) -> None:
    now = time.time()
    (tmp_path / "old" / "jax").mkdir(parents=True)
    for name, days in {"old/jax/a": 40, "old/b": 31, "c": 3, "d": 2, "e": 1}.items():
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (now - days * 86400,) * 2)
    evict(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["c", "d", "e"]
    evict(tmp_path, max_bytes=250)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["d", "e"]
    evict(tmp_path / "missing")


PREPARE = """
import jax, os, sys, tempfile, time, threading
from jaxface.cli import main
sys.argv = ["jaxface", "reconstruct", "nowhere.jpg", "-o", f"{tempfile.gettempdir()}/nowhere"]
try:
    main()
except SystemExit as stopped:
    print("exit", stopped.code)
import jaxface.precision, jax.numpy as jnp
from jaxface.rendering.camera import look_at
from threadpoolctl import threadpool_info
store = jaxface.precision._program_store
print("folder", store and store.folder, jax.config.jax_compilation_cache_dir)
jnp.linalg.cholesky(jnp.eye(3)).block_until_ready()
print("value", float(look_at(0.1, 0.2, 64, 96).focal) > 0)
threads = {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}
print("threads", *threads)
"""


def prepare(user: int | None = None, **environment: str | None) -> list[str]:
    """Returns the folders of the programs and of JAX's cache that a start of the command line, by
    some user, finds."""
    inherited = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    merged = inherited | {"OPENBLAS_NUM_THREADS": "2"} | environment
    done = subprocess.run(
        [sys.executable, "-c", PREPARE],
        env={name: value for name, value in merged.items() if value is not None},
        check=True, capture_output=True, text=True, user=user, group=user,
        extra_groups=None if user is None else [],
    )  # fmt: skip
    assert done.stderr == "jaxface: There is no file nowhere.jpg; check the path.\n"
    lines = done.stdout.splitlines()
    assert lines[0] == "exit 2" and lines[2] == "value True", (done.stdout, done.stderr)
    # LAPACK, which JAX takes from SciPy, has one thread, wherever it is loaded.
    assert lines[3] == "threads 1"
    return lines[1].split()[1:]


def test_a_start_keeps_its_programs_in_the_users_cache(tmp_path: Path) -> None:
    """JAX's cache belongs to the same device and libraries; so do starts with other options of
    types, which the commands set themselves."""
    folder, cache = map(Path, prepare(JAXFACE_CACHE=str(tmp_path)))
    options = {
        "JAX_ENABLE_X64": "1",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
    }
    count = len(list(folder.glob("*.program")))
    assert prepare(JAXFACE_CACHE=str(tmp_path), **options) == [str(folder), str(cache)]
    assert len(list(folder.glob("*.program"))) == count
    assert folder.parent == tmp_path / "programs" and cache == folder / "jax"
    assert list(folder.glob("*.program")) and list(cache.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("home", ["unset", "/"])
def test_a_user_whom_the_system_does_not_know_needs_no_home(home: str) -> None:
    """As in a container that is run with `--user`."""
    needed = str(Path(sys.executable).resolve()), str(ROOT / "jaxface" / "__init__.py")
    for file in needed:
        readable = ["test", "-r", file]
        if os.getuid() != 0 or subprocess.run(readable, user=12345, check=False).returncode:
            pytest.skip(f"another user needs root, and {file} to be readable by all")
    environment = {"JAXFACE_CACHE": None, "HOME": None if home == "unset" else home}
    assert prepare(user=12345, PYTHONDONTWRITEBYTECODE="1", **environment) == ["None", "None"]


@pytest.mark.slow
@pytest.mark.parametrize("home", ["unset", "/proc", "file", "damaged"])
def test_a_cache_that_cannot_be_used_costs_time_only(home: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    if home == "damaged":
        prepare(JAXFACE_CACHE=str(tmp_path))
        for file in (tmp_path / "programs").rglob("*"):
            if file.is_file():
                file.write_bytes(file.read_bytes()[::-1])
        assert prepare(JAXFACE_CACHE=str(tmp_path))[0] != "None"
        return
    places = {"unset": None, "/proc": "/proc", "file": str(tmp_path / "file")}
    assert prepare(JAXFACE_CACHE=None, HOME=places[home])[0] in ("None", *_passwd_home())


def _passwd_home() -> list[str]:
    """The system's own entry answers where HOME is unset."""
    folder = Path.home() / ".cache" / "jaxface" / "programs"
    return [str(place) for place in folder.glob("*")] if folder.is_dir() else []
