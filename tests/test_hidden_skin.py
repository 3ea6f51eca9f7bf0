"""Hidden skin: masks, that nothing of what is hidden is left, the classes, the journal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import PHOTOS

from jaxface.config import ReconstructConfig
from jaxface.errors import InputError
from jaxface.evaluation import hidden_skin as hidden
from jaxface.evaluation.sources import on_model
from jaxface.evaluation.truth import Condition, face_texels, photograph
from jaxface.loading import load_assets
from jaxface.morphable.albedo import albedo_texture
from jaxface.types import Assets, UnwrapResult

CONFIG = ReconstructConfig.for_quality("draft")


@pytest.fixture(scope="module")
def assets() -> Assets:
    """Of draft quality."""
    return load_assets(CONFIG)


@pytest.fixture(scope="module")
def skin(assets: Assets) -> hidden.Skin:
    """A face of a colour that the albedo model knows, seen whole but for its left ear's side."""
    coefficients = jnp.zeros(len(assets.model.albedo_names)).at[0].set(1.0)
    texture = albedo_texture(assets.model, coefficients, CONFIG.size)
    face = photograph(
        on_model(assets.model, "anybody", np.full((256, 256, 3), 0.4)),
        Condition(height=64, yaw=0),
        assets.model,
        assets.texels,
    )
    known = face_texels(assets.model, assets.texels)
    known[:, -CONFIG.size // 4 :] = False
    ones = jnp.ones(known.shape)
    seen = UnwrapResult(
        radiance=texture,
        shading=jnp.ones_like(texture),
        partial=texture,
        visibility=1.0 * jnp.asarray(known),
        skin_mask=1.0 * jnp.asarray(known),
        pixels_per_texel=10 * ones,
        low_frequency=texture,
    )
    return hidden.Skin(face.photo_srgb, seen, face.fit, known, np.asarray(texture))


@pytest.mark.slow
def test_masks_hide_one_side_or_the_same_of_both(assets: Assets, skin: hidden.Skin) -> None:
    found = {mask: hidden.hidden_texels(mask, skin, assets, CONFIG) for mask in hidden.MASKS}
    face = face_texels(assets.model, assets.texels)
    for name in hidden.REGIONS:
        region = found[name]
        assert 0.02 < region[face].mean() < 0.35
        # Symmetric but for a texel at the edge.
        assert (region != region[:, ::-1]).sum() < 0.06 * region.sum()
    regions = np.sum([found[name] for name in hidden.REGIONS], axis=0)
    assert (regions > 1).sum() < 0.01 * face.sum()
    # The side that is seen less is the farther one, and the more so the more the head is turned.
    middle = CONFIG.size // 2
    shares = [found[mask][face].mean() for mask in ("yaw 45", "yaw 60", "half")]
    assert 0.05 < shares[0] < shares[1] < 0.6 and shares[2] == pytest.approx(0.5, abs=0.02)
    for mask in ("half", "yaw 45", "yaw 60"):
        hides = (found[mask] & face).sum(0)
        assert hides[middle:].sum() > 5 * hides[:middle].sum()
    other = replace(skin, known=skin.known[:, ::-1])
    assert (hidden.hidden_texels("half", other, assets, CONFIG) != found["half"]).all()
    with pytest.raises(InputError, match="no mask 'ear'"):
        hidden.hidden_texels("ear", skin, assets, CONFIG)


@pytest.mark.slow
def test_classes_of_a_half_are_mirrored_and_of_both_sides_unobserved(
    assets: Assets, skin: hidden.Skin
) -> None:
    whole = replace(skin, known=face_texels(assets.model, assets.texels))
    whole = replace(whole, seen=skin.seen.replace(skin_mask=1.0 * jnp.asarray(whole.known)))
    _, half = hidden.hidden_case("half", whole, assets, CONFIG)
    assert half["mirrored"].sum() > 0.95 * half["seen"].sum()
    assert half["unobserved"].sum() < 0.02 * half["seen"].sum()
    case, cheeks = hidden.hidden_case("cheeks", whole, assets, CONFIG)
    assert cheeks["unobserved"].sum() > 20 * cheeks["mirrored"].sum()
    assert not np.asarray(case.seen.skin_mask)[cheeks["unobserved"]].any()


@pytest.mark.slow
@pytest.mark.parametrize("mask", ["half", "cheeks", "yaw 45"])
def test_nothing_of_what_is_hidden_is_left(assets: Assets, skin: hidden.Skin, mask: str) -> None:
    at = jnp.asarray(hidden.hidden_texels(mask, skin, assets, CONFIG)) & (assets.painted == 0)
    at &= assets.texels.region_ids != assets.model.region_names.index("scalp")
    rng = np.random.default_rng(0)

    def garbled(colours: jnp.ndarray) -> jnp.ndarray:
        return jnp.where(at[..., None], jnp.asarray(rng.uniform(size=colours.shape)), colours)

    seen = skin.seen
    other = seen.replace(
        radiance=garbled(seen.radiance),
        partial=garbled(seen.partial),
        low_frequency=garbled(seen.low_frequency),
        skin_mask=jnp.where(at, 0.5, seen.skin_mask),
        visibility=jnp.where(at, 0.5, seen.visibility),
    )
    (first, fit), (second, other_fit) = (
        hidden.hide(x, skin.fit, at, assets, CONFIG) for x in (seen, other)
    )
    for name in ("radiance", "partial", "low_frequency", "skin_mask", "visibility"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    np.testing.assert_array_equal(fit.parameters.albedo, other_fit.parameters.albedo)
    # And yet an albedo that the model knows is known from the rest.
    inferred, truth = (np.asarray(x.low_frequency)[np.asarray(at) & skin.known]
                       for x in (first, seen))  # fmt: skip
    np.testing.assert_allclose(inferred, truth, rtol=0.05)


@pytest.mark.thorough
def test_a_second_run_judges_what_is_missing_and_no_more(
    assets: Assets, skin: hidden.Skin, tmp_path: Path
) -> None:
    said: list[str] = []

    def run(*methods: str) -> list[dict]:
        return hidden.run(
            tmp_path, [Path("a.jpg")], assets, CONFIG, masks=("cheeks", "half"), methods=methods,
            read=lambda *_: skin, say=said.append,
        )  # fmt: skip

    first = run("low-frequency albedo")
    assert [row["condition"] for row in first] == ["cheeks", "half"] and len(said) == 1
    assert run("low-frequency albedo") == first and len(said) == 1
    second = run("low-frequency albedo", "uniform average")
    assert [row["method"] for row in second[2:]] == ["uniform average"] * 2
    cheeks, half = (row["measures"] for row in first)
    assert "mirrored" not in cheeks and "unobserved" not in half
    # Its truth is the albedo model's.
    assert cheeks["unobserved"]["PSNR"] > 30 and half["mirrored"]["PSNR"] > 30
    files = {file.name for file in (tmp_path / "pictures" / hidden.stem(first[0])).iterdir()}
    assert {"photo.png", "texture seen.png", "view truth.png"} <= files


@pytest.mark.thorough
def test_skin_of_a_photo_is_what_the_photo_shows(assets: Assets) -> None:
    skin = hidden.read_skin(PHOTOS / "biden.jpg", assets, CONFIG)
    face = face_texels(assets.model, assets.texels)
    assert not (skin.known & ~face).any() and skin.known.sum() > 0.2 * face.sum()
    np.testing.assert_array_equal(
        skin.texture_linear[skin.known], np.asarray(skin.seen.partial)[skin.known]
    )
    # With nothing hidden the low-frequency albedo is that of the unwrapping.
    nothing = jnp.zeros(skin.known.shape, bool)
    seen, _ = hidden.hide(skin.seen, skin.fit, nothing, assets, CONFIG)
    front = face & (np.asarray(assets.painted) == 0)
    error = np.abs(np.asarray(seen.low_frequency - skin.seen.low_frequency))[front]
    assert error.mean() < 0.01
