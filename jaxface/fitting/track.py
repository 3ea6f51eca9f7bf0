"""Stage 2 for a video: one known face, its pose and expression in every frame, without jitter."""

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

_TOGETHER = 16  # frames that are fitted at once
_BUCKET = 64  # frames: a video's number of frames is rounded up to a power of two times this
_FRONT = np.diag(np.array([1.0, -1.0, -1.0], np.float32))  # of a face that looks into the camera


@pytree
class TrackConfig:
    """Options of `track`. How far things move, standard deviation after one second.

    Attributes:
        turn: of the head, radians.
        shift: of the head across the view, metres.
        size: logarithm of the size in the image.
        distance: logarithm of the distance.
        expression: each coefficient.
        error: what the landmarks err together, in its own standard deviations.
        fit: of each frame; pixels are not used.
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

    Each frame is fitted to its landmarks alone. What it found is then taken as a Gaussian (its
    optimum, and the solver's matrix as its precision), a random walk in time joins the frames, and
    the most probable path is found in one go: a block-tridiagonal system, whose cost grows with
    the number of frames. A frame without a face follows from those around it. Host function
    around one jitted program, which is compiled once for each bucket of frame numbers, whatever
    the rate. No gradients go through it.

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
    there = np.isfinite(np.asarray(landmarks)[..., :2]).all((1, 2))
    if not there.any():
        raise InputError("No frame shows a face.")
    # A frame without a face starts from its neighbour's landmarks, and counts for nothing.
    known = np.flatnonzero(there)
    nearest = known[np.abs(np.arange(len(there))[:, None] - known).argmin(1)]
    # Frames beyond the last one count for nothing, either: few numbers of frames are compiled.
    count = len(there)
    padding = bucket(count) - count
    nearest = np.concatenate([nearest, np.full(padding, nearest[-1])])
    found = _track(
        jnp.asarray(landmarks)[nearest, :, :2],
        jnp.asarray(np.pad(there, (0, padding)), jnp.float32),
        identity,
        model,
        jnp.asarray(rate, jnp.float32),
        jnp.asarray(focal, jnp.float32),
        jnp.asarray(principal, jnp.float32),
        None if blendshapes is None else jnp.asarray(blendshapes)[nearest],
        noise,
        config,
    )
    return jax.tree.map(lambda leaf: leaf[:count], found)


def bucket(count: int) -> int:
    """Returns the number of frames that a video of `count` frames is computed with."""
    size = _BUCKET
    while size < count:
        size *= 2
    return size


@jit
def _track(
    landmarks: Float[Array, "N L 2"],
    there: Float[Array, " N"],
    identity: Float[Array, " I"],
    model: FaceModel,
    rate: Float[Array, ""],
    focal: Float[Array, ""],
    principal: Float[Array, "2"],
    blendshapes: Float[Array, "N 52"] | None,
    noise: LandmarkNoise | None,
    config: TrackConfig,
) -> Track:
    own = model.replace(
        mean=model.mean + jnp.tensordot(identity, model.identity_basis, 1),
        identity_basis=model.identity_basis[:0],
    )

    def one(points: Array, shapes: Array | None) -> tuple[Array, Array]:
        target = FitTarget(
            image=jnp.zeros((1, 1, 4)),
            landmarks=points,
            present=jnp.ones(len(points)),
            principal=principal,
            log_focal=jnp.log(focal),
            focal_known=jnp.ones((), bool),
            crop=Crop(jnp.zeros(2), jnp.ones(())),
        )
        pose, objective = pose_and_objective(target, own, shapes, noise, config.fit)
        # Turns are measured from one direction in all frames.
        pose = pose.at[:3].set(axis_angle(objective.frame.rotation @ _FRONT.T))
        prior = objective.prior.replace(mean=objective.prior.mean.at[:3].set(pose[:3]))
        start = prior.mean.at[:POSE].set(pose)
        frame = Frame(rotation=jnp.asarray(_FRONT), principal=principal)
        state = fit_landmarks(start, frame, objective.points, prior, config.fit.solver)
        return state.x, state.system.normal

    found, precision = jax.lax.map(
        lambda row: one(*row), (landmarks, blendshapes), batch_size=_TOGETHER
    )
    factors = 0 if noise is None else noise.factors.shape[1]
    layout = Layout(identity=0, expression=len(model.expression_basis), extra=factors)
    path = smooth_path(found, precision * there[:, None, None], _steps(layout, rate, config))
    frame = Frame(rotation=jnp.asarray(_FRONT), principal=principal)

    def read(x: Array, points: Array) -> tuple:
        pose, _, expression, _ = layout.split(x)
        expression = jnp.clip(expression, 0.0, 1.0)
        vertices = own.mean + jnp.tensordot(expression, own.expression_basis, 1)
        fitted = jax.vmap(lambda p: project_point(p, pose, frame))(landmark_points(own, vertices))
        error = landmark_error(fitted, points, jnp.ones(len(points)))
        return expression, camera_of(pose, frame), error

    expression, camera, error = jax.vmap(read)(path, landmarks)
    return Track(
        expression=expression,
        camera=camera,
        landmark_error=jnp.where(there > 0, error, jnp.nan),
    )


def _steps(layout: Layout, rate: Float[Array, ""], config: TrackConfig) -> Float[Array, " P"]:
    """Returns the variance of each unknown's change from frame to frame."""
    pose = [config.turn] * 3 + [config.shift] * 2 + [config.size, config.distance]
    rest = [config.expression] * layout.expression + [config.error] * layout.extra
    return jnp.asarray(pose + rest) ** 2 / rate


def smooth_path(
    found: Float[Array, "N P"], precision: Float[Array, "N P P"], step: Float[Array, " P"]
) -> Float[Array, "N P"]:
    """Returns the most probable path of a random walk that was observed at every step.

    Minimises sum (x_t - found_t)' precision_t (x_t - found_t) + sum (x_t+1 - x_t)^2 / step.

    Args:
        found: observations.
        precision: of each; zero where there is none.
        step: variance of the walk's steps.
    """
    count = len(found)
    scale = jnp.sqrt(step)  # in these units the walk's steps are 1
    matrix = precision * scale[:, None] * scale
    goal = jnp.einsum("npq,nq->np", matrix, found / scale)
    times = jnp.arange(count)
    ends = (times > 0).astype(found.dtype) + (times < count - 1)
    matrix = matrix + ends[:, None, None] * jnp.eye(len(step))

    def forward(carry: tuple[Array, Array], row: tuple[Array, Array]) -> tuple[tuple, tuple]:
        link, before = carry  # what the frames before say of this one
        factor = jnp.linalg.cholesky(row[0] - link)
        right = row[1] + before
        inverse = jax.scipy.linalg.cho_solve((factor, True), jnp.eye(len(step)))
        return (inverse, inverse @ right), (inverse, right)

    start = jnp.zeros((len(step), len(step))), jnp.zeros(len(step))
    _, (inverses, rights) = jax.lax.scan(forward, start, (matrix, goal))

    def backward(after: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        x = row[0] @ (row[1] + after)
        return x, x

    _, path = jax.lax.scan(backward, jnp.zeros(len(step)), (inverses, rights), reverse=True)
    return path * scale
