"""The benchmark: measures on closed forms, truths, methods, the journal, tables and sheets."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.errors import InputError
from jaxface.evaluation import benchmark, measures, sources, truth
from jaxface.evaluation.measures import bands, bootstrap, energy_ratios
from jaxface.evaluation.poisson import Poisson
from jaxface.evaluation.tables import Results, differences_table, table, write_tables
from jaxface.evaluation.truth import Condition
from jaxface.morphable.texels import texel_map
from jaxface.types import Correlations, Database, FaceModel

ALL = np.ones((64, 64), bool)


def test_psnr_of_a_constant_error() -> None:
    assert measures.psnr(np.zeros((5, 3)), np.full((5, 3), 0.1)) == pytest.approx(20.0)
    assert np.isnan(measures.psnr(np.zeros((0, 3)), np.zeros((0, 3))))


def test_gain_is_what_the_truth_was_multiplied_by() -> None:
    image = np.random.default_rng(0).uniform(0.1, 0.5, (64, 64, 3))
    factor = np.array([0.5, 1.0, 1.5])
    np.testing.assert_allclose(measures.gain(image, image * factor, ALL), factor)


def test_shading_left_in_an_albedo_is_found() -> None:
    rng = np.random.default_rng(0)
    shading, albedo = rng.uniform(0.2, 1, 4000), rng.uniform(0.2, 0.6, (4000, 1))
    albedo = np.repeat(albedo, 3, axis=1)
    assert measures.shading_left(albedo, shading) < 0.05
    assert measures.shading_left(0.5 * shading[:, None] * np.ones(3), shading) > 0.99
    half = measures.shading_left(albedo * shading[:, None] ** 0.5, shading)
    assert 0.4 < half < 0.8


def test_ssim_is_one_of_equal_pictures_and_that_of_wang_of_flat_ones() -> None:
    image = np.random.default_rng(0).uniform(size=(64, 64, 3))
    np.testing.assert_allclose(measures.ssim_map(image, image), 1, atol=1e-4)
    # Without contrast the luminance term is left: (2 a b + c) / (a^2 + b^2 + c).
    flat = measures.ssim_map(np.full((32, 32, 3), 0.5), np.full((32, 32, 3), 0.25))
    expected = (2 * 0.125 + 1e-4) / (0.25 + 0.0625 + 1e-4)
    np.testing.assert_allclose(flat, expected, rtol=1e-3)


# A Gaussian of half a texel, the finest octave's first, is none once it is sampled.
@pytest.mark.parametrize("octave", range(1, 4))
def test_a_sinusoid_lies_in_its_octave_with_the_power_of_the_closed_form(octave: int) -> None:
    sigma = 0.5 * 2**octave
    # Where exp(-s^2 w^2 / 2) - exp(-2 s^2 w^2) is greatest: w^2 = ln 4 / (1.5 s^2).
    omega = np.sqrt(np.log(4) / 1.5) / sigma
    at = np.arange(256)
    wave = 0.1 * np.sin(omega * at)[None, :, None] * np.ones((256, 1, 3))
    middle = np.zeros((256, 256), bool)
    middle[64:192, 64:192] = True
    power = np.square(bands(wave)[:, middle]).mean((1, 2))
    assert power.argmax() == octave
    response = np.exp(-((sigma * omega) ** 2) / 2) - np.exp(-2 * (sigma * omega) ** 2)
    expected = (0.1 * response * np.sin(omega * at[64:192])) ** 2
    assert power[octave] == pytest.approx(expected.mean(), rel=0.06)


def test_energy_ratio_is_the_square_of_the_contrast() -> None:
    image = np.random.default_rng(0).uniform(size=(64, 64, 3))
    np.testing.assert_allclose(energy_ratios(bands(0.5 * image), bands(image), ALL), 0.25)


def test_tone_of_the_halves_and_across_the_border() -> None:
    true = np.full((64, 64, 3), 0.3)
    half = true.copy()
    half[:, :32] = (0.3 + 2e-3) * 1.1 - 2e-3
    step = np.log(1.1)
    assert measures.asymmetry(half, true, ALL) == pytest.approx(step)
    seen = np.zeros((64, 64), bool)
    seen[:, :32] = True
    assert measures.border_step(half, true, seen, ALL) == pytest.approx(step)
    assert measures.border_step(1.1 * true, true, seen, ALL) == pytest.approx(0, abs=1e-9)


def test_shape_errors_of_a_moved_face_are_nothing_and_of_a_shrunk_nose_are_not(
    model: FaceModel,
) -> None:
    mean = np.asarray(model.mean, float)
    turn = truth.scene.head_rotation(20, 5)
    same = measures.shape_errors(1.2 * mean @ turn.T + 0.1, mean, model)
    # The rotation between the conventions of model and camera takes part in the alignment too.
    assert same["vertex mm"] < 1e-6 and same["normal degrees"] < 1e-3
    nose = np.asarray(model.vertex_region) == model.region_names.index("nose")
    moved = measures.shape_errors(mean - 0.005 * nose[:, None] * [0, 0, 1], mean, model)
    assert 0.5 < moved["vertex mm"] < 5 and moved["normal degrees"] > 0.5


def test_bootstrap_of_equal_differences_and_of_people() -> None:
    assert bootstrap(np.full(6, 2.0), np.arange(6)) == (2.0, 2.0, 2.0)
    assert np.isnan(bootstrap(np.array([1.0, 3.0]), np.array([0, 0]))[1])
    # Normal data: the interval is that of the mean, 1.96 / sqrt(n).
    values = np.random.default_rng(1).standard_normal(400)
    _, low, high = bootstrap(values, np.arange(400))
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    # A hundred photos of one person are not a hundred people.
    people = np.repeat(np.arange(4), 100)
    same = np.repeat([0.0, 1.0, 2.0, 3.0], 100)
    _, low, high = bootstrap(same, people)
    assert high - low > 1.5 and np.isfinite(bootstrap(np.append(same, np.nan), [*people, 9])).all()


def test_classes_divide_the_face() -> None:
    face = np.ones((4, 4), bool)
    face[0] = False
    seen = np.zeros((4, 4), bool)
    seen[1:3, :2] = True
    found = truth.classes(face, seen)
    assert found["mirrored"][1:3, 2:].all() and found["mirrored"].sum() == 4
    assert (sum(x.astype(int) for x in found.values()) == face).all()
    assert found["unobserved"].sum() == 4


def test_conditions_have_their_own_names_and_real_values() -> None:
    plan = benchmark.full()
    names = [condition.name for condition in plan.texture]
    assert len(set(names)) == len(names) == 14
    with pytest.raises(InputError):
        Condition(light="candle")


@pytest.fixture(scope="module")
def grey(model: FaceModel) -> sources.KnownFace:
    """A face of one colour on a random shape."""
    return sources.on_model(model, "grey", np.full((256, 256, 3), 0.4))


def test_a_photo_is_the_same_every_time_and_hides_what_it_should(
    model: FaceModel, grey: sources.Face
) -> None:
    texels = texel_map(model, 64)

    def made(**what: object) -> truth.Truth:
        return truth.photograph(grey, Condition(height=64, **what), model, texels)  # type: ignore[arg-type]

    def share(of: truth.Truth, kind: str) -> float:
        return of.classes[kind].sum() / sum(x.sum() for x in of.classes.values())

    front, side = made(yaw=0), made(yaw=80)
    np.testing.assert_array_equal(front.photo_srgb, made(yaw=0).photo_srgb)
    assert share(front, "mirrored") < 0.1 and share(side, "mirrored") > 0.3
    assert abs(side.turned) == 80 and share(side, "seen") < 0.5
    for thing in ("bars", "glasses", "strands"):
        hidden = made(yaw=0, occluder=thing)
        lost = front.classes["seen"] & ~hidden.classes["seen"]
        assert 0.01 < lost.sum() / front.classes["seen"].sum() < 0.5
        assert not (hidden.classes["seen"] & ~front.classes["seen"]).any()
    # A sun from one side makes a grey face uneven; highlights are brighter than any diffuse light.
    assert made(light="glossy").photo_srgb.max() > made(light="shadow").photo_srgb.max()


@pytest.mark.thorough
def test_what_the_pipeline_sees_is_what_the_rays_see(
    model: FaceModel, grey: sources.KnownFace
) -> None:
    from jaxface.unwrapping import unwrap

    texels = texel_map(model, 128)
    made = truth.photograph(grey, Condition(occluder="none"), model, texels)
    photo = jnp.asarray(made.photo_srgb)
    seen, _ = unwrap(photo, made.fit, model, texels, known_light=True)
    face = sum(made.classes.values()).astype(bool)
    sure = face & (np.asarray(seen.visibility) > 0.9)
    assert sure.sum() > 0.3 * face.sum()
    assert made.classes["seen"][sure].mean() > 0.99
    # The light is given exactly, so that what is seen has the colour that was painted.
    colour = np.asarray(seen.partial)[sure & (np.asarray(seen.skin_mask) > 0.9)]
    np.testing.assert_allclose(np.median(colour, axis=0), 0.4, rtol=0.05)


def test_jpeg_and_noise_change_the_photo_by_what_they_should() -> None:
    photo = np.full((64, 64, 3), 0.5, np.float32)
    noisy = truth.degrade(photo, Condition(noise=0.04), np.random.default_rng(0))
    assert (noisy - photo).std() == pytest.approx(0.04, rel=0.05)
    sharp = np.random.default_rng(0).uniform(size=(64, 64, 3)).astype(np.float32)
    rough = truth.degrade(sharp, Condition(jpeg=30), np.random.default_rng(0))
    fine = truth.degrade(sharp, Condition(jpeg=95), np.random.default_rng(0))
    assert np.abs(rough - sharp).mean() > np.abs(fine - sharp).mean() > 0


def test_relatives_are_recognised() -> None:
    related = sources.related
    assert related("young_lightskinned_male2", "young_lightskinned_male_1")
    assert related("synthetic_07_young_lightskinned_male_2", "young_lightskinned_male")
    assert related("old_darkskinned_male", "young_darkskinned_male_1")
    assert not related("young_lightskinned_male", "young_lightskinned_female_1")
    assert not related("young_lightskinned_male", "synthetic_01_old_lightskinned_male_1")


def test_a_face_is_left_out_with_its_relatives() -> None:
    names = ("a_man_1", "synthetic_00_a_man_1", "b_woman_1", "c_woman_2")
    textures = jnp.arange(4, dtype=jnp.uint8)[:, None, None, None] * jnp.ones(
        (1, 2, 2, 3), jnp.uint8
    )
    everybody = Database(textures, textures[..., 0], jnp.arange(4))
    left = sources.without_relatives(everybody, names, "a_man_2")
    assert left.indices.tolist() == left.textures[:, 0, 0, 0].tolist() == [2, 3]
    with pytest.raises(InputError, match="two faces"):
        sources.without_relatives(left, names, "c_woman")


def test_poisson_of_a_guide_with_an_offset_is_the_offset_guide() -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(size=(24, 24, 3))
    known = np.zeros((24, 24), bool)
    known[:, :8] = True
    charts = np.ones((24, 24), bool)
    charts[-2:] = False
    solved = Poisson(known, charts)(image, image - 0.3)
    np.testing.assert_allclose(solved[charts], image[charts], atol=5e-3)
    np.testing.assert_allclose(solved[~charts], image[~charts] - 0.3)
    # Where the guide is not valid the other one's gradients count: here none, so it is flat.
    flat = Poisson(known, charts)(image * 0 + 0.5, image, ~charts, image * 0)
    np.testing.assert_allclose(flat[charts], 0.5, atol=5e-3)


def test_unseen_cells_take_the_mirror_image_then_the_mean() -> None:
    from jaxface.evaluation.methods import fill_cells

    def made(values: list[float], support: list[float]) -> Correlations:
        return Correlations(
            (jnp.asarray(values)[:, None, None],), (jnp.asarray(support),), ("relu1_1",)
        )

    filled = fill_cells(made([1, 3, 9, 9], [1, 1, 0, 0]), made([0, 0, 7, 0], [0, 0, 1, 0]))
    assert filled.values[0].ravel().tolist() == [1, 3, 7, 2]


def line(face: str, method: str, value: float | None, condition: str = "a") -> dict:
    return {"setting": "texture", "face": face, "condition": condition, "quality": "draft",
            "size": 256, "method": method,
            "measures": {"unobserved": {"PSNR": value, "share": 0.1}, "face": {}}}  # fmt: skip


def test_tables_hold_means_and_paired_differences(tmp_path: Path) -> None:
    rows = [line("x", "ours", 30.0), line("y", "ours", 32.0), line("x", "paper", 29.0)]
    rows += [line("y", "paper", 30.0), line("z", "paper", 10.0), line("z", "ours", None)]
    results = Results(rows)
    assert results.mean("ours", "unobserved", "PSNR") == 31
    assert results.difference("ours", "paper", "unobserved", "PSNR") == (1.5, 1.0, 2.0)
    text = write_tables(tmp_path, rows).read_text()
    assert "| ours - paper | +1.5 [+1, +2] * |" in text
    worse = differences_table(Results(rows[2:4] + rows[:2]), [("unobserved", "PSNR")])
    assert "| paper - ours | -1.5 [-2, -1] - |" in worse
    assert table(["a"], [[float("nan")], [1.23456]]).splitlines()[2:] == ["|  |", "| 1.235 |"]


@pytest.mark.thorough
def test_a_second_run_does_what_is_missing_and_no_more(tmp_path: Path) -> None:
    from jaxface.config import ReconstructConfig
    from jaxface.loading import load_assets

    config = ReconstructConfig.for_quality("draft")
    assets = load_assets(config)
    faces = sources.DatabaseFaces(assets.model)
    plan = benchmark.Plan(1, (Condition(height=64),), ())
    said: list[str] = []

    def run(methods: tuple[str, ...]) -> list[dict]:
        return benchmark.run(
            tmp_path, plan, faces, assets, config, methods=methods, say=said.append
        )

    first = run(("linear albedo", "mirror"))
    assert [row["method"] for row in first] == ["linear albedo", "mirror"] and len(said) == 1
    assert run(("linear albedo", "mirror")) == first and len(said) == 1
    third = run(("linear albedo", "Telea", "nearest face", "uniform average"))
    assert [row["method"] for row in third[2:]] == ["Telea", "nearest face", "uniform average"]
    by = {row["method"]: row["measures"] for row in third}
    # The photo is kept where it is seen, which no linear model can match.
    assert by["mirror"]["seen"]["PSNR"] > by["linear albedo"]["seen"]["PSNR"]
    # An inpainting that never saw a face loses to an average one.
    assert by["Telea"]["mirrored"]["LPIPS"] > by["uniform average"]["mirrored"]["LPIPS"]
    shares = [by["mirror"][kind]["share"] for kind in ("seen", "mirrored", "unobserved")]
    assert sum(shares) == pytest.approx(1)
    pictures = tmp_path / "pictures" / benchmark.stem(third[0])
    assert {"photo.png", "view truth.png", "texture mirror.png"} <= {
        file.name for file in pictures.iterdir()
    }


def test_a_preference_sheet_hides_its_key(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from jaxface.evaluation import sheets
    from jaxface.images import write_png

    rows = [line("x", "ours", 30.0), line("x", "paper", 29.0)]
    pictures = tmp_path / "pictures" / benchmark.stem(rows[0])
    pictures.mkdir(parents=True)
    for name in ("photo", "view truth", "view ours", "view paper"):
        write_png(pictures / f"{name}.png", np.zeros((8, 8, 3)))
    sheet, key = sheets.preference_sheet(tmp_path / "sheet.png", tmp_path, Results(rows))
    found = [text.split(",")[1:3] for text in key.read_text().splitlines()[1:]]
    assert sheet.exists() and [letter for letter, _ in found] == ["A", "B", "C"]
    assert {name for _, name in found} == {"truth", "ours", "paper"}
