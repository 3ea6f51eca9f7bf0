"""Shape and pose from landmarks: closed-form initial pose, then Levenberg-Marquardt.

Measured = true projection + bias(yaw) + factors(yaw) z + sigma(yaw) noise, a factor model of the
detector's error in units of the inter-ocular distance, z and noise ~ N(0, 1). The correlated part
z is estimated with the other unknowns: the same as whitening by the full covariance, but each
landmark keeps its robust weight.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from jaxface.fitting.joint import StackedTerms
from jaxface.fitting.schemes import Scheme, scheme_of
from jaxface.fitting.solver import SolverConfig, State, StepSolver, System, solve, solve_step
from jaxface.fitting.unknowns import (
    INTER_OCULAR,
    POSE,
    Frame,
    Layout,
    Prior,
    bounds,
    combine,
    derivatives,
    point_jacobian,
    project_point,
    rotation_of,
)
from jaxface.morphable.model import landmark_points
from jaxface.rendering.normals import length, normalize
from jaxface.types import FaceModel, LandmarkNoise

OUTER_ITERATIONS = 3  # rounds of `fit_landmarks`, between which correspondences are updated
_CANDIDATES = 12  # vertices for each sliding landmark
_HUBER_SIGMAS = 1.0  # scale of the pseudo-Huber loss, standard deviations
_START_DISTANCE = 1.3  # metres
_POSIT_ITERATIONS = 4
_AXIS_Z = -0.07  # metres, model space: of the vertical axis around which azimuths are measured


def plain_noise(count: int, sigma: float | Float[Array, ""]) -> LandmarkNoise:
    """Returns unbiased, independent noise of one standard deviation at every yaw."""
    return LandmarkNoise(
        yaw=jnp.zeros(1),
        bias=jnp.zeros((1, count, 2)),
        factors=jnp.zeros((1, 0, count, 2)),
        sigma=jnp.full((1, count, 2), sigma),
    )


@struct.dataclass
class LandmarkTerm:
    """The landmarks' term of the objective, for fixed correspondences and noise.

    cost = sum_i present_i c^2 (sqrt(1 + |r_i|^2 / c^2) - 1), pseudo-Huber with c = 1, of
    r_i = (roll (projection - target) / unit + bias + factors z) / sigma; so the IRLS weight is
    present_i / sqrt(1 + |r_i|^2 / c^2).

    `mean` and `basis`: landmark positions in model space, affine in the shape coefficients.
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
        """Returns the term's value, gradient and Gauss-Newton matrix at x."""
        points = self.mean + combine(x[layout.shape], self.basis)
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
        root = jnp.sqrt(1.0 + jnp.sum(value**2, axis=1) / _HUBER_SIGMAS**2)
        irls_weight = self.present / root
        flat = jacobian.reshape(-1, layout.size)
        weighted = (jacobian * irls_weight[:, None, None]).reshape(-1, layout.size)
        return System(
            cost=_HUBER_SIGMAS**2 * jnp.sum(self.present * (root - 1.0)),
            gradient=weighted.T @ value.reshape(-1),
            normal=weighted.T @ flat,
        )


def weak_perspective(
    points: Float[Array, "L 3"], target: Float[Array, "L 2"], present: Float[Array, " L"]
) -> tuple[Float[Array, "3 3"], Float[Array, ""], Float[Array, "2"]]:
    """Returns rotation, scale and offset with target about scale * (R points)[:2] + offset.

    Closed form: the best affine camera, its two rows made orthonormal. Finite for any finite input.
    """
    weights = present / jnp.maximum(jnp.sum(present), 1.0)
    center, target_center = weights @ points, weights @ target
    centred = (points - center) * weights[:, None]
    moments = centred.T @ (points - center)
    moments += 1e-6 * jnp.trace(moments) * jnp.eye(3) + 1e-12 * jnp.eye(3)
    rows = jnp.linalg.solve(moments, centred.T @ (target - target_center)).T
    # Regularised towards a frontal view, for degenerate landmarks.
    rows += 1e-3 * jnp.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    u, singular_values, vh = jnp.linalg.svd(rows, full_matrices=False)
    rows = u @ vh
    rotation = jnp.stack([rows[0], rows[1], jnp.cross(rows[0], rows[1])])
    scale = jnp.mean(singular_values)
    return rotation, scale, target_center - scale * (rows @ center)


def start_pose(
    points: Float[Array, "L 3"],
    target: Float[Array, "L 2"],
    present: Float[Array, " L"],
    principal: Float[Array, "2"],
    distance: float | Float[Array, ""] = _START_DISTANCE,
) -> tuple[Float[Array, "7"], Frame]:
    """Returns pose vector and frame by POSIT: weak perspective, iteratively corrected for depth.

    DeMenthon and Davis, *Model-Based Object Pose in 25 Lines of Code* (IJCV 1995).
    """

    def posit_step(_: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rotation = carry[0]
        depth = 1.0 + (points @ rotation[2]) / distance
        return weak_perspective(points, (target - principal) * depth[:, None], present)

    start = weak_perspective(points, target - principal, present)
    rotation, scale, offset = jax.lax.fori_loop(0, _POSIT_ITERATIONS, posit_step, start)
    log_scale_distance = jnp.stack([jnp.log(scale), jnp.log(jnp.asarray(distance, scale.dtype))])
    pose = jnp.concatenate([jnp.zeros(3), jnp.clip(offset / scale, -5.0, 5.0), log_scale_distance])
    return pose, Frame(rotation=rotation, principal=principal)


def yaw_of(rotation: Float[Array, "3 3"]) -> Float[Array, ""]:
    """Returns the yaw, radians; positive if the face is turned to the subject's left.

    Measured along the line between the eyes as the picture shows it, so that it does not depend on
    the roll.
    """
    eyes = normalize(rotation[:2, 0])
    return jnp.arctan2(eyes @ rotation[:2, 2], -rotation[2, 2])


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
    """Returns the vertices that each of the S sliding landmarks may correspond to.

    They lie on the mean head at the landmark's height, at azimuths around a vertical axis inside
    the head from the landmark's to 60 degrees nearer the front.
    """
    outside = [model.region_names.index(name) for name in ("skin", "lips", "neck", "nose")]
    allowed = jnp.isin(model.vertex_region, jnp.array(outside))
    points = landmark_points(model, model.mean)[jnp.array(scheme.sliding)]
    azimuth = jnp.arctan2(points[:, 0], points[:, 2] - _AXIS_Z)
    radius = jnp.hypot(points[:, 0], points[:, 2] - _AXIS_Z)
    inward = jnp.clip(jnp.abs(azimuth), 0.0, jnp.pi / 3)
    ramp = jnp.linspace(0.0, 1.0, _CANDIDATES)
    angle = azimuth[:, None] - jnp.sign(azimuth)[:, None] * inward[:, None] * ramp
    vertex_angle = jnp.arctan2(model.mean[:, 0], model.mean[:, 2] - _AXIS_Z)
    azimuth_distance = jnp.abs(angle[..., None] - vertex_angle) * radius[:, None, None]
    height = jnp.abs(points[:, 1, None, None] - model.mean[:, 1])
    return jnp.argmin(azimuth_distance + height + jnp.where(allowed, 0.0, 1.0), axis=-1)


def silhouette(
    model: FaceModel,
    scheme: Scheme,
    candidates: Int[Array, "S C"],
    vertices: Float[Array, "V 3"],
    project,
    target: Float[Array, "L 2"],
) -> Int[Array, " S"]:
    """Returns the vertex on the silhouette that each sliding landmark corresponds to.

    It is the candidate that projects farthest in the direction from the landmarks' median to the
    measured landmark; where the default point projects farther, that stays: -1.
    """
    sliding = jnp.array(scheme.sliding)
    ids = model.triangles[model.landmark_triangles]
    weights = model.landmark_barycentrics
    default_points = jnp.einsum("lk,lkc->lc", weights[sliding], vertices[ids[sliding]])
    outward = normalize(target[sliding] - jnp.median(target, axis=0))
    projection = jnp.einsum("scd,sd->sc", project(vertices[candidates]), outward)
    best = jnp.argmax(projection, axis=1)
    default_projection = jnp.einsum("sd,sd->s", project(default_points), outward)
    is_silhouette = jnp.max(projection, axis=1) > default_projection
    vertex = jnp.take_along_axis(candidates, best[:, None], axis=1)[:, 0].astype(ids.dtype)
    return jnp.where(is_silhouette, vertex, -1)


def correspondences(
    model: FaceModel, scheme: Scheme, vertex: Int[Array, " S"]
) -> tuple[Int[Array, "L 3"], Float[Array, "L 3"]]:
    """Returns vertex ids and barycentric weights of every landmark, sliding ones as `silhouette`
    chose them."""
    sliding = jnp.array(scheme.sliding)
    ids = model.triangles[model.landmark_triangles]
    weights = model.landmark_barycentrics
    chosen, corner = vertex[:, None] >= 0, jnp.array([1.0, 0.0, 0.0], weights.dtype)
    return (
        ids.at[sliding].set(jnp.where(chosen, vertex[:, None], ids[sliding])),
        weights.at[sliding].set(jnp.where(chosen, corner, weights[sliding])),
    )


@struct.dataclass
class LandmarkTerms:
    """The data of the landmark term, from which each round makes its `LandmarkTerm`.

    `target`: measured landmarks, pixels. `present`: 1 where one was measured. `basis`: identity and
    expression modes. `noise`: the detector's, by yaw.
    """

    target: Float[Array, "L 2"]
    present: Float[Array, " L"]
    model: FaceModel
    basis: Float[Array, "S V 3"]
    noise: LandmarkNoise
    layout: Layout

    def choose(self, x: Float[Array, " P"], frame: Frame) -> Int[Array, " S"]:
        """Returns the sliding landmarks' correspondences at the estimate x (`silhouette`)."""
        model, target = self.model, self.target
        scheme = scheme_of(len(target))
        pose = x[:POSE]
        vertices = model.mean + combine(x[self.layout.shape], self.basis)

        def project(points: Array) -> Array:
            flat = jax.vmap(lambda p: project_point(p, pose, frame))(points.reshape(-1, 3))
            return flat.reshape(*points.shape[:-1], 2)

        candidates = sliding_candidates(model, scheme)
        return silhouette(model, scheme, candidates, vertices, project, target)

    def at(self, x: Float[Array, " P"], frame: Frame, chosen: Int[Array, " S"]) -> LandmarkTerm:
        """Returns the term with the noise held at the estimate x, for these correspondences."""
        model, target, pose = self.model, self.target, x[:POSE]
        scheme = scheme_of(len(target))
        ids, weights = correspondences(model, scheme, chosen)
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
    terms: LandmarkTerms | StackedTerms,
    prior: Prior | StackedTerms,
    config: SolverConfig,
    step_solver: StepSolver = solve_step,
) -> tuple[State, Int[Array, "*N S"]]:
    """Returns the solver's state after the fit of shape and pose to landmarks, and the
    correspondences of the last round (`LandmarkTerms.choose`).

    `OUTER_ITERATIONS` rounds, each with correspondences and noise held at its start.

    Args:
        x: initial unknowns: `start_pose`, the prior's mean elsewhere.
        frame: base rotation and principal point of the pose vector.
        terms: landmark terms.
        prior: over all unknowns.
        config: solver settings of each round.
        step_solver: `solve_step`, or `joint_step` for several photos.
    """
    lower, upper = bounds(terms.layout)

    def advance(x: Array, _: None) -> tuple[Array, tuple[State, Array]]:
        chosen = terms.choose(x, frame)
        term = terms.at(x, frame, chosen)
        state = solve(
            lambda p: term.system(p, terms.layout) + prior.system(p),
            x,
            lower=lower,
            upper=upper,
            config=config,
            linear=step_solver,
        )
        return state.x, (state, chosen)

    _, (states, chosen) = jax.lax.scan(advance, x, None, length=OUTER_ITERATIONS)
    last = jax.tree.map(lambda leaf: leaf[-1], states)
    return last.replace(iterations=jnp.sum(states.iterations)), chosen[-1]
