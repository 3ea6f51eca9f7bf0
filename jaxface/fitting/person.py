"""Fitting of several photos of one person: shared identity and albedo, all else photo-specific."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.errors import InputError
from jaxface.fitting.derivative import Choices, Objective, optimum, round_gradient
from jaxface.fitting.fit import (
    FitConfig,
    _target,
    finest,
    fit_result,
    pose_and_objective,
    unrolled,
)
from jaxface.fitting.joint import StackedTerms, joint_step
from jaxface.fitting.landmarks import fit_landmarks
from jaxface.fitting.photometric import PixelTerm, fit_pixels
from jaxface.fitting.schemes import scheme_of
from jaxface.fitting.solver import State, StepSolver
from jaxface.fitting.target import FitTarget
from jaxface.fitting.unknowns import LIGHTING, POSE, Layout
from jaxface.precision import jit
from jaxface.types import FaceModel, FitResult, LandmarkNoise


def fit_faces(
    photos_srgb: Sequence[Float[Array, "H W 3"]],
    landmarks: Sequence[Float[Array, "L D"]],
    model: FaceModel,
    *,
    blendshapes: Sequence[Float[Array, "52"]] | None = None,
    focals: Sequence[float | Float[Array, ""]] | None = None,
    noise: LandmarkNoise | None = None,
    face_masks: Sequence[Float[Array, "H W"]] | None = None,
    principals: Sequence[Float[Array, "2"]] | None = None,
    photo_sizes: Sequence[float | Float[Array, ""]] | None = None,
    config: FitConfig = FitConfig(),
) -> list[FitResult]:
    """Returns a fit of every photo of one person; identity and albedo are the same in all.

    Pose, expression, light and focal length are photo-specific. As `fit`, with all photos in one
    least-squares problem, the cost of whose linear systems is linear in the number of photos. Pure;
    works under `jit`, `vmap` and `grad`, and is differentiable as `fit` is.

    Args:
        photos_srgb: 0..1; sizes may differ.
        landmarks: of each photo, pixels, as `fit` takes them; the same number in all.
        model: the face model.
        blendshapes: of each photo, `Detection.blendshapes`, 0..1.
        focals: focal lengths in pixels; NaN where one is not known.
        noise: of the landmark detector.
        face_masks: probability that a pixel shows the face, 0..1.
        principals: principal points, pixels, used as by `fit`; the photos' centres if not given.
        photo_sizes: longer sides of the uncropped photos, in these photos' pixels.
        config: options.

    Raises:
        InputError: there is no photo, or the number of landmarks is not that of the model.

    Source: Triggs et al., *Bundle Adjustment* (2000), section 6, for the linear systems.

    Example:
        >>> fits = fit_faces(squares, points, model)  # doctest: +SKIP
        >>> [float(one.parameters.identity[0]) for one in fits]  # doctest: +SKIP
        [0.41, 0.41]
    """
    count = len(photos_srgb)
    if not count:
        raise InputError("There is no photo to fit.")
    if any(len(points) != len(model.landmark_triangles) for points in landmarks):
        raise InputError(
            f"Every photo needs {len(model.landmark_triangles)} landmarks, as many as the face "
            "model has."
        )
    scheme_of(len(landmarks[0]))
    absent: Sequence[Any] = [None] * count
    optional = (
        absent if given is None else given
        for given in (focals, face_masks, principals, photo_sizes)
    )
    targets = [
        _target(photo, points, focal, mask, principal, size, config.usual_focal)
        for photo, points, focal, mask, principal, size in zip(
            photos_srgb, landmarks, *optional, strict=True
        )
    ]
    expressions = None if blendshapes is None else jnp.stack(list(blendshapes))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *targets)
    found = _fit_targets(stacked, model, expressions, noise, config)
    return [jax.tree.map(lambda leaf, i=i: leaf[i], found) for i in range(count)]


@jit
def _fit_targets(
    targets: FitTarget,
    model: FaceModel,
    blendshapes: Float[Array, "N 52"] | None,
    noise: LandmarkNoise | None,
    config: FitConfig,
) -> FitResult:
    """Returns the fits in pixels of the photos, stacked."""

    def begin(target: FitTarget, expression: Array | None) -> tuple[Array, Objective]:
        return pose_and_objective(target, model, expression, noise, config)

    first = jax.eval_shape(begin, *jax.tree.map(lambda leaf: leaf[0], (targets, blendshapes)))[1]
    axes = _axes(first)
    poses, objective = jax.vmap(begin, out_axes=(0, axes))(targets, blendshapes)
    if objective.pixels is not None:  # levels of the scale space first, then photos
        images = jnp.moveaxis(objective.pixels.image, 0, 1)
        objective = objective.replace(pixels=objective.pixels.on(images))
    layout = objective.points.layout
    shared = _shared(layout, 0 if objective.pixels is None else len(model.albedo_basis))
    # The terms are summed over photos: the prior on shared unknowns must count once.
    fraction = jnp.where(shared, 1.0 / len(poses), 1.0)
    precision = objective.prior.precision * fraction[:, None]
    objective = objective.replace(prior=objective.prior.replace(precision=precision))
    step_solver = joint_step(shared)

    if config.derivative == "unrolled":
        state, choices = _minimize(poses, objective, axes, unrolled(config), step_solver)
        x, objective = state.x, finest(objective)
    else:
        constant = jax.lax.stop_gradient(objective)
        state, choices = _minimize(poses, constant, axes, config, step_solver)
        objective = finest(objective)
        x = optimum(
            state,
            (objective, choices),
            layout,
            gradient=jax.vmap(round_gradient, (0, (axes, 0))),
            step_solver=step_solver,
            average_shared=lambda rows: jnp.where(shared, jnp.mean(rows, 0), rows),
        )
    result = jax.vmap(fit_result, (0, axes, 0))(x, objective, choices)
    result = result.replace(
        converged=jnp.broadcast_to(state.converged, len(poses)),
        iterations=jnp.broadcast_to(state.iterations, len(poses)),
    )
    return jax.vmap(lambda target, fit: target.crop.fit_to_photo(fit))(targets, result)


def _minimize(
    poses: Float[Array, "N 7"],
    objective: Objective,
    axes: Objective,
    config: FitConfig,
    step_solver: StepSolver,
) -> tuple[State, Choices]:
    """Returns the solver's last state and the last round's choices: landmarks, then pixels."""
    prior, frame = StackedTerms(objective.prior), objective.frame
    start = objective.prior.mean.at[:, :POSE].set(poses)
    points = StackedTerms(objective.points, axes.points)
    state, contour = fit_landmarks(start, frame, points, prior, config.solver, step_solver)
    if objective.pixels is None:
        return state, (contour, None)
    round_axes: dict[str, Any] = {
        "image": 0,
        "samples": None,
        "weight": 0,
        "frame": 0,
        "sigma": None,
    }
    pixels = StackedTerms(objective.pixels, axes.pixels, PixelTerm(**round_axes))
    return fit_pixels(state, pixels, frame, points, prior, config.pixel_solver, step_solver)


def _axes(objective: Objective) -> Objective:
    """Returns `in_axes` of an objective: 0 for photo-specific leaves, None for shared ones."""
    points, pixels = objective.points, objective.pixels
    return objective.replace(
        points=points.replace(target=0, present=0, model=None, basis=None, noise=None),
        pixels=pixels
        and pixels.replace(image=0, samples=None, model=None, basis=None, weight=None, sigma=None),
        prior=0,
        frame=0,
    )


def _shared(layout: Layout, modes: int) -> np.ndarray:
    """Returns `[P]`, whether an unknown is shared by all photos: identity and albedo."""
    shared = np.zeros(layout.size, bool)
    shared[POSE : POSE + layout.identity] = True
    if modes:
        shared[layout.size - LIGHTING - modes : layout.size - LIGHTING] = True
    return shared
