"""Checks the shapes and types that annotations promise, at every call of a function of jaxface.

`conftest.py` names `functions` to jaxtyping's import hook. Constructors of pytrees are left out:
under `vmap` and in batches their arrays have an axis more than one face's.
"""

from __future__ import annotations

from collections.abc import Callable

from beartype import BeartypeConf, BeartypeStrategy, beartype

# An int is a float, as PEP 484 has it.
_check = beartype(conf=BeartypeConf(is_pep484_tower=True, strategy=BeartypeStrategy.O1))


def functions(function: Callable) -> Callable:
    """Returns a function that raises where its annotations do not hold."""
    return function if function.__name__ == "__init__" else _check(function)
