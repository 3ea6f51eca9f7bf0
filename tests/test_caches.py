"""Caches that are damaged, full, read-only or made twice at once: never a wrong result."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxface import caches
from jaxface.caches import read_arrays, replaced_folder, row_checksums, write_arrays
from jaxface.database import DiskDatabase, save_database
from jaxface.database import disk as disk_module
from jaxface.database.features import StoredFeatures, _checksums, _shapes
from jaxface.errors import AssetError
from jaxface.features.correlations import CorrelationConfig

SIZE = 64


def full(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


def flip(file: Path, place: int) -> None:
    """Changes a byte of a file."""
    data = bytearray(file.read_bytes())
    data[place] ^= 255
    file.write_bytes(data)


def test_what_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cache" / "weights.npz"
    monkeypatch.setattr(caches.os, "replace", full)
    write_arrays(file, {"a": np.arange(3)})
    assert not list(file.parent.iterdir()) and read_arrays(file) is None
    monkeypatch.undo()
    write_arrays(file, {"a": np.arange(3)})
    assert [path.name for path in file.parent.iterdir()] == ["weights.npz"]
    found = read_arrays(file)
    assert found is not None and found["a"].tolist() == [0, 1, 2]
    for damaged in (file.read_bytes()[:-30], file.read_bytes()[:9], b""):
        file.write_bytes(damaged)
        assert read_arrays(file) is None


def test_every_flipped_byte_of_the_arrays_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "weights.npz"
    write_arrays(file, {"a": np.arange(100)})
    whole = file.read_bytes()
    for place in range(0, len(whole), 3):
        flip(file, place)
        found = read_arrays(file)
        if found is not None and "a" in found:  # times and such in the archive's list
            np.testing.assert_array_equal(found["a"], np.arange(100))
        file.write_bytes(whole)


def test_a_folder_made_by_two_at_once_is_one_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = tmp_path / "packed", Path.rename

    def meanwhile(self: Path, other: Path) -> Path:
        if other == target and not target.exists():
            target.mkdir()
            (target / "file").write_text("theirs")
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", meanwhile)
    for _ in range(2):  # the second time an older one is in its place
        with replaced_folder(target) as work:
            (work / "file").write_text("ours")
        assert (target / "file").read_text() == "theirs"
        assert [path.name for path in tmp_path.iterdir()] == ["packed"]


def test_a_folder_that_fails_leaves_the_older_one(tmp_path: Path) -> None:
    target = tmp_path / "packed"
    for content in ("first", "second"):
        with replaced_folder(target) as work:
            (work / "file").write_text(content)
    with pytest.raises(OSError, match="No space"), replaced_folder(target) as work:
        (work / "file").write_text("third")
        full()
    assert (target / "file").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A database of five faces."""
    rng = np.random.default_rng(0)
    faces = [(f"face{k}", rng.uniform(size=(SIZE, SIZE, 3)), None, None, {}) for k in range(5)]
    save_database(tmp_path / "faces", faces, source="a test")
    return tmp_path / "faces"


@pytest.mark.parametrize("name", ["textures.u8", "heights.u8", "thumbnails.u8", "checksums.u32"])
@pytest.mark.parametrize("damage", ["flipped", "cut off", "missing"])
def test_a_damaged_pack_of_a_database_changes_nothing(folder: Path, name: str, damage: str) -> None:
    whole = DiskDatabase(folder, size=SIZE)
    expected = whole.take(range(5))
    thumbnails = np.array(whole.thumbnails)
    file = folder / f"packed-{SIZE}" / name
    if damage == "flipped":
        flip(file, file.stat().st_size // 2)
    elif damage == "cut off":
        file.write_bytes(file.read_bytes()[:-5])
    else:
        file.unlink()
    again = DiskDatabase(folder, size=SIZE)
    np.testing.assert_array_equal(again.thumbnails, thumbnails)
    found = again.take(range(5))
    np.testing.assert_array_equal(found.textures, expected.textures)
    np.testing.assert_array_equal(found.heights, expected.heights)


def test_a_database_that_cannot_be_packed_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = DiskDatabase(folder, size=SIZE)
    monkeypatch.setattr(disk_module, "load_images", full)
    assert DiskDatabase(folder, size=SIZE).names == whole.names  # there is nothing to pack
    with pytest.raises(AssetError, match=r"packed in .*No space left on device.*\.$") as error:
        DiskDatabase(folder, size=SIZE // 2)
    assert "\n" not in str(error.value)
    assert not [path for path in os.listdir(folder) if "packed-32" in path]


CONFIG = CorrelationConfig(layers=("relu1_1", "relu2_1"), cells=2, blend_side=32)


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """A feature cache of three faces, of random numbers."""
    rng = np.random.default_rng(0)
    for side in CONFIG.sides:
        shapes = _shapes(side, CONFIG)
        length = sum(int(np.prod(shape)) for shape in shapes)
        values = rng.integers(0, 256, (3, length), np.uint8)
        scales = rng.uniform(size=(3, sum(shape[-1] for shape in shapes))).astype(np.float32)
        rows = {"u8": values, "f32": scales, "crc": _checksums(values, scales)}
        for kind, array in rows.items():
            (tmp_path / f"{side}.{kind}").write_bytes(array.tobytes())
    return tmp_path


@pytest.mark.parametrize("kind", ["u8", "f32", "crc"])
def test_damaged_features_are_refused_and_others_read(features: Path, kind: str) -> None:
    side = CONFIG.sides[0]
    file = features / f"{side}.{kind}"
    flip(file, file.stat().st_size // 2)  # of the second face
    stored = StoredFeatures(features, 3, CONFIG)
    assert stored.take([2, 0], side).values[0].shape[0] == 2
    with pytest.raises(AssetError, match="damaged: make it again by"):
        stored.take([1, 2], side)


def test_checksums_are_of_each_row() -> None:
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert row_checksums(rows).tolist() == row_checksums([rows[0], rows[1]]).tolist()
    assert len({*row_checksums(rows).tolist(), *row_checksums(rows[:, ::-1]).tolist()}) == 4
