"""The renderer against integer brute force, rays, OpenCV, SciPy and finite differences."""

from functools import partial

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import trimesh
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from jaxface.morphable.model import shape
from jaxface.rendering.camera import axis_angle, look_at, project, rotation_matrix
from jaxface.rendering.color import linear_to_srgb, srgb_to_linear
from jaxface.rendering.interpolate import interpolate
from jaxface.rendering.lighting import directional, sh_basis, shade, studio, uniform
from jaxface.rendering.normals import vertex_normals
from jaxface.rendering.occlusion import sky_seen
from jaxface.rendering.rasterize import rasterize, triangle_ids
from jaxface.rendering.render import render
from jaxface.rendering.texture import sample_image, sample_pyramid, sample_texture
from jaxface.types import FaceModel


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def brute_force(xy, depth, triangles, height, width):
    """Returns winner and depth of every pixel, and how many triangles cover it, in int64."""
    nearest = np.full((height, width), np.inf)
    winner = np.full((height, width), -1)
    cover = np.zeros((height, width), int)
    snapped = np.round(xy * 256).astype(np.int64)
    y, x = np.mgrid[:height, :width] * 256 + 128
    ones = np.stack([x / 256, y / 256, np.ones((height, width))], -1)
    for index, corners in enumerate(triangles):
        a, b, c = snapped[corners]
        area = (b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0]
        if area == 0:
            continue
        if area < 0:
            a, c = c, a
        inside = np.ones((height, width), bool)
        for p, q in ((a, b), (b, c), (c, a)):
            dx, dy = q - p
            edge = dx * (y - p[1]) - dy * (x - p[0])
            inside &= (edge > 0) | ((edge == 0) & ((dy < 0) | ((dy == 0) & (dx > 0))))
        matrix = np.column_stack([xy[corners], np.ones(3)]).astype(np.float64)
        pixel_depth = 1 / (ones @ np.linalg.inv(matrix) @ (1 / depth[corners].astype(np.float64)))
        closer = inside & (pixel_depth < nearest)
        nearest[closer], winner[closer] = pixel_depth[closer], index
        cover += inside
    return winner, nearest, cover


def triangle_soup(generator, count, size, grid=0.5):
    """Random triangles; every fourth vertex lies on a coarse grid, to provoke ties."""
    centre = generator.uniform(0, 64, (count, 1, 2))
    xy = (centre + generator.normal(0, size, (count, 3, 2))).reshape(-1, 2).astype(np.float32)
    xy[::4] = np.round(xy[::4] / grid) * grid
    depth = generator.uniform(1, 2, 3 * count).astype(np.float32)
    return xy, depth, np.arange(3 * count).reshape(-1, 3)


@pytest.mark.parametrize("size", [2.0, 12.0, 1000.0])
def test_rasterize_equals_brute_force(generator, size):
    xy, depth, triangles = triangle_soup(generator, 60, size)
    winner, nearest, _ = brute_force(xy, depth, triangles, 60, 72)
    raster, dropped = rasterize(jnp.array(xy), jnp.array(depth), jnp.array(triangles), 60, 72)
    np.testing.assert_array_equal(triangle_ids(raster), winner)
    covered = winner >= 0
    np.testing.assert_allclose(raster[..., 2][covered], nearest[covered], rtol=5e-4)
    assert int(dropped) == 0


def test_rasterize_is_watertight(generator):
    count = 37
    angle = np.sort(generator.uniform(0, 2 * np.pi, count))
    radius = generator.uniform(5, 29, count)[:, None]
    rim = 32.5 + radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    xy = jnp.array(np.concatenate([[[32.5, 32.5]], rim]), jnp.float32)
    fan = jnp.array([[0, 1 + i, 1 + (i + 1) % count] for i in range(count)])
    draw = partial(rasterize, xy, jnp.ones(count + 1), height=64, width=64)
    single = jax.lax.map(lambda corners: draw(triangles=corners[None])[0][..., 3] > 0, fan)
    cover = np.asarray(single).sum(0)
    assert cover.max() == 1
    np.testing.assert_array_equal(cover == 1, draw(triangles=fan)[0][..., 3] > 0)


def test_rasterize_drops_what_is_behind_the_camera_and_reports_it():
    xy = jnp.array([[0.0, 0], [0, 9], [9, 0], [9, 9], [jnp.nan, 0], [1e6, 0]])
    depth = jnp.array([1.0, 1, 1, -1, 1, 1])
    triangles = jnp.array([[0, 1, 2], [1, 3, 2], [0, 1, 4], [0, 1, 5]])
    raster, dropped = rasterize(xy, depth, triangles, 8, 8)
    assert int(dropped) == 3
    assert set(np.unique(triangle_ids(raster))) == {-1, 0}
    assert np.isfinite(raster).all()


def test_cull_leaves_out_backs(generator):
    xy, depth, triangles = triangle_soup(generator, 40, 9.0)
    side_a, side_b = (
        xy[triangles[:, 1]] - xy[triangles[:, 0]],
        xy[triangles[:, 2]] - xy[triangles[:, 0]],
    )
    front = side_a[:, 0] * side_b[:, 1] - side_a[:, 1] * side_b[:, 0] < 0
    arrays = jnp.array(xy), jnp.array(depth)
    culled, _ = rasterize(*arrays, jnp.array(triangles), 64, 64, cull=True)
    only_front, _ = rasterize(*arrays, jnp.array(triangles[front]), 64, 64)
    np.testing.assert_array_equal(culled[..., 2], only_front[..., 2])


def test_rasterize_equals_rays(generator):
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=0.1)
    vertices = jnp.array(
        mesh.vertices + generator.normal(0, 1e-3, mesh.vertices.shape), jnp.float32
    )
    camera = look_at(0.4, 0.2, 64, 64, extent=0.25)
    xy, depth = project(vertices, camera)
    raster, _ = rasterize(xy, depth, jnp.array(mesh.faces), 64, 64)
    rotation = np.asarray(rotation_matrix(camera.rotation))
    y, x = np.mgrid[:64, :64] + 0.5
    directions = np.stack([(x - 32) / camera.focal, (y - 32) / camera.focal, np.ones_like(x)], -1)
    origin = -rotation.T @ np.asarray(camera.translation)
    shape = trimesh.Trimesh(np.asarray(vertices), mesh.faces, process=False)
    hit = shape.ray.intersects_first(
        np.tile(origin, (64 * 64, 1)), (directions @ rotation).reshape(-1, 3)
    ).reshape(64, 64)
    ids = np.asarray(triangle_ids(raster))
    assert (ids == hit).mean() > 0.998
    assert ((ids >= 0) == (hit >= 0)).mean() > 0.998
    position = interpolate(vertices, raster, jnp.array(mesh.faces))
    again, _ = project(position.reshape(-1, 3), camera)
    error = jnp.abs(again.reshape(64, 64, 2) - jnp.stack([x, y], -1))[ids >= 0]
    assert error.max() < 0.02  # a pixel, perspective-correct


def test_rasterize_under_vmap_and_jit(generator):
    xy, depth, triangles = triangle_soup(generator, 30, 8.0)
    draw = partial(rasterize, triangles=jnp.array(triangles), height=32, width=40)
    shifted = jnp.stack([jnp.array(xy), jnp.array(xy) * 0.5])
    batch, _ = jax.jit(jax.vmap(draw, in_axes=(0, None)))(shifted, jnp.array(depth))
    for row, single in zip(batch, shifted, strict=True):
        np.testing.assert_allclose(row, draw(single, jnp.array(depth))[0], atol=1e-5)


def test_gradients_of_interpolation_and_texture(generator):
    with jax.enable_x64(True):
        triangles = jnp.array([[0, 1, 2], [2, 1, 3]])
        xy = jnp.array([[1.2, 0.7], [0.9, 14.3], [15.1, 1.1], [14.2, 15.0]])
        depth = jnp.array([1.0, 1.4, 0.8, 1.2])
        weight = jnp.array(generator.normal(size=(16, 16, 2)))
        texture = jnp.array(generator.normal(size=(8, 8, 2)))

        @jax.jit
        def loss(xy, depth, uvs, texture):
            raster, _ = rasterize(xy, depth, triangles, 16, 16)
            uv = interpolate(uvs, raster, triangles)
            return jnp.sum(weight * sample_texture(texture, uv))

        uvs = jnp.array([[0.1, 0.1], [0.1, 0.9], [0.9, 0.15], [0.8, 0.9]])
        check_grads(loss, (xy, depth, uvs, texture), order=1, modes=["rev"], eps=1e-7, rtol=1e-3)


def test_sample_image_equals_opencv(generator):
    image = generator.random((9, 13, 3)).astype(np.float32)
    xy = generator.uniform(-2, 15, (50, 2)).astype(np.float32)
    want = cv2.remap(
        image, *(xy - 0.5).T[:, None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )[0]
    np.testing.assert_allclose(sample_image(jnp.array(image), jnp.array(xy)), want, atol=0.02)


def test_pyramid_averages(generator):
    image = jnp.array(generator.random((16, 16, 1)), jnp.float32)
    mean = sample_pyramid(image, jnp.array([4.0, 8.0]), jnp.array(8.0), levels=4)
    np.testing.assert_allclose(mean[0], image[:, :8].mean(), rtol=1e-5)


@pytest.mark.parametrize("angle", [[0.0, 0, 0], [1e-6, 0, 0], [0.3, -0.9, 0.2], [np.pi, 0, 0]])
def test_rotation_equals_scipy(angle):
    matrix = rotation_matrix(jnp.array(angle))
    np.testing.assert_allclose(matrix, Rotation.from_rotvec(angle).as_matrix(), atol=1e-6)
    np.testing.assert_allclose(rotation_matrix(axis_angle(matrix)), matrix, atol=1e-6)
    with jax.enable_x64(True):
        rotate = jax.jit(rotation_matrix)
        check_grads(rotate, (jnp.array(angle),), order=1, modes=["fwd"], eps=1e-6, rtol=1e-3)


def test_projection_equals_opencv(generator):
    points = generator.normal(0, 0.1, (20, 3))
    camera = look_at(0.5, -0.2, 120, 160)
    matrix = np.array([[camera.focal, 0, 80], [0, camera.focal, 60], [0, 0, 1]])
    arrays = np.asarray(camera.rotation, float), np.asarray(camera.translation, float)
    want, _ = cv2.projectPoints(points, *arrays, matrix, None)
    xy, _ = project(jnp.array(points, jnp.float32), camera)
    np.testing.assert_allclose(xy, want[:, 0], atol=1e-3)


def test_turning_left_moves_the_nose_to_image_right_and_lifting_the_chin_moves_it_up():
    nose = jnp.array([[0.0, 0.0, 0.1]])
    assert project(nose, look_at(0.3, 0.0, 100, 100))[0][0, 0] > 51
    assert project(nose, look_at(0.0, 0.3, 100, 100))[0][0, 1] < 49


def test_harmonics_equal_scipy(generator):
    direction = generator.normal(size=(20, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    polar, azimuth = np.arccos(direction[:, 2]), np.arctan2(direction[:, 1], direction[:, 0])
    columns = []
    for degree in range(3):
        for order in range(-degree, degree + 1):
            value = scipy.special.sph_harm_y(degree, abs(order), polar, azimuth)
            part = value.imag if order < 0 else value.real
            columns.append(part * (1 if order == 0 else (-1) ** order * np.sqrt(2)))
    np.testing.assert_allclose(sh_basis(jnp.array(direction)), np.stack(columns, 1), atol=1e-5)


def test_shading_is_irradiance_over_pi(generator):
    normals = jnp.eye(3)
    np.testing.assert_allclose(shade(normals, uniform(0.7)), 0.7, rtol=1e-5)
    light = directional(jnp.array([0.0, 0, 1]), jnp.ones(3))
    samples = generator.normal(size=(400_000, 3))
    samples /= np.linalg.norm(samples, axis=1, keepdims=True)
    radiance = np.asarray(sh_basis(jnp.array(samples)) @ light.coefficients[:, 0])
    integral = (radiance[:, None] * np.maximum(samples, 0)).mean(0) * 4
    np.testing.assert_allclose(shade(normals, light)[:, 0], integral, atol=0.02)


def test_srgb_round_trip_and_standard_values():
    values = jnp.linspace(0, 1, 101)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-6)
    np.testing.assert_allclose(srgb_to_linear(jnp.array(0.5)), 0.21404114, rtol=1e-5)
    assert np.isfinite(jax.vmap(jax.grad(linear_to_srgb))(jnp.array([-0.1, 0.0, 0.5]))).all()


def test_normals_equal_trimesh():
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=0.1)
    normals = vertex_normals(jnp.array(mesh.vertices, jnp.float32), jnp.array(mesh.faces))
    want = trimesh.geometry.weighted_vertex_normals(
        len(mesh.vertices), mesh.faces, mesh.face_normals, mesh.area_faces[:, None] * np.ones(3)
    )
    np.testing.assert_allclose(normals, want, atol=1e-5)


def ball(subdivisions=3) -> FaceModel:
    """A ball as a face model, every UV vertex at the middle of the texture."""
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.1)
    count, empty = len(mesh.vertices), jnp.zeros((0, 3))
    quads = jnp.zeros((0, 4), jnp.int32)
    triangles = jnp.array(mesh.faces)
    return FaceModel(
        mean=jnp.array(mesh.vertices, jnp.float32),
        identity_basis=jnp.zeros((0, count, 3)),
        expression_basis=jnp.zeros((0, count, 3)),
        triangles=triangles,
        quads=quads,
        uvs=jnp.full((1, 2), 0.5),
        uv_triangles=jnp.zeros_like(triangles),
        uv_quads=quads,
        mirror=jnp.arange(count),
        vertex_region=jnp.zeros(count, jnp.int32),
        landmark_triangles=jnp.zeros(0, jnp.int32),
        landmark_barycentrics=empty,
        albedo_mean=jnp.zeros((2, 2, 3)),
        albedo_basis=jnp.zeros((0, 2, 2, 3)),
        region_names=("skin",),
        expression_names=(),
        identity_names=(),
        albedo_names=(),
    )


def test_a_white_ball_under_uniform_light_is_white_with_a_smooth_border():
    model = ball()
    camera = look_at(0.0, 0.0, 32, 32, extent=0.25)
    picture, alpha = render(
        model, model.mean, jnp.ones((4, 4, 3)), camera, uniform(), 32, 32, supersample=4
    )
    np.testing.assert_allclose(picture, alpha[..., None] * jnp.ones(3), atol=1e-4)
    area = float(alpha.sum()) * (0.25 / 32) ** 2
    assert area == pytest.approx(np.pi * 0.1**2 * (1 + 0.1**2 / 1.2**2), rel=0.02)
    assert ((alpha > 0.1) & (alpha < 0.9)).sum() > 20
    glossy, _ = render(
        model, model.mean, jnp.ones((4, 4, 3)), camera, studio(), 32, 32, specular=1.0
    )
    dull, _ = render(model, model.mean, jnp.ones((4, 4, 3)), camera, studio(), 32, 32)
    assert 0 < float((glossy - dull).max()) < 1 and float((glossy - dull).min()) >= -1e-6


@pytest.mark.thorough
def test_render_differentiates_to_finite_numbers():
    model = ball(1)
    camera = look_at(0.1, 0.1, 16, 16, extent=0.25)

    def total(vertices, texture, camera, lighting):
        return render(model, vertices, texture, camera, lighting, 16, 16)[0].sum()

    gradients = jax.grad(total, argnums=(0, 1, 2, 3))(
        model.mean, jnp.full((4, 4, 3), 0.5), camera, studio()
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert float(jnp.abs(gradients[3].coefficients).sum()) > 0


def test_inside_the_mouth_light_comes_from_the_front(model):
    """A lamp at the side lights the cheek; no tooth that faces it is brighter than a lip can be."""
    jaw = jax.nn.one_hot(model.expression_names.index("jawOpen"), len(model.expression_names))
    vertices = shape(model, jnp.zeros(len(model.identity_names)), jaw)
    lamp = directional(jnp.array([1.0, 0.0, 0.0]), jnp.ones(3))
    camera = look_at(0.0, 0.0, 256, 256)
    image, _ = render(model, vertices, jnp.ones((4, 4, 3)), camera, lamp, 256, 256)
    raster, _ = rasterize(*project(vertices, camera), model.triangles, 256, 256)
    region = model.vertex_region[model.triangles[triangle_ids(raster), 0]]
    teeth = np.asarray((region == model.region_names.index("teeth")) & (raster[..., 3] > 0))
    assert teeth.sum() > 50
    front = float(shade(jnp.array([[0.0, 0.0, -1.0]]), lamp)[0, 0])
    assert np.abs(np.asarray(image)[teeth, 0] - front).max() < 0.3 < np.asarray(image).max() - front


def test_sky_seen_equals_rays(model):
    """Against rays in directions of their own, on the mean head, with the same overcast sky."""
    mesh = trimesh.Trimesh(np.asarray(model.mean), np.asarray(model.triangles), process=False)
    chosen = np.random.default_rng(0).choice(len(mesh.vertices), 150, replace=False)
    generator = np.random.default_rng(1)
    directions = generator.normal(size=(256, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    normals = np.asarray(vertex_normals(model.mean, model.triangles))[chosen]
    cosine = np.maximum(normals @ directions.T, 0)
    up = directions[:, 1]
    light = cosine * np.where(up > 0, (1 + 2 * up) / 3, 0.15)
    origins = (mesh.vertices[chosen] + 1e-3 * normals)[:, None] + 0 * directions
    hit = mesh.ray.intersects_any(
        origins.reshape(-1, 3), np.tile(directions, (len(chosen), 1))
    ).reshape(len(chosen), -1)
    truth = (light * ~hit).sum(1) / light.sum(1)
    seen = np.asarray(sky_seen(model.mean, model.triangles))[chosen]
    assert np.abs(seen - truth).mean() < 0.06
    assert np.corrcoef(seen, truth)[0, 1] > 0.95


def test_exposure_dims_the_skin_and_a_closed_mouth_but_not_one_that_shows_its_teeth(model):
    camera, white = look_at(0.0, 0.0, 128, 128), jnp.full((4, 4, 3), 0.5)
    jaw = jax.nn.one_hot(model.expression_names.index("jawOpen"), len(model.expression_names))
    neutral = jnp.zeros(len(model.identity_names))
    for opened in (0.0, 1.0):
        vertices = shape(model, neutral, opened * jaw)
        raster, _ = rasterize(*project(vertices, camera), model.triangles, 128, 128)
        region = model.vertex_region[model.triangles[triangle_ids(raster), 0]]
        covered = np.asarray(raster[..., 3] > 0)
        teeth = covered & np.asarray(region == model.region_names.index("teeth"))
        skin = covered & np.asarray(region == model.region_names.index("skin"))
        share = jnp.where(
            model.vertex_region == model.region_names.index("teeth"), opened * 0.2, 0.5
        )
        lit, _ = render(model, vertices, white, camera, uniform(), 128, 128)
        dim, _ = render(model, vertices, white, camera, uniform(), 128, 128, exposure=share)
        ratio = np.asarray(dim / jnp.maximum(lit, 1e-6))[..., 0]
        np.testing.assert_allclose(np.median(ratio[skin]), 0.5, atol=0.01)
        if opened:
            assert teeth.sum() > 10
            np.testing.assert_allclose(np.median(ratio[teeth]), 1.0, atol=0.01)
