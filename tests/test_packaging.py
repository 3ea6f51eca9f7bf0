"""What is installed: the wheel's files, an empty environment, the conda recipe."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RECIPE = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text())
MAX_WHEEL_BYTES = 40e6  # 25.4 MB when this was written


def constraints(requirements: list[str]) -> dict[str, str]:
    """Returns version constraints by name, of requirements as pip or conda writes them."""
    found = {}
    for requirement in requirements:
        match = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?\s*(.*)", requirement)
        assert match, requirement
        found[match[1]] = match[2].replace("${{ python_min }}", RECIPE["context"]["python_min"])
    return found


def test_recipe_agrees_with_pyproject() -> None:
    assert RECIPE["package"]["name"] == PROJECT["name"]
    assert RECIPE["context"]["version"] == PROJECT["version"]
    run = constraints(RECIPE["requirements"]["run"])
    assert run.pop("python") == PROJECT["requires-python"]
    assert run == constraints(PROJECT["dependencies"])
    extras = PROJECT["optional-dependencies"]
    optional = [each for name in ("app", "cloud", "models") for each in extras[name]]
    assert constraints(RECIPE["requirements"]["run_constraints"]) == constraints(optional)
    host = constraints(RECIPE["requirements"]["host"])
    built_with = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert constraints(built_with).items() <= host.items()
    scripts = [f"{name} = {target}" for name, target in PROJECT["scripts"].items()]
    assert RECIPE["build"]["python"]["entry_points"] == scripts
    about = RECIPE["about"]
    assert about["summary"] == PROJECT["description"] and about["license"] == PROJECT["license"]
    assert (ROOT / about["license_file"]).exists()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (file,) = folder.iterdir()
    return file


def test_wheel_holds_the_package_and_its_data_and_nothing_else(wheel: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("what belongs to the package is read from git, and this is no checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(
        [*command, "jaxface", "pretrained"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    paths = [path for path in listed.stdout.splitlines() if (ROOT / path).exists()]
    expected = {re.sub(r"^pretrained/", "jaxface/pretrained/", path) for path in paths}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    about = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert names - about == expected
    assert {Path(name).name for name in about} == {
        *("METADATA", "RECORD", "WHEEL", "entry_points.txt", "LICENSE"),
    }
    assert wheel.stat().st_size < MAX_WHEEL_BYTES


@pytest.mark.thorough
def test_wheel_runs_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Installed by pip with its dependencies alone, in another directory than the checkout."""
    kept = {"PYTHONPATH", "JAXFACE_ASSETS", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in kept}

    def run(*command: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            list(map(str, command)),
            cwd=tmp_path,
            env=environment | {"JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    binaries = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    assert run(sys.executable, "-m", "venv", "env").returncode == 0
    installed = run(binaries / "python", "-m", "pip", "install", "--quiet", wheel)
    assert installed.returncode == 0, installed.stderr[-3000:]
    code = "import jaxface; print(jaxface.__file__)"
    assert run(binaries / "python", "-c", code).stdout.startswith(str(tmp_path / "env"))
    verified = run(binaries / "jaxface", "assets", "verify")
    assert verified.returncode == 0, verified.stderr[-3000:]
    done = run(binaries / "jaxface", "demo", "--quality", "draft", "-o", "face")
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("viewer.html", "face.glb", "preview.png", "turntable.mp4"):
        assert (tmp_path / "face" / name).stat().st_size > 10_000
    told = run(binaries / "jaxface", "app")
    assert told.returncode == 2 and "pip install 'jaxface[app]'" in told.stderr
