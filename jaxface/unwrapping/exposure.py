"""The light's level and the albedo coefficients: a photo's colours split into light and skin."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.filters import LOG_OFFSET
from jaxface.morphable.albedo import albedo_at
from jaxface.morphable.model import vertex_uvs
from jaxface.precision import jit
from jaxface.rendering.camera import rotation_matrix
from jaxface.rendering.lighting import shade
from jaxface.rendering.normals import vertex_normals
from jaxface.types import FaceModel, FitResult, Lighting, UnwrapResult
from jaxface.unwrapping.config import SKIN, ExposureConfig

AXES = ((1 / 3, 1 / 3, 1 / 3), (1.0, 0.0, -1.0), (-0.5, 1.0, -0.5))
"""Level, warmth and green of a log colour, as rows: its coordinates in the priors."""
MEAN_SKIN = np.exp(np.linalg.solve(AXES, SKIN))
"""Linear RGB of `SKIN`."""


@jit
def balance_light(
    fit: FitResult, model: FaceModel, *, config: ExposureConfig = ExposureConfig()
) -> FitResult:
    """Returns the fit with its lighting scaled per channel to the most probable level.

    The log of the skin's mean radiance, r = light + skin, stays fixed, with light the log of the
    mean irradiance over pi: a mean of logs would be that of the shadows where light is one-sided,
    and cameras expose for what is lit. With independent Gaussian priors on level, warmth and green
    of both, the posterior mean of the log light is, of each,

        (light_0 / sigma_light^2 + (r - skin_0) / sigma_skin^2) / (sigma_light^-2 + sigma_skin^-2).

    Shape, camera, the light's direction and the albedo coefficients are unchanged; `unwrap` puts
    the difference into the low-frequency albedo. Differentiable.

    Args:
        fit: a fitted face.
        model: its face model.
        config: the priors.
    """
    parameters = fit.parameters
    normals = vertex_normals(fit.vertices, model.triangles)
    normals = normals @ rotation_matrix(parameters.camera.rotation).T
    skin = model.vertex_region == model.region_names.index("skin")
    weight = (skin * jnp.clip(-normals[:, 2], 0.0, 1.0))[:, None]
    albedo = albedo_at(model, parameters.albedo, vertex_uvs(model))
    shading = jnp.maximum(shade(normals, parameters.lighting), 0.0)

    def log_mean(values):
        mean = jnp.sum(weight * values, 0) / jnp.maximum(jnp.sum(weight), 1e-6)
        return jnp.log(jnp.maximum(mean, 1e-3))

    light, radiance = log_mean(shading), log_mean(shading * albedo)
    axes = jnp.asarray(AXES)
    of_light, of_skin = jnp.asarray(config.light_sigma) ** -2, jnp.asarray(config.skin_sigma) ** -2
    from_skin = axes @ radiance - jnp.asarray(config.skin)
    likely = of_light * jnp.asarray(config.light) + of_skin * from_skin
    likely = likely / (of_light + of_skin)
    gain = jnp.exp(jnp.linalg.solve(axes, likely) - light)
    lighting = Lighting(coefficients=parameters.lighting.coefficients * gain)
    return fit.replace(parameters=parameters.replace(lighting=lighting))


@jit
def estimate_albedo_coefficients(
    fit: FitResult,
    seen: UnwrapResult,
    model: FaceModel,
    *,
    config: ExposureConfig = ExposureConfig(),
) -> FitResult:
    """Returns the fit with the most probable albedo coefficients given the visible skin alone.

    `fit` uses all pixels of the face: hair or glasses bias its estimate, which would show where the
    skin mask leaves a gap. See `albedo_coefficients`. Differentiable.

    Args:
        fit: a fitted face.
        seen: its unwrapped photo, `[T, T]` maps.
        model: its face model.
        config: `albedo_sigma` and `texels_per_observation` are used.
    """
    albedo = albedo_coefficients(seen.partial, seen.skin_mask, model, config)
    return fit.replace(parameters=fit.parameters.replace(albedo=albedo))


def albedo_coefficients(
    partial: Float[Array, "T T 3"],
    skin_mask: Float[Array, "T T"],
    model: FaceModel,
    config: ExposureConfig,
) -> Float[Array, " M"]:
    """Returns the coefficients c that minimise

        |c|^2 + sum_texels w |log max(partial, LOG_OFFSET) - mean - basis c|^2 / (sigma^2 n),

    the posterior mean under c ~ N(0, 1), with w the skin mask less its soft border, sigma the
    standard deviation of a texel around the model and n the texels per effective independent
    observation (spatial correlation). `LOG_OFFSET` is a floor here, where `log_encode` adds it: the
    model's mean and basis are plain logarithms. Differentiable.

    Args:
        partial: albedo of the visible texels, linear RGB.
        skin_mask: 0..1.
        model: of the albedo.
        config: sigma and n.
    """
    size = model.albedo_mean.shape[0]
    eroded_mask = jnp.clip(2 * jax.image.resize(skin_mask, (size, size), "linear") - 1, 0.0, 1.0)
    partial = jax.image.resize(partial, (size, size, 3), "linear")
    residual = jnp.log(jnp.maximum(partial, LOG_OFFSET)) - model.albedo_mean
    weight = eroded_mask[..., None] / (config.albedo_sigma**2 * config.texels_per_observation)
    # m, n: modes; t, u: rows and columns of texels; c: channels.
    normal_matrix = jnp.einsum("mtuc,ntuc->mn", model.albedo_basis * weight, model.albedo_basis)
    rhs = jnp.einsum("mtuc,tuc->m", model.albedo_basis, weight * residual)
    return jnp.linalg.solve(normal_matrix + jnp.eye(len(rhs)), rhs)
