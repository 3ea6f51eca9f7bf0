"""The texture database: what is embedded, its format, large ones, building, damage."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from jaxface import build_database
from jaxface.batch import find_photos
from jaxface.database import (
    DiskDatabase,
    add_face,
    face_names,
    load_database,
    open_database,
    read_list,
    remove_face,
    save_database,
    verify_database,
)
from jaxface.errors import AssetError, InputError
from jaxface.morphable.texels import texel_map
from jaxface.skins import makehuman
from jaxface.types import HEIGHT_LEVEL_MM

COUNT = 64


def faces(**textures):
    return [(name, texture, None, None, {}) for name, texture in textures.items()]


def test_embedded_database_holds_different_faces(database) -> None:
    textures = np.asarray(database.textures)
    assert textures.shape == (COUNT, 128, 128, 3) and textures.dtype == np.uint8
    assert np.asarray(database.indices).tolist() == list(range(COUNT))
    assert len(set(face_names())) == COUNT
    assert all(name.startswith("synthetic_") for name in face_names())
    flat = textures.reshape(COUNT, -1).astype(float)
    distance = np.abs(flat[:, None, ::7] - flat[None, :, ::7]).mean(-1) + 100 * np.eye(COUNT)
    assert distance.min() > 1
    heights = np.asarray(database.heights).astype(float)
    assert (heights.std((1, 2)) > 1).all()


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


def test_tones_span_the_human_range(database, model) -> None:
    texels = texel_map(model, 128)
    nose = (np.asarray(texels.region_ids) == model.region_names.index("nose")) & np.asarray(
        texels.mask
    )
    luminance = np.median(np.asarray(database.textures)[:, nose].mean(-1), axis=1)
    assert luminance.min() < 75 and luminance.max() > 170


def test_no_texel_between_charts_is_empty(database) -> None:
    assert (np.asarray(database.textures).max(-1) > 3).mean() > 0.99


def test_round_trip_and_resizing(tmp_path) -> None:
    ramp = np.linspace(0.1, 0.9, 32)
    one = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 0.5), axis=-1)
    height = 0.2 * (ramp[:, None] - 0.5) + 0 * ramp
    save_database(tmp_path, [("b", one[::-1], None, None, {})], source="a test")
    add_face(tmp_path, "a", one, height, ramp[None] + 0 * one[..., 0], {"age": 0.5})
    got = load_database(tmp_path, size=32)
    assert face_names(tmp_path) == ("b", "a") and got.indices.tolist() == [0, 1]
    assert np.abs(np.asarray(got.textures[1]) / 255.0 - one).mean() < 0.015
    millimetres = (np.asarray(got.heights[1]) - 128.0) * HEIGHT_LEVEL_MM
    assert np.abs(millimetres - height).mean() < 2 * HEIGHT_LEVEL_MM
    assert (np.asarray(got.heights[0]) == 128).all()
    half = np.asarray(load_database(tmp_path, size=16).textures[1]) / 255.0
    want = one.reshape(16, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(half - want).mean() < 0.015
    assert read_list(tmp_path)["faces"][1]["about"] == {"age": 0.5}


def test_adding_removing_and_verifying(tmp_path) -> None:
    grey = np.full((8, 8, 3), 0.5)
    save_database(tmp_path, faces(a=grey, b=grey, c=grey), source="a test")
    with pytest.raises(InputError, match="named a already"):
        add_face(tmp_path, "a", grey)
    for name in ("../a", "a.height", "a*", "a b", ""):
        with pytest.raises(InputError, match="no name"):
            add_face(tmp_path, name, grey)
    remove_face(tmp_path, "b")
    assert not (tmp_path / "b.webp").exists()
    with pytest.raises(InputError, match="no face named b"):
        remove_face(tmp_path, "b")
    assert verify_database(tmp_path) == 2
    (tmp_path / "c.webp").write_bytes((tmp_path / "a.webp").read_bytes() + b" ")
    with pytest.raises(AssetError, match="damaged"):
        verify_database(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "list", "picture", "single", "version"])
def test_damaged_database_is_one_sentence(tmp_path, damage) -> None:
    grey = np.full((8, 8, 3), 0.5)
    save_database(tmp_path, faces(a=grey, b=grey), source="a test")
    listing = read_list(tmp_path)
    if damage == "missing":
        (tmp_path / "a.webp").unlink()
    elif damage == "list":
        (tmp_path / "database.json").write_text("{")
    elif damage == "picture":
        (tmp_path / "a.webp").write_bytes(b"RIFF")
    else:
        change = {"faces": listing["faces"][:1]} if damage == "single" else {"format": 1}
        (tmp_path / "database.json").write_text(json.dumps(listing | change))
    with pytest.raises(AssetError) as error:
        load_database(tmp_path, size=8)
    assert "\n" not in str(error.value)


def test_a_face_is_found_among_many_on_disk(tmp_path, rng, monkeypatch) -> None:
    """Half of a face, in another exposure, finds it again; the packed files follow the list."""
    monkeypatch.setattr("jaxface.database.disk.LARGE", 4)
    textures = {}
    for index in range(6):
        coarse = rng.uniform(0.2, 0.8, (8, 8, 3))
        textures[f"face{index}"] = np.kron(coarse, np.ones((16, 16, 1)))
    save_database(tmp_path, faces(**textures), source="a test")
    database = open_database(tmp_path, size=128)
    assert isinstance(database, DiskDatabase) and len(database) == 6
    mask = np.zeros((128, 128))
    mask[:, :70] = 1
    found = database.take(database.nearest(0.8 * textures["face3"], mask, count=1))
    assert found.indices.tolist() == [3] and found.textures.shape == (1, 128, 128, 3)
    remove_face(tmp_path, "face3")
    database = DiskDatabase(tmp_path, size=128)
    assert "face3" not in database.names
    (index,) = database.nearest(textures["face4"], mask, count=1)
    assert database.names[index] == "face4"


def test_removing_a_face_leaves_those_whose_names_begin_alike(tmp_path) -> None:
    grey, flat = np.full((8, 8, 3), 0.5), np.zeros((8, 8))
    names = ("anna", "anna-2", "anna_height")
    save_database(tmp_path, [(name, grey, flat, flat, {}) for name in names], source="a test")
    (tmp_path / "anna.old.webp").write_bytes(b"of the user")
    remove_face(tmp_path, "anna")
    assert verify_database(tmp_path) == 2
    kept = {f"{name}{part}.webp" for name in names[1:] for part in ("", ".height", ".specular")}
    assert {file.name for file in tmp_path.glob("*.webp")} == kept | {"anna.old.webp"}


def test_names_of_faces_are_made_from_names_of_files() -> None:
    names = [build_database.face_name(Path(file)) for file in ("a/Anna B.2.jpg", "zoë-1.png")]
    assert names == ["Anna_B_2", "zoë-1"]
    with pytest.raises(InputError, match="one name"):
        build_database.name_faces([Path("a/anna.jpg"), Path("b/anna.png")])


def test_skins_become_faces_and_pictures_are_found(tmp_path, model, rng) -> None:
    folder, target = tmp_path / "skins", tmp_path / "made"
    folder.mkdir()
    pink = np.broadcast_to([200, 150, 130], (64, 64, 3)).astype(np.uint8)
    iio.imwrite(folder / "pink.png", pink)
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("")
    files = find_photos([tmp_path], deep=True)
    assert [file.name for file in files] == ["broken.png", "pink.png"]

    class Some:
        pass

    assets = Some()
    assets.model, assets.texels = model, texel_map(model, 64)
    reasons = []
    build_database.prepare(target, source="a test", resume=False)
    with pytest.raises(InputError, match="--resume"):
        build_database.prepare(target, source="a test", resume=False)
    for expected in (1, 0):  # the second time it is there already
        count = build_database.add_skins(target, files, assets, lambda *x: reasons.append(x))
        assert count == expected
    assert reasons[0][0] == "broken" and reasons[0][1] and reasons[1] == ("pink", None)
    texture = iio.imread(target / "pink.webp")
    cheek = texture[36, 40].astype(int)
    assert np.abs(cheek - [200, 150, 130]).max() < 12
    assert build_database.contact_sheet(target, tile=32).shape == (32, 256, 3)


def test_layout_and_dilation(model) -> None:
    where = makehuman.layout(model, 64)
    assert (
        where.place[where.part("nose")][:, 2].mean() > where.place[where.part("ears")][:, 2].max()
    )
    image = np.where(where.mask[..., None], [0.2, 0.5, 0.7], 9.0)
    np.testing.assert_allclose(
        makehuman.dilate(image, where), np.broadcast_to([0.2, 0.5, 0.7], image.shape)
    )


def test_sample_returns_the_pixel_at_its_centre(rng) -> None:
    picture = rng.uniform(size=(6, 7, 3))
    got = makehuman.sample(picture, np.array([2.5, 6.5]), np.array([3.5, 0.5]))
    np.testing.assert_allclose(got, picture[[3, 0], [2, 6]], atol=1e-6)
