"""Compiled programs kept in a folder, so that the next start runs them without tracing them again.

JAX's own cache spares compiling, but finds a program only after its function was traced and lowered
by Python, which takes longer than loading it. Here the executable of each call of a jitted function
is found by what determines it: the source of this package, the versions of the libraries, the
device, the shapes and types of the arguments and the values of static ones. What the last start
used is loaded beside the imports of this one.

`jaxface demo` on two cores: a first start takes 152 s, of which 123 s trace and compile; a second
one 38 s, of which 1 s loads programs. Kept by `jax.export` (public, versioned, no pickle) they took
11 s to load, since XLA's part is read again from JAX's cache for each.
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

from jaxface.batch.timing import LOAD_EVENT
from jaxface.precision import jit

MAX_AGE = 30 * 24 * 3600.0
"""Seconds after its last use at which a program is removed: those of older versions."""
MAX_BYTES = 2_000_000_000
"""Size of the folder above which the programs that were used longest ago are removed."""
_PACKAGE = f"{__package__.partition('.')[0]}."
_DIGEST_BYTES = 32
_RUN_SECONDS = 300.0  # programs whose last uses are so near to each other are those of one start
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")

Call = Callable[..., Any]

_config: Any = jax.config  # its options are attributes that no type tells of


class Programs:
    """A store of compiled programs for `jaxface.precision.use_program_store`.

    Loading a program runs what its file says (a pickle): the folder must be writable by the user
    alone, like that of JAX's cache. Only calls whose arrays are on JAX's first device, and none
    within a trace, use the store.

    Attributes:
        folder: for this device and these libraries, inside the one that was given. JAX's own cache
            belongs there, too: XLA cannot write a program of the CPU that was itself loaded, so
            what a cache filled by others gives could not be kept.
    """

    def __init__(self, root: Path) -> None:
        """Makes the folder and starts to load what the last start used.

        Args:
            root: holds a folder for each device and set of libraries; made if it is missing.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder = root / _digest(_environment())
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / "writable", b"")  # raises if it is not
        self._calls: dict[Call, Call] = {}
        # Lowering makes JAX bind LAPACK; a program that is only loaded would call nothing.
        jit(jnp.linalg.cholesky).lower(jax.ShapeDtypeStruct((1, 1), jnp.float32))
        self._ahead = _load_ahead(self.folder)

    def __call__(self, function: Call, jitted: Any, static: tuple[str, ...]) -> Call:
        """Returns the jitted function, or one that finds its programs in the folder.

        A function that is not at the top of a module of this package is not determined by its name
        and the package's source, and is returned as it is.
        """
        if jitted not in self._calls:
            made = hasattr(function, "__wrapped__") or not inspect.isfunction(function)
            nested = made or "<" in function.__qualname__
            foreign = nested or not function.__module__.startswith(_PACKAGE)
            self._calls[jitted] = jitted if foreign else self._stored(function, jitted, static)
        return self._calls[jitted]

    def _stored(self, function: Call, jitted: Any, static: tuple[str, ...]) -> Call:
        names = tuple(inspect.signature(function).parameters)
        programs: dict[Hashable, Any] = {}

        def call(*args: Any, **kwargs: Any) -> Any:
            if _config.jax_disable_jit or len(args) > len(names):
                return jitted(*args, **kwargs)
            given = (*zip(names, args, strict=False), *kwargs.items())
            fixed = tuple((name, value) for name, value in given if name in static)
            positional = [value for name, value in given[: len(args)] if name not in static]
            named = {name: value for name, value in kwargs.items() if name not in static}
            leaves, tree = jax.tree.flatten((tuple(positional), named))
            first = jax.local_devices()[0]
            if not all(_is_plain(leaf, first) for leaf in leaves):
                return jitted(*args, **kwargs)
            key = (tree, fixed, tuple(map(_type_of, leaves)), _config.jax_enable_x64)
            if key not in programs:
                text = repr((function.__module__, function.__qualname__, *key))
                lower = functools.partial(jitted.lower, *args, **kwargs)
                # An address in place of a value is another one at the next start.
                programs[key] = None if " at 0x" in text else self._program(text, lower)
            if programs[key] is None:
                return jitted(*args, **kwargs)
            return programs[key](*positional, **named)

        return call

    def _program(self, text: str, lower: Callable[[], Any]) -> Any:
        """Returns the compiled program of a call, from the folder if it is there.

        A file named after the call holds the name of its program's, which is named after the
        lowered program: what a change of the source leaves as it was need not be compiled again.
        """
        call = self.folder / f"{_digest(_source() + text)}.call"
        try:
            return self._load(self.folder / call.read_text())
        except Exception:  # whatever is missing or damaged, the program can be compiled
            lowered = lower()
        # The text does not tell the shapes of arguments that are not used.
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
            _write(call, file.name.encode())
        return program

    def _load(self, file: Path) -> Any:
        """Returns a stored program, ahead of its call if there was time; reports the seconds that
        it was waited for as `LOAD_EVENT`."""
        begun = time.monotonic()
        future = self._ahead.pop(file, None)
        program = _read(file) if future is None or future.cancel() else future.result()
        with contextlib.suppress(OSError):
            os.utime(file)
        jax.monitoring.record_event_duration_secs(LOAD_EVENT, time.monotonic() - begun)
        return program


def _load_ahead(folder: Path) -> dict[Path, Future[Any]]:
    """Returns the programs that the last start used, in its order, being loaded by a thread."""
    used = sorted((file.stat().st_mtime, file) for file in folder.glob("*.program"))
    last = {file: Future[Any]() for when, file in used if when > used[-1][0] - _RUN_SECONDS}

    def work(futures: list[tuple[Path, Future[Any]]]) -> None:
        for file, future in futures:
            if not threading.main_thread().is_alive():
                return
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(_read(file))
                except Exception as error:
                    future.set_exception(error)

    threading.Thread(target=work, args=(list(last.items()),), name="programs").start()
    return last


def _write_program(file: Path, program: Any) -> None:
    """Writes an executable and the trees of its arguments and results."""
    payload, into, out = serialize_executable.serialize(program)
    trees = [jax.tree.unflatten(tree, range(tree.num_leaves)) for tree in (into, out)]
    data = zlib.compress(pickle.dumps((payload, *trees)), 1)
    _write(file, hashlib.sha256(data).digest() + data)


def _read(file: Path) -> Any:
    """Returns a stored executable. Raises ValueError if its file is damaged."""
    data = file.read_bytes()
    digest, data = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(data).digest() != digest:
        raise ValueError("damaged")
    payload, *trees = pickle.loads(zlib.decompress(data))
    into, out = map(jax.tree.structure, trees)
    return serialize_executable.deserialize_and_load(
        payload, into, out, execution_devices=jax.local_devices()[:1]
    )


def evict(root: Path, *, max_age: float = MAX_AGE, max_bytes: int = MAX_BYTES) -> None:
    """Removes programs from a folder, those of all devices and of JAX's cache included.

    Removed are files that were last used more than `max_age` seconds ago and then, those used
    longest ago first, as many as leave at most `max_bytes`. Errors are ignored: another process may
    do the same.
    """
    files = []
    for file in root.rglob("*"):
        with contextlib.suppress(OSError):
            if file.is_file():
                files.append((_last_use(file), file.stat().st_size, file))
    total = sum(size for _, size, _ in files)
    for when, size, file in sorted(files):
        if when > time.time() - max_age and total <= max_bytes:
            break
        with contextlib.suppress(OSError):
            file.unlink()
        total -= size
    for folder in sorted((f for f in root.rglob("*") if f.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()  # if it is empty


def _last_use(file: Path) -> float:
    """Returns when a file was written, marked as used, or read, in seconds since 1970."""
    status = file.stat()
    return max(status.st_mtime, status.st_atime)


def _write(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with open(handle, "wb") as stream:
            stream.write(data)
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _is_plain(leaf: Any, device: jax.Device) -> bool:
    """Returns whether an argument is a number or an array that a program of the device takes."""
    if isinstance(leaf, jax.core.Tracer):
        return False
    if isinstance(leaf, jax.Array):
        alone = isinstance(leaf.sharding, jax.sharding.SingleDeviceSharding)
        return alone and leaf.device == device
    return isinstance(leaf, np.ndarray | np.generic | bool | int | float)


def _type_of(leaf: Any) -> tuple[Any, ...]:
    """Returns what of a leaf a program depends on: not its value."""
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
    return len(_hits())


@functools.cache
def _source() -> str:
    """Returns a digest of this package's source."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return _digest("".join(_digest(path.read_text()) for path in files))


def _environment() -> str:
    """Returns what programs depend on besides the source."""
    device = jax.local_devices()[0]
    settings = _config.jax_default_matmul_precision
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
    abilities = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    return platform.machine() + "".join(sorted(set(abilities)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]
