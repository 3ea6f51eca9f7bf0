"""The judges themselves: the independent renderer on closed forms, and the metrics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from jaxface.evaluation import light, scene
from jaxface.evaluation.ict import FaceError, load_ict, register
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


def plate(place: list[float]) -> scene.Prop:
    mesh = trimesh.creation.box([0.1, 0.1, 0.01]).apply_translation(place)
    return scene.Prop(np.asarray(mesh.vertices), np.asarray(mesh.faces), (1.0, 0.0, 0.0))


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
    np.testing.assert_allclose(light.irradiance(normal, coefficients)[0, 0], integral, rtol=0.01)


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


def test_a_screen_before_the_sun_casts_its_shadow() -> None:
    # It hangs over the point of the ball that faces the sun, out of the camera's sight.
    sun = light.Sun(np.array([0.6, 0.0, -0.8]), np.full(3, 0.9), radius=0.0)
    over = plate([0.8 * 0.6, 0, 0.8 * 0.8])
    plain, dark = ball(np.ones((4, 4, 3))), np.zeros((9, 3))
    bright, _ = scene.render(plain, SIDE, SIDE, dark, samples=1, sun=sun)
    shaded, _ = scene.render(replace(plain, props=(over,)), SIDE, SIDE, dark, samples=1, sun=sun)
    normal, inside = normals()
    cosine = normal @ sun.direction
    lit = inside & (cosine > 0.2)
    np.testing.assert_allclose(scene.decode_srgb(bright)[lit][:, 0], 0.9 * cosine[lit], atol=0.01)
    under, beside = lit & (cosine > 0.998), lit & (cosine < 0.985)
    assert under.sum() > 5 and (shaded[under] == 0).all()
    np.testing.assert_array_equal(shaded[beside], bright[beside])
    # The same light, asked for at a point under the screen and at one beside it.
    points = np.array([[0.6, 0, 0.8], [0, 0, 1.0]])
    covered = replace(plain, props=(over,))
    reaching = scene.incoming(covered, RADIUS * points, points, dark, sun)
    np.testing.assert_allclose(reaching[:, 0], [0, 0.9 * 0.8], atol=1e-6)


def test_highlight_at_normal_incidence_is_the_closed_form() -> None:
    # D = 1 / (pi a^2), masking over 4 n.l n.v is 1/4, Fresnel is F0; times pi.
    up = np.array([[0.0, 0.0, 1.0]])
    value = light.highlight(up, up, up, roughness=0.5)
    assert value[0] == pytest.approx(0.028 / (4 * 0.25**2))


def test_a_sun_in_harmonics_gives_its_side_the_light() -> None:
    sun = light.Sun(np.array([0.0, 0.0, -1.0]), np.full(3, 0.5))
    shading = light.irradiance(np.array([[0, 0, -1.0], [0, 0, 1.0]]), light.project_sun(sun))
    # Bands 0 to 2 of a clamped cosine: 1/4 + 1/2 + 5/16 in front, 1/4 - 1/2 + 5/16 behind.
    np.testing.assert_allclose(shading[:, 0], [0.5 * 17 / 16, 0.5 / 16], rtol=1e-3)


def test_scattered_light_keeps_its_mean_and_spreads_red_most() -> None:
    point = np.zeros((32 * 32, 3))
    point[16 * 32 + 16] = 1.0
    blurred = scene._scatter(point, np.arange(32 * 32), (32, 32), 2.0)
    np.testing.assert_allclose(blurred.sum(0), 1, rtol=1e-6)
    assert blurred[16 * 32 + 16, 0] < blurred[16 * 32 + 16, 1] < blurred[16 * 32 + 16, 2]


def test_rays_see_the_front_of_a_ball_but_not_behind_a_prop() -> None:
    points = RADIUS * np.array([[0, 0, 1.0], [0, 0, -1], [0.6, 0, 0.8]])
    free, cosine = scene.visible(ball(np.ones((4, 4, 3))), points, points / RADIUS, SIDE, SIDE)
    assert free.tolist() == [True, False, True] and cosine[0] == pytest.approx(1)
    made = replace(ball(np.ones((4, 4, 3))), props=(plate([0, 0, 0.8]),))
    hidden, _ = scene.visible(made, points, points / RADIUS, SIDE, SIDE)
    assert hidden.tolist() == [False, False, True]


def test_srgb_round_trip() -> None:
    values = np.linspace(0, 1, 101)
    np.testing.assert_allclose(scene.decode_srgb(scene.encode_srgb(values)), values, atol=1e-7)


@pytest.mark.slow
def test_a_face_is_at_no_distance_from_itself_moved(shared: Path, model: FaceModel) -> None:
    ict = load_ict(shared / "ict_facekit")
    fitted = register(ict.neutral, ict, model, sigma=0.7e-3)
    error = FaceError(ict, model)
    close = error(ict.neutral, fitted.vertices)
    moved = 1.1 * fitted.vertices @ scene.head_rotation(20, 5).T + [0.1, 0.2, 0.3]
    assert close < 0.6 < error(ict.neutral, np.asarray(model.mean))
    assert error(ict.neutral, moved) == pytest.approx(close, abs=0.02)
