"""Properties that hold for every input, searched for counterexamples by Hypothesis.

Draws are the same in every run. Shapes are few, as each compiles anew.
"""

from __future__ import annotations

import json
import tempfile
from io import BytesIO
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
import trimesh
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import ConvexHull, Delaunay, QhullError
from scipy.spatial.transform import Rotation

from jaxface import filters, types
from jaxface.batch.journal import JOURNAL, Journal, read_entries
from jaxface.blending import project_simplex
from jaxface.export.glb import encode_glb
from jaxface.rendering.camera import axis_angle, rotation_matrix
from jaxface.rendering.color import linear_to_srgb, srgb_to_linear
from jaxface.rendering.rasterize import rasterize
from jaxface.types import FaceModel, Materials

searched = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SEEDS = st.integers(0, 2**32 - 1)


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    """Returns a strategy of float32s; without subnormal ones, which XLA takes for zero."""
    low, high = float(np.float32(low)), float(np.float32(high))
    return st.floats(low, high, width=32, allow_subnormal=False)


def images(*shape: int, low: float = 0.0, high: float = 1.0) -> st.SearchStrategy[np.ndarray]:
    """Returns a strategy of images, from constant and sparse ones to noise."""
    noise = st.builds(
        lambda seed: np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32), SEEDS
    )
    return noise | arrays(np.float32, shape, elements=floats(low, high), fill=floats(low, high))


# The simplex

_project = jax.jit(project_simplex)


ROUNDING = 5e-6  # of float32, in a sum of seven numbers up to 3


@searched
@given(point=st.sampled_from([1, 2, 7]).flatmap(lambda k: images(k, low=-3, high=3)))
@example(point=np.array([0.5, 0.5, 0.5, -9, 0.5, 0.5, 0.5], np.float32))
def test_projection_on_the_simplex_is_the_nearest_point(point: np.ndarray) -> None:
    weights = np.asarray(_project(point))
    assert weights.min() >= 0 and abs(weights.sum() - 1) < ROUNDING
    # Optimal: the distance has the same slope in all positive weights, and no smaller elsewhere.
    slope = weights - point
    assert np.ptp(slope[weights > 0]) < ROUNDING
    assert slope.min() > slope[weights > 0].min() - ROUNDING
    # The same threshold without sorting: sum max(point - t, 0) falls in t.
    low, high = point.min() - 1.0, point.max()
    for _ in range(60):
        middle = 0.5 * (np.float64(low) + high)
        low, high = (middle, high) if np.maximum(point - middle, 0).sum() > 1 else (low, middle)
    np.testing.assert_allclose(weights, np.maximum(point - low, 0), atol=ROUNDING)


@searched
@given(point=images(7, low=-3, high=3), shift=floats(-4, 4))
def test_projection_on_the_simplex_is_idempotent_and_blind_to_shifts(
    point: np.ndarray, shift: float
) -> None:
    weights = _project(point)
    np.testing.assert_allclose(_project(weights), weights, atol=ROUNDING)
    np.testing.assert_allclose(_project(point + np.float32(shift)), weights, atol=2 * ROUNDING)


# Rotations

_matrix, _vector = jax.jit(rotation_matrix), jax.jit(axis_angle)
ANGLES = st.one_of(
    floats(0.0, 3.140625),
    st.integers(-12, -2).map(lambda power: 10.0**power),
    st.integers(-7, -2).map(lambda power: np.pi - 10.0**power),
    st.just(np.pi),
)


@searched
@given(seed=SEEDS, axis=st.integers(-1, 2), angle=ANGLES)
def test_axis_angle_and_rotation_matrix_are_inverse(seed: int, axis: int, angle: float) -> None:
    direction = np.random.default_rng(seed).normal(size=3)
    if axis >= 0:  # an axis of the coordinates
        direction = np.eye(3)[axis]
    vector = angle * direction / np.linalg.norm(direction)
    matrix = np.asarray(_matrix(jnp.asarray(vector, jnp.float32)))
    np.testing.assert_allclose(matrix, Rotation.from_rotvec(vector).as_matrix(), atol=1e-6)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
    back = np.asarray(_vector(matrix))
    np.testing.assert_allclose(_matrix(back), matrix, atol=1e-6)
    if angle < np.pi - 1e-3:
        # The sine of half the angle has an error of a float32's last digits.
        np.testing.assert_allclose(back, vector, atol=2e-6)
    else:  # both directions are the same half turn
        assert min(abs(back - vector).max(), abs(back + vector).max()) < 3e-3


# The rasterizer. Quarter pixels, so that edges and corners often lie on the centres of pixels.

SIDE = 12


@jax.jit
def coverage(xy: jax.Array, triangles: jax.Array) -> jax.Array:
    """Returns how many triangles cover each pixel, each drawn alone."""
    ones = jnp.ones(len(xy))
    draw = jax.vmap(lambda triangle: rasterize(xy, ones, triangle[None], SIDE, SIDE)[0][..., 3])
    return draw(triangles).sum(0)


def padded(triangles: np.ndarray, count: int) -> jax.Array:
    """Returns the triangles and some without area, so that all meshes have the same shape."""
    assert len(triangles) <= count
    return jnp.asarray(np.pad(triangles, ((0, count - len(triangles)), (0, 0))), jnp.int32)


@searched
@given(
    inner=st.lists(
        st.tuples(*[st.integers(1, 4 * SIDE - 1)] * 2), min_size=6, max_size=6, unique=True
    ),
    turned=st.booleans(),
)
def test_triangles_that_tile_a_rectangle_cover_every_pixel_once(
    inner: list[tuple[int, int]], turned: bool
) -> None:
    points = np.array(inner)
    # A rectangle, or one whose sides are oblique, around points that keep off it.
    corners = np.array([[0, 0], [4 * SIDE, 0], [4 * SIDE, 4 * SIDE], [0, 4 * SIDE]])
    if turned:
        corners = np.array([[-90, 20], [20, -90], [140, 28], [28, 140]])
    points = np.concatenate([corners, points])
    triangles = Delaunay(points).simplices
    sides = points[triangles[:, 1:]] - points[triangles[:, :1]]
    doubled = sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]
    x, y = corners.T.astype(np.int64)
    area = abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
    assume(abs(doubled).sum() == area and len(triangles) <= 20)
    found = coverage(jnp.asarray(points / 4, jnp.float32), padded(triangles, 20))
    assert (np.asarray(found) == 1).all()


@searched
@given(seed=SEEDS, coarse=st.sampled_from([2, 4, 64]))
def test_closed_convex_meshes_cover_each_pixel_by_one_front_and_one_back(
    seed: int, coarse: int
) -> None:
    draw = np.random.default_rng(seed)
    xy = draw.integers(0, coarse * SIDE, (12, 2), endpoint=True) / coarse
    try:
        hull = ConvexHull(np.column_stack([xy, draw.normal(0, 4, 12)]))
    except QhullError:
        assume(False)
    triangles = hull.simplices
    first, second = (xy[triangles[:, k]] - xy[triangles[:, 0]] for k in (1, 2))
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    seen = area != 0  # not the ones that stand on edge
    front = triangles[seen & (hull.equations[:, 2] < 0)]
    back = triangles[seen & (hull.equations[:, 2] > 0)]
    assert abs(area[hull.equations[:, 2] < 0]).sum() > 0
    counts = [
        np.asarray(coverage(jnp.asarray(xy, jnp.float32), padded(t, 20))) for t in (front, back)
    ]
    np.testing.assert_array_equal(*counts)
    assert counts[0].max() <= 1
    outline = xy[ConvexHull(xy).vertices]
    side = np.roll(outline, -1, 0) - outline
    centres = np.stack(np.meshgrid(*[np.arange(SIDE) + 0.5] * 2), -1)[:, :, None] - outline
    inside = side[:, 0] * centres[..., 1] - side[:, 1] * centres[..., 0]
    assert (counts[0][(inside > 0).all(-1)] == 1).all()
    assert (counts[0][(inside < 0).any(-1)] == 0).all()


# The map between a photo and a crop


@searched
@given(
    center=st.tuples(floats(-100, 4000), floats(-100, 4000)),
    side=floats(8, 3000),
    angle=st.none() | floats(-7, 7),
    size=st.sampled_from([96, 512]),
    unit=images(5, 2, low=-0.5, high=1.5),
)
def test_crop_map_is_a_similarity_with_its_inverse(
    center: tuple[float, float], side: float, angle: float | None, size: int, unit: np.ndarray
) -> None:
    turn = None if angle is None else jnp.float32(angle)
    crop = types.Crop(jnp.asarray(center, jnp.float32), jnp.float32(side), turn, size=size)
    points = jnp.asarray(unit * size)  # pixels of the crop, some outside of it
    pixels = crop.points_to_photo(points)
    error = 4e-6 * (side + max(map(abs, center)))  # of float32, in pixels of the photo
    np.testing.assert_allclose(crop.points_to_crop(pixels), points, atol=error * size / side)
    np.testing.assert_allclose(
        crop.points_to_photo(crop.points_to_crop(pixels)), pixels, atol=2 * error
    )
    c, s = np.cos(angle or 0.0), np.sin(angle or 0.0)
    turned = (unit - 0.5) @ np.array([[c, s], [-s, c]]) * side + center
    np.testing.assert_allclose(pixels, turned, atol=error)


# The journal of a run


@searched
@given(
    photos=st.lists(st.text(max_size=12), min_size=1, max_size=4),
    place=st.floats(0, 1),
)
def test_journal_cut_at_any_byte_keeps_its_whole_lines_and_goes_on(
    photos: list[str], place: float
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Journal(folder) as journal:
            for photo in photos:
                journal.write("done", key=photo, folders=[photo], photo=photo)
        file = folder / JOURNAL
        content = file.read_bytes()
        cut = round(place * len(content))
        file.write_bytes(content[:cut])
        lines = content.splitlines(keepends=True)
        ends = np.cumsum([len(line) for line in lines])
        whole = [json.loads(line) for line, end in zip(lines, ends, strict=True) if end - 1 <= cut]
        assert read_entries(folder) == whole
        with Journal(folder) as journal:
            assert journal.entries == whole
            done = {e["key"]: e["folders"] for e in whole if e["event"] == "done"}
            assert journal.finished() == done
            journal.write("done", photo="next")
        after = read_entries(folder)
        assert after[: len(whole)] == whole
        assert [e["event"] for e in after[len(whole) :]] == ["run", "done"]
        assert after[-1]["photo"] == "next"


# GLB


def small_model(seed: int) -> FaceModel:
    """Returns a mesh of few triangles, with seams, regions and two expressions."""
    draw = np.random.default_rng(seed)
    count, faces, uvs = 9, 7, 12
    corners = np.array([draw.permutation(count)[:3] for _ in range(faces)])
    uv_corners = np.array([draw.permutation(uvs)[:3] for _ in range(faces)])
    none = jnp.zeros((0, 4), jnp.int32)
    return FaceModel(
        mean=jnp.asarray(draw.normal(0, 0.1, (count, 3)), jnp.float32),
        identity_basis=jnp.zeros((0, count, 3)),
        expression_basis=jnp.asarray(draw.normal(0, 0.01, (2, count, 3)), jnp.float32),
        triangles=jnp.asarray(corners, jnp.int32),
        quads=none,
        uvs=jnp.asarray(draw.uniform(size=(uvs, 2)), jnp.float32),
        uv_triangles=jnp.asarray(uv_corners, jnp.int32),
        uv_quads=none,
        mirror=jnp.arange(count),
        vertex_region=jnp.asarray(draw.integers(0, 3, count), jnp.int32),
        landmark_triangles=jnp.zeros(0, jnp.int32),
        landmark_barycentrics=jnp.zeros((0, 3)),
        albedo_mean=jnp.zeros((2, 2, 3)),
        albedo_basis=jnp.zeros((0, 2, 2, 3)),
        region_names=("skin", "eyes", "teeth"),
        expression_names=("jawOpen", f"smile{seed}"),
        identity_names=(),
        albedo_names=(),
    )


@searched
@given(seed=SEEDS, weights=arrays(np.float32, 2, elements=floats(0, 1)))
def test_glb_read_by_trimesh_is_the_mesh(seed: int, weights: np.ndarray) -> None:
    model = small_model(seed)
    half, flat = jnp.full((2, 2), 0.5), jnp.zeros((2, 2, 3)).at[..., 2].set(1.0)
    surface = Materials(half, flat, half, half)
    data = encode_glb(model, np.asarray(model.mean), weights, np.full((2, 2, 3), 0.5), surface)
    scene = trimesh.load(BytesIO(data), file_type="glb", process=False)
    regions = np.asarray(model.vertex_region)[np.asarray(model.triangles)]
    majority = np.sort(regions, 1)[:, 1]
    corners = np.asarray(model.mean)[np.asarray(model.triangles)]
    uvs = np.asarray(model.uvs)[np.asarray(model.uv_triangles)]
    parts = {part.visual.material.name: part for part in scene.geometry.values()}
    names = {0: "skin", 1: "eyes", 2: "mouth"}
    assert set(parts) == {names[region] for region in majority}
    for region in set(majority):
        part, chosen = parts[names[region]], majority == region
        np.testing.assert_array_equal(part.vertices[part.faces].astype(np.float32), corners[chosen])
        np.testing.assert_allclose(part.visual.uv[part.faces], uvs[chosen], atol=1e-6)
    length = int.from_bytes(data[12:16], "little")
    mesh = json.loads(data[20 : 20 + length])["meshes"][0]
    assert mesh["extras"]["targetNames"] == list(model.expression_names)
    np.testing.assert_allclose(mesh["weights"], weights, atol=1e-6)
    assert len(data) == int.from_bytes(data[8:12], "little")


# Filters

T, S = 24, 17
_blur, _masked_blur = jax.jit(filters.blur), jax.jit(filters.masked_blur)
_dilate, _erode, _median = (
    jax.jit(function, static_argnums=last)
    for function, last in (
        *((filters.dilate, 1), (filters.erode, 1)),
        (filters.weighted_median, 2),
    )
)


@searched
@given(image=images(T, S, 2, low=-1, high=2), sigma=floats(0.3, 6.0))
def test_blur_is_a_normalized_gaussian(image: np.ndarray, sigma: float) -> None:
    def gaussian(values: np.ndarray) -> np.ndarray:
        reach = {"mode": "constant", "truncate": 30.0}
        return scipy.ndimage.gaussian_filter(values.astype(float), (sigma, sigma, 0), **reach)

    blurred = np.asarray(_blur(image, sigma))
    np.testing.assert_allclose(blurred, gaussian(image) / gaussian(np.ones_like(image)), atol=3e-6)
    assert image.min() - 1e-5 < blurred.min() and blurred.max() < image.max() + 1e-5


@searched
@given(value=floats(-3, 3), sigma=floats(0.0, 20.0), seed=SEEDS)
def test_blur_keeps_constants_and_the_mass_of_what_is_far_from_the_border(
    value: float, sigma: float, seed: int
) -> None:
    constant = np.full((T, S, 2), value, np.float32)
    np.testing.assert_allclose(_blur(constant, sigma), constant, atol=2e-6 * max(1, abs(value)))
    spot = np.zeros((T, S, 2), np.float32)
    spot[T // 2, S // 2] = value
    # Five sigma from the border, and more.
    blurred = _blur(spot, min(sigma, 1.4))
    np.testing.assert_allclose(blurred.sum((0, 1)), [value] * 2, atol=2e-5 * max(1, abs(value)))
    weights = np.random.default_rng(seed).uniform(size=(T, S)).astype(np.float32)
    weights[: T // 2] *= weights[: T // 2] > 0.5
    np.testing.assert_allclose(
        _masked_blur(constant, weights, max(sigma, 1.5)), constant, atol=1e-5 * max(1, abs(value))
    )


@searched
@given(image=images(T, S, 1), seed=SEEDS)
def test_masked_blur_does_not_see_what_has_no_weight(image: np.ndarray, seed: int) -> None:
    weights = (np.random.default_rng(seed).uniform(size=(T, S)) > 0.6).astype(np.float32)
    other = np.where(weights[..., None] > 0, image, 7.0).astype(np.float32)
    np.testing.assert_array_equal(
        _masked_blur(image, weights, 2.0), _masked_blur(other, weights, 2.0)
    )
    blurred = np.asarray(_masked_blur(image, weights, 2.0))
    assert image.min() - 1e-5 < blurred.min() and blurred.max() < image.max() + 1e-5


@searched
@given(mask=images(T, S), radius=st.sampled_from([0, 1, 3]))
def test_morphology_equals_scipy_and_keeps_its_laws(mask: np.ndarray, radius: int) -> None:
    size, ndimage = 2 * radius + 1, scipy.ndimage
    dilated, eroded = _dilate(mask, radius), _erode(mask, radius)
    np.testing.assert_array_equal(dilated, ndimage.maximum_filter(mask, size, mode="nearest"))
    np.testing.assert_array_equal(eroded, ndimage.minimum_filter(mask, size, mode="nearest"))
    np.testing.assert_allclose(_erode(1 - mask, radius), 1 - dilated, atol=1e-7)


@searched
@given(
    values=images(T, S, low=-1, high=1),
    weights=arrays(np.float32, (T, S), elements=st.integers(0, 4).map(float), fill=st.just(1.0)),
    stride=st.sampled_from([1, 3]),
)
@example(values=np.ones((T, S), np.float32), weights=np.zeros((T, S), np.float32), stride=1)
def test_weighted_median_equals_numpy(values: np.ndarray, weights: np.ndarray, stride: int) -> None:
    found = float(_median(jnp.asarray(values), jnp.asarray(weights), stride))
    chosen, counts = values[::stride, ::stride].ravel(), weights[::stride, ::stride].ravel()
    repeated = np.repeat(chosen, counts.astype(int))
    want = np.quantile(repeated, 0.5, method="inverted_cdf") if repeated.size else 0.0
    assert found == want


@searched
@given(albedo=images(T, S))
def test_log_of_albedo_is_inverted(albedo: np.ndarray) -> None:
    encoded = np.asarray(filters.log_encode(jnp.asarray(albedo)))
    np.testing.assert_allclose(encoded, np.log(albedo.astype(float) + 2e-3), atol=2e-6)
    np.testing.assert_allclose(filters.log_decode(jnp.asarray(encoded)), albedo, atol=2e-6)
    beyond = np.asarray(filters.log_decode(jnp.asarray(encoded) * 3))
    assert beyond.min() >= 0 and beyond.max() <= 1


@searched
@given(x=images(50, low=-5, high=5), low=floats(-3, 3), width=floats(0.125, 3), down=st.booleans())
def test_ramps_rise_from_0_to_1_between_their_ends(
    x: np.ndarray, low: float, width: float, down: bool
) -> None:
    low, high = (low + width, low) if down else (low, low + width)
    x = np.sort(x)
    for ramp in (filters.linear_ramp, filters.smoothstep):
        y = np.asarray(ramp(jnp.asarray(x), low, high))
        assert y.min() >= 0 and y.max() <= 1
        assert (np.diff(y[:: -1 if down else 1]) >= -1e-6).all()
        before, after = (x > low, x < high) if down else (x < low, x > high)
        assert (y[before] < 1e-5).all() and (y[after] > 1 - 1e-5).all()
        middle = float(ramp(jnp.asarray([0.5 * (low + high)]), low, high)[0])
        assert abs(middle - 0.5) < 1e-4
    ends = jnp.asarray([low, high])
    slopes = jax.vmap(jax.grad(lambda x: filters.smoothstep(x, low, high)))(ends)
    np.testing.assert_allclose(slopes, 0.0, atol=1e-4)


# Colour


@searched
@given(value=images(64, low=-0.25, high=2.0))
def test_srgb_curves_are_inverse_and_rise(value: np.ndarray) -> None:
    value = np.sort(value)
    for there, back in ((srgb_to_linear, linear_to_srgb), (linear_to_srgb, srgb_to_linear)):
        np.testing.assert_allclose(back(there(value)), value, atol=2e-6)
        assert (np.diff(there(value)) >= -1e-7).all()
