"""Fitting of a video: pose and expression of a known face in every frame, smooth in time."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxface.errors import InputError
from jaxface.fitting.fit import FitConfig, pose_and_objective
from jaxface.fitting.landmarks import fit_landmarks, landmark_error
from jaxface.fitting.target import FitTarget
from jaxface.fitting.unknowns import POSE, Frame, Layout, camera_of, project_point
from jaxface.morphable.model import landmark_points
from jaxface.precision import jit
from jaxface.pytrees import pytree
from jaxface.rendering.camera import axis_angle
from jaxface.types import Camera, Crop, FaceModel, LandmarkNoise, Track

_FRAMES_PER_CALL = 16  # batch size of `jax.lax.map` over frames
_BLOCK = 512  # frames computed at once: time wasted on padding against overhead and truncation
_BUCKET = 64  # a shorter video is padded to a power of two times this
_MIN_STEP = 1e-3  # seconds between frames, at least
_FRONT = np.diag(np.array([1.0, -1.0, -1.0], np.float32))  # frontal face
# Of the frames before: the inverse of the last one's Schur complement, its product with the
# right-hand side, and the link to the frame that follows.
Carry = tuple[Array, Array, Array]


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
    landmarks: Float[Array | np.ndarray, "N L D"],
    identity: Float[Array, " I"],
    model: FaceModel,
    *,
    seconds: Float[Array | np.ndarray, " N"],
    focal: float | Float[Array, ""],
    principal: Float[Array, "2"],
    shots: Int[Array | np.ndarray, " N"] | None = None,
    blendshapes: Float[Array | np.ndarray, "N 52"] | None = None,
    noise: LandmarkNoise | None = None,
    config: TrackConfig = TrackConfig(),
    on_progress: Callable[[float], None] = lambda done: None,
) -> Track:
    """Returns pose and expression of a known face in every frame of a video, smooth in time.

    Each frame is fitted to its landmarks alone, and its posterior approximated by a Gaussian: mean
    the optimum, precision the solver's Gauss-Newton matrix. With a random walk in time as the
    prior, the most probable path of a shot solves one block-tridiagonal system (`smooth_path`), at
    a cost linear in the number of frames; a frame without a face lies on the line between its
    neighbours, which is the walk's most probable path where nothing is observed. Host function
    around jitted programs of `_BLOCK` frames: memory does not grow with the frames, apart from
    inputs and outputs. Of the frames after a block the path sees one further block. No gradient
    passes.

    Args:
        landmarks: pixels, NaN in frames that show no face.
        identity: whitened coefficients, of `fit_faces` for example.
        model: the face model.
        seconds: at which each frame is shown, ascending.
        focal: focal length of all frames, pixels.
        principal: principal point, pixels.
        shots: which continuous motion a frame belongs to, an interval of the frames for each
            number; -1 where nothing is known of the face. One shot if not given.
        blendshapes: `Detection.blendshapes` of each frame, 0..1.
        noise: of the landmark detector.
        config: options.
        on_progress: called with the fraction that is done.

    Raises:
        InputError: no frame shows a face.

    Source: Rauch, Tung and Striebel, *Maximum Likelihood Estimates of Linear Dynamic Systems*
    (AIAA Journal 1965), of which this is the information form.

    Example:
        >>> track(
        ...     points, fitted.parameters.identity, model,
        ...     seconds=times, focal=fitted.parameters.camera.focal, principal=centre,
        ... ).expression.shape  # doctest: +SKIP
        (250, 52)
    """
    seconds = np.asarray(seconds, np.float64)
    shots = np.zeros(len(seconds), int) if shots is None else np.asarray(shots)
    has_face = (shots >= 0) & np.array([np.isfinite(points[:, :2]).all() for points in landmarks])
    found = np.flatnonzero(has_face)
    if not len(found):
        raise InputError("No frame shows a face.")
    links = 1.0 / np.maximum(np.diff(seconds[found]), _MIN_STEP)
    links = np.append(np.where(np.diff(shots[found]) == 0, links, 0.0), 0.0).astype(np.float32)
    block = min(bucket(len(found)), _BLOCK)
    person_model = model.replace(
        mean=model.mean + jnp.tensordot(identity, model.identity_basis, 1),
        identity_basis=model.identity_basis[:0],
    )
    focal, principal = jnp.asarray(focal, jnp.float32), jnp.asarray(principal, jnp.float32)

    def fit_block(start: int) -> tuple[Array, Array, Array]:
        """Returns observations, precisions and links of a block of found frames, padded."""
        chosen = found[start : start + block]
        padding = block - len(chosen)
        rows = np.concatenate([chosen, np.full(padding, found[-1])])
        observed, precision = _fit_frames(
            *(jnp.asarray(landmarks[rows, :, :2]), jnp.arange(block) < len(chosen)),
            None if blendshapes is None else jnp.asarray(blendshapes[rows]),
            *(person_model, focal, principal, noise, config),
        )
        return observed, precision, jnp.asarray(np.pad(links[start : start + block], (0, padding)))

    factors = 0 if noise is None else noise.factors.shape[1]
    layout = Layout(identity=0, expression=len(model.expression_basis), extra=factors)
    variance = _variance(layout, config)
    carry = _no_carry(layout.size)
    starts, paths = range(0, len(found), block), []
    here = fit_block(0)
    for start in starts:
        # After the last block there is nothing: its padding stands alone.
        there = fit_block(start + block) if start + block < len(found) else _nothing(here)
        path, carry = _smooth_block(carry, here, there, variance)
        paths.append(np.asarray(path))
        here = there
        on_progress(min((start + block) / len(found), 1.0))
    shape = slice(layout.shape.stop)  # without the noise's coefficients
    path = between(np.concatenate(paths)[: len(found), shape], found, seconds, shots)
    rows = range(0, len(path), _BLOCK)
    parts = [
        _describe_frames(
            _padded(path[row : row + _BLOCK]),
            _padded(np.asarray(landmarks[row : row + _BLOCK, :, :2], np.float32)),
            *(person_model, principal),
        )
        for row in rows
    ]
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(path)], *parts)
    expression, camera, error = jax.tree.map(jnp.asarray, joined)
    return Track(
        expression=expression,
        camera=camera,
        landmark_error=jnp.where(jnp.asarray(has_face), error, jnp.nan),
    )


def bucket(count: int) -> int:
    """Returns the number of frames that a video of `count` frames is padded to."""
    size = _BUCKET
    while size < count:
        size *= 2
    return size


def between(
    path: Float[np.ndarray, "M P"],
    found: Int[np.ndarray, " M"],
    seconds: Float[np.ndarray, " N"],
    shots: Int[np.ndarray, " N"],
) -> Float[np.ndarray, "N P"]:
    """Returns the unknowns of all frames: interpolated between the found frames of a shot, held
    before its first and after its last, NaN where a shot shows no face, or outside of shots.

    Args:
        path: unknowns of the found frames.
        found: their numbers, ascending.
        seconds: of all frames.
        shots: of all frames, -1 outside of shots.
    """
    frames = np.arange(len(seconds))
    after = np.clip(np.searchsorted(found, frames), 0, len(found) - 1)
    before = np.clip(np.searchsorted(found, frames, side="right") - 1, 0, len(found) - 1)
    known = [(shots[found[each]] == shots) & (shots >= 0) for each in (before, after)]
    before, after = np.where(known[0], before, after), np.where(known[1], after, before)
    span = np.maximum(seconds[found[after]] - seconds[found[before]], 1e-9)
    share = np.clip((seconds - seconds[found[before]]) / span, 0.0, 1.0)[:, None]
    rows = (path[before] * (1 - share) + path[after] * share).astype(np.float32)
    return np.where((known[0] | known[1])[:, None], rows, np.nan)


def _padded(rows: np.ndarray) -> np.ndarray:
    """Returns rows of a block padded with NaN to `_BLOCK`."""
    rest = [(0, _BLOCK - len(rows))] + [(0, 0)] * (rows.ndim - 1)
    return np.pad(rows, rest, constant_values=np.nan)


@jit
def _fit_frames(
    landmarks: Float[Array, "B L 2"],
    present: Bool[Array, " B"],
    blendshapes: Float[Array, "B 52"] | None,
    model: FaceModel,
    focal: Float[Array, ""],
    principal: Float[Array, "2"],
    noise: LandmarkNoise | None,
    config: TrackConfig,
) -> tuple[Float[Array, "B P"], Float[Array, "B P P"]]:
    """Returns the unknowns that fit each frame, and their precision: the identity where a frame is
    padding, so that its system, which has no links, stays regular."""

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
        pose, objective = pose_and_objective(target, model, shapes, noise, config.fit)
        # Rotations are relative to the same base rotation in all frames.
        pose = pose.at[:3].set(axis_angle(objective.frame.rotation @ _FRONT.T))
        prior = objective.prior.replace(mean=objective.prior.mean.at[:3].set(pose[:3]))
        start = prior.mean.at[:POSE].set(pose)
        frame = Frame(rotation=jnp.asarray(_FRONT), principal=principal)
        state, _ = fit_landmarks(start, frame, objective.points, prior, config.fit.solver)
        return state.x, state.system.normal

    observed, precision = jax.lax.map(
        lambda row: fit_frame(*row), (landmarks, blendshapes), batch_size=_FRAMES_PER_CALL
    )
    alone = jnp.eye(observed.shape[1])
    return observed, jnp.where(present[:, None, None], precision, alone)


@jit
def _describe_frames(
    path: Float[Array, "B P"],
    landmarks: Float[Array, "B L 2"],
    model: FaceModel,
    principal: Float[Array, "2"],
) -> tuple[Float[Array, "B E"], Camera, Float[Array, " B"]]:
    """Returns expression, camera and landmark error of each frame."""
    frame = Frame(rotation=jnp.asarray(_FRONT), principal=principal)

    def describe(x: Array, points: Array) -> tuple[Array, Camera, Array]:
        pose, expression = x[:POSE], jnp.clip(x[POSE:], 0.0, 1.0)
        vertices = model.mean + jnp.tensordot(expression, model.expression_basis, 1)
        fitted = landmark_points(model, vertices)
        fitted = jax.vmap(lambda p: project_point(p, pose, frame))(fitted)
        error = landmark_error(fitted, points, jnp.ones(len(points)))
        return expression, camera_of(pose, frame), error

    return jax.lax.map(lambda row: describe(*row), (path, landmarks), batch_size=_FRAMES_PER_CALL)


def _variance(layout: Layout, config: TrackConfig) -> Float[Array, " P"]:
    """Returns the variance of each unknown's change in one second."""
    pose = [config.turn] * 3 + [config.shift] * 2 + [config.size, config.distance]
    other = [config.expression] * layout.expression + [config.error] * layout.extra
    return jnp.asarray(pose + other) ** 2


def smooth_path(
    observed: Float[Array, "N P"],
    precision: Float[Array, "N P P"],
    links: Float[Array, " N"],
    variance: Float[Array, " P"],
) -> Float[Array, "N P"]:
    """Returns the most probable path x of a random walk that is observed at every step.

    Minimises sum (x_t - observed_t)' precision_t (x_t - observed_t)
    + sum links_t (x_t+1 - x_t)^2 / variance: block forward elimination and back substitution (the
    information form of the Rauch-Tung-Striebel smoother).

    Args:
        observed: observations.
        precision: of each.
        links: of a step and the next: 1 / seconds between them, 0 for none; the last one is 0.
        variance: of the walk after one second.
    """
    return _smooth(_no_carry(len(variance)), observed, precision, links, variance)[0]


def _no_carry(size: int) -> Carry:
    return jnp.zeros((size, size)), jnp.zeros(size), jnp.zeros(())


def _nothing(rows: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """Returns a block of padding, of the size of another block."""
    observed, precision, links = rows
    alone = jnp.broadcast_to(jnp.eye(observed.shape[1]), precision.shape)
    return jnp.zeros_like(observed), alone, jnp.zeros_like(links)


@jit
def _smooth_block(
    carry: Carry,
    here: tuple[Array, Array, Array],
    there: tuple[Array, Array, Array],
    variance: Float[Array, " P"],
) -> tuple[Float[Array, "B P"], Carry]:
    """Returns the path of a block, which sees all frames before it and the block after it, and what
    is known from the frames until its end."""
    count = len(here[0])
    rows = jax.tree.map(lambda *parts: jnp.concatenate(parts), here, there)
    path, carries = _smooth(carry, rows[0], rows[1], rows[2], variance)
    return path[:count], jax.tree.map(lambda leaf: leaf[count - 1], carries)


def _smooth(
    carry: Carry,
    observed: Float[Array, "N P"],
    precision: Float[Array, "N P P"],
    links: Float[Array, " N"],
    variance: Float[Array, " P"],
) -> tuple[Float[Array, "N P"], Carry]:
    """Returns `smooth_path` of frames that follow others, and what each frame hands on."""
    scale = jnp.sqrt(variance)  # in these units the variance after one second is 1
    matrices = precision * scale[:, None] * scale
    vectors = jnp.einsum("npq,nq->np", matrices, observed / scale)
    identity = jnp.eye(len(variance))

    def forward(before: Carry, row: tuple[Array, Array, Array]) -> tuple[Carry, Carry]:
        inverse, mean, link = before
        matrix, vector, next_link = row
        schur = matrix + (link + next_link) * identity - link**2 * inverse
        inverse = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(schur), True), identity)
        after = inverse, inverse @ (vector + link * mean), next_link
        return after, after

    _, carries = jax.lax.scan(forward, carry, (matrices, vectors, links))

    def backward(after: Array, row: Carry) -> tuple[Array, Array]:
        inverse, mean, link = row
        x = mean + link * (inverse @ after)
        return x, x

    _, path = jax.lax.scan(backward, jnp.zeros(len(variance)), carries, reverse=True)
    return path * scale, carries
