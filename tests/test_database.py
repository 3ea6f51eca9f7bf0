"""The texture database: what is embedded, round trip, one sentence for damage; painting."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jaxface.building import skins
from jaxface.database import load_database, save_database
from jaxface.errors import AssetError
from jaxface.morphable.texels import texel_map


@pytest.fixture(scope="module")
def database():
    return load_database(size=128)


def test_embedded_database_holds_twenty_different_faces(database) -> None:
    textures = np.asarray(database.textures)
    assert textures.shape == (20, 128, 128, 3) and textures.dtype == np.uint8
    assert len(set(database.names)) == 20
    flat = textures.reshape(20, -1).astype(float)
    distance = np.abs(flat[:, None] - flat[None]).mean(-1) + 100 * np.eye(20)
    assert distance.min() > 1


def test_faces_have_eyes_teeth_lips_and_brows(database, model) -> None:
    textures = np.asarray(database.textures).astype(float)
    texels = texel_map(model, 128)
    region, mask = np.asarray(texels.region_ids), np.asarray(texels.mask)

    def mean(name: str) -> np.ndarray:
        return textures[:, (region == model.region_names.index(name)) & mask].mean(1)

    skin, lips, brows = mean("skin"), mean("lips"), mean("brows")
    teeth = textures[:, (region == model.region_names.index("teeth")) & mask]
    assert (np.quantile(teeth, 0.85, axis=1) > 150).all()  # crowns
    assert (np.quantile(teeth[..., 1] / teeth[..., 0], 0.1, axis=1) < 0.7).all()  # gums
    assert (lips[:, 1] / lips[:, 0] < skin[:, 1] / skin[:, 0] + 0.1).all()
    assert (brows.mean(1) < skin.mean(1)).mean() > 0.8
    eyes = textures[:, (region == model.region_names.index("eyes")) & mask].mean(-1)
    assert (np.quantile(eyes, 0.01, axis=1) < 60).all()  # pupil
    assert (np.quantile(eyes, 0.9, axis=1) > 150).all()  # white


def test_no_texel_between_charts_is_empty(database) -> None:
    assert (np.asarray(database.textures).max(-1) > 3).mean() > 0.99


def test_round_trip_and_resizing(tmp_path, rng) -> None:
    ramp = np.linspace(0.1, 0.9, 32)
    one = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 0.5), axis=-1)
    save_database(tmp_path, {"b": one, "a": one[::-1]}, source="a test")
    got = load_database(tmp_path, size=32)
    assert got.names == ("a", "b")
    difference = np.abs(np.asarray(got.textures[1]) / 255.0 - one)
    assert difference.mean() < 0.015
    half = np.asarray(load_database(tmp_path, size=16).textures[1]) / 255.0
    want = one.reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(half - want).mean() < 0.015


@pytest.mark.parametrize("damage", ["missing", "list", "picture", "single"])
def test_damaged_database_is_one_sentence(tmp_path, damage) -> None:
    grey = np.full((8, 8, 3), 0.5)
    save_database(tmp_path, {"a": grey, "b": grey}, source="a test")
    if damage == "missing":
        (tmp_path / "a.webp").unlink()
    elif damage == "list":
        (tmp_path / "database.json").write_text("{")
    elif damage == "picture":
        (tmp_path / "a.webp").write_bytes(b"RIFF")
    else:
        (tmp_path / "database.json").write_text(json.dumps({"faces": ["a"]}))
    with pytest.raises(AssetError) as error:
        load_database(tmp_path, size=8)
    assert "\n" not in str(error.value)


def test_layout_and_dilation(model) -> None:
    where = skins.layout(model, 64)
    assert (
        where.place[where.part("nose")][:, 2].mean() > where.place[where.part("ears")][:, 2].max()
    )
    image = np.where(where.mask[..., None], [0.2, 0.5, 0.7], 9.0)
    np.testing.assert_allclose(
        skins.dilate(image, where), np.broadcast_to([0.2, 0.5, 0.7], image.shape)
    )


def test_sample_returns_the_pixel_at_its_centre(rng) -> None:
    picture = rng.uniform(size=(6, 7, 3))
    got = skins.sample(picture, np.array([2.5, 6.5]), np.array([3.5, 0.5]))
    np.testing.assert_allclose(got, picture[[3, 0], [2, 6]], atol=1e-6)
