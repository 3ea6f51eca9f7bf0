"""How public pytrees are made: flax dataclasses that `jax.export` can store with a program.

A field is an array, or a number that may be traced; a `static` field is part of the structure, and
a function is compiled once for each of its values. `jax.tree`, NumPy and Orbax see the leaves by
the names of their fields.
"""

from __future__ import annotations

import ast
from typing import Any, TypeVar, dataclass_transform

from flax import struct
from jax import export

Kind = TypeVar("Kind", bound=type)


def static(**options: Any) -> Any:
    """Returns a field that is part of the pytree's structure; its values are hashable.

    Args:
        options: of `dataclasses.field`, such as `default`.
    """
    return struct.field(pytree_node=False, **options)


@dataclass_transform(frozen_default=True, field_specifiers=(static, struct.field))
def pytree(kind: Kind) -> Kind:
    """Returns the frozen dataclass of a class, registered as a pytree and with `jax.export`.

    Args:
        kind: its static fields are literals: strings, numbers, None, tuples of them.
    """
    made = struct.dataclass(kind)
    export.register_pytree_node_serialization(
        made,
        serialized_name=f"jaxface.{kind.__name__}",
        serialize_auxdata=lambda auxiliary: repr(auxiliary).encode(),
        deserialize_auxdata=lambda stored: ast.literal_eval(bytes(stored).decode()),
    )
    return made
