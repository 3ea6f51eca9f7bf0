"""Environment maps: their light against closed forms, what the camera sees of them, the sun."""

from __future__ import annotations

import os

import numpy as np
import pytest

from building import environment_maps as maps
from jaxface.errors import AssetError
from jaxface.evaluation.light import Sun, irradiance, project_sun
from jaxface.evaluation.scene import head_rotation

FRONT = head_rotation(0)
TURNED = head_rotation(35, 20, -10)


def constant(value: float = 1.0) -> np.ndarray:
    return np.full((64, 128, 3), value)


def smooth(towards: np.ndarray) -> np.ndarray:
    """A radiance of degree two in the direction, `[..., 3]`, positive."""
    x, y, z = np.moveaxis(towards, -1, 0)
    return np.stack(
        [1 + 0.5 * x - 0.2 * y * z, 1 - 0.4 * z + 0.3 * x * y, 1 + 0.6 * y - 0.2 * x], -1
    )


def random_normals(count: int) -> np.ndarray:
    normals = np.random.default_rng(0).standard_normal((count, 3))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def loaded() -> dict[str, np.ndarray]:
    package = os.environ.get("JAXFACE_ENVIRONMENT_MAPS", "")
    if not os.path.isdir(package):
        pytest.skip("set JAXFACE_ENVIRONMENT_MAPS to an unpacked npm package @pmndrs/assets 1.7.0")
    pytest.importorskip("OpenEXR", reason="pip install jaxface[build] for OpenEXR")
    return maps.load_maps(package)


def test_a_white_surface_in_constant_light_is_white() -> None:
    lighting = maps.to_sh(constant(), TURNED)
    np.testing.assert_allclose(irradiance(random_normals(50), lighting), 1, atol=1e-3)


def test_solid_angles_cover_the_sphere() -> None:
    towards, solid_angle = maps.directions(64, 128)
    np.testing.assert_allclose(128 * solid_angle.sum(), 4 * np.pi, rtol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(towards, axis=-1), 1, rtol=1e-12)


def test_light_is_the_cosine_integral_of_the_map() -> None:
    towards, solid_angle = maps.directions(64, 128)
    radiance = smooth(towards)
    normals = random_normals(20)
    cosine = np.maximum(np.einsum("nc,hwc->nhw", normals @ TURNED, towards), 0)
    wanted = np.einsum("nhw,hwk->nk", cosine * solid_angle, radiance) / np.pi
    lighting = maps.to_sh(radiance, TURNED)
    np.testing.assert_allclose(irradiance(normals, lighting), wanted, atol=2e-3)


def test_a_bright_texel_is_a_sun() -> None:
    towards, solid_angle = maps.directions(64, 128)
    radiance = constant(0.0)
    radiance[20, 75] = [50, 40, 30]
    direction = TURNED @ towards[20, 75]
    flux = radiance[20, 75] * solid_angle[20]
    lighting = maps.to_sh(radiance, TURNED)
    np.testing.assert_allclose(lighting, project_sun(Sun(direction, flux / np.pi)), atol=1e-6)
    facing, averted = irradiance(np.stack([direction, -direction]), lighting)
    assert (facing > 5 * averted).all()


def test_a_light_above_lights_from_above() -> None:
    radiance = constant(0.1)
    radiance[:8] = 10
    up, down = irradiance(np.array([[0, -1.0, 0], [0, 1.0, 0]]), maps.to_sh(radiance, FRONT))
    assert (up > 2 * down).all()


def test_turning_the_camera_is_rolling_the_map() -> None:
    radiance = np.random.default_rng(1).random((64, 128, 3))
    # The scene turns as the head does, to its left: what was on the right comes to the middle.
    rolled = np.roll(radiance, -32, axis=1)
    turned = maps.to_sh(radiance, head_rotation(90))
    np.testing.assert_allclose(maps.to_sh(rolled, FRONT), turned, atol=1e-9)


def test_the_backdrop_shows_each_rays_radiance() -> None:
    towards, _ = maps.directions(256, 512)
    radiance = smooth(towards)
    for rotation in (TURNED, head_rotation(180)):  # the second one looks at the seam
        seen = maps.backdrop(radiance, rotation, 30.0, (20.0, 12.0), 24, 32)
        x, y = np.meshgrid(np.arange(32) + 0.5 - 20, np.arange(24) + 0.5 - 12)
        rays = np.stack([x, y, np.full_like(x, 30.0)], -1)
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        np.testing.assert_allclose(seen, smooth(rays @ rotation), atol=2e-3)


def test_the_backdrop_has_no_seam() -> None:
    radiance = np.random.default_rng(2).random((64, 128, 3))
    behind, before = (
        maps.backdrop(texels, rotation, 40.0, (16.0, 16.0), 32, 32)
        for texels, rotation in (
            (radiance, head_rotation(180)),
            (np.roll(radiance, 64, axis=1), FRONT),
        )
    )
    np.testing.assert_allclose(behind, before, atol=1e-9)


def test_the_backdrop_is_not_mirrored() -> None:
    radiance = constant(0.0)
    radiance[10:32, 70:90] = 1  # above the horizon, right of the middle
    seen = maps.backdrop(radiance, FRONT, 32.0, (32.0, 32.0), 64, 64)[..., 0]
    row, col = np.argwhere(seen > 0.5).mean(0)
    assert row < 32 < col


def test_blur_is_a_disc_that_keeps_the_light() -> None:
    radiance = constant(0.0)
    radiance[31:33, 63:65] = 1
    sharp, soft = (
        maps.backdrop(radiance, FRONT, 100.0, (32.0, 32.0), 64, 64, blur) for blur in (0.0, 8.0)
    )
    np.testing.assert_allclose(soft.sum(), sharp.sum(), rtol=1e-6)
    assert soft.max() < 0.6 * sharp.max()
    y, x = np.nonzero(soft[..., 0] > 1e-9)
    reach = np.hypot(x + 0.5 - 32, y + 0.5 - 32).max()
    source = np.hypot(*(np.argwhere(sharp[..., 0] > 0).T + 0.5 - 32)).max()
    assert source + 7 < reach < source + 9.5
    flat = maps.backdrop(constant(2.0), TURNED, 50.0, (8.0, 8.0), 16, 16, 3.5)
    np.testing.assert_allclose(flat, 2, rtol=1e-6)


def test_the_sun_is_found_and_taken_out() -> None:
    towards, solid_angle = maps.directions(128, 256)
    radiance = np.full((128, 256, 3), 0.5)
    radiance[30:32, 100:102] += [4000, 3000, 2000]
    spot = maps.sun(radiance)
    assert spot is not None
    wanted = 2 * (solid_angle[30] + solid_angle[31]) * [4000, 3000, 2000]
    np.testing.assert_allclose(spot.flux, wanted, rtol=1e-6)
    middle = towards[30:32, 100:102].mean((0, 1))
    np.testing.assert_allclose(spot.direction, middle / np.linalg.norm(middle), atol=1e-3)
    np.testing.assert_allclose(np.pi * spot.radius**2, 4 * solid_angle[30], rtol=0.02)
    np.testing.assert_allclose(spot.rest, 0.5, rtol=1e-9)


def test_even_light_has_no_sun() -> None:
    assert maps.sun(constant()) is None
    assert maps.sun(smooth(maps.directions(64, 128)[0])) is None


def test_mending_gives_the_sun_its_red_back() -> None:
    radiance = np.full((64, 128, 3), [0.5, 0.6, 1.0])
    radiance[20:24, 40:44] = [0, 0, 500]
    radiance[20, 40, 2], radiance[30, 90] = -300, -1
    mended = maps.mend(radiance)
    assert mended.min() >= 0
    blue = radiance[20:24, 40:44, 2].mean()
    np.testing.assert_allclose(mended[20:24, 40:44], np.full((4, 4, 3), blue * radiance[0, 0]))
    assert (mended[0] == radiance[0]).all()


def test_a_missing_package_says_what_to_unpack(tmp_path) -> None:
    with pytest.raises(AssetError, match=r"unpack npm @pmndrs/assets 1\.7\.0"):
        maps.load_maps(tmp_path)


def test_the_maps_are_whole(loaded) -> None:
    assert list(loaded) == list(maps.NAMES)
    for name, radiance in loaded.items():
        assert radiance.shape == (256, 512, 3) and radiance.dtype == np.float32, name
        assert np.isfinite(radiance).all() and radiance.min() >= 0, name
        _, solid_angle = maps.directions(256, 512)
        level = (radiance * solid_angle[..., None]).sum((0, 1)) / (4 * np.pi)
        assert (level > 0.05).all() and (level < 5).all(), name


def test_the_maps_stand_upright(loaded) -> None:
    for name in ("city", "dawn", "park", "sky", "sunset", "venice"):
        assert loaded[name][:100].mean() > 2 * loaded[name][160:].mean(), name


def test_the_maps_suns_are_in_the_sky_and_warm(loaded) -> None:
    spots = {name: maps.sun(radiance) for name, radiance in loaded.items()}
    found = {name: spot for name, spot in spots.items() if spot is not None}
    assert set(found) == {"esplanade", "park", "sky", "studio", "sunrise"}
    for name, spot in found.items():
        assert spot.direction[1] > 0.1, name
        assert (spot.rest <= loaded[name]).all(), name
        assert name == "studio" or spot.flux[0] > spot.flux[2], name  # its flash is blue
