"""A store of executables on disk, so that the next process runs them without tracing.

JAX's compilation cache spares compiling, but its key is the lowered program, and tracing and
lowering in Python take longer than loading. Here the key of an executable is what determines it:
this package's source, the versions of the libraries, the device, the shapes and types of the
arguments and the values of static ones. A thread prefetches the programs of the last process while
this one imports.

`jaxface demo` on two cores: a first start takes 152 s, of which 123 s trace and compile; a second
one 38 s, of which 1 s loads programs. Kept by `jax.export` (public, versioned, no pickle) they took
11 s to load.
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

from jaxface.batch.timing import LOAD_EVENT
from jaxface.caches import write_whole
from jaxface.precision import jit

MAX_AGE = 30 * 24 * 3600.0
"""Seconds after its last use at which a program is removed, such as one of an older version."""
MAX_BYTES = 2_000_000_000
"""Size of the folder above which the least recently used programs are removed."""
_PACKAGE = f"{__package__.partition('.')[0]}."
_DIGEST_BYTES = 32
_PREFETCH_SECONDS = 300.0  # programs last used within this of the latest one are prefetched
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")
# Beginnings of the names of JAX's options that do not change what is computed.
_IRRELEVANT = (
    "jax_compilation_cache",
    "jax_persistent_cache",
    "jax_platform",
    "jax_log",
    "jax_debug",
)

Call = Callable[..., Any]

_config: Any = jax.config  # its attributes are untyped


class Programs:
    """A store of compiled programs for `jaxface.precision.use_program_store`.

    Loading a program runs what its file says (a pickle): the folder must be writable by the user
    alone, like that of JAX's cache. Only calls whose arrays are on JAX's first device, and none
    within a trace, use the store.

    Attributes:
        folder: for this device and these libraries, inside the one that was given. JAX's own cache
            should be in it, too: XLA cannot serialise a CPU program that was itself deserialised,
            so what comes from a cache that others filled cannot be stored.
    """

    def __init__(self, root: Path) -> None:
        """Makes the folder and starts to prefetch the programs of the last process.

        Args:
            root: holds a folder for each device and set of libraries; made if it is missing.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder = root / _digest(_environment())
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / "writable", b"")  # raises if it is not
        self._calls: dict[Call, Call] = {}
        # Lowering makes JAX register LAPACK's functions, which loaded programs call.
        jit(jnp.linalg.cholesky).lower(jax.ShapeDtypeStruct((1, 1), jnp.float32))
        self._prefetched = _prefetch(self.folder)

    def __call__(self, function: Call, jitted: Any, static: tuple[str, ...]) -> Call:
        """Returns a function that uses the store (`_dispatch`), or the jitted function unchanged.

        Unchanged are closures, lambdas and functions of other packages, which their names and this
        package's source do not determine.
        """
        if jitted not in self._calls:
            wrapped = hasattr(function, "__wrapped__") or not inspect.isfunction(function)
            nested = wrapped or "<" in function.__qualname__
            unkeyed = nested or not function.__module__.startswith(_PACKAGE)
            self._calls[jitted] = jitted if unkeyed else self._dispatch(function, jitted, static)
        return self._calls[jitted]

    def _dispatch(self, function: Call, jitted: Any, static: tuple[str, ...]) -> Call:
        """Returns a function that runs a loaded, stored or newly compiled executable.

        It is found by (argument tree, static values, types of the leaves, x64). Calls that have no
        such key (tracers, arrays elsewhere, values without a stable repr) fall back to `jitted`.
        """
        names = tuple(inspect.signature(function).parameters)
        programs: dict[Hashable, Any] = {}

        def call(*args: Any, **kwargs: Any) -> Any:
            # JAX then looks for the operation at fault.
            debugging = _config.jax_disable_jit or _config.jax_debug_nans or _config.jax_debug_infs
            if debugging or len(args) > len(names):
                return jitted(*args, **kwargs)
            arguments = (*zip(names, args, strict=False), *kwargs.items())
            static_values = tuple((name, value) for name, value in arguments if name in static)
            positional = [value for name, value in arguments[: len(args)] if name not in static]
            named = {name: value for name, value in kwargs.items() if name not in static}
            leaves, tree = jax.tree.flatten((tuple(positional), named))
            device = jax.local_devices()[0]
            if not all(_is_plain(leaf, device) for leaf in leaves):
                return jitted(*args, **kwargs)
            key = (tree, static_values, tuple(map(_type_of, leaves)), _config.jax_enable_x64)
            if key not in programs:
                call_key = repr((function.__module__, function.__qualname__, *key))
                lower = functools.partial(jitted.lower, *args, **kwargs)
                # A repr with an object's address differs between processes: it cannot be a key.
                programs[key] = None if " at 0x" in call_key else self._program(call_key, lower)
            if programs[key] is None:
                return jitted(*args, **kwargs)
            return programs[key](*positional, **named)

        return call

    def _program(self, call_key: str, lower: Callable[[], Any]) -> Any:
        """Returns the executable of a call, from the folder if it is there.

        Two levels: `KEY.call` holds KEY and the file name of the executable, which is a digest of
        the lowered program, so that a change of the source that leaves it as it was compiles
        nothing.
        """
        call = self.folder / f"{_digest(_source() + call_key)}.call"
        try:
            caller, name = call.read_text().split()
            if caller != call.stem:
                raise ValueError("another call's")
            return self._load(self.folder / name)
        except Exception:  # whatever is missing or damaged, the program can be compiled
            lowered = lower()
        # The lowered text lacks the shapes of unused arguments.
        made_of = lowered.as_text(), lowered.args_info, lowered.in_tree, lowered.out_tree
        file = self.folder / f"{_digest(repr(made_of))}.program"
        try:
            program = self._load(file)
        except Exception:
            hits = _cache_hits()
            program = lowered.compile()
            if _cache_hits() > hits:  # XLA cannot write what was itself loaded
                return program
            try:
                _write_program(file, program)
            except Exception:  # a full disk, or XLA cannot write it
                return program
        with contextlib.suppress(OSError):
            write_whole(call, f"{call.stem} {file.name}".encode())
        return program

    def _load(self, file: Path) -> Any:
        """Returns a stored program, prefetched if there was time; reports the seconds waited as
        `LOAD_EVENT`."""
        begun = time.monotonic()
        future = self._prefetched.pop(file, None)
        program = _read(file) if future is None or future.cancel() else future.result()
        with contextlib.suppress(OSError):
            os.utime(file)
        jax.monitoring.record_event_duration_secs(LOAD_EVENT, time.monotonic() - begun)
        return program


def _prefetch(folder: Path) -> dict[Path, Future[Any]]:
    """Returns futures of the last process's programs, which a thread loads in order of use."""
    used = []
    for file in folder.glob("*.program"):
        with contextlib.suppress(OSError):  # another process may remove it
            used.append((file.stat().st_mtime, file))
    used.sort()
    latest = used[-1][0] if used else 0.0
    futures = {file: Future[Any]() for when, file in used if when > latest - _PREFETCH_SECONDS}

    def work(futures: list[tuple[Path, Future[Any]]]) -> None:
        for file, future in futures:
            if not threading.main_thread().is_alive():
                return
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(_read(file))
                except Exception as error:
                    future.set_exception(error)

    threading.Thread(target=work, args=(list(futures.items()),), name="programs").start()
    return futures


def _write_program(file: Path, program: Any) -> None:
    """Writes an executable and the trees of its arguments and results."""
    payload, in_tree, out_tree = serialize_executable.serialize(program)
    trees = [jax.tree.unflatten(tree, range(tree.num_leaves)) for tree in (in_tree, out_tree)]
    data = zlib.compress(pickle.dumps((payload, *trees)), 1)
    write_whole(file, _seal(file, data) + data)


def _read(file: Path) -> Any:
    """Returns a stored executable. Raises ValueError if its file is damaged."""
    data = file.read_bytes()
    digest, data = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if _seal(file, data) != digest:
        raise ValueError("damaged")
    payload, *trees = pickle.loads(zlib.decompress(data))
    in_tree, out_tree = map(jax.tree.structure, trees)
    return serialize_executable.deserialize_and_load(
        payload, in_tree, out_tree, execution_devices=jax.local_devices()[:1]
    )


def _seal(file: Path, data: bytes) -> bytes:
    """Returns a digest of a program and its file's name, so that none is taken for another."""
    return hashlib.sha256(file.name.encode() + data).digest()


def evict(root: Path, *, max_age: float = MAX_AGE, max_bytes: int = MAX_BYTES) -> None:
    """Removes programs from a folder, those of all devices and of JAX's cache included.

    First files last used more than `max_age` seconds ago, then LRU until the total is at most
    `max_bytes`; then folders that this empties. Errors are ignored: another process may do the
    same.
    """
    files = []
    for file in root.rglob("*"):
        with contextlib.suppress(OSError):
            if file.is_file():
                files.append((_last_use(file), file.stat().st_size, file))
    total = sum(size for _, size, _ in files)
    emptied: set[Path] = set()
    for when, size, file in sorted(files):
        if when > time.time() - max_age and total <= max_bytes:
            break
        with contextlib.suppress(OSError):
            file.unlink()
        total -= size
        emptied.update(folder for folder in file.parents if root in folder.parents)
    # Another process may just have made the other empty ones.
    for folder in sorted(emptied, reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()  # if it is empty


def _last_use(file: Path) -> float:
    """Returns when a file was written, marked as used, or read, in seconds since 1970."""
    status = file.stat()
    return max(status.st_mtime, status.st_atime)


def _is_plain(leaf: Any, device: jax.Device) -> bool:
    """Returns whether an argument is a number, or an array on the device and no tracer."""
    if isinstance(leaf, jax.core.Tracer):
        return False
    if isinstance(leaf, jax.Array):
        alone = isinstance(leaf.sharding, jax.sharding.SingleDeviceSharding)
        return alone and leaf.device == device
    return isinstance(leaf, np.ndarray | np.generic | bool | int | float)


def _type_of(leaf: Any) -> tuple[Any, ...]:
    """Returns the part of the key of an argument's leaf: shape and type, not its value."""
    if isinstance(leaf, bool | int | float):
        return (type(leaf),)
    return leaf.shape, str(leaf.dtype), getattr(leaf, "weak_type", False)


@functools.cache
def _hits() -> list[str]:
    """Returns the list to which JAX's cache adds an event for each program found in it."""
    found: list[str] = []

    def add(event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            found.append(event)

    jax.monitoring.register_event_listener(add)
    return found


def _cache_hits() -> int:
    """Returns how many programs JAX's cache has supplied since the first call."""
    return len(_hits())


@functools.cache
def _source() -> str:
    """Returns a digest of this package's source."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return _digest("".join(_digest(path.read_text()) for path in files))


def _environment() -> str:
    """Returns versions, device, flags and settings, on which programs depend besides the source."""
    device = jax.local_devices()[0]
    options = sorted((name, str(value)) for name, value in _config.values.items())
    settings = [option for option in options if not option[0].startswith(_IRRELEVANT)]
    versions = [importlib.metadata.version(name) for name in _LIBRARIES]
    machine = device.device_kind, device.client.platform_version, _processor()
    flags = os.environ.get("XLA_FLAGS"), os.environ.get("LIBTPU_INIT_ARGS")
    return repr((versions, machine, flags, settings, len(jax.devices())))


def _processor() -> str:
    """Returns the processor's model and instruction sets, if the system lists them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    features = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    return platform.machine() + "".join(sorted(set(features)))


def _digest(text: str) -> str:
    """Returns 40 hexadecimal digits of the text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:40]
