"""The house: imports run one way, jitted modules know no host module, public code is documented."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "jaxface"
FILES = sorted(PACKAGE.rglob("*.py"))

# Lower stands below; a module imports from its own layer and from lower ones.
LAYERS = {
    "errors": 0,
    "types": 0,
    "assets": 0,
    "mapping": 0,
    "implicit": 0,
    "precision": 0,
    "programs": 0,
    "pytrees": 0,
    "filters": 0,
    "images": 0,
    "rendering": 1,
    "morphable": 2,
    "features": 2,
    "database": 3,
    "landmarks": 3,
    "fitting": 3,
    "unwrapping": 3,
    "blending": 3,
    "synthesis": 4,
    "materials": 4,
    "pipeline": 5,
    "export": 6,
    "": 6,
    "batch": 7,
    "building": 7,
    "evaluation": 7,
    "cli": 8,
}
HOST = {"PIL", "imageio", "pathlib", "os", "json", "typer", "rich", "trimesh", "io", "tempfile"}
# What runs under jit: no file, no image codec, no terminal.
JITTED = (
    "rendering",
    "fitting",
    "unwrapping",
    "blending",
    "synthesis",
    "types",
    "features",
    "materials",
    "mapping",
    "implicit",
    "precision",
)
# Programs of their own, which run where they were measured.
TOOLS = ("building", "evaluation", "precision", "programs")
# Named for what they do: they read assets for the modules beside them.
LOADERS = {"files.py", "weights.py"}


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    here = module_of(path)
    for name in imports(path):
        if name.startswith("jaxface."):
            there = name.split(".")[1]
            if there in LAYERS:
                assert LAYERS[there] <= LAYERS[here], f"{here or '__init__'} imports {name}"


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if module_of(p) not in TOOLS],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_products_are_float32_wherever_something_is_compiled(path: Path) -> None:
    """By `jaxface.precision.jit`; `jax.jit` leaves it to the device."""
    nodes = ast.walk(ast.parse(path.read_text()))
    assert not any(isinstance(node, ast.Attribute) and node.attr == "jit" for node in nodes)


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if module_of(p) in JITTED and p.name not in LOADERS],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_jitted_modules_import_no_host_module(path: Path) -> None:
    found = {name.split(".")[0] for name in imports(path)}
    assert not found & HOST
    assert not {n for n in imports(path) if n.startswith(("jaxface.assets", "jaxface.images"))}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_public_functions_have_docstrings(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if node.name == "main":
                continue
            assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"


def test_every_module_has_a_layer() -> None:
    assert {module_of(p) for p in FILES} <= LAYERS.keys()


def test_dockerfile_installs_as_the_readme_says() -> None:
    docker = (ROOT / "Dockerfile").read_text()
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"docker build [^\n`]+", readme)
    assert command and "EXTRA=" in docker and 'ENTRYPOINT ["jaxface"]' in docker
    assert "pip install ." in readme and 'pip install --no-cache-dir ".' in docker
    assert "USER jaxface" in docker
    for extra in re.findall(r"EXTRA=(\w+)", readme):
        assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()
