"""Fitting of a video: pose and expression of a known face in every frame, smooth in time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.errors import InputError
from jaxface.fitting.fit import FitConfig, pose_and_objective
from jaxface.fitting.landmarks import fit_landmarks, landmark_error
from jaxface.fitting.target import FitTarget
from jaxface.fitting.unknowns import POSE, Frame, Layout, camera_of, project_point
from jaxface.morphable.model import landmark_points
from jaxface.precision import jit
from jaxface.pytrees import pytree
from jaxface.rendering.camera import axis_angle
from jaxface.types import Crop, FaceModel, LandmarkNoise, Track

_FRAMES_PER_CALL = 16  # batch size of `jax.lax.map` over frames
_BUCKET = 64  # a video's number of frames is padded to a power of two times this
_FRONT = np.diag(np.array([1.0, -1.0, -1.0], np.float32))  # frontal face


@pytree
class TrackConfig:
    """Options of `track`. All but `fit`: standard deviation of a random walk after one second.

    Attributes:
        turn: rotation of the head, radians.
        shift: of the head across the view, metres.
        size: logarithm of the size in the image.
        distance: logarithm of the distance.
        expression: each coefficient.
        error: coefficients of the landmark noise's factors, which are N(0, 1).
        fit: options of each frame's fit; pixels are not used.
    """

    turn: float = 0.3
    shift: float = 0.04
    size: float = 0.1
    distance: float = 0.03
    expression: float = 0.8
    error: float = 1.0
    fit: FitConfig = FitConfig(photometric=False)


def track(
    landmarks: Float[Array, "N L D"],
    identity: Float[Array, " I"],
    model: FaceModel,
    *,
    rate: float | Float[Array, ""],
    focal: float | Float[Array, ""],
    principal: Float[Array, "2"],
    blendshapes: Float[Array, "N 52"] | None = None,
    noise: LandmarkNoise | None = None,
    config: TrackConfig = TrackConfig(),
) -> Track:
    """Returns pose and expression of a known face in every frame of a video, smooth in time.

    Each frame is fitted to its landmarks alone, and its posterior approximated by a Gaussian: mean
    the optimum, precision the solver's Gauss-Newton matrix. With a random walk in time as the
    prior, the most probable path solves one block-tridiagonal system (`smooth_path`), at a cost
    linear in the number of frames; a frame without a face has precision 0. Host function around
    one jitted program, which is compiled once per padded number of frames. No gradient passes.

    Args:
        landmarks: pixels, NaN in frames that show no face.
        identity: whitened coefficients, of `fit_faces` for example.
        model: the face model.
        rate: frames a second.
        focal: focal length of all frames, pixels.
        principal: principal point, pixels.
        blendshapes: `Detection.blendshapes` of each frame, 0..1.
        noise: of the landmark detector.
        config: options.

    Raises:
        InputError: no frame shows a face.

    Source: Rauch, Tung and Striebel, *Maximum Likelihood Estimates of Linear Dynamic Systems*
    (AIAA Journal 1965), of which this is the information form.

    Example:
        >>> track(
        ...     points, fitted.parameters.identity, model,
        ...     rate=25.0, focal=fitted.parameters.camera.focal, principal=centre,
        ... ).expression.shape  # doctest: +SKIP
        (250, 52)
    """
    has_face = np.isfinite(np.asarray(landmarks)[..., :2]).all((1, 2))
    if not has_face.any():
        raise InputError("No frame shows a face.")
    # A frame without a face takes its neighbour's landmarks, with weight 0.
    known = np.flatnonzero(has_face)
    nearest = known[np.abs(np.arange(len(has_face))[:, None] - known).argmin(1)]
    # So do padding frames, so that few numbers of frames are compiled.
    count = len(has_face)
    padding = bucket(count) - count
    nearest = np.concatenate([nearest, np.full(padding, nearest[-1])])
    observed = _track(
        jnp.asarray(landmarks)[nearest, :, :2],
        jnp.asarray(np.pad(has_face, (0, padding)), jnp.float32),
        identity,
        model,
        jnp.asarray(rate, jnp.float32),
        jnp.asarray(focal, jnp.float32),
        jnp.asarray(principal, jnp.float32),
        None if blendshapes is None else jnp.asarray(blendshapes)[nearest],
        noise,
        config,
    )
    return jax.tree.map(lambda leaf: leaf[:count], observed)


def bucket(count: int) -> int:
    """Returns the number of frames that a video of `count` frames is padded to."""
    size = _BUCKET
    while size < count:
        size *= 2
    return size


@jit
def _track(
    landmarks: Float[Array, "N L 2"],
    has_face: Float[Array, " N"],
    identity: Float[Array, " I"],
    model: FaceModel,
    rate: Float[Array, ""],
    focal: Float[Array, ""],
    principal: Float[Array, "2"],
    blendshapes: Float[Array, "N 52"] | None,
    noise: LandmarkNoise | None,
    config: TrackConfig,
) -> Track:
    """Returns `track` of padded frames; `has_face` is 0 where the landmarks are a neighbour's."""
    person_model = model.replace(
        mean=model.mean + jnp.tensordot(identity, model.identity_basis, 1),
        identity_basis=model.identity_basis[:0],
    )

    def fit_frame(points: Array, shapes: Array | None) -> tuple[Array, Array]:
        target = FitTarget(
            image=jnp.zeros((1, 1, 4)),
            landmarks=points,
            present=jnp.ones(len(points)),
            principal=principal,
            log_focal=jnp.log(focal),
            focal_known=jnp.ones((), bool),
            crop=Crop(jnp.zeros(2), jnp.ones(())),
        )
        pose, objective = pose_and_objective(target, person_model, shapes, noise, config.fit)
        # Rotations are relative to the same base rotation in all frames.
        pose = pose.at[:3].set(axis_angle(objective.frame.rotation @ _FRONT.T))
        prior = objective.prior.replace(mean=objective.prior.mean.at[:3].set(pose[:3]))
        start = prior.mean.at[:POSE].set(pose)
        frame = Frame(rotation=jnp.asarray(_FRONT), principal=principal)
        state = fit_landmarks(start, frame, objective.points, prior, config.fit.solver)
        return state.x, state.system.normal

    observed, precision = jax.lax.map(
        lambda row: fit_frame(*row), (landmarks, blendshapes), batch_size=_FRAMES_PER_CALL
    )
    factors = 0 if noise is None else noise.factors.shape[1]
    layout = Layout(identity=0, expression=len(model.expression_basis), extra=factors)
    precision = precision * has_face[:, None, None]
    path = smooth_path(observed, precision, _step_variance(layout, rate, config))
    frame = Frame(rotation=jnp.asarray(_FRONT), principal=principal)

    def track_frame(x: Array, points: Array) -> tuple:
        pose, _, expression, _ = layout.split(x)
        expression = jnp.clip(expression, 0.0, 1.0)
        vertices = person_model.mean + jnp.tensordot(expression, person_model.expression_basis, 1)
        fitted = landmark_points(person_model, vertices)
        fitted = jax.vmap(lambda p: project_point(p, pose, frame))(fitted)
        error = landmark_error(fitted, points, jnp.ones(len(points)))
        return expression, camera_of(pose, frame), error

    expression, camera, error = jax.vmap(track_frame)(path, landmarks)
    return Track(
        expression=expression,
        camera=camera,
        landmark_error=jnp.where(has_face > 0, error, jnp.nan),
    )


def _step_variance(
    layout: Layout, rate: Float[Array, ""], config: TrackConfig
) -> Float[Array, " P"]:
    """Returns the variance of each unknown's change from frame to frame."""
    pose = [config.turn] * 3 + [config.shift] * 2 + [config.size, config.distance]
    other = [config.expression] * layout.expression + [config.error] * layout.extra
    return jnp.asarray(pose + other) ** 2 / rate


def smooth_path(
    observed: Float[Array, "N P"], precision: Float[Array, "N P P"], variance: Float[Array, " P"]
) -> Float[Array, "N P"]:
    """Returns the most probable path x of a random walk that is observed at every step.

    Minimises sum (x_t - observed_t)' precision_t (x_t - observed_t) + sum (x_t+1 - x_t)^2 / s, with
    s the variance of a step: block forward elimination and back substitution (the information form
    of the Rauch-Tung-Striebel smoother).

    Args:
        observed: observations.
        precision: of each; zero where there is none.
        variance: s.
    """
    count = len(observed)
    scale = jnp.sqrt(variance)  # in these units the variance of a step is 1
    matrix = precision * scale[:, None] * scale
    vectors = jnp.einsum("npq,nq->np", matrix, observed / scale)
    times = jnp.arange(count)
    neighbours = (times > 0).astype(observed.dtype) + (times < count - 1)
    matrix = matrix + neighbours[:, None, None] * jnp.eye(len(variance))

    def forward(carry: tuple[Array, Array], row: tuple[Array, Array]) -> tuple[tuple, tuple]:
        coupling, before = carry  # Schur complement and right-hand side of the frames before
        factor = jnp.linalg.cholesky(row[0] - coupling)
        rhs = row[1] + before
        inverse = jax.scipy.linalg.cho_solve((factor, True), jnp.eye(len(variance)))
        return (inverse, inverse @ rhs), (inverse, rhs)

    start = jnp.zeros((len(variance), len(variance))), jnp.zeros(len(variance))
    _, (inverses, rhs_vectors) = jax.lax.scan(forward, start, (matrix, vectors))

    def backward(after: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        x = row[0] @ (row[1] + after)
        return x, x

    rows = inverses, rhs_vectors
    _, path = jax.lax.scan(backward, jnp.zeros(len(variance)), rows, reverse=True)
    return path * scale
