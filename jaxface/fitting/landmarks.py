"""Shape and pose from landmarks: closed-form start, then Levenberg-Marquardt.

A landmark's measured position is its true projection plus what the detector does to it:
`bias(yaw) + factors(yaw) z + sigma(yaw) noise`, in units of the inter-ocular distance. The
correlated part has its own unknowns z ~ N(0, 1), which is the same as whitening by the full
covariance and keeps every landmark's own robust weight.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from jaxface.fitting.joint import Each
from jaxface.fitting.schemes import Scheme, scheme_of
from jaxface.fitting.solver import Linear, SolverConfig, State, System, solve, solve_step
from jaxface.fitting.unknowns import (
    INTER_OCULAR,
    POSE,
    Frame,
    Layout,
    Prior,
    bounds,
    derivatives,
    point_jacobian,
    project_point,
    rotation_of,
)
from jaxface.morphable.model import landmark_points
from jaxface.rendering.normals import length, normalize
from jaxface.types import FaceModel, LandmarkNoise

OUTER_ITERATIONS = 3
_CANDIDATES = 12
_ROBUST = 1.0
_START_DISTANCE = 1.3
_START_ROUNDS = 4


def plain_noise(count: int, sigma: float | Float[Array, ""]) -> LandmarkNoise:
    """Returns unbiased, independent noise of one size at every yaw."""
    return LandmarkNoise(
        yaw=jnp.zeros(1),
        bias=jnp.zeros((1, count, 2)),
        factors=jnp.zeros((1, 0, count, 2)),
        sigma=jnp.full((1, count, 2), sigma),
    )


@struct.dataclass
class LandmarkTerm:
    """The landmarks' share of the objective, for fixed correspondences and noise.

    `mean` and `basis`: landmark positions in model space as a linear function of the shape.
    `roll`: image rotation into the noise model's axes. `unit`: pixels per noise unit.
    """

    target: Float[Array, "L 2"]
    present: Float[Array, " L"]
    mean: Float[Array, "L 3"]
    basis: Float[Array, "S L 3"]
    bias: Float[Array, "L 2"]
    factors: Float[Array, "R L 2"]
    sigma: Float[Array, "L 2"]
    roll: Float[Array, "2 2"]
    unit: Float[Array, ""]
    frame: Frame

    def system(self, x: Float[Array, " P"], layout: Layout) -> System:
        """Returns the landmarks' part of value, gradient and matrix."""
        points = self.mean + jnp.tensordot(x[layout.shape], self.basis, 1)
        nuisance = x[layout.shape.stop :][: len(self.factors)]

        def residual(point: Array, pose: Array, target: Array) -> Array:
            return self.roll @ (project_point(point, pose, self.frame) - target) / self.unit

        whiten = 1.0 / self.sigma
        value, (by_point, by_pose, _) = jax.vmap(
            lambda p, t: derivatives(residual, p, x[:POSE], t)
        )(points, self.target)
        modelled = self.bias + jnp.tensordot(nuisance, self.factors, 1)
        value = (value + modelled) * whiten
        jacobian = jnp.concatenate(
            [
                by_pose,
                point_jacobian(by_point, self.basis),
                jnp.moveaxis(self.factors, 0, -1),
                jnp.zeros((*value.shape, layout.extra - len(self.factors))),
            ],
            axis=-1,
        )
        jacobian *= whiten[..., None]
        # Pseudo-Huber on each landmark's length: quadratic up to about `_ROBUST` sigma.
        root = jnp.sqrt(1.0 + jnp.sum(value**2, axis=1) / _ROBUST**2)
        pull = self.present / root
        flat = jacobian.reshape(-1, layout.size)
        weighted = (jacobian * pull[:, None, None]).reshape(-1, layout.size)
        return System(
            cost=_ROBUST**2 * jnp.sum(self.present * (root - 1.0)),
            gradient=weighted.T @ value.reshape(-1),
            normal=weighted.T @ flat,
        )


def weak_perspective(
    points: Float[Array, "L 3"], target: Float[Array, "L 2"], present: Float[Array, " L"]
) -> tuple[Float[Array, "3 3"], Float[Array, ""], Float[Array, "2"]]:
    """Returns rotation, scale and offset with target about scale * (R points)[:2] + offset.

    Closed form: the best affine camera, its two rows made orthonormal. Finite for any finite input.
    """
    share = present / jnp.maximum(jnp.sum(present), 1.0)
    center, middle = share @ points, share @ target
    away = (points - center) * share[:, None]
    moments = away.T @ (points - center)
    moments += 1e-6 * jnp.trace(moments) * jnp.eye(3) + 1e-12 * jnp.eye(3)
    rows = jnp.linalg.solve(moments, away.T @ (target - middle)).T
    # A view from the front where the landmarks say nothing.
    rows += 1e-3 * jnp.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    left, sizes, right = jnp.linalg.svd(rows, full_matrices=False)
    rows = left @ right
    rotation = jnp.stack([rows[0], rows[1], jnp.cross(rows[0], rows[1])])
    scale = jnp.mean(sizes)
    return rotation, scale, middle - scale * (rows @ center)


def start_pose(
    points: Float[Array, "L 3"],
    target: Float[Array, "L 2"],
    present: Float[Array, " L"],
    principal: Float[Array, "2"],
    distance: float | Float[Array, ""] = _START_DISTANCE,
) -> tuple[Float[Array, "7"], Frame]:
    """Returns pose vector and frame by POSIT: weak perspective, corrected for depth, repeated.

    DeMenthon and Davis, *Model-Based Object Pose in 25 Lines of Code* (IJCV 1995).
    """

    def improve(_: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rotation = carry[0]
        depth = 1.0 + (points @ rotation[2]) / distance
        return weak_perspective(points, (target - principal) * depth[:, None], present)

    start = weak_perspective(points, target - principal, present)
    rotation, scale, offset = jax.lax.fori_loop(0, _START_ROUNDS, improve, start)
    rest = jnp.stack([jnp.log(scale), jnp.log(jnp.asarray(distance, scale.dtype))])
    pose = jnp.concatenate([jnp.zeros(3), jnp.clip(offset / scale, -5.0, 5.0), rest])
    return pose, Frame(rotation=rotation, principal=principal)


def yaw_of(rotation: Float[Array, "3 3"]) -> Float[Array, ""]:
    """Returns how far the face is turned to the subject's left, radians."""
    return jnp.arctan2(rotation[0, 2], -rotation[2, 2])


def inter_ocular(landmarks: Float[Array, "L 2"]) -> Float[Array, ""]:
    """Returns the distance between the eyes' centres (means of their corners), pixels."""
    scheme = scheme_of(len(landmarks))
    right = landmarks[jnp.array(scheme.right_eye)].mean(0)
    left = landmarks[jnp.array(scheme.left_eye)].mean(0)
    return length(left - right)


def landmark_error(
    fitted: Float[Array, "L 2"], target: Float[Array, "L 2"], present: Float[Array, " L"]
) -> Float[Array, ""]:
    """Returns the mean distance of the landmarks that are not contour, in inter-ocular units."""
    scheme = scheme_of(len(target))
    inner = present.at[jnp.array(scheme.contour)].set(0.0)
    distance = length(fitted - target)
    return (
        jnp.sum(distance * inner)
        / jnp.maximum(jnp.sum(inner), 1.0)
        / jnp.maximum(inter_ocular(target), 1e-6)
    )


def sliding_candidates(model: FaceModel, scheme: Scheme) -> Int[Array, "S C"]:
    """Returns for every sliding landmark the vertices between its place and the cheek's front.

    They lie on the mean head at the landmark's height, seen from a vertical axis inside the head,
    from the landmark's own azimuth to 60 degrees nearer the front.
    """
    outside = [model.region_names.index(name) for name in ("skin", "lips", "neck", "nose")]
    allowed = jnp.isin(model.vertex_region, jnp.array(outside))
    points = landmark_points(model, model.mean)[jnp.array(scheme.sliding)]
    axis_depth = -0.07
    azimuth = jnp.arctan2(points[:, 0], points[:, 2] - axis_depth)
    radius = jnp.hypot(points[:, 0], points[:, 2] - axis_depth)
    inward = jnp.clip(jnp.abs(azimuth), 0.0, jnp.pi / 3)
    turn = jnp.linspace(0.0, 1.0, _CANDIDATES)
    angle = azimuth[:, None] - jnp.sign(azimuth)[:, None] * inward[:, None] * turn
    vertex_angle = jnp.arctan2(model.mean[:, 0], model.mean[:, 2] - axis_depth)
    gap = jnp.abs(angle[..., None] - vertex_angle) * radius[:, None, None]
    height = jnp.abs(points[:, 1, None, None] - model.mean[:, 1])
    return jnp.argmin(gap + height + jnp.where(allowed, 0.0, 1.0), axis=-1)


def correspondences(
    model: FaceModel,
    scheme: Scheme,
    candidates: Int[Array, "S C"],
    vertices: Float[Array, "V 3"],
    project,
    target: Float[Array, "L 2"],
) -> tuple[Int[Array, "L 3"], Float[Array, "L 3"]]:
    """Returns vertex ids and weights of every landmark, the sliding ones on the silhouette.

    Of a sliding landmark's candidates the one that stands out farthest from the face, in the
    direction in which the landmark was found, is the silhouette.
    """
    sliding = jnp.array(scheme.sliding)
    ids = model.triangles[model.landmark_triangles]
    weights = model.landmark_barycentrics
    own = jnp.einsum("lk,lkc->lc", weights[sliding], vertices[ids[sliding]])
    outward = normalize(target[sliding] - jnp.median(target, axis=0))
    reach = jnp.einsum("scd,sd->sc", project(vertices[candidates]), outward)
    best = jnp.argmax(reach, axis=1)
    farther = jnp.max(reach, axis=1) > jnp.einsum("sd,sd->s", project(own), outward)
    vertex = jnp.take_along_axis(candidates, best[:, None], axis=1).astype(ids.dtype)
    moved = jnp.where(farther[:, None], vertex, ids[sliding])
    share = jnp.where(farther[:, None], jnp.array([1.0, 0.0, 0.0]), weights[sliding])
    return ids.at[sliding].set(moved), weights.at[sliding].set(share)


@struct.dataclass
class LandmarkTerms:
    """What stays the same in all rounds: measured landmarks, model, noise."""

    target: Float[Array, "L 2"]
    present: Float[Array, " L"]
    model: FaceModel
    basis: Float[Array, "S V 3"]
    noise: LandmarkNoise
    layout: Layout

    def at(self, x: Float[Array, " P"], frame: Frame) -> LandmarkTerm:
        """Returns the term with correspondences and noise for the present estimate."""
        model, target = self.model, self.target
        scheme = scheme_of(len(target))
        pose = x[:POSE]
        vertices = model.mean + jnp.tensordot(x[self.layout.shape], self.basis, 1)

        def project(points: Array) -> Array:
            flat = jax.vmap(lambda p: project_point(p, pose, frame))(points.reshape(-1, 3))
            return flat.reshape(*points.shape[:-1], 2)

        candidates = sliding_candidates(model, scheme)
        ids, weights = correspondences(model, scheme, candidates, vertices, project, target)
        bias, factors, sigma = self.noise.at(yaw_of(rotation_of(pose, frame)))
        eyes = normalize(target[scheme.left_eye[0]] - target[scheme.right_eye[0]])
        return LandmarkTerm(
            target=target,
            present=self.present,
            mean=jnp.einsum("lk,lkc->lc", weights, model.mean[ids]),
            basis=jnp.einsum("lk,slkc->slc", weights, self.basis[:, ids]),
            bias=bias,
            factors=factors,
            sigma=sigma,
            roll=jnp.stack([eyes, jnp.stack([-eyes[1], eyes[0]])]),
            unit=INTER_OCULAR * jnp.exp(pose[5]),
            frame=frame,
        )


def fit_landmarks(
    x: Float[Array, "*N P"],
    frame: Frame,
    terms: LandmarkTerms | Each,
    prior: Prior | Each,
    config: SolverConfig,
    linear: Linear = solve_step,
) -> State:
    """Returns the solver's state after shape and pose were fitted to landmarks.

    Args:
        x: start (`start_pose`, the prior's mean elsewhere).
        frame: of the start.
        terms: landmarks, model and noise.
        prior: over all unknowns.
        config: of the solver, for each of the rounds between which contour points slide.
        linear: of the solver.
    """
    lower, upper = bounds(terms.layout)

    def advance(x: Array, _: None) -> tuple[Array, State]:
        term = terms.at(x, frame)
        state = solve(
            lambda p: term.system(p, terms.layout) + prior.system(p),
            x,
            lower=lower,
            upper=upper,
            config=config,
            linear=linear,
        )
        return state.x, state

    _, states = jax.lax.scan(advance, x, None, length=OUTER_ITERATIONS)
    last = jax.tree.map(lambda leaf: leaf[-1], states)
    return last.replace(iterations=jnp.sum(states.iterations))
