"""The assets are what the manifest says; a missing or damaged one is one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from building import manifest
from jaxface import assets
from jaxface.errors import AssetError


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two assets and their manifest, in use."""
    source = assets.folder()
    for name in ("canonical_uv.npz", "demo.jpg"):
        shutil.copy(source / name, tmp_path / name)
    monkeypatch.setenv("JAXFACE_ASSETS", str(tmp_path))
    (tmp_path / "manifest.json").write_text(json.dumps(manifest.build(tmp_path)))
    return tmp_path


def test_shipped_assets_agree_with_the_manifest() -> None:
    assert assets.verify() == len(assets.manifest()) >= 8
    assert assets.manifest() == manifest.build(assets.folder())


def test_shipped_assets_stay_small() -> None:
    assert sum(entry["bytes"] for entry in assets.manifest().values()) < 60e6


def test_sources_name_every_asset() -> None:
    text = (assets.folder() / "SOURCES.md").read_text()
    for name in assets.manifest():
        assert name.split("/")[0] in text


def test_a_changed_asset_is_found(copy: Path) -> None:
    assert assets.verify() == 2
    (copy / "demo.jpg").write_bytes(b"something else")
    with pytest.raises(AssetError, match=r"demo\.jpg is damaged"):
        assets.verify()


def test_a_missing_asset_is_named(copy: Path) -> None:
    (copy / "canonical_uv.npz").unlink()
    with pytest.raises(AssetError, match=r"canonical_uv\.npz is missing"):
        assets.load_npz("canonical_uv.npz")


@pytest.mark.parametrize("cut", [0, 100, 5000])
def test_a_truncated_asset_is_one_sentence(copy: Path, cut: int) -> None:
    file = copy / "canonical_uv.npz"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(AssetError, match="damaged") as caught:
        assets.load_npz("canonical_uv.npz")
    assert "\n" not in str(caught.value)


def test_an_origin_is_required(copy: Path) -> None:
    (copy / "unknown.bin").write_bytes(b"?")
    with pytest.raises(KeyError, match=r"unknown\.bin"):
        manifest.build(copy)
