"""Public pytrees pass through `jax.tree`, `jax.eval_shape`, `jax.export` and Orbax unchanged."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import sys
import types
import typing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax import export

import jaxface

SIZE = 2  # of every axis that has a name


def made(hint: Any, rng: np.random.Generator) -> Any:
    """Returns a small value of an annotated type."""
    if hasattr(hint, "dim_str"):
        shape = tuple(int(d) if d.isdigit() else SIZE for d in hint.dim_str.split())
        kind = {"Int": jnp.int32, "UInt8": jnp.uint8, "Bool": bool}.get(hint.__name__.split("[")[0])
        return jnp.asarray(rng.integers(0, 9, shape), kind or jnp.float32)
    if dataclasses.is_dataclass(hint):
        module = vars(sys.modules[hint.__module__])
        fields = typing.get_type_hints(hint, module, module)
        return hint(**{name: made(part, rng) for name, part in fields.items()})
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return (made(parts[0], rng), made(parts[0], rng))
    if origin in (dict, collections.abc.Mapping):
        return {"one": made(parts[1], rng), "two": made(parts[1], rng)}
    if origin in (typing.Union, types.UnionType):
        return made(parts[0], rng)
    return {str: f"name {rng.integers(9)}", int: 1, Any: jnp.ones(SIZE)}[hint]


PUBLIC = {name: getattr(jaxface, name) for name in jaxface.__all__}
PYTREES = {
    name: made(kind, np.random.default_rng(0))
    for name, kind in PUBLIC.items()
    if inspect.isclass(kind) and hasattr(kind, "replace") and not name.endswith("Config")
}


def assert_equal(found: Any, wanted: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_all_records_are_pytrees_settings_or_the_photo() -> None:
    records = {name for name, kind in PUBLIC.items() if dataclasses.is_dataclass(kind)}
    settings = {name for name in records if name.endswith("Config")}
    assert records - PYTREES.keys() - settings == {"Photo"}
    assert all(hash(PUBLIC[name]()) == hash(PUBLIC[name]()) for name in settings)


@pytest.mark.parametrize("name", PYTREES)
def test_flattens_and_keeps_its_shapes(name: str) -> None:
    leaves, structure = jax.tree.flatten(PYTREES[name])
    assert leaves and all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert_equal(jax.tree.unflatten(structure, leaves), PYTREES[name])
    shapes = jax.eval_shape(lambda tree: tree, PYTREES[name])
    assert jax.tree.structure(shapes) == structure
    assert [s.shape for s in jax.tree.leaves(shapes)] == [leaf.shape for leaf in leaves]


SETTINGS = [
    name for name, kind in PUBLIC.items() if name.endswith("Config") and hasattr(kind, "replace")
]


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_pytrees_whose_leaves_are_numbers(name: str) -> None:
    settings = PUBLIC[name]()
    leaves, structure = jax.tree.flatten(settings)
    assert all(type(leaf) in (float, int) for leaf in leaves)
    assert jax.tree.unflatten(structure, leaves) == settings
    program = export.export(jax.jit(lambda tree: tree))(settings)
    found = export.deserialize(program.serialize()).call(settings)
    assert jax.tree.structure(found) == structure


def test_stored_programs_take_and_return_them() -> None:
    program = export.export(jax.jit(lambda trees: jax.tree.map(lambda leaf: leaf, trees)))
    stored = program(PYTREES).serialize()
    assert_equal(export.deserialize(stored).call(PYTREES), PYTREES)


def test_orbax_restores_them(tmp_path: Path) -> None:
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "all", PYTREES)
        checkpointer.wait_until_finished()
        shapes = jax.eval_shape(lambda trees: trees, PYTREES)
        assert_equal(checkpointer.restore(tmp_path / "all", shapes), PYTREES)
