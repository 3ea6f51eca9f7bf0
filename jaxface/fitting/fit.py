"""Stage 2: shape, pose, focal length, albedo and light of one face."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.errors import InputError
from jaxface.fitting.landmarks import (
    LandmarkNoise,
    embedding_points,
    fit_landmarks,
    landmark_error,
    plain_noise,
    start_pose,
)
from jaxface.fitting.schemes import scheme_of
from jaxface.fitting.solver import SolverConfig
from jaxface.fitting.unknowns import (
    LIGHTING,
    POSE,
    Layout,
    Prior,
    camera_of,
    project_point,
)
from jaxface.rendering.lighting import uniform
from jaxface.types import FaceModel, FaceParameters, FitResult, Lighting


@dataclass(frozen=True)
class FitConfig:
    """Options of `fit`. Widths are standard deviations."""

    photometric: bool = True
    """Also fit the pixels; without it albedo is the mean and light is uniform."""
    landmark_sigma: float = 0.015
    """Of a landmark, in inter-ocular distances, where no noise model is given."""
    landmark_weight: float = 0.1
    """Below 1 because neighbouring landmarks err together; 1 would fit the detector's errors."""
    identity_weight: float = 1.0
    """Precision of the prior N(0, 1) on identity."""
    expression_sigma: float = 0.25
    """Of expressions around the blendshape network's, or around 0."""
    distance: float = 1.3
    """Median distance of a face from the camera, metres."""
    distance_factor: float = 1.3
    """One standard deviation of the distance is a factor of this."""
    focal_factor: float = 2.5
    """The same for the focal length around `usual_focal` when the photo does not tell it."""
    known_focal_factor: float = 1.03
    usual_focal: float = 1.5
    """Focal length, in units of the photo's longer side."""
    landmark_solver: SolverConfig = field(default=SolverConfig(max_iterations=15, rtol=1e-4))


def expression_order(names: tuple[str, ...]) -> list[int]:
    """Returns where each of a model's expressions stands in the blendshape network's output.

    The network's 52 are `_neutral` and ARKit's names without `tongueOut`, in alphabetical order;
    -1 stands for an expression that it does not know.
    """
    known = sorted(set(names) - {"tongueOut"})
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
    person_mask: Float[Array, "H W"] | None = None,
    config: FitConfig = FitConfig(),
) -> FitResult:
    """Returns the parameters that explain a face's landmarks and pixels, and how far to trust them.

    Landmarks come first (robust, whitened by the detector's noise, contour points sliding along
    the silhouette), then the pixels of three pyramid levels join. Priors: identity and albedo
    N(0, 1), expressions around the blendshape network's, distance and focal length log-normal.
    Pure; works under `jit` and `vmap`. Gradients do not pass through the solver.

    Args:
        photo_srgb: 0..1, not padded; its centre is the principal point.
        landmarks: pixels `(x, y)`, a third column is not used. As many as the model's embedding
            has: 478 of MediaPipe's mesh, or 68 with `with_landmarks68`.
        model: the face model.
        blendshapes: `Detection.blendshapes`.
        focal: focal length in pixels where it is known, for example from EXIF.
        noise: of the landmark detector (`load_noise`).
        person_mask: probability that a pixel shows the person, 0..1.
        config: static options.

    Raises:
        InputError: the number of landmarks is not that of the model's embedding.

    Source: Blanz and Vetter, *A Morphable Model for the Synthesis of 3D Faces* (SIGGRAPH 1999);
    Saito et al. (CVPR 2017), section 4.
    """
    if len(landmarks) != len(model.landmark_triangles):
        raise InputError(
            f"There are {len(landmarks)} landmarks, the face model has "
            f"{len(model.landmark_triangles)}."
        )
    scheme_of(len(landmarks))
    return _fit(photo_srgb, landmarks[:, :2], model, blendshapes, focal, noise, person_mask, config)


@partial(jax.jit, static_argnames="config")
def _fit(photo, landmarks, model, blendshapes, focal, noise, person_mask, config) -> FitResult:
    height, width = photo.shape[:2]
    landmarks = jnp.asarray(landmarks, jnp.float32)
    weight = config.landmark_weight if noise is None else 1.0
    noise = plain_noise(len(landmarks), config.landmark_sigma) if noise is None else noise
    layout = Layout(
        identity=len(model.identity_basis),
        expression=len(model.expression_basis),
        extra=noise.factors.shape[1],
    )
    principal = jnp.array([width / 2.0, height / 2.0])
    pose, frame = start_pose(embedding_points(model, model.mean), landmarks, principal)
    prior = _prior(pose, layout, model, blendshapes, focal, max(height, width), config)
    x = prior.mean.at[:POSE].set(pose)
    state = fit_landmarks(
        x,
        frame,
        landmarks,
        model,
        noise,
        prior,
        layout,
        weight=weight,
        config=config.landmark_solver,
    )
    pose, identity, expression, _ = layout.split(state.x)
    parameters = FaceParameters(
        identity=identity,
        expression=expression,
        albedo=jnp.zeros(len(model.albedo_basis)),
        camera=camera_of(pose, frame),
        lighting=Lighting(coefficients=uniform().coefficients),
    )
    vertices = model.mean + jnp.tensordot(identity, model.identity_basis, 1)
    vertices += jnp.tensordot(expression, model.expression_basis, 1)
    fitted = jax.vmap(lambda p: project_point(p, pose, frame))(embedding_points(model, vertices))
    return FitResult(
        parameters=parameters,
        vertices=vertices,
        landmarks=fitted,
        landmark_error=landmark_error(fitted, landmarks),
        photometric_error=jnp.zeros(()),
        converged=state.converged,
        iterations=state.iterations,
    )


def _prior(pose, layout: Layout, model, blendshapes, focal, side: int, config) -> Prior:
    """Returns the prior over pose, identity, expression and nuisance."""
    order = expression_order(model.expression_names)
    mean = jnp.zeros(layout.size).at[:POSE].set(pose).at[6].set(math.log(config.distance))
    precision = jnp.ones(layout.size).at[:6].set(1e-8)
    precision = precision.at[6].set(math.log(config.distance_factor) ** -2)
    people = slice(POSE, POSE + layout.identity)
    faces = slice(people.stop, layout.shape.stop)
    precision = precision.at[people].set(config.identity_weight)
    precision = precision.at[faces].set(config.expression_sigma**-2)
    if blendshapes is not None:
        seen = jnp.array([i >= 0 for i in order]) * blendshapes[jnp.array(order)]
        mean = mean.at[faces].set(jnp.clip(seen, 0.0, 1.0))
    factor = config.focal_factor if focal is None else config.known_focal_factor
    focal = config.usual_focal * side if focal is None else focal
    return Prior(
        mean=mean,
        precision=precision,
        log_focal=jnp.log(jnp.asarray(focal, jnp.float32)),
        focal_precision=jnp.asarray(math.log(factor) ** -2),
    )
