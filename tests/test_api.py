"""The public interface: names, signatures, docstrings, and what annotations promise."""

from __future__ import annotations

import ast
import builtins
import collections.abc
import dataclasses
import doctest
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

import jaxface

PACKAGE = Path(jaxface.__file__).parent
PUBLIC = {name: getattr(jaxface, name) for name in jaxface.__all__}
FUNCTIONS = {name: inspect.unwrap(it) for name, it in PUBLIC.items() if not inspect.isclass(it)}
RECORDS = {name: it for name, it in PUBLIC.items() if dataclasses.is_dataclass(it)}
# Their examples would take longer than they are worth; other tests call each of them.
LONG = {
    "choose_faces",
    "compose",
    "dress",
    "fit",
    "fit_faces",
    "hair_mesh",
    "infer",
    "load_assets",
    "load_database",
    "merge_unwrapped",
    "observe",
    "reconstruct",
    "reconstruct_batch",
    "reconstruct_face",
    "reconstruct_person",
    "reconstruct_video",
    "refine",
    "synthesize",
    "track",
    "unwrap",
}
LONG |= {"detect", "draw_stages", "transfer", "write_result"}


def section(text: str, name: str) -> dict[str, str]:
    """Returns the entries of a docstring's section (`Args`, `Raises`, `Attributes`)."""
    found = re.search(rf"^{name}:\n((?:[ ]{{2,}}.*\n?|\n)*)", text + "\n", re.M)
    if not found:
        return {}
    body = inspect.cleandoc("\n" + found[1])
    parts = re.split(r"^(\w+):", body, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def hints(it: Any) -> dict[str, Any]:
    module = sys.modules[it.__module__]
    return typing.get_type_hints(it, vars(module), vars(module))


def classes(hint: Any) -> Iterator[type]:
    for part in typing.get_args(hint):
        yield from classes(part)
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        yield hint


def shaped(hint: Any) -> list[str]:
    """Returns the shapes that an annotation names, one for each kind of array in it."""
    return [kind.dim_str for kind in classes(hint) if hasattr(kind, "dim_str")]


def raised(function: Callable) -> set[str]:
    """Returns the names of the exceptions that a function's body raises."""
    body = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function)))
    found = [node.exc for node in ast.walk(body) if isinstance(node, ast.Raise) and node.exc]
    kinds = [it.func if isinstance(it, ast.Call) else it for it in found]
    return {it.id for it in kinds if isinstance(it, ast.Name) and it.id[0].isupper()}


def test_public_names_are_listed_once_and_are_all_there_is() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    assert all(isinstance(n, ast.Expr | ast.ImportFrom | ast.Assign) for n in tree.body)
    imported = [
        a.asname or a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names
    ]
    assert sorted(imported) == sorted(jaxface.__all__) == sorted(set(imported))
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize("name", [*FUNCTIONS, *RECORDS])
def test_types_of_public_signatures_are_public(name: str) -> None:
    for hint in hints(inspect.unwrap(PUBLIC[name])).values():
        for kind in classes(hint):
            if kind.__module__.startswith("jaxface."):
                assert kind in PUBLIC.values(), f"{name} names {kind.__qualname__}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signature(name: str) -> None:
    signature = inspect.signature(FUNCTIONS[name])
    parameters = list(signature.parameters.values())
    assert signature.return_annotation is not signature.empty
    for parameter in parameters:
        assert parameter.annotation is not parameter.empty, parameter.name
    for hint in hints(FUNCTIONS[name]).values():
        if typing.get_origin(hint) is not collections.abc.Callable:
            assert jax.Array not in classes(hint), "a shape is missing"
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters if p not in positional)
    optional = [p.name for p in positional if p.default is not p.empty]
    assert optional in ([], [p.name for p in positional[-1:]]), "what is optional is given by name"


@pytest.mark.parametrize("name", PUBLIC)
def test_first_line_is_a_sentence(name: str) -> None:
    first, *rest = (inspect.getdoc(PUBLIC[name]) or "").splitlines()
    assert first.endswith(".") and not (rest and rest[0]), first


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring_says_what_goes_in_and_what_is_raised(name: str) -> None:
    text = inspect.getdoc(PUBLIC[name]) or ""
    described = section(text, "Args")
    assert list(described) == list(inspect.signature(FUNCTIONS[name]).parameters)
    assert all(words.strip() for words in described.values()), described
    errors = section(text, "Raises")
    assert raised(FUNCTIONS[name]) <= set(errors)
    for error, words in errors.items():
        kind = getattr(jaxface, error, None) or getattr(builtins, error, None)
        assert isinstance(kind, type) and issubclass(kind, Exception) and words.strip(), error


@pytest.mark.parametrize("name", RECORDS)
def test_fields_are_documented(name: str) -> None:
    kind = RECORDS[name]
    described = section(inspect.getdoc(kind) or "", "Attributes")
    assert list(described) == [field.name for field in dataclasses.fields(kind)]
    assert all(words.strip() for words in described.values()), described
    for key, hint in hints(kind).items():
        if any("Array" in str(part) for part in classes(hint)):
            assert shaped(hint), f"the shape of {key}"
    for key, member in vars(kind).items():
        if not key.startswith("_") and getattr(member, "__module__", None) == kind.__module__:
            assert inspect.getdoc(member), f"{name}.{key}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_example(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PACKAGE.parent)
    function = FUNCTIONS[name]
    test = doctest.DocTestParser().get_doctest(
        inspect.getdoc(PUBLIC[name]) or "", {**function.__globals__}, name, None, None
    )
    assert test.examples
    skipped = [doctest.SKIP in example.options for example in test.examples]
    assert any(skipped) == (name in LONG)
    result = doctest.DocTestRunner(verbose=False).run(test)
    assert result.failed == 0


def test_errors_are_one_family() -> None:
    errors = [it for it in PUBLIC.values() if inspect.isclass(it) and issubclass(it, Exception)]
    assert len(errors) == 4 and all(issubclass(it, jaxface.JaxfaceError) for it in errors)


def test_annotations_are_checked_while_tests_run() -> None:
    with pytest.raises(TypeCheckError, match="uv"):
        jaxface.sample_texture(jnp.zeros((4, 4, 1)), jnp.zeros((3, 5)))
    with pytest.raises(TypeCheckError, match="depth"):
        jaxface.rasterize(jnp.zeros((4, 2)), jnp.zeros(3), jnp.zeros((1, 3), jnp.int32), 4, 4)
