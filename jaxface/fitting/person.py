"""Stage 2 for several photos of one person: one identity and albedo, the rest each photo's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.errors import InputError
from jaxface.fitting.derivative import Objective
from jaxface.fitting.fit import FitConfig, _target, fit_result, pose_and_objective, unrolled
from jaxface.fitting.joint import Each, joint_step
from jaxface.fitting.landmarks import fit_landmarks
from jaxface.fitting.photometric import PixelTerm, fit_pixels
from jaxface.fitting.schemes import scheme_of
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
    person_masks: Sequence[Float[Array, "H W"]] | None = None,
    principals: Sequence[Float[Array, "2"]] | None = None,
    photo_sizes: Sequence[float | Float[Array, ""]] | None = None,
    config: FitConfig = FitConfig(),
) -> list[FitResult]:
    """Returns a fit of every photo of one person; identity and albedo are the same in all.

    Pose, expression, light and focal length are each photo's own. As `fit`, with all photos in one
    least-squares problem, whose linear systems cost as much as one photo's, times their number.
    Pure; works under `jit` and `vmap`. Differentiable if `config.derivative` is `unrolled`; an
    implicit derivative, as of a single fit, there is none.

    Args:
        photos_srgb: 0..1; sizes may differ.
        landmarks: of each photo, pixels, as `fit` takes them; the same number in all.
        model: the face model.
        blendshapes: of each photo, `Detection.blendshapes`, 0..1.
        focals: focal lengths in pixels; NaN where one is not known.
        noise: of the landmark detector.
        person_masks: probability that a pixel shows the person, 0..1.
        principals: principal points, pixels; the photos' centres if not given.
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
    missing: Sequence[Any] = [None] * count
    optional = (
        missing if given is None else given
        for given in (focals, person_masks, principals, photo_sizes)
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
    if config.derivative == "unrolled":
        config = unrolled(config)
    else:
        objective = jax.lax.stop_gradient(objective)
    layout = objective.points.layout
    people = _shared(layout, 0 if objective.pixels is None else len(model.albedo_basis))
    # What the photos share has its prior once.
    share = jnp.where(people, 1.0 / len(poses), 1.0)
    prior = objective.prior.replace(precision=objective.prior.precision * share[:, None])
    linear = joint_step(people)

    start = prior.mean.at[:, :POSE].set(poses)
    points = Each(objective.points, axes.points)
    each = Each(prior)
    frame = objective.frame
    state = fit_landmarks(start, frame, points, each, config.solver, linear)
    errors = jnp.zeros(len(poses))
    if objective.pixels is not None:
        # Levels of the pyramid first, then photos.
        pixels = objective.pixels
        pixels = pixels.replace(picture=jnp.moveaxis(pixels.picture, 0, 1))
        rounds: dict[str, Any] = {
            "image": 0,
            "samples": None,
            "weight": 0,
            "frame": 0,
            "sigma": None,
        }
        levels = Each(pixels, axes.pixels, PixelTerm(**rounds))
        state, errors = fit_pixels(state, levels, frame, points, each, config.pixel_solver, linear)
    result = jax.vmap(fit_result, (0, axes, 0))(state.x, objective, errors)
    result = result.replace(
        converged=jnp.broadcast_to(state.converged, errors.shape),
        iterations=jnp.broadcast_to(state.iterations, errors.shape),
    )
    return jax.vmap(lambda target, fit: target.crop.fit_to_photo(fit))(targets, result)


def _axes(objective: Objective) -> Objective:
    """Returns which parts of an objective are each photo's (0) and which all share (None)."""
    points, pixels = objective.points, objective.pixels
    return objective.replace(
        points=points.replace(target=0, present=0, model=None, basis=None, noise=None),
        pixels=pixels
        and pixels.replace(
            picture=0, samples=None, model=None, basis=None, weight=None, sigma=None
        ),
        prior=0,
        frame=0,
    )


def _shared(layout: Layout, modes: int) -> np.ndarray:
    """Returns of each unknown whether all photos share it: identity and albedo."""
    shared = np.zeros(layout.size, bool)
    shared[POSE : POSE + layout.identity] = True
    if modes:
        shared[layout.size - LIGHTING - modes : layout.size - LIGHTING] = True
    return shared
