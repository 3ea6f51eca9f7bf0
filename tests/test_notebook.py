"""The notebook `examples/demo.ipynb` runs from its first to its last cell."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import pytest

ROOT = Path(__file__).resolve().parents[1]
CELLS = [
    ("".join(cell["source"]), cell["metadata"].get("tags", []))
    for cell in json.loads((ROOT / "examples/demo.ipynb").read_text())["cells"]
    if cell["cell_type"] == "code"
]


def run_shell(line: str) -> None:
    """Runs a line that begins with `!jaxface`, without the package installed."""
    name, *arguments = shlex.split(line.removeprefix("!"))
    assert name == "jaxface"
    subprocess.run([sys.executable, ROOT / "run.py", *arguments], check=True)


def run_cell(source: str, names: dict[str, Any]) -> None:
    """Runs a cell as Jupyter does, but for its pictures."""
    if source.startswith("!"):
        run_shell(source)
    else:
        exec(compile(source, "demo.ipynb", "exec"), names)


def test_cells_are_python_or_the_command_line() -> None:
    for source, tags in CELLS:
        if "install" not in tags and not source.startswith("!jaxface "):
            compile(source, "demo.ipynb", "exec")
    assert sum("install" in tags for _, tags in CELLS) == 1


@pytest.mark.thorough
def test_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    pictures: list[str] = []
    display = ModuleType("IPython.display")
    display.Image = pictures.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    names: dict[str, Any] = {}
    for source, tags in CELLS:
        if "install" not in tags:
            run_cell(source, names)
    assert len(pictures) == 3
    assert all(Path(picture).stat().st_size > 1000 for picture in pictures)
    weights = names["names"]
    assert weights and sum(weights.values()) <= 1.001
    texture = names["result"].synthesis.texture
    assert texture.shape == (256, 256, 3) and bool(jnp.isfinite(texture).all())
    slope = names["slope"].srgb
    assert bool(jnp.isfinite(slope).all()) and float(jnp.abs(slope).max()) > 0
