"""Measures of real photos on synthetic input, their journal, tables, sheets and command line."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PHOTOS
from PIL import Image

from jaxface.config import ReconstructConfig
from jaxface.errors import DetectionError, InputError
from jaxface.evaluation import constancy, irises, photo_sheets, photo_tables, polygons, real_photos
from jaxface.evaluation.color_difference import ciede2000, lab
from jaxface.evaluation.journal import append_to_journal, read_journal
from jaxface.evaluation.landmark_errors import landmark_errors
from jaxface.evaluation.photo_measures import PARTS, Ruler
from jaxface.evaluation.round_trip import RoundTrip, round_trip_errors
from jaxface.evaluation.skin_texels import front_skin, texel_size
from jaxface.evaluation.stains import DIAMETERS, band_pass, spread, stains
from jaxface.images import Photo, write_png
from jaxface.landmarks.schemes import FACE_OVAL
from jaxface.morphable.texels import texel_map
from jaxface.types import FaceModel
from jaxface.unwrapping.eyes import IRIS_COLOURS

# L*, a*, b* of both colours and their difference: table 1 of Sharma, Wu and Dalal (2005).
SHARMA = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425
50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.0200 50 0 -82.7485 3.4412
50 -1.3802 -84.2814 50 0 -82.7485 1.0000
50 -1.1848 -84.8006 50 0 -82.7485 1.0000
50 -0.9009 -85.5211 50 0 -82.7485 1.0000
50 0 0 50 -1 2 2.3669
50 -1 2 50 0 0 2.3669
50 2.4900 -0.0010 50 -2.4900 0.0009 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0010 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0011 7.2195
50 2.4900 -0.0010 50 -2.4900 0.0012 7.2195
50 -0.0010 2.4900 50 0.0009 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0010 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0011 -2.4900 4.7461
50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492
50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.9030
50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1.0000
50 2.5 0 50 3.2972 0 1.0000
50 2.5 0 50 1.8634 0.5757 1.0000
50 2.5 0 50 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""
SKIN = (0.45, 0.26, 0.18)  # linear RGB


def test_ciede2000_is_that_of_the_published_pairs() -> None:
    first, second, known = np.split(np.array(SHARMA.split(), float).reshape(-1, 7), [3, 6], axis=1)
    for pair in ((first, second), (second, first)):
        np.testing.assert_allclose(ciede2000(*pair), known[:, 0], atol=6e-5)
    assert ciede2000(first[0], first[0]) == 0


def test_landmark_errors_of_the_oval_are_apart() -> None:
    measured = np.random.default_rng(0).uniform(0, 100, (478, 2))
    fitted = measured + np.array([3.0, 4.0])
    fitted[list(FACE_OVAL)] += [9.0, 12.0]
    assert landmark_errors(fitted, measured, 50.0) == pytest.approx({"inside": 10, "oval": 40})


def test_texels_of_the_front_are_mirrored_and_measured(model: FaceModel) -> None:
    texels = texel_map(model, 128)
    skin = front_skin(model, texels)
    assert (skin == skin[:, ::-1]).all() and 0.15 < skin.mean() < 0.8
    eyes = np.asarray(texels.region_ids) == model.region_names.index("eyes")
    assert not (skin & eyes).any()
    coarse, fine = texel_size(model, texels), texel_size(model, texel_map(model, 256))
    assert coarse == pytest.approx(2 * fine, rel=0.03)
    # As large as the triangles whose corners are all of skin or nose and in front.
    regions = np.isin(model.vertex_region, [model.region_names.index(x) for x in ("skin", "nose")])
    mean = np.asarray(model.mean, float)
    triangles = np.asarray(model.triangles)
    corners = mean[triangles[(regions & (mean[:, 2] > -0.06))[triangles].all(1)]]
    edges = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = 0.5e6 * np.linalg.norm(np.cross(*edges), axis=1).sum()
    assert skin.sum() * coarse**2 == pytest.approx(area, rel=0.25)


def hue_wave(period: float, size: int = 256) -> np.ndarray:
    """Returns skin whose log(r/g) is a sine of amplitude 0.1 along the columns."""
    wave = 0.1 * np.sin(2 * np.pi * (np.arange(size) + 0.5 - size / 2) / period)
    texture = np.ones((size, size, 3)) * SKIN
    texture[..., 0] *= np.exp(wave)
    return texture


def test_band_pass_has_the_response_of_the_closed_form() -> None:
    at = 2 * np.pi * np.arange(256) / 32
    image = np.broadcast_to(np.sin(at)[None, :, None], (256, 256, 1))
    found = band_pass(image, np.ones((256, 256), bool), 3.0, 6.0)[128, 64:192, 0]
    omega = 2 * np.pi / 32
    response = np.exp(-((3 * omega) ** 2) / 2) - np.exp(-((6 * omega) ** 2) / 2)
    np.testing.assert_allclose(found, response * np.sin(at[64:192]), atol=1e-3)


def test_what_is_beside_the_mask_does_not_count() -> None:
    mask = np.zeros((64, 64), bool)
    mask[:, 20:40] = True
    image = np.where(mask[..., None], 0.3, np.random.default_rng(0).uniform(size=(64, 64, 1)))
    np.testing.assert_allclose(band_pass(image, mask, 2.0, 4.0)[mask], 0, atol=1e-12)


def test_spread_is_the_deviation_of_normal_values_and_bears_outliers() -> None:
    values = np.random.default_rng(0).standard_normal((20_000, 2)) * [1.0, 3.0]
    np.testing.assert_allclose(spread(values), [1, 3], rtol=0.03)
    values[:200] = 1e3
    np.testing.assert_allclose(spread(values), [1, 3], rtol=0.06)
    assert np.isnan(spread(np.zeros((0, 2)))).all()


def test_a_wave_of_hue_is_a_stain_of_its_width() -> None:
    # Half a period of 20 mm at 1.25 mm a texel.
    texture, everything = hue_wave(32.0), np.ones((256, 256), bool)
    found = stains(texture, everything, 1.25)
    hues = {d: found[f"chroma {d} mm"] for d in DIAMETERS}
    assert max(hues, key=lambda d: hues[d]) == 20
    # q95 of a sine is sin(0.45 pi); root mean square over log(r/g), log(b/g) of which one is 0.
    sigmas = np.array([4.0, 8.0]) * 2 * np.pi / 32
    response = np.exp(-(sigmas[0] ** 2) / 2) - np.exp(-(sigmas[1] ** 2) / 2)
    expected = 0.1 * response * np.sin(0.45 * np.pi) / 1.6449 / np.sqrt(2)
    assert hues[20] == pytest.approx(100 * expected, rel=0.05)
    # The wave is odd about the middle, so that the halves differ by twice as much.
    assert found["left-right chroma 20 mm"] == pytest.approx(2 * hues[20], rel=0.01)
    # Shade is no stain, and what both halves have is no difference.
    shaded = np.ones((256, 256, 3)) * SKIN * np.linspace(0.5, 1, 256)[:, None, None]
    assert all(value < 0.3 for value in stains(shaded, everything, 1.25).values())
    assert np.isnan(stains(texture, ~everything, 1.25)["chroma 5 mm"])


def test_constancy_of_known_changes() -> None:
    rng = np.random.default_rng(0)
    vertices, texture = rng.uniform(-0.1, 0.1, (6, 3)), rng.uniform(0.1, 0.9, (4, 4, 3))
    mirror, front = np.array([1, 0, 3, 2, 5, 4]), np.array([True] * 4 + [False] * 2)
    skin = np.ones((4, 4)) * [0.9, 0.6, 0.9, 0.0]
    first = constancy.Appearance(np.array(SKIN), vertices, texture, skin)
    mirrored = constancy.Appearance(
        np.array(SKIN), vertices[mirror] * [-1, 1, 1], texture[:, ::-1], skin[:, ::-1]
    )
    names = ("CIEDE2000", "typology degrees", "vertices mm", "albedo levels")
    same = constancy.changes(first, mirrored, front, mirror)
    assert same == pytest.approx(dict.fromkeys(names, 0), abs=1e-9)
    # A rigid motion of the head is no other face, and what only one photo shows is not compared.
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    other = np.where(skin[..., None] > 0.5, texture, 0)
    moved = replace(first, vertices=vertices @ turn.T + 0.01, texture=other)
    assert constancy.changes(first, moved, front) == pytest.approx(same, abs=1e-9)
    # Corners of a square, each 5 mm farther from its centre: no motion undoes that.
    square = np.array([[1.0, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]]) / np.sqrt(2)
    small, large = (np.concatenate([r * square, vertices[4:]]) for r in (0.05, 0.055))
    levels = constancy.encode_srgb(texture) + 3 / 255
    first = replace(first, vertices=small)
    moved = constancy.Appearance(2 * np.array(SKIN), large, constancy.decode_srgb(levels), skin)
    found = constancy.changes(first, moved, front)
    assert found["vertices mm"] == pytest.approx(5)
    assert found["albedo levels"] == pytest.approx(3)
    assert np.isnan(constancy.changes(first, replace(moved, skin=0 * skin), front)["albedo levels"])
    colours = lab(np.array(SKIN)), lab(2 * np.array(SKIN))
    assert found["CIEDE2000"] == pytest.approx(ciede2000(*colours))
    angles = [np.degrees(np.arctan2(c[0] - 50, c[2])) for c in colours]
    assert found["typology degrees"] == pytest.approx(abs(angles[1] - angles[0]))


def test_variants_of_a_photo_are_what_their_names_say() -> None:
    srgb = np.full((40, 60, 3), 0.5, np.float32)
    srgb[:, :30] = 0.4
    photo = Photo(srgb, 90.0, "grey")
    varied = {name: constancy.vary(photo, name) for name in constancy.VARIANTS}
    light = {name: constancy.decode_srgb(one.srgb[5, -5]) for name, one in varied.items()}
    grey = constancy.decode_srgb(np.array(0.5))
    np.testing.assert_allclose(light["exposure x 0.5"], 0.5 * grey, rtol=1e-4)
    np.testing.assert_allclose(light["exposure x 1.5"], 1.5 * grey, rtol=1e-4)
    np.testing.assert_allclose(light["white balance warm"], grey * [1.15, 1, 0.85], rtol=1e-4)
    np.testing.assert_allclose(light["white balance cold"], grey * [0.85, 1, 1.15], rtol=1e-4)
    assert varied["gamma 0.9"].srgb[5, -5, 0] == pytest.approx(0.5**0.9)
    small = varied["half size"]
    assert small.srgb.shape == (20, 30, 3) and small.focal == 45
    assert np.abs(varied["JPEG 50"].srgb - srgb).max() < 0.05
    np.testing.assert_array_equal(varied[constancy.MIRRORED].srgb, srgb[:, ::-1])
    large = varied["double size"]
    assert large.srgb.shape == (80, 120, 3) and large.focal == 180
    np.testing.assert_array_equal(varied["turned 180"].srgb, srgb[::-1, ::-1])
    for name, (row, column) in {"wider frame": (40, 30), "corner": (80, 60)}.items():
        framed = varied[name]
        assert framed.srgb.shape == (120, 120, 3) and framed.focal == 90
        np.testing.assert_array_equal(framed.srgb[row : row + 40, column : column + 60], srgb)
    np.testing.assert_array_equal(varied["turned 90"].srgb, srgb.transpose(1, 0, 2)[::-1])
    cropped = varied[constancy.CROPPED]
    assert cropped.focal is None
    np.testing.assert_array_equal(cropped.srgb, srgb[:36, 7:])
    # Anticlockwise: the dark left half ends lower left.
    turned = varied["turned 30"].srgb
    assert turned.shape == (73, 73, 3) and varied["turned 30"].focal == 90
    dark = np.argwhere(turned[..., 0] < 0.45).mean(0)
    assert dark[0] > 40 and dark[1] < 30


def test_off_axis_is_what_a_turned_camera_shows() -> None:
    """A disk on the axis: its place, its area (1 / cos^3) and its stretch outwards (1 / cos)."""
    srgb, angle = np.full((400, 300, 3), 0.2, np.float32), np.radians(17)
    x, y = np.meshgrid(np.arange(300) + 0.5, np.arange(400) + 0.5)
    disk = np.hypot(x - 150, y - 200) < 40
    srgb[disk] = 1.0
    turned = constancy.vary(Photo(srgb, 600.0, "disk"), constancy.OFF_AXIS)
    assert turned.srgb.shape == (800, 800, 3) and turned.focal == 600
    points = np.argwhere(turned.srgb[..., 0] > 0.6) + 0.5
    np.testing.assert_allclose(points.mean(0), 400 + 600 * np.tan(angle) / np.sqrt(2), atol=1.0)
    assert len(points) / disk.sum() == pytest.approx(np.cos(angle) ** -3, rel=0.01)
    outwards, across = (points @ np.array(axis) for axis in ((1, 1), (1, -1)))
    assert outwards.std() / across.std() == pytest.approx(1 / np.cos(angle), rel=0.01)


def test_constancy_of_a_photo_that_loses_its_face_is_nothing() -> None:
    photo, seen = Photo(np.full((8, 8, 3), 0.5, np.float32), None, "grey"), []
    texture = np.ones((2, 2, 3))
    first = constancy.Appearance(np.array(SKIN), np.zeros((2, 3)), texture, texture[..., 0])

    def look(one: Photo) -> constancy.Appearance:
        seen.append(one)
        if len(one.srgb) < len(photo.srgb):
            raise DetectionError("no face")
        return first

    found = constancy.constancy(photo, first, look, np.ones(2, bool), np.array([1, 0]))
    assert list(found) == list(constancy.VARIANTS) and len(seen) == len(found)
    assert found["half size"] == {} and found["gamma 1.1"]["vertices mm"] == 0


def eyes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns landmarks of two eyes, each pixel's distance to the nearer iris' centre, and height
    over both."""
    landmarks = np.full((478, 2), -50.0)
    x, y = np.meshgrid(np.arange(200) + 0.5, np.arange(100) + 0.5)
    away = np.full(x.shape, np.inf)
    for iris, eye, centre in (
        (irises.RIGHT_IRIS, irises.RIGHT_EYE, (50.0, 50.0)),
        (irises.LEFT_IRIS, irises.LEFT_EYE, (150.0, 50.0)),
    ):
        landmarks[iris[0]] = centre
        landmarks[list(iris[1:])] = centre + 20 * np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
        turn = np.linspace(0, 2 * np.pi, len(eye), endpoint=False)
        landmarks[list(eye)] = centre + np.stack([45 * np.cos(turn), 14 * np.sin(turn)], axis=1)
        away = np.minimum(away, np.hypot(x - centre[0], y - centre[1]))
    return landmarks, away, np.abs(y - 50)


def test_irises_are_compared_without_pupil_lids_and_reflections() -> None:
    landmarks, away, height = eyes()
    where = irises.iris_pixels(landmarks, away.shape)
    assert where.sum() > 500 and height[where].max() < 13
    assert away[where].min() > 8 and away[where].max() < 19

    def picture(colour: tuple[float, float, float]) -> np.ndarray:
        linear = np.where((away < 20)[..., None], colour, 0.6)
        linear[(away < 7) | (height > 14)] = 0.01
        return constancy.encode_srgb(linear)

    brown, blue = (0.09, 0.045, 0.02), (0.17, 0.24, 0.33)
    photo = picture(brown)
    photo[(away > 9) & (away < 13) & (height < 4)] = 1.0  # a reflection
    assert irises.iris_difference(photo, picture(brown), landmarks) == pytest.approx(0, abs=1e-6)
    expected = ciede2000(lab(np.array(brown)), lab(np.array(blue)))
    assert irises.iris_difference(photo, picture(blue), landmarks) == pytest.approx(expected)
    closed = landmarks.copy()
    closed[list(irises.RIGHT_EYE + irises.LEFT_EYE), 1] = 50
    assert np.isnan(irises.iris_difference(photo, photo, closed))


def test_irises_of_the_palette_have_their_classes() -> None:
    found = [irises.colour_class(np.array(colour)) for colour in IRIS_COLOURS]
    assert found == ["brown"] * 2 + ["hazel/green"] * 2 + ["blue/grey"] * 2
    labels = irises.check_labels({"a.jpg": "hazel", "b.jpg": "unknown"}, "irises.json")
    assert labels == {"a.jpg": "hazel/green"}
    with pytest.raises(InputError, match=r"b.jpg is 'red'"):
        irises.check_labels({"b.jpg": "red"}, "irises.json")


def box(kind: str, left: float, top: float, right: float, bottom: float) -> dict[str, Any]:
    return {"kind": kind, "points": [[left, top], [right, top], [right, bottom], [left, bottom]]}


def test_polygons_count_what_lies_on_the_mesh() -> None:
    skin, face = np.zeros((40, 60)), np.ones((40, 60), bool)
    skin[:, :30] = 1.0
    face[20:] = False
    drawn = [box("face", 0, 0, 40, 40), box("hair", 20, 0, 40, 40)]
    # The face is what the hair leaves of it: columns 0 to 20, all kept; of the hair one half is.
    found = polygons.kept_and_cut(drawn, skin, face)
    assert found == pytest.approx({"face kept": 100, "hair cut": 50}, abs=1e-9)
    assert polygons.kept_and_cut([box("other", 0, 25, 60, 40)], skin, face) == {}
    # The same polygons in a photo of twice the size, 10 pixels further right and down.
    photo = [p | {"points": (np.array(p["points"]) * 2 + 10).tolist()} for p in drawn]
    again = polygons.kept_and_cut(photo, skin, face, corner=(10.0, 10.0), scale=0.5)
    assert again == found
    with pytest.raises(InputError, match="kind"):
        polygons.check_polygons({"a.jpg": [box("beard", 0, 0, 1, 1)]}, "polygons.json")


def test_a_polygon_holds_the_pixels_whose_centres_it_holds() -> None:
    inside = polygons.fill(np.array([[2.0, 1.0], [7.4, 1.0], [7.4, 4.0], [2.0, 4.0]]), (6, 9))
    expected = np.zeros((6, 9), bool)
    expected[1:4, 2:7] = True
    np.testing.assert_array_equal(inside, expected)
    triangle = polygons.fill(np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 50.0]]), (60, 120))
    assert triangle.sum() == pytest.approx(2500, rel=0.01) and triangle[10, 70] > triangle[30, 70]


def test_round_trip_errors_are_of_skin_alone() -> None:
    from jaxface.features.weights import load_alexnet

    rng, skin = np.random.default_rng(0), np.zeros((64, 64))
    skin[16:48, 16:48] = 1.0
    photo = rng.uniform(0.2, 0.7, (64, 64, 3)).astype(np.float32)
    beside = np.where(skin[..., None] > 0, photo, 0.0)
    shifted = np.where(skin[..., None] > 0, photo + np.float32(0.1), 0.0)
    trip = RoundTrip(photo, shifted, beside, skin, skin > 0)
    found = round_trip_errors(trip, load_alexnet())
    assert found["PSNR fitted light"] == pytest.approx(20, abs=1e-3)
    assert found["PSNR refined light"] == pytest.approx(120)
    assert found["LPIPS refined light"] < 1e-9 < 1e-3 < found["LPIPS fitted light"]


@dataclass
class Pretended:
    """Stands for a reconstruction: black pictures, no result."""

    photo: Photo
    ruler: Ruler
    name: str

    def __post_init__(self) -> None:
        if self.photo.srgb.shape[0] == 50:
            raise DetectionError("No face was found.")

    def pictures(self) -> list[np.ndarray]:
        return [np.zeros((8, 8, 3))] * 5


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Three grey pictures, the last without a face; every part counts how often it is measured."""
    for index, side in enumerate((40, 40, 50)):
        write_png(tmp_path / f"{index}.png", np.full((side, side, 3), 0.5))
    calls = dict.fromkeys(PARTS, 0)

    def part(name: str) -> Any:
        def measure(it: Pretended) -> dict[str, Any]:
            calls[name] += 1
            return {"value": float("nan") if it.name == "1.png" else calls[name]}

        return measure

    monkeypatch.setattr(real_photos, "Judged", Pretended)
    monkeypatch.setattr(real_photos, "PARTS", {name: part(name) for name in PARTS})
    return sorted(tmp_path.glob("*.png"))


def test_a_second_run_measures_what_is_missing(tmp_path: Path, photos: list[Path]) -> None:
    out, said, config = tmp_path / "out", [], ReconstructConfig.for_quality("draft")
    nothing: Any = None
    plain = Ruler(nothing, config, polygons={"1.png": []})
    rows = real_photos.run(out, photos, plain, say=said.append)
    assert [row["found"] for row in rows] == [True, True, False] and len(said) == 3
    assert "masks" in rows[1] and "masks" not in rows[0] and "constancy" not in rows[0]
    assert rows[1]["stains"] == {"value": None} and rows[0]["stains"] == {"value": 1}
    assert real_photos.run(out, photos, plain, say=said.append) == rows and len(said) == 3
    more = Ruler(nothing, config, constancy=1)
    again = real_photos.run(out, photos, more, say=said.append)
    assert len(said) == 4 and again[1:] == rows[1:]
    assert again[0]["stains"] == rows[0]["stains"] and again[0]["constancy"] == {"value": 1}
    # Another quality is another measurement.
    high = Ruler(nothing, ReconstructConfig.for_quality("high"))
    assert len(real_photos.run(out, photos[:1], high, say=said.append)) == 1 and len(said) == 5
    sheets = photo_sheets.write_sheets(out, rows, config)
    assert [file.name for file in sheets] == ["draft_00.png"]
    with Image.open(sheets[0]) as sheet:
        assert sheet.width <= 2000 and sheet.width == 10 * photo_sheets.TILE


def test_a_journal_is_read_up_to_where_it_was_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    assert read_journal(file) == []
    append_to_journal(file, [{"a": {"b": float("nan")}}, {"a": 1.5}])
    file.write_text(file.read_text() + '{"a": 1')
    assert read_journal(file) == [{"a": {"b": None}}, {"a": 1.5}]


def row(name: str, psnr: float, stain: float, albedo: tuple[float, ...]) -> dict[str, Any]:
    change = {"CIEDE2000": stain, "vertices mm": 1.0}
    return {
        "photo": name,
        "found": True,
        "landmarks": {"inside": 1.0, "oval": 2 * psnr},
        "round trip": {"PSNR fitted light": psnr},
        "stains": {"chroma 5 mm": stain},
        "iris": {"CIEDE2000": None, "albedo": list(albedo)},
        "constancy": {"half size": change, "mirrored": {}},
    }


def test_tables_hold_means_worst_photos_and_the_ruler(tmp_path: Path) -> None:
    rows = [row("a", 30.0, 1.0, IRIS_COLOURS[1]), row("b", 20.0, 3.0, IRIS_COLOURS[5])]
    rows.append({"photo": "c", "found": False, "failed": "No face."})
    skins = {"x": {"chroma 5 mm": 0.0}, "y": {"chroma 5 mm": 2.0}}
    labels = {"a": "brown", "b": "hazel/green", "c": "brown"}
    text = photo_tables.write_tables(tmp_path, rows, skins=skins, labels=labels).read_text()
    assert "3 photos; no face in 1: c" in text
    assert "| PSNR fitted light | 2 | 25 | 25 |" in text
    assert "| PSNR fitted light | b (20), a (30) |" in text
    assert "| landmark error %, oval | a (60), b (40) |" in text
    # Skins have 0 and 2: 95 % of them within 1.9, as one of the two photos is.
    assert "| chroma 5 mm | 2 | 2 | 2.9 | 1 | 1.9 | 50 | b (3), a (1) |" in text
    assert "1 of 2 irises" in text and "| hazel/green | 0 | 0 | 1 | b |" in text
    assert "| half size | 2 | 0 | 2 | 2 | 1 | 1 |" in text and "| mirrored | 0 | 2 |" in text
    assert "| half size, CIEDE2000 | b (3), a (1) |" in text
    bare = photo_tables.write_tables(tmp_path, rows[2:]).read_text()
    assert "## Irises" not in bare and "## Constancy" not in bare


def test_labels_are_read_by_name(tmp_path: Path) -> None:
    assert real_photos.read_labels(None, "irises.json") == {}
    assert real_photos.read_labels(tmp_path, "irises.json") == {}
    file = tmp_path / "irises.json"
    file.write_text(json.dumps({"photos": {"a.jpg": "brown"}}))
    assert real_photos.read_labels(tmp_path, "irises.json") == {"a.jpg": "brown"}
    for text in ("[]", '{"photos": 3}', "{"):
        file.write_text(text)
        with pytest.raises(InputError, match=r"irises\.json"):
            real_photos.read_labels(tmp_path, "irises.json")


@pytest.mark.thorough
def test_an_example_photo_has_every_number(tmp_path: Path) -> None:
    from jaxface.loading import load_assets

    config = ReconstructConfig.for_quality("draft")
    drawn = {"obama.jpg": [box("face", 0, 0, 2000, 2000)]}
    ruler = Ruler(load_assets(config), config, polygons=drawn)
    photos, said = [PHOTOS / "obama.jpg"], []
    (found,) = real_photos.run(tmp_path, photos, ruler, say=said.append)
    assert set(found) >= {"found", "seconds", *PARTS} - {"identity", "constancy"}
    assert found["landmarks"]["inside"] < 3 and found["landmarks"]["oval"] < 15
    assert found["round trip"]["PSNR refined light"] > 30
    assert 0 < found["round trip"]["LPIPS fitted light"] < 0.5
    assert 20 < found["masks"]["face kept"] < 100
    assert irises.colour_class(np.array(found["iris"]["albedo"])) == "brown"
    assert found["iris"]["CIEDE2000"] < 30 and len(found["stains"]) == 3 * len(DIAMETERS)
    assert real_photos.run(tmp_path, photos, ruler, say=said.append) == [found]
    assert len(said) == 1
    assert photo_tables.write_tables(tmp_path, [found]).exists()
    assert len(photo_sheets.write_sheets(tmp_path, [found], config)) == 1
