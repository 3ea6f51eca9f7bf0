"""How public pytrees are stored with programs: `jax.export` must know how to write what is static.

Arrays need nothing: Orbax, `jax.tree` and NumPy see them by the names of their fields.
"""

from __future__ import annotations

import ast
from typing import TypeVar

from jax import export

Kind = TypeVar("Kind", bound=type)


def storable(kind: Kind) -> Kind:
    """Returns a pytree class after telling `jax.export` its name and how to write static fields.

    Args:
        kind: made by `flax.struct.dataclass`, its static fields strings and tuples of them.
    """
    export.register_pytree_node_serialization(
        kind,
        serialized_name=f"jaxface.{kind.__name__}",
        serialize_auxdata=lambda static: repr(static).encode(),
        deserialize_auxdata=lambda stored: ast.literal_eval(bytes(stored).decode()),
    )
    return kind
