"""The house: imports run one way, jitted modules reach no host module, public code is documented.

Each test reads every file and lists all that break its rule.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "jaxface"
FILES = sorted(PACKAGE.rglob("*.py"))

# Lower stands below; a module imports from its own layer and from lower ones.
LAYERS = {
    "names": 0,
    "errors": 0,
    "exif": 0,
    "profiles": 0,
    "pytrees": 0,
    "types": 0,
    "assets": 0,
    "caches": 0,
    "locking": 0,
    "precision": 0,
    "implicit": 0,
    "filters": 0,
    "images": 0,
    "film": 1,
    "rendering": 1,
    "morphable": 2,
    "features": 2,
    "database": 3,
    "landmarks": 3,
    "fitting": 3,
    "parsing": 3,
    "hair": 4,
    "unwrapping": 3,
    "blending": 3,
    "synthesis": 4,
    "materials": 4,
    "skins": 4,
    "config": 5,
    "crops": 5,
    "observe": 5,
    "infer": 5,
    "refine": 5,
    "loading": 6,
    "reconstruct": 6,
    "person": 6,
    "identity": 6,
    "following": 6,
    "video": 6,
    "export": 7,
    "": 7,
    "batch": 8,
    "build_database": 8,
    "evaluation": 8,
    "cli": 9,
    "__main__": 10,
}
# Files, codecs, terminals, processes, the network: what makes a module that imports it host code.
# (`json` alone reads no file: the landmark networks' graphs are JSON texts in a pytree.)
HOST = {
    *("os", "io", "pathlib", "tempfile", "shutil", "glob", "pickle", "zipfile", "csv"),
    *("threading", "concurrent", "multiprocessing", "subprocess", "signal", "socket", "urllib"),
    *("time", "sys", "importlib", "PIL", "imageio", "av", "trimesh", "typer", "rich"),
}
# What runs under jit: no file, no image codec, no terminal.
JITTED = (
    "blending",
    "config",
    "crops",
    "features",
    "filters",
    "fitting",
    "implicit",
    "infer",
    "landmarks",
    "materials",
    "morphable",
    "observe",
    "precision",
    "pytrees",
    "refine",
    "rendering",
    "synthesis",
    "types",
    "unwrapping",
)
# Programs of their own, which run where they were measured.
TOOLS = ("evaluation", "precision")
# Named for what they do: they read files for the modules beside them. An adapter reads the official
# files of another face model.
LOADERS = {"files.py", "weights.py", "networks.py"}
ADAPTERS = PACKAGE / "morphable" / "adapters"


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def dotted(path: Path) -> str:
    """Returns a file's name as an import statement has it."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def imports(path: Path) -> frozenset[str]:
    """Returns all that a file imports, also inside of functions: modules and names from them."""
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return frozenset(names)


NAMED = {dotted(path): path for path in FILES}


def host_imports(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] in HOST}


def ways_to_host(paths: list[Path]) -> dict[tuple[str, str], list[str]]:
    """Returns the imports at which host code begins, each with the chain that leads there.

    `from jaxface.package import x` leads to the package's `__init__` and to its submodule `x`; the
    `__init__` of packages above a module that is named in full is not followed, nor is jaxface's
    own, which holds the public names and nothing else.
    """
    queue = deque([[dotted(path)] for path in paths])
    seen = {chain[-1] for chain in queue}
    ways = {}
    while queue:
        chain = queue.popleft()
        for name in sorted(imports(NAMED[chain[-1]]) & NAMED.keys() - {"jaxface"}):
            if host_imports(NAMED[name]):
                ways[chain[-1], name] = [*chain, name]
            elif name not in seen:
                seen.add(name)
                queue.append([*chain, name])
    return ways


def report(broken: list[str]) -> None:
    assert not broken, "\n".join(["", *broken])


def test_imports_run_one_way() -> None:
    broken = []
    for path in FILES:
        here = LAYERS[module_of(path)]
        for name in sorted(imports(path)):
            there = name.split(".")[1] if name.startswith("jaxface.") else None
            if there in LAYERS and LAYERS[there] > here:
                broken.append(
                    f"{dotted(path)} (layer {here}) imports {name} (layer {LAYERS[there]})"
                )
    report(broken)


def test_products_are_float32_wherever_something_is_compiled() -> None:
    """By `jaxface.precision.jit`; `jax.jit` leaves it to the device."""
    report(
        [
            f"{dotted(path)}:{node.lineno}: jit of jax instead of jaxface.precision"
            for path in FILES
            if module_of(path) not in TOOLS
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Attribute) and node.attr == "jit"
        ]
    )


def jitted_files() -> list[Path]:
    jitted = [p for p in FILES if module_of(p) in JITTED and p.name not in LOADERS]
    return [p for p in jitted if ADAPTERS not in p.parents]


def test_jitted_modules_import_no_host_module() -> None:
    report(
        [
            f"{dotted(path)} imports {', '.join(found)}"
            for path in jitted_files()
            if (found := sorted(host_imports(path)))
        ]
    )


def test_jitted_modules_reach_no_host_module_through_others() -> None:
    ways = ways_to_host(jitted_files())
    report([" -> ".join(chain) for _, chain in sorted(ways.items())])


def test_chains_of_imports_are_followed() -> None:
    """From the public names to host modules, at once and through other modules."""
    assert not ways_to_host([PACKAGE / "errors.py"])
    ways = ways_to_host([PACKAGE / "__init__.py"])
    assert ("jaxface", "jaxface.images") in ways
    assert any(len(chain) > 2 for chain in ways.values())


def test_public_functions_have_docstrings() -> None:
    report(
        [
            f"{dotted(path)}: {node.name}"
            for path in FILES
            for node in tree(path).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and node.name != "main"
            and not ast.get_docstring(node)
        ]
    )


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
