"""How the stages run: on one face, or on many at once, spread over devices.

A chain of stages is written once, with `run(stage, *arguments, **static)` for every call. `one`
calls the stage; `Many` maps it over a leading face axis. Arguments that belong to no face (the
model, the networks) are marked with `Shared`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxface.precision import jit
from jaxface.pytrees import pytree

FACES = "faces"
Run = Callable[..., Any]


@pytree
class Shared:
    """An argument that all faces share.

    Attributes:
        value: a pytree without a face axis.
    """

    value: Any


def one(stage: Callable[..., Any], *arguments: Any, **static: Any) -> Any:
    """Returns a stage's result for one face.

    Example:
        >>> one(lambda x, y: x + y, 1, Shared(2))
        3
    """
    return stage(*map(_value, arguments), **static)


@dataclass(frozen=True)
class Many:
    """Runs stages on faces along the leading axis, each device on its own share of them.

    A device computes its faces without hearing of the others' (`shard_map` around `vmap`): no
    collective is needed, and its loops end when its own faces are done.

    Attributes:
        mesh: of one axis, `faces`, from `face_mesh`.

    Example:
        >>> run = Many(face_mesh())
        >>> run(lambda x, y: x + y, np.arange(len(jax.devices())), Shared(2))[0].item()
        2
    """

    mesh: Mesh

    def __call__(self, stage: Callable[..., Any], *arguments: Any, **static: Any) -> Any:
        """Returns a stage's results; static arguments are hashable and given by name."""
        shared = tuple(isinstance(argument, Shared) for argument in arguments)
        mapped = _mapped(stage, shared, tuple(sorted(static.items())), self.mesh)
        return mapped(*map(_value, arguments))

    def lower(self, stage: Callable[..., Any], *arguments: Any, **static: Any) -> Any:
        """Returns the stage's program before it is compiled (`jax.stages.Lowered`)."""
        shared = tuple(isinstance(argument, Shared) for argument in arguments)
        mapped = _mapped(stage, shared, tuple(sorted(static.items())), self.mesh)
        return mapped.lower(*map(_value, arguments))

    def place(self, faces: Any) -> Any:
        """Returns a pytree with its leading axis spread over the devices."""
        return jax.device_put(faces, NamedSharding(self.mesh, PartitionSpec(FACES)))

    def place_shared(self, shared: Any) -> Any:
        """Returns a pytree with a copy on every device; one that has it is returned as it is."""
        return jax.device_put(shared, NamedSharding(self.mesh, PartitionSpec()))


def face_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh of one axis, `faces`, over some devices or all of this process."""
    return Mesh(np.array(jax.local_devices() if devices is None else devices), (FACES,))


@cache
def _mapped(stage: Callable, shared: tuple[bool, ...], static: tuple, mesh: Mesh) -> Any:
    axes = tuple(None if alone else 0 for alone in shared)
    specs = tuple(PartitionSpec() if alone else PartitionSpec(FACES) for alone in shared)
    rows = jax.vmap(partial(stage, **dict(static)), in_axes=axes)
    mapped = jax.shard_map(
        rows, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(FACES), check_vma=False
    )
    return jit(mapped)


def _value(argument: Any) -> Any:
    return argument.value if isinstance(argument, Shared) else argument
