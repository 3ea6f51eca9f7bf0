"""Traced programs kept in a folder, so that the next start need not trace them again.

JAX's own cache spares compiling, but finds a program only after its function was traced and lowered
by Python, which takes longer than loading it. Here each call of a jitted function is stored by
`jax.export` and found by what determines it: the source of this package, the versions of the
libraries, the device, the shapes and types of the arguments and the values of static ones. Its
compiled form is found in JAX's cache.

At a second start, from its begin to the blend's weights of a photo at draft quality, this took 52
and 56 s, pickled executables (`jax.experimental.serialize_executable`) 51 and 64 s; person mask,
fit and unwrapping alone 8 and 8 s against 6 and 10 s; untraced, the detector 2 s, traced 8 s. Two
runs each, on one of two busy cores: as fast, and without pickles.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import inspect
import os
import platform
import tempfile
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jaxface.batch.timing import LOAD_EVENT
from jaxface.precision import jit

MAX_AGE = 30 * 24 * 3600.0
"""Seconds after its last use at which a program is removed: those of older versions."""
MAX_BYTES = 2_000_000_000
"""Size of the folder above which the programs that were used longest ago are removed."""
_PACKAGE = f"{__package__.partition('.')[0]}."
_DIGEST_BYTES = 32
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")

Call = Callable[..., Any]

_config: Any = jax.config  # its options are attributes that no type tells of


class Programs:
    """A store of traced programs for `jaxface.precision.use_program_store`.

    A stored program is run as it is: the folder must be writable by the user alone, like that of
    JAX's cache. Only calls whose arrays are on JAX's first device, and none within a trace, use the
    store.

    Attributes:
        folder: for this device and these libraries, inside the one that was given. JAX's own cache
            belongs there, too.
    """

    def __init__(self, root: Path) -> None:
        """Makes the folder.

        Args:
            root: holds a folder for each device and set of libraries; made if it is missing.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder = root / _digest(_environment())
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / "writable", b"")  # raises if it is not
        self._calls: dict[Any, Call] = {}
        # Lowering makes JAX bind LAPACK; a program that is only loaded would call nothing.
        jit(jnp.linalg.cholesky).lower(jax.ShapeDtypeStruct((1, 1), jnp.float32))

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
                trace = functools.partial(export.export(jitted), *args, **kwargs)
                # An address in place of a value is another one at the next start.
                programs[key] = None if " at 0x" in text else self._program(text, trace)
            if programs[key] is None:
                return jitted(*args, **kwargs)
            return programs[key](*positional, **named)

        return call

    def _program(self, text: str, trace: Callable[[], export.Exported]) -> Any:
        """Returns the program of a call, from the folder if it is there; None if JAX cannot export
        it, for example because a pytree is not registered for that."""
        file = self.folder / f"{_digest(_source() + text)}.exported"
        try:
            program = _read(file)
        except Exception:  # a missing or damaged file: the function can be traced
            try:
                program = trace()
                data = program.serialize()
            except Exception:
                return None
            with contextlib.suppress(OSError):  # a full disk costs time alone
                _write(file, hashlib.sha256(data).digest() + data)
        return jit(program.call)


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


def _read(path: Path) -> export.Exported:
    """Returns a stored program and marks it as used; reports the seconds as `LOAD_EVENT`."""
    begun = time.monotonic()
    data = path.read_bytes()
    digest, data = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(data).digest() != digest:
        raise ValueError("damaged")
    program = export.deserialize(bytearray(data))
    with contextlib.suppress(OSError):
        os.utime(path)
    jax.monitoring.record_event_duration_secs(LOAD_EVENT, time.monotonic() - begun)
    return program


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
