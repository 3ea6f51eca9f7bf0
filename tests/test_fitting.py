"""The fit: its solver against SciPy, its derivatives, recovery of known faces."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from scipy.spatial.transform import Rotation

from jaxface.errors import InputError
from jaxface.fitting import FitConfig, fit
from jaxface.fitting.files import load_noise
from jaxface.fitting.landmarks import LandmarkTerms, plain_noise, start_pose, yaw_of
from jaxface.fitting.photometric import PixelTerm, irradiance_basis, make_samples, start_lighting
from jaxface.fitting.schemes import scheme_of, with_landmarks68
from jaxface.fitting.solver import SolverConfig, cauchy, residual_system, solve
from jaxface.fitting.target import fit_target
from jaxface.fitting.unknowns import LIGHTING, Layout, camera_of, pose_of, shape_basis
from jaxface.morphable.files import load_model
from jaxface.morphable.model import landmark_points, shape
from jaxface.morphable.surface import similarity
from jaxface.rendering.camera import look_at, project, rotation_matrix
from jaxface.types import FaceModel

LANDMARKS_ONLY = FitConfig(photometric=False, landmark_sigma=0.01)  # exact landmarks
TIMES = np.linspace(0.0, 2.0, 25)
DATA = 2.0 * np.exp(-1.3 * TIMES) + 0.5 + 0.02 * np.sin(40 * TIMES)
DATA[7] += 1.5  # an outlier, for the robust loss


def decay(x, xp):
    return (x[0] * xp.exp(-x[1] * TIMES) + x[2] - DATA) / 0.1


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return load_model()


@pytest.mark.parametrize("loss", ["linear", "cauchy"])
@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), ([0.0, 1.5, 0.0], [9.0, 9.0, 0.45])])
def test_solver_agrees_with_scipy(loss, bounds):
    start = np.array([1.0, 2.0, 0.2])
    lower, upper = (jnp.broadcast_to(jnp.asarray(b, jnp.float32), (3,)) for b in bounds)
    expected = scipy.optimize.least_squares(
        lambda x: decay(x, np), start, loss=loss, bounds=bounds, xtol=1e-12, ftol=1e-12
    )
    options = {"loss": cauchy} if loss == "cauchy" else {}
    state = solve(
        residual_system(lambda x: decay(x, jnp), **options),
        jnp.asarray(start, jnp.float32),
        lower=lower,
        upper=upper,
        config=SolverConfig(max_iterations=60, rtol=1e-6),
    )
    assert bool(state.converged)
    np.testing.assert_allclose(state.x, expected.x, rtol=5e-3)
    np.testing.assert_allclose(state.system.cost, expected.cost, rtol=1e-4)


def test_derivatives_pass_through_the_unrolled_solver():
    """A variable at a bound, one without bounds; steps left over rest. In float32 to a fiftieth."""
    config = SolverConfig(max_iterations=40, rtol=1e-13, unrolled=True)

    def found(data):
        lower, upper = jnp.array([-jnp.inf, 1.5, 0.0]), jnp.array([jnp.inf, jnp.inf, 0.45])
        times = jnp.asarray(TIMES, data.dtype)
        system = residual_system(
            lambda x: (x[0] * jnp.exp(-x[1] * times) + x[2] - data) / 0.1, cauchy
        )
        x = solve(system, jnp.array([1.0, 2.0, 0.2]), lower=lower, upper=upper, config=config).x
        return jnp.vdot(x, jnp.array([1.0, -2.0, 3.0]))

    slope = jax.jit(jax.grad(found))
    with jax.enable_x64(True):
        data, change = jnp.asarray(DATA), jnp.cos(jnp.arange(len(DATA)))
        difference = (found(data + 1e-5 * change) - found(data - 1e-5 * change)) / 2e-5
        np.testing.assert_allclose(slope(data) @ change, difference, rtol=1e-5)
        exact = np.asarray(slope(data))
    single = slope(jnp.asarray(DATA, jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, exact, atol=0.02 * np.abs(exact).max())


def test_solver_in_a_batch_is_the_single_solver():
    starts = jnp.array([[1.0, 2.0, 0.2], [3.0, 0.5, 0.0], [0.5, 1.0, 1.0]])
    one = jax.jit(lambda x: solve(residual_system(lambda x: decay(x, jnp)), x))
    batch = jax.vmap(one)(starts)
    for row, start in enumerate(starts):
        np.testing.assert_allclose(batch.x[row], one(start).x, rtol=1e-3)
        assert int(batch.iterations[row]) <= SolverConfig().max_iterations


def test_solver_survives_a_singular_and_a_hopeless_problem():
    flat = solve(residual_system(lambda x: x[:1] + x[1:] - 2.0), jnp.zeros(2))
    np.testing.assert_allclose(flat.x.sum(), 2.0, rtol=1e-4)
    hopeless = solve(residual_system(lambda x: x / 0.0), jnp.zeros(2))
    assert bool(hopeless.stalled) and not bool(hopeless.converged)
    assert jnp.all(hopeless.x == 0)


def known_face(model: FaceModel, yaw: float):
    """Returns a random face's identity, expression, camera and landmarks."""
    rng = np.random.default_rng(3)
    identity = jnp.asarray(0.8 * rng.standard_normal(len(model.identity_basis)), jnp.float32)
    expression = rng.uniform(0, 0.3, len(model.expression_basis))
    expression = jnp.asarray(expression * (rng.random(len(expression)) < 0.2), jnp.float32)
    camera = look_at(yaw, 0.1, 400, 400, distance=1.1)
    vertices = shape(model, identity, expression)
    return identity, expression, camera, project(landmark_points(model, vertices), camera)[0]


@pytest.mark.parametrize("yaw", [0.0, 0.5])
def test_fit_recovers_a_known_face(model, yaw):
    identity, expression, camera, landmarks = known_face(model, yaw)
    blendshapes = jnp.concatenate([jnp.zeros(1), expression[:-1]])
    result = fit(
        jnp.zeros((400, 400, 3)),
        landmarks,
        model,
        blendshapes=blendshapes,
        focal=camera.focal,
        config=LANDMARKS_ONLY,
    )
    assert bool(result.converged)
    assert float(result.landmark_error) < 0.01
    fitted = result.parameters.camera
    turn = rotation_matrix(fitted.rotation) @ rotation_matrix(camera.rotation).T
    assert float(jnp.degrees(jnp.arccos((jnp.trace(turn) - 1) / 2))) < 2.5
    assert abs(float(fitted.translation[2]) / 1.1 - 1) < 0.12
    face = model.mean[:, 2] > -0.02
    true = shape(model, identity, expression)

    def away(vertices):
        a, b = vertices[face] - vertices[face].mean(0), true[face] - true[face].mean(0)
        return float(jnp.linalg.norm(a - b, axis=1).mean())

    assert away(result.vertices) < 0.7 * away(model.mean)
    assert float(jnp.abs(result.parameters.identity).max()) <= 3.0
    reprojected = project(landmark_points(model, result.vertices), fitted)[0]
    np.testing.assert_allclose(reprojected, result.landmarks, atol=0.02)


def test_a_photo_without_a_focal_length_may_be_a_crop():
    """Its principal point is taken half way from its centre to the face's, and that of a photo
    with a focal length in its centre; in a batch, too."""
    points = jnp.array([[250.0, 60.0], [350.0, 100.0], [300.0, 160.0]])

    def principal(focal, centre):
        target = fit_target(jnp.zeros((200, 400, 3)), points, focal, None, centre, None, 1.5)
        return target.crop.points_to_photo(target.principal)

    centre = jnp.array([200.0, 100.0])
    found = jax.vmap(principal, (0, None))(jnp.array([500.0, jnp.nan]), centre)
    np.testing.assert_allclose(found, [[200, 100], [250, 105]], atol=1e-3)
    np.testing.assert_array_equal(principal(None, None), principal(jnp.nan, centre))


def test_the_same_face_elsewhere_in_a_frame_is_the_same_face(model):
    """Landmarks of real photos, whose focal length is unknown, in the corner of a frame, as a
    camera turned by 17 degrees shows them, in a crop, in other sizes and turned. Millimetres."""
    limits = {"corner": 0.5, "off axis": 1.3, "cropped": 0.1, "half size": 0.01, "turned": 0.1}
    front = np.asarray(model.mean[:, 2] > -0.02)
    angle = np.radians(17)
    with np.load(Path(__file__).parent / "data" / "landmarks.npz") as data:
        for name in ("obama", "biden", "astronaut"):
            points, shapes = data[name].astype(float), jnp.asarray(data[f"{name}/blendshapes"])
            side = 2.5 * (points.max(0) - points.min(0)).max()
            at = points - 0.5 * (points.max(0) + points.min(0)) + side / 2  # in a square of it
            ray = np.column_stack([at - side / 2, np.full(len(at), 1.5 * side)])
            ray @= Rotation.from_rotvec(angle / np.sqrt(2) * np.array([1, -1, 0])).as_matrix().T
            turn = Rotation.from_euler("z", 120, degrees=True).as_matrix()[:2, :2]
            cases = {
                "plain": (at, [side, side]),
                "corner": (at + side, [2 * side, 2 * side]),
                "off axis": (1.5 * side * ray[:, :2] / ray[:, 2:] + side, [2 * side, 2 * side]),
                "cropped": (at - [0.12 * side, 0], [0.88 * side, 0.88 * side]),
                "half size": (0.5 * at, [0.5 * side, 0.5 * side]),
                "turned": ((at - side / 2) @ turn.T + side / 2, [side, side]),
            }
            found = {}
            for case, (moved, extent) in cases.items():
                vertices = fit(
                    jnp.zeros((8, 8, 3)),
                    jnp.asarray(moved, jnp.float32),
                    model,
                    blendshapes=shapes,
                    noise=load_noise(),
                    principal=0.5 * jnp.array(extent),
                    photo_size=jnp.array(max(extent)),
                    config=FitConfig(photometric=False),
                ).vertices
                found[case] = np.asarray(vertices, float)[front]
            plain = found.pop("plain")
            for case, vertices in found.items():
                rotation, _, shift = similarity(vertices, plain, scale=False)
                away = vertices @ rotation.T + shift - plain
                assert 1e3 * np.linalg.norm(away, axis=1).mean() < limits[case], (name, case)


def test_fit_in_a_batch_is_the_single_fit(model):
    landmarks = jnp.stack([known_face(model, yaw)[3] for yaw in (0.0, 0.5)])
    photos = jnp.zeros((2, 400, 400, 3))
    known = {"blendshapes": jnp.zeros(52), "focal": jnp.asarray(1200.0)}

    def one(photo, points):
        return fit(photo, points, model, **known, config=LANDMARKS_ONLY)

    batch = jax.vmap(one)(photos, landmarks)
    for row in range(2):
        single = one(photos[row], landmarks[row])
        np.testing.assert_allclose(batch.landmarks[row], single.landmarks, atol=0.05)
        np.testing.assert_allclose(batch.vertices[row], single.vertices, atol=2e-4)


@pytest.mark.parametrize("case", ["point", "line", "missing"])
def test_fit_is_finite_on_degenerate_landmarks(model, case):
    landmarks = known_face(model, 0.0)[3]
    if case == "point":
        landmarks = jnp.full_like(landmarks, 200.0)
    elif case == "line":
        landmarks = landmarks.at[:, 1].set(200.0)
    else:
        landmarks = landmarks.at[468:].set(jnp.nan)
    result = fit(jnp.zeros((400, 400, 3)), landmarks, model, config=LANDMARKS_ONLY)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(result))
    distance = float(result.parameters.camera.translation[2])
    assert 0.39 <= distance <= 4.01


@pytest.mark.thorough
def test_gradients_of_both_terms_are_finite_differences_of_their_cost(model):
    _, _, camera, landmarks = known_face(model, 0.3)
    basis = shape_basis(model)
    layout = Layout(
        identity=len(model.identity_basis),
        expression=len(model.expression_basis),
        extra=3 + len(model.albedo_basis) + LIGHTING,
    )
    pose, frame = pose_of(camera)
    rng = np.random.default_rng(0)
    x = jnp.asarray(0.1 * rng.standard_normal(layout.size), jnp.float32).at[:7].add(pose)
    x = x.at[-LIGHTING : -LIGHTING + 3].set(2.5)
    noise = plain_noise(len(landmarks), 0.015)
    noise = noise.replace(
        factors=jnp.asarray(0.01 * rng.standard_normal((1, 3, len(landmarks), 2)), jnp.float32)
    )
    terms = LandmarkTerms(landmarks, jnp.ones(len(landmarks)), model, basis, noise, layout)
    points = terms.at(x, frame, terms.choose(x, frame))
    samples = make_samples(model, basis)
    ramp = jnp.linspace(0.2, 0.8, 400)
    pixels = PixelTerm(
        image=jnp.stack(
            [ramp[:, None] * ramp, ramp[:, None] + 0 * ramp, ramp + 0 * ramp[:, None]], -1
        ),
        samples=samples,
        weight=100 * samples.weight,
        frame=frame,
        sigma=0.06,
    )
    for system in (
        lambda p: points.system(p, layout),
        lambda p: pixels.system(p, layout),
    ):
        compiled = jax.jit(system)
        gradient = compiled(x).gradient
        for part in (slice(0, 7), layout.shape, slice(layout.shape.stop, layout.size)):
            direction = jnp.zeros(layout.size).at[part].set(jnp.sign(gradient[part]))
            step = 2e-3 * direction
            change = compiled(x + step).cost - compiled(x - step).cost
            assert float(change) == pytest.approx(float(2 * step @ gradient), rel=0.03)


def test_start_lighting_recovers_a_light():
    rng = np.random.default_rng(1)
    normals = rng.standard_normal((500, 3))
    normals = jnp.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True), jnp.float32)
    light = jnp.asarray(rng.uniform(-0.3, 0.3, (9, 3)), jnp.float32).at[0].set(2.8)
    albedo = jnp.full((500, 3), 0.5)
    colour = albedo * (irradiance_basis(normals) @ light)
    found = start_lighting(colour, albedo, normals, jnp.ones(500))
    np.testing.assert_allclose(found.reshape(9, 3), light, atol=0.02)


def test_start_pose_is_exact_for_exact_projections(model):
    camera = look_at(0.4, -0.2, 300, 300, distance=1.3)
    points = landmark_points(model, model.mean)
    target = project(points, camera)[0]
    pose, frame = start_pose(points, target, jnp.ones(len(points)), camera.principal)
    found = camera_of(pose, frame)
    np.testing.assert_allclose(project(points, found)[0], target, atol=0.5)


def test_yaw_does_not_depend_on_the_roll():
    for yaw, pitch in ((0.6, 0.0), (-0.4, 0.3), (0.0, -0.3)):
        upright = rotation_matrix(look_at(yaw, pitch, 100, 100).rotation)
        assert float(yaw_of(upright)) == pytest.approx(yaw, abs=0.05)
        for roll in (0.5, 1.6, 3.1, -2.0):
            turn = rotation_matrix(jnp.array([0.0, 0.0, roll]))
            np.testing.assert_allclose(yaw_of(turn @ upright), yaw_of(upright), atol=1e-5)


def test_landmark_schemes(model):
    assert scheme_of(68).right_eye == (36, 39)
    with pytest.raises(InputError, match="12 landmarks"):
        scheme_of(12)
    with pytest.raises(InputError, match="68 landmarks"):
        fit(jnp.zeros((10, 10, 3)), jnp.zeros((68, 2)), model)
    sparse = with_landmarks68(model)
    camera = look_at(0.2, 0.0, 400, 400)
    landmarks = project(landmark_points(sparse, sparse.mean), camera)[0]
    result = fit(jnp.zeros((400, 400, 3)), landmarks, sparse, config=LANDMARKS_ONLY)
    assert float(result.landmark_error) < 0.01


def test_measured_noise_is_usable():
    noise = load_noise()
    bias, factors, sigma = noise.at(jnp.asarray(0.2))
    assert bias.shape == sigma.shape == (478, 2) and factors.shape[1:] == (478, 2)
    assert float(sigma.min()) > 0
    assert 0.005 < float(jnp.sqrt((factors**2).sum(0) + sigma**2).mean()) < 0.1
