"""Derivatives of every stage: exact, useful, and finite where the input is degenerate."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fast import FAST
from gradient_checks import CHECKS, errors, published
from gradient_problems import portrait, small_model, two_balls

from jaxface.fitting import FitConfig, fit
from jaxface.fitting.solver import SolverConfig
from jaxface.rendering.antialias import antialias, edge_neighbours
from jaxface.rendering.camera import look_at
from jaxface.rendering.interpolate import interpolate, screen_derivatives
from jaxface.rendering.lighting import studio
from jaxface.rendering.rasterize import rasterize
from jaxface.rendering.render import render
from jaxface.rendering.texture import sample_texture

SIZE = 32


def marked(name: str):
    return pytest.param(name, marks=[pytest.mark.thorough] if CHECKS[name].slow else [])


@pytest.mark.parametrize("name", [marked(name) for name, check in CHECKS.items() if check.tested])
def test_derivatives_equal_finite_differences(name: str) -> None:
    """And no more than ten times as far from them as the published table says."""
    check, written = CHECKS[name], published()
    for argument, error in errors(check).items():
        assert error < 1e-3, argument
        assert error < 10 * max(written.pop((check.stage, argument)), 1e-5), argument
    assert all(stage != check.stage for stage, _ in written), "the table has a row too many"


def test_neighbours_are_those_of_the_mesh() -> None:
    mesh = two_balls()
    beyond = np.asarray(edge_neighbours(mesh.triangles))
    triangles = np.asarray(mesh.triangles)
    assert (beyond >= 0).all()
    for side in range(3):
        edge = triangles[:, [side, (side + 1) % 3]]
        shared = (triangles[beyond[:, side]][:, :, None] == edge[:, None]).any(1)
        assert shared.all() and (beyond[:, side] != np.arange(len(triangles))).all()


def coverage(xy, triangles):
    raster, _ = rasterize(xy, jnp.ones(len(xy)), triangles, SIZE, SIZE)
    plain = (raster[..., 3:] > 0).astype(jnp.float32)
    return antialias(plain, raster, xy, triangles)[..., 0], plain[..., 0]


def test_antialiased_coverage_is_the_area() -> None:
    """A polygon's area is a closed form, and so is how it grows as a corner moves."""
    triangles = jnp.array([[0, 1, 2], [0, 2, 3], [0, 3, 4]])
    xy = jnp.array([[6.2, 5.1], [4.3, 20.4], [13.2, 27.3], [26.1, 21.7], [22.3, 6.6]])

    def shoelace(xy):
        x, y = xy.T
        return jnp.abs(jnp.sum(x * jnp.roll(y, -1) - y * jnp.roll(x, -1))) / 2

    moved = jnp.stack([xy + 0.37 * step for step in range(4)])
    slope = jax.value_and_grad(lambda xy: coverage(xy, triangles)[0].sum())
    together, slopes = jax.jit(jax.vmap(slope), compiler_options=FAST)(moved)
    np.testing.assert_allclose(together, jax.vmap(shoelace)(moved), rtol=5e-3)
    # A long straight edge has each share of a pixel equally often: so has the mean over moves.
    np.testing.assert_allclose(slopes.mean(0), jax.grad(shoelace)(xy), atol=1.2)


def test_silhouettes_finer_than_a_pixel_are_found() -> None:
    """A disc of 3,000 triangles over 20 pixels: its coverage falls off along the radius."""
    turn, radius = 2 * np.pi / 60 * np.arange(60), np.linspace(0.0, 10.3, 26)[1:]
    rings = radius[:, None, None] * np.stack([np.cos(turn), np.sin(turn)], -1)
    xy = np.concatenate([np.zeros((1, 2)), rings.reshape(-1, 2)]) + 16.1
    ring = np.arange(24)[:, None] * 60 + 1
    a, b = ring + np.arange(60), ring + (np.arange(60) + 1) % 60
    middle = np.stack([np.zeros(60, int), a[0], b[0]], -1)
    quads = [np.stack([a, a + 60, b], -1), np.stack([b, a + 60, b + 60], -1)]
    triangles = np.concatenate([middle, *(q.reshape(-1, 3) for q in quads)])
    found = jax.jit(coverage, compiler_options=FAST)(jnp.array(xy), jnp.array(triangles))
    smooth, plain = map(np.asarray, found)
    distance = np.hypot(*(np.mgrid[:SIZE, :SIZE] + 0.5 - 16.1))
    exact = np.clip(10.3 + 0.5 - distance, 0.0, 1.0)
    border = (exact > 0) & (exact < 1)
    assert np.abs(smooth - exact)[border].mean() < 0.07
    assert np.abs(plain - exact)[border].mean() > 0.2


def test_minified_texture_neither_aliases_nor_loses_gradient() -> None:
    """A square of 16 pixels shows 256 texels a side: means of 16 x 16, and each texel counts."""
    xy = jnp.array([[0.0, 0.0], [0.0, 16.0], [16.0, 16.0], [16.0, 0.0]])
    uv = jnp.array([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    triangles = jnp.array([[0, 1, 2], [0, 2, 3]])
    noise = jnp.array(np.random.default_rng(0).random((256, 256, 1)), jnp.float32)

    def shown(texture):
        raster, _ = rasterize(xy, jnp.ones(4), triangles, 16, 16)
        place = interpolate(uv, raster, triangles)
        slopes = screen_derivatives(uv, raster, xy, jnp.ones(4), triangles, triangles)
        found = sample_texture(texture, place, slopes)
        return found.sum(), (found, sample_texture(texture, place), slopes)

    slope = jax.jit(jax.grad(shown, has_aux=True), compiler_options=FAST)
    flow, (found, plain, slopes) = slope(noise)
    np.testing.assert_allclose(slopes[3, 7], [[1 / 16, 0], [0, -1 / 16]], atol=1e-6)
    blocks = noise.reshape(16, 16, 16, 16).mean((1, 3))
    np.testing.assert_allclose(found[..., 0], blocks, atol=1e-5)
    assert float(jnp.abs(plain[..., 0] - blocks).mean()) > 0.05
    np.testing.assert_allclose(flow, 1 / 256, rtol=1e-4)


@pytest.fixture(scope="module")
def scene():
    """A jitted picture of two balls, the derivative of its distance to another, a camera."""
    model = two_balls()

    def picture(vertices, camera):
        texture = jnp.full((8, 8, 3), 0.7)
        image, coverage = render(
            model, vertices, texture, camera, studio(), SIZE, SIZE, smooth=True
        )
        return jnp.concatenate([image, coverage[..., None]], -1)

    def apart(vertices, camera, goal, weight):
        image = picture(vertices, camera)
        return jnp.mean(weight * (image - goal) ** 2), image

    step = jax.jit(jax.value_and_grad(apart, (0, 1), has_aux=True), compiler_options=FAST)
    return model.mean, look_at(0.2, 0.1, SIZE, SIZE, extent=0.3), step


def test_silhouette_pulls_pose_and_shape_back(scene) -> None:
    """From 4 pixels beside and a fifth too small, to a tenth of a pixel and a hundredth.

    Only the outline is compared.
    """
    vertices, camera, step = scene
    pixel = 0.3 / SIZE
    outline = jnp.array([0.0, 0.0, 0.0, 1.0])
    goal = step(vertices, camera, jnp.zeros((SIZE, SIZE, 4)), outline)[0][1]
    unknown = np.array([3.0 * pixel / 0.05, -2.7 * pixel / 0.05, 0.8])
    first, second = np.zeros(3), np.zeros(3)
    for count in range(1, 71):
        offset = jnp.array([*unknown[:2] * 0.05, 0.0], jnp.float32)
        there = camera.replace(translation=camera.translation + offset)
        _, (slope, of_camera) = step(vertices * unknown[2], there, goal, outline)
        sideways = np.asarray(of_camera.translation)[:2] * 0.05
        gradient = np.array([*sideways, float(jnp.vdot(slope, vertices))])
        first, second = 0.8 * first + 0.2 * gradient, 0.95 * second + 0.05 * gradient**2
        along = first / (1 - 0.8**count)
        unknown -= 0.05 * 0.98**count * along / np.sqrt(second / (1 - 0.95**count) + 1e-12)
    assert np.abs(unknown[:2] * 0.05).max() < 0.1 * pixel
    assert abs(unknown[2] - 1.0) < 0.01


@pytest.mark.parametrize("case", ["point", "line", "gone", "behind", "huge", "close", "folded"])
def test_renderer_on_degenerate_input(scene, case: str) -> None:
    vertices, camera, step = scene
    shift = {"gone": (9.0, 0.0, 0.0), "behind": (0.0, 0.0, -3.0), "close": (0.1, 0.0, -1.05)}
    camera = camera.replace(translation=camera.translation + jnp.array(shift.get(case, (0, 0, 0))))
    change = {
        "point": lambda v: 0 * v,
        "line": lambda v: v * jnp.array([1.0, 0.0, 0.0]),
        "huge": lambda v: v * 1e6,
        "folded": lambda v: jnp.repeat(v[::4], 4, axis=0)[: len(v)],
    }
    vertices = change.get(case, lambda v: v)(vertices)
    (loss, _), slopes = step(vertices, camera, jnp.zeros((SIZE, SIZE, 4)), jnp.ones(4))
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


@pytest.fixture(scope="module", params=["implicit", "unrolled"])
def fitted_slopes(request):
    """Derivatives of a fit by photo, landmarks, mask and model, for a batch of photos."""
    model = small_model()
    photo, landmarks = portrait(model)
    config = FitConfig()
    if request.param == "unrolled":  # fewer steps, all of which are taken
        few = SolverConfig(max_iterations=4)
        config = FitConfig(derivative="unrolled", solver=few, pixel_solver=few)

    def total(photo, landmarks, mask, basis):
        given = model.replace(identity_basis=basis)
        found = fit(photo, landmarks, given, face_mask=mask, config=config)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(found.parameters))

    batched = jax.vmap(jax.grad(total, (0, 1, 2, 3)), (0, 0, 0, None))
    slopes = jax.jit(lambda *given: batched(*given, model.identity_basis), compiler_options=FAST)
    return photo, landmarks, slopes


@pytest.mark.thorough
def test_fit_on_degenerate_input(fitted_slopes) -> None:
    """A face, a black photo, nobody in it; landmarks in one point, missing, outside the photo."""
    photo, landmarks, slopes = fitted_slopes
    full, missing = jnp.ones(photo.shape[:2]), landmarks.at[3:].set(jnp.nan)
    cases = [
        (photo, landmarks, full),
        (0 * photo, landmarks, full),
        (photo, landmarks, 0 * full),
        (photo, 0 * landmarks + 40.0, full),
        (photo, missing, full),
        (photo, landmarks + 500.0, full),
    ]
    found = slopes(*(jnp.stack(parts) for parts in zip(*cases, strict=True)))
    assert all(np.isfinite(leaf).all() for leaf in found)
    assert all(np.abs(leaf[0]).max() > 0 for leaf in found)
