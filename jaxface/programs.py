"""Compiled programs kept in a folder, so that the next start runs them without tracing.

JAX's own cache spares the compiler, but finds a program only after its function was traced and
lowered, which takes longer than loading it. Here a program is found by what it is made from: the
source, the libraries, the device, the shapes of the arguments and the values of static ones.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import inspect
import os
import pickle
import platform
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import serialize_executable

LOAD_EVENT = "/jaxface/load_program_duration"  # a duration for the listeners of `jax.monitoring`
_PACKAGE = f"{__package__}."
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")
_RUN_SECONDS = 300.0  # programs used within them are those of one run

_folder: Path | None = None
_ahead: dict[Path, Future[Any]] = {}
_hits = 0  # programs that JAX found in its own cache


def keep_programs(folder: Path | None) -> Path | None:
    """Keeps the programs of `jaxface.precision.jit` in a folder; None ends that.

    Returns the folder of this device and these libraries inside it. JAX's own cache belongs there
    too: one that is filled by others would load programs, which cannot be kept then.

    Loading a program runs what its file says: the folder should be the user's own, as that of
    JAX's cache. Only what runs on JAX's first device is kept, and nothing that is traced.

    Args:
        folder: made where it is missing.

    Raises:
        OSError: if the folder cannot be made.
    """
    global _folder
    if folder is not None:
        folder = folder / _digest(_environment())
        if folder == _folder:
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        _listen()
        # Lowering is what makes JAX bind LAPACK; a program that is only loaded would call nothing.
        jax.jit(jnp.linalg.cholesky).lower(jax.ShapeDtypeStruct((1, 1), jnp.float32))
        _load_ahead(folder)
    _folder = folder
    return folder


def kept(function: Callable[..., Any], jitted: Any, static: tuple[str, ...]) -> Callable[..., Any]:
    """Returns a jitted function that finds its programs in the folder, while there is one.

    Args:
        function: what was jitted. Unless it is this package's, at the top of a module, its name
            does not tell what it computes, and `jitted` is returned.
        jitted: `jax.jit` of it.
        static: names of its static arguments.
    """
    made = hasattr(function, "__wrapped__") or not inspect.isfunction(function)
    if made or "<" in function.__qualname__ or not function.__module__.startswith(_PACKAGE):
        return jitted
    names = tuple(inspect.signature(function).parameters)
    programs: dict[Hashable, Any] = {}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        folder = _folder
        if folder is None or jax.config.jax_disable_jit or len(args) > len(names):
            return jitted(*args, **kwargs)
        given = (*zip(names, args, strict=False), *kwargs.items())
        fixed = tuple((name, value) for name, value in given if name in static)
        traced = [value for name, value in zip(names, args, strict=False) if name not in static]
        named = {name: value for name, value in kwargs.items() if name not in static}
        leaves, tree = jax.tree.flatten((tuple(traced), named))
        first = jax.local_devices()[0]
        if not all(_is_plain(leaf, first) for leaf in leaves):
            return jitted(*args, **kwargs)
        key = (folder, tree, fixed, tuple(map(_kind, leaves)), jax.config.jax_enable_x64)
        if key not in programs:
            told = repr((function.__module__, function.__qualname__, *key[1:]))
            lower = functools.partial(jitted.lower, *args, **kwargs)
            # An address in place of a value names nothing that the next start has.
            programs[key] = jitted if " at 0x" in told else _program(folder, told, lower)
        if programs[key] is jitted:
            return jitted(*args, **kwargs)
        return programs[key](*traced, **named)

    for name in ("lower", "trace", "eval_shape", "clear_cache"):
        setattr(call, name, getattr(jitted, name))
    return call


def _program(folder: Path, told: str, lower: Callable[[], Any]) -> Any:
    """Returns the compiled program of a call, from the folder if it is there.

    A file named after the call holds the name of its program's, which is named after the lowered
    program: what a change of the source leaves as it was need not be compiled anew.
    """
    call = folder / f"{_digest(_source() + told)}.call"
    try:
        return _load(folder / call.read_text())
    except Exception:  # whatever is missing or wrong with a file, the program can be compiled
        lowered = lower()
    # The text does not tell the shapes of arguments that are not used.
    made_of = lowered.as_text(), lowered.args_info, lowered.in_tree, lowered.out_tree
    file = f"{_digest(repr(made_of))}.program"
    try:
        program = _load(folder / file)
    except Exception:
        hits = _hits
        program = lowered.compile()
        if _hits > hits:  # XLA cannot write a program of the CPU that was itself loaded
            return program
        try:
            payload, into, out = serialize_executable.serialize(program)
            trees = [jax.tree.unflatten(tree, range(tree.num_leaves)) for tree in (into, out)]
            _write(folder / file, zlib.compress(pickle.dumps((payload, *trees)), 1))
        except Exception:  # a full disk, or XLA cannot write it
            return program
    with contextlib.suppress(OSError):
        _write(call, file.encode())
    return program


def _load(path: Path) -> Any:
    """Returns a program, ahead of its call if there was time; tells how long it was waited for."""
    begun = time.monotonic()
    future = _ahead.pop(path, None)
    program = _read(path) if future is None or future.cancel() else future.result()
    with contextlib.suppress(OSError):
        os.utime(path)
    jax.monitoring.record_event_duration_secs(LOAD_EVENT, time.monotonic() - begun)
    return program


def _read(path: Path) -> Any:
    payload, *trees = pickle.loads(zlib.decompress(path.read_bytes()))
    into, out = map(jax.tree.structure, trees)
    return serialize_executable.deserialize_and_load(
        payload, into, out, execution_devices=jax.local_devices()[:1]
    )


def _load_ahead(folder: Path) -> None:
    """Loads what the last run used, in its order, beside what else a start does."""
    used = sorted((file.stat().st_mtime, file) for file in folder.glob("*.program"))
    last = {file: Future[Any]() for when, file in used if when > used[-1][0] - _RUN_SECONDS}

    def work() -> None:
        for file, future in last.items():
            if not threading.main_thread().is_alive():
                return
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(_read(file))
                except Exception as error:
                    future.set_exception(error)

    _ahead.update(last)
    threading.Thread(target=work, name="programs").start()


def _write(path: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as stream:
        stream.write(data)
    os.replace(stream.name, path)


def _is_plain(leaf: Any, device: jax.Device) -> bool:
    """Returns whether an argument lies where a program of the device takes it."""
    if isinstance(leaf, jax.core.Tracer):
        return False
    if isinstance(leaf, jax.Array):
        alone = isinstance(leaf.sharding, jax.sharding.SingleDeviceSharding)
        return alone and leaf.device == device
    return isinstance(leaf, np.ndarray | np.generic | bool | int | float)


def _kind(leaf: Any) -> tuple[Any, ...]:
    if isinstance(leaf, bool | int | float):
        return (type(leaf),)
    return leaf.shape, str(leaf.dtype), getattr(leaf, "weak_type", False)


@functools.cache
def _listen() -> None:
    def count(event: str, **_: Any) -> None:
        global _hits
        _hits += event == "/jax/compilation_cache/cache_hits"

    jax.monitoring.register_event_listener(count)


@functools.cache
def _source() -> str:
    """Returns a digest of this package's source."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return _digest("".join(_digest(path.read_text()) for path in files))


def _environment() -> str:
    """Returns what programs depend on besides the source."""
    device = jax.local_devices()[0]
    settings = jax.config.jax_default_matmul_precision
    versions = [importlib.metadata.version(name) for name in _LIBRARIES]
    machine = device.device_kind, device.client.platform_version, _processor()
    flags = os.environ.get("XLA_FLAGS"), os.environ.get("LIBTPU_INIT_ARGS")
    return repr((versions, machine, flags, settings, len(jax.devices())))


def _processor() -> str:
    """Returns what the processor can do, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    abilities = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    return platform.machine() + "".join(sorted(set(abilities)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]
