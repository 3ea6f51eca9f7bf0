"""Fits shape, pose, focal length, albedo and lighting of one face."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.errors import InputError
from jaxface.fitting.derivative import Choices, Objective, optimum
from jaxface.fitting.landmarks import (
    LandmarkTerms,
    fit_landmarks,
    landmark_error,
    plain_noise,
    start_pose,
)
from jaxface.fitting.photometric import (
    PixelTerms,
    blurred_levels,
    fit_pixels,
    lighting_prior,
    make_samples,
)
from jaxface.fitting.schemes import scheme_of
from jaxface.fitting.solver import SolverConfig, State
from jaxface.fitting.target import FitTarget, fit_target
from jaxface.fitting.unknowns import (
    LIGHTING,
    POSE,
    Layout,
    Prior,
    camera_of,
    project_point,
    shape_basis,
)
from jaxface.morphable.model import landmark_points
from jaxface.precision import jit
from jaxface.pytrees import pytree, static
from jaxface.rendering.lighting import uniform
from jaxface.types import FaceModel, FaceParameters, FitResult, LandmarkNoise, Lighting

_ARKIT = 52  # every model has ARKit's expressions first, then further ones


@pytree
class FitConfig:
    """Options of `fit`.

    Sigmas are standard deviations. All are floating-point leaves but `photometric`, `derivative`
    and the solvers' `max_iterations` and `unrolled`, which are static.

    Attributes:
        photometric: also fit the pixels; without it albedo is the mean and light is uniform.
        landmark_sigma: of a landmark, in inter-ocular distances, added to the detector's noise.
            Large, because errors of neighbouring landmarks correlate and the model's landmarks are
            not quite the detector's.
        noise_trust: factor of the detector's noise, which was measured on rendered faces.
        identity_weight: precision of the prior N(0, 1) on identity.
        expression_sigma: of expressions around the blendshape network's, or around 0.
        distance: median distance of a face from the camera, metres.
        distance_factor: exp of the standard deviation of log distance.
        focal_factor: exp of the standard deviation of log focal length around `usual_focal`, where
            the focal length is not given.
        known_focal_factor: the same around a focal length that is given.
        usual_focal: median focal length, in units of the photo's longer side.
        pixel_weight: how many independent pixels the face's surface counts for.
        pixel_sigma: of a pixel's colour, sRGB.
        solver: for landmarks, in each of the rounds between which contour points slide.
        pixel_solver: for each level of the scale space; `optimum` goes on from the last.
        derivative: `implicit`, at the optimum, or `unrolled`, through all `max_iterations` steps.
    """

    photometric: bool = static(default=True)
    landmark_sigma: float = 0.04
    noise_trust: float = 0.4
    identity_weight: float = 1.0
    expression_sigma: float = 0.25
    distance: float = 1.3
    distance_factor: float = 1.2
    focal_factor: float = 4.0
    known_focal_factor: float = 1.03
    usual_focal: float = 1.5
    pixel_weight: float = 120.0
    pixel_sigma: float = 0.06
    solver: SolverConfig = SolverConfig(max_iterations=15, rtol=1e-4)
    pixel_solver: SolverConfig = SolverConfig(max_iterations=10, rtol=1e-2)
    derivative: Literal["implicit", "unrolled"] = static(default="implicit")


def expression_order(names: tuple[str, ...]) -> list[int]:
    """Returns the index of each of a model's expressions in the blendshape network's output.

    The network's 52 are `_neutral` and ARKit's names without `tongueOut`, in alphabetical order;
    -1 stands for an expression that it does not know.
    """
    known = sorted(set(names[:_ARKIT]) - {"tongueOut"})
    if len(known) != 51:
        return [-1] * len(names)
    return [known.index(name) + 1 if name in known else -1 for name in names]


def fit(
    photo_srgb: Float[Array, "H W 3"],
    landmarks: Float[Array, "L D"],
    model: FaceModel,
    *,
    blendshapes: Float[Array, "52"] | None = None,
    focal: float | Float[Array, ""] | None = None,
    noise: LandmarkNoise | None = None,
    face_mask: Float[Array, "H W"] | None = None,
    principal: Float[Array, "2"] | None = None,
    photo_size: float | Float[Array, ""] | None = None,
    config: FitConfig = FitConfig(),
) -> FitResult:
    """Returns the maximum a posteriori parameters of a face, its residual errors and convergence.

    Levenberg-Marquardt on landmarks first (robust, whitened by the detector's noise, contour points
    sliding along the silhouette), then on landmarks and pixels, coarse to fine in a Gaussian scale
    space. Priors: identity and albedo N(0, 1), expressions around the blendshape network's,
    distance and focal length log-normal.

    Pure, unbatched; works under `jit`, `vmap` and `grad`: parameters, vertices and landmarks are
    differentiable, forward and reverse, in every array, by the implicit function theorem at the
    optimum of the last round (`optimum`) or, if `config.derivative` is `unrolled`, through the
    solver's steps. No gradient: which surface samples are unoccluded and which vertices are the
    contour; unrolled, the initial values and the damping.

    Args:
        photo_srgb: 0..1.
        landmarks: pixels `(x, y)`, a third column is not used, NaN where one is missing. As many
            as the model's embedding has: 478 of MediaPipe's mesh, or 68 with `with_landmarks68`.
        model: the face model.
        blendshapes: `Detection.blendshapes`, 0..1.
        focal: focal length in pixels where it is known, for example from EXIF; NaN is unknown.
        noise: of the landmark detector (`load_noise`).
        face_mask: probability that a pixel shows the face, 0..1.
        principal: the camera's principal point, pixels; the photo's centre if not given. Where
            `focal` is not known, the photo may be a crop, and the fit takes the point half way
            between this one and the landmarks' centre.
        photo_size: longer side of the uncropped photo in this photo's pixels, for the prior on the
            focal length; this photo's own if not given.
        config: options.

    Raises:
        InputError: the number of landmarks is not that of the model's embedding.

    Source: Blanz and Vetter, *A Morphable Model for the Synthesis of 3D Faces* (SIGGRAPH 1999);
    Saito et al. (CVPR 2017), section 4.

    Example:
        >>> fit(photo.srgb, found.landmarks[0], model).landmark_error < 0.05  # doctest: +SKIP
        Array(True, dtype=bool)
    """
    if len(landmarks) != len(model.landmark_triangles):
        raise InputError(
            f"There are {len(landmarks)} landmarks, the face model has "
            f"{len(model.landmark_triangles)}."
        )
    scheme_of(len(landmarks))
    target = _target(
        photo_srgb, landmarks, focal, face_mask, principal, photo_size, config.usual_focal
    )
    return _fit_target(target, model, blendshapes, noise, config)


# Compiled for each size of photo; `_fit_target` works on a crop of one size.
_target = jit(fit_target)


@jit
def _fit_target(
    target: FitTarget,
    model: FaceModel,
    blendshapes: Float[Array, "52"] | None,
    noise: LandmarkNoise | None,
    config: FitConfig,
) -> FitResult:
    """Returns the fit in pixels of the photo."""
    pose, objective = pose_and_objective(target, model, blendshapes, noise, config)
    if config.derivative == "unrolled":
        state, choices = _minimize(pose, objective, unrolled(config))
        x, objective = state.x, finest(objective)
    else:
        state, choices = _minimize(pose, jax.lax.stop_gradient(objective), config)
        objective = finest(objective)
        x = optimum(state, (objective, choices), objective.points.layout)
    result = fit_result(x, objective, choices)
    result = result.replace(converged=state.converged, iterations=state.iterations)
    return target.crop.fit_to_photo(result)


def finest(objective: Objective) -> Objective:
    """Returns the objective of the last round, with the finest level of the scale space alone."""
    pixels = objective.pixels
    return objective.replace(pixels=pixels and pixels.on(pixels.image[-1]))


def unrolled(config: FitConfig) -> FitConfig:
    """Returns the options with solvers whose steps derivatives pass through."""
    return config.replace(
        solver=config.solver.replace(unrolled=True),
        pixel_solver=config.pixel_solver.replace(unrolled=True),
    )


def pose_and_objective(
    target: FitTarget,
    model: FaceModel,
    blendshapes: Float[Array, "52"] | None,
    noise: LandmarkNoise | None,
    config: FitConfig,
) -> tuple[Float[Array, "7"], Objective]:
    """Returns the initial pose and the objective (`pixels` with all levels of the scale space)."""
    if noise is None:
        noise = plain_noise(len(target.landmarks), config.landmark_sigma)
    else:
        noise = noise.tempered(config.noise_trust, config.landmark_sigma)
    modes = len(model.albedo_basis)
    layout = Layout(
        identity=len(model.identity_basis),
        expression=len(model.expression_basis),
        extra=noise.factors.shape[1] + (modes + LIGHTING if config.photometric else 0),
    )
    # The optimum does not depend on the initial pose: no gradient through it.
    start = jax.lax.stop_gradient(
        (landmark_points(model, model.mean), target.landmarks, target.principal)
    )
    pose, frame = start_pose(start[0], start[1], target.present, start[2])
    factors = config.known_focal_factor, config.focal_factor
    known_precision, unknown_precision = (jnp.log(factor) ** -2 for factor in factors)
    prior = _prior(pose, layout, model, blendshapes, config).replace(
        log_focal=target.log_focal,
        focal_precision=jnp.where(target.focal_known, known_precision, unknown_precision),
    )
    basis = shape_basis(model)
    objective = Objective(
        points=LandmarkTerms(target.landmarks, target.present, model, basis, noise, layout),
        pixels=None,
        prior=prior,
        frame=frame.replace(principal=target.principal),
    )
    if config.photometric:
        pixels = PixelTerms(
            image=blurred_levels(target.image),
            samples=make_samples(model, basis),
            model=model,
            basis=basis,
            layout=layout,
            weight=jnp.asarray(config.pixel_weight),
            sigma=jnp.asarray(config.pixel_sigma),
        )
        objective = objective.replace(pixels=pixels)
    return pose, objective


def fit_result(x: Float[Array, " P"], objective: Objective, choices: Choices) -> FitResult:
    """Returns the result of an optimum x of a round, in the crop's pixels, with `converged` true.

    The photometric error is the mean absolute difference in sRGB, 0..1, without derivative.
    """
    points, pixels = objective.points, objective.pixels
    model, layout = points.model, points.layout
    pose, identity, expression, extra = layout.split(x)
    modes = len(model.albedo_basis)
    albedo, light, photometric_error = jnp.zeros(modes), uniform().coefficients, jnp.zeros(())
    if pixels is not None:
        assert choices[1] is not None
        term = pixels.at(x, objective.frame, choices[1])
        photometric_error = jax.lax.stop_gradient(term.error(x, layout))
        albedo = extra[-modes - LIGHTING : -LIGHTING]
        light = extra[-LIGHTING:].reshape(9, 3)
    frame = objective.frame
    vertices = model.mean + jnp.tensordot(x[layout.shape], points.basis, 1)
    fitted = jax.vmap(lambda p: project_point(p, pose, frame))(landmark_points(model, vertices))
    return FitResult(
        parameters=FaceParameters(
            identity=identity,
            expression=expression,
            albedo=albedo,
            camera=camera_of(pose, frame),
            lighting=Lighting(coefficients=light),
        ),
        vertices=vertices,
        landmarks=fitted,
        landmark_error=landmark_error(fitted, points.target, points.present),
        photometric_error=photometric_error,
        converged=jnp.ones((), bool),
        iterations=jnp.zeros((), jnp.int32),
    )


def _minimize(
    pose: Float[Array, "7"], objective: Objective, config: FitConfig
) -> tuple[State, Choices]:
    """Returns the solver's last state and the last round's choices: landmarks, then pixels."""
    prior, frame, points = objective.prior, objective.frame, objective.points
    start = prior.mean.at[:POSE].set(pose)
    state, contour = fit_landmarks(start, frame, points, prior, config.solver)
    if objective.pixels is None:
        return state, (contour, None)
    return fit_pixels(state, objective.pixels, frame, points, prior, config.pixel_solver)


def _prior(pose, layout: Layout, model, blendshapes, config: FitConfig) -> Prior:
    """Returns the prior over all unknowns but for the focal length, which the caller sets."""
    indices = expression_order(model.expression_names)
    mean = jnp.zeros(layout.size).at[:POSE].set(pose).at[6].set(jnp.log(config.distance))
    precision = jnp.ones(layout.size).at[:6].set(1e-8)
    precision = precision.at[6].set(jnp.log(config.distance_factor) ** -2)
    identity_slice = slice(POSE, POSE + layout.identity)
    expression_slice = slice(identity_slice.stop, layout.shape.stop)
    precision = precision.at[identity_slice].set(config.identity_weight)
    precision = precision.at[expression_slice].set(config.expression_sigma**-2)
    if blendshapes is not None:
        seen = jnp.array([i >= 0 for i in indices]) * blendshapes[jnp.array(indices)]
        mean = mean.at[expression_slice].set(jnp.clip(seen, 0.0, 1.0))
    if config.photometric:
        lighting_mean, lighting_precision = lighting_prior()
        mean = mean.at[-LIGHTING:].set(lighting_mean)
    matrix = jnp.diag(precision)
    if config.photometric:
        matrix = matrix.at[-LIGHTING:, -LIGHTING:].set(lighting_precision)
    return Prior(
        mean=mean,
        precision=matrix,
        log_focal=jnp.zeros(()),
        focal_precision=jnp.zeros(()),
    )
