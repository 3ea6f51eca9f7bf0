"""The README's lines of Python do what it says beside them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the section's code leaves behind."""
    section = (ROOT / "README.md").read_text().split("## Single parts")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.S)
    assert len(blocks) == 6
    assert all(len([line for line in block.splitlines() if line]) <= 6 for block in blocks)
    code = "\n".join(blocks).replace("examples/", f"{ROOT}/examples/")
    left: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), left)
    return left


def test_simplex(names: dict[str, Any]) -> None:
    np.testing.assert_allclose(names["weights"], [0.6, 0.4, 0], atol=1e-6)
    np.testing.assert_allclose(names["slopes"], [[0.5, -0.5, 0], [-0.5, 0.5, 0], [0, 0, 0]])


def test_masked_grams(names: dict[str, Any]) -> None:
    assert [value.shape for value in names["grams"].values] == [(1, 64, 64), (1, 128, 128)]
    assert all(0.5 < float(share[0]) < 0.7 for share in names["grams"].support)


def test_rasterizer(names: dict[str, Any]) -> None:
    seen = np.asarray(names["raster"])[..., 3] > 0
    assert int(names["dropped"]) == 0 and 0.2 < seen.mean() < 0.8
    assert names["uv"].shape == (96, 96, 2) and 0 <= names["uv"].min() <= names["uv"].max() <= 1


def test_light(names: dict[str, Any]) -> None:
    facing = np.asarray(names["normals"]) @ [-0.6, 0.6, 0.8] / 1.36**0.5
    shading = np.asarray(names["shading"])[:, 0]
    assert np.corrcoef(facing, shading)[0, 1] > 0.9
    np.testing.assert_allclose(shading.max(), 1.2, atol=0.02)
    assert (np.asarray(names["brighter"].coefficients)[0] > 0).all()


def test_landmarks(names: dict[str, Any]) -> None:
    assert names["points"].shape == (478, 3) and names["smile"].shape == (52,)
    assert 150 < float(names["points"][:, 0].mean()) < 300  # where the face is


def test_solver(names: dict[str, Any]) -> None:
    np.testing.assert_allclose(names["best"].x, [0.5, 0.25], atol=1e-4)
    assert bool(names["best"].converged)
