"""The judges themselves: the independent renderer on closed forms, and the metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from jaxface.evaluation import scene
from jaxface.evaluation.ict import FaceError, load_ict, register
from jaxface.evaluation.known_truth import related
from jaxface.evaluation.methods import detail_ratio, psnr
from jaxface.types import FaceModel

DISTANCE, RADIUS, SIDE, FOCAL = 2.0, 0.5, 96, 150.0


def ball(texture: np.ndarray) -> scene.Scene:
    mesh = trimesh.creation.icosphere(subdivisions=5, radius=RADIUS)
    uvs = np.stack([0.5 + mesh.vertices[:, 0], 0.5 + mesh.vertices[:, 1]], axis=1)
    return scene.Scene(
        vertices=np.asarray(mesh.vertices),
        triangles=np.asarray(mesh.faces),
        uvs=uvs,
        uv_triangles=np.asarray(mesh.faces),
        texture_linear=texture,
        rotation=scene.head_rotation(0),
        translation=np.array([0, 0, DISTANCE]),
        focal=FOCAL,
        principal=(SIDE / 2, SIDE / 2),
    )


def normals() -> tuple[np.ndarray, np.ndarray]:
    """Returns the unit normals of the ball at pixel centres, camera space, and where it is hit."""
    at = np.arange(SIDE) + 0.5 - SIDE / 2
    x, y = np.meshgrid(at / FOCAL, at / FOCAL)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    along = DISTANCE * rays[..., 2]
    inside = along**2 - DISTANCE**2 + RADIUS**2
    points = rays * (along - np.sqrt(np.maximum(inside, 0)))[..., None]
    return (points - [0, 0, DISTANCE]) / RADIUS, inside > 0


def test_a_ball_is_as_large_as_perspective_says() -> None:
    lighting = np.zeros((9, 3))
    _, cover = scene.render(ball(np.ones((4, 4, 3))), SIDE, SIDE, lighting, samples=4)
    radius = FOCAL * RADIUS / np.sqrt(DISTANCE**2 - RADIUS**2)
    np.testing.assert_allclose(cover.sum(), np.pi * radius**2, rtol=2e-3)


def test_a_grey_ball_under_a_linear_light_has_the_closed_form_shading() -> None:
    # Radiance L00 Y00 + L10 Y10 gives irradiance/pi = c + d n_z with A_1/pi = 2/3.
    lighting = np.zeros((9, 3))
    lighting[0], lighting[2] = 0.5 * np.sqrt(4 * np.pi), -0.45 * np.sqrt(4 * np.pi / 3)
    image, _ = scene.render(ball(np.full((4, 4, 3), 0.8)), SIDE, SIDE, lighting, samples=1)
    normal, inside = normals()
    expected = 0.8 * (0.5 - 0.45 * 2 / 3 * normal[..., 2])
    deep = inside & (normal[..., 2] < -0.3)
    np.testing.assert_allclose(scene.decode_srgb(image)[deep][:, 0], expected[deep], atol=3e-3)


def test_irradiance_is_the_integral_over_the_hemisphere() -> None:
    rng = np.random.default_rng(0)
    coefficients = np.repeat(rng.standard_normal((9, 1)) * 0.1, 3, axis=1)
    coefficients[0] = 3.0
    directions = rng.standard_normal((400_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    x, y, z = directions.T
    basis = np.stack([
        np.full_like(x, 0.282095), 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y,
        1.092548 * y * z, 0.315392 * (3 * z**2 - 1), 1.092548 * x * z, 0.546274 * (x**2 - y**2),
    ])  # fmt: skip
    radiance = coefficients[:, 0] @ basis
    normal = np.array([[0.6, -0.64, 0.48]])
    integral = 4 * np.mean(np.maximum(directions @ normal[0], 0) * radiance)
    np.testing.assert_allclose(scene.irradiance(normal, coefficients)[0, 0], integral, rtol=0.01)


def test_the_texture_lies_where_its_uvs_say() -> None:
    # The upper half (v > 0.5, the subject's up) is red; it must be above the middle of the photo,
    # and the subject's left (x > 0) on the right.
    texture = np.zeros((64, 64, 3))
    texture[:32, :, 0] = 1.0
    texture[:, 32:, 1] = 1.0
    lighting = np.zeros((9, 3))
    lighting[0] = np.sqrt(4 * np.pi)
    image, _ = scene.render(ball(texture), SIDE, SIDE, lighting, samples=1)
    quarter = SIDE // 2 - 15, SIDE // 2 + 15
    assert image[quarter[0], SIDE // 2, 0] > 0.9 > 0.1 > image[quarter[1], SIDE // 2, 0]
    assert image[SIDE // 2, quarter[1], 1] > 0.9 > 0.1 > image[SIDE // 2, quarter[0], 1]


def test_a_head_turned_to_its_left_faces_the_right_of_the_photo() -> None:
    nose = scene.head_rotation(30) @ np.array([0, 0, 1.0])
    np.testing.assert_allclose(nose, [0.5, 0, -np.sqrt(0.75)], atol=1e-12)


def test_srgb_round_trip() -> None:
    values = np.linspace(0, 1, 101)
    np.testing.assert_allclose(scene.decode_srgb(scene.encode_srgb(values)), values, atol=1e-7)


def test_psnr_of_a_constant_error() -> None:
    assert psnr(np.zeros((5, 3)), np.full((5, 3), 0.1)) == pytest.approx(20.0)
    assert np.isnan(psnr(np.zeros((0, 3)), np.zeros((0, 3))))


def test_detail_ratio_is_the_square_of_the_contrast() -> None:
    image = np.random.default_rng(0).uniform(size=(64, 64, 3)).astype(np.float32)
    where = np.ones((64, 64), bool)
    assert detail_ratio(0.5 * image, image, where) == pytest.approx(0.25, rel=1e-3)


@pytest.mark.slow
def test_a_face_is_at_no_distance_from_itself_moved(shared: Path, model: FaceModel) -> None:
    ict = load_ict(shared / "ict_facekit")
    fitted = register(ict.neutral, ict, model, sigma=0.7e-3)
    error = FaceError(ict, model)
    close = error(ict.neutral, fitted.vertices)
    moved = 1.1 * fitted.vertices @ scene.head_rotation(20, 5).T + [0.1, 0.2, 0.3]
    assert close < 0.6 < error(ict.neutral, np.asarray(model.mean))
    assert error(ict.neutral, moved) == pytest.approx(close, abs=0.02)


def test_relatives_are_recognised() -> None:
    assert related("young_lightskinned_male2", "young_lightskinned_male_1")
    assert related("old_darkskinned_male", "young_darkskinned_male_1")
    assert not related("young_lightskinned_male", "young_lightskinned_female_1")
    assert not related("young_lightskinned_male", "old_lightskinned_male_1")
