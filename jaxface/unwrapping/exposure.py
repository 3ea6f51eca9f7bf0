"""Skin against light: what of a photo's colours belongs to which."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxface.morphable.albedo import albedo_at
from jaxface.precision import jit
from jaxface.rendering.camera import rotation_matrix
from jaxface.rendering.lighting import shade
from jaxface.rendering.normals import vertex_normals
from jaxface.types import FaceModel, FitResult, Lighting, UnwrapResult

# Logarithms of linear RGB. A camera exposes a face so that white in its place would be nearly
# white, and balances the light to neutral; skin differs far more between people.
_LIGHT, _LIGHT_LEVEL, _LIGHT_COLOUR = -0.1, 0.3, 0.1
SKIN = (-0.85, -1.50, -1.90)
_SKIN_LEVEL, _SKIN_COLOUR = 0.6, 0.25
# Of a texel off the albedo model, and how many texels of it are one independent observation.
_ALBEDO_SIGMA, _CORRELATED = 0.1, 3000.0


@jit
def explain_albedo(fit: FitResult, seen: UnwrapResult, model: FaceModel) -> FitResult:
    """Returns the fit with the most probable albedo coefficients given the seen skin alone.

    The fit itself sees all pixels of the face: a fringe or glasses bend its albedo, and that
    would show where the skin mask leaves a gap. Ridge regression, prior N(0, 1). Differentiable.

    Args:
        fit: a fitted face.
        seen: its unwrapped photo.
        model: its face model.
    """
    size = model.albedo_mean.shape[0]
    weight = jnp.clip(2 * jax.image.resize(seen.skin_mask, (size, size), "linear") - 1, 0.0, 1.0)
    goal = jax.image.resize(seen.partial, (size, size, 3), "linear")
    rest = jnp.log(jnp.maximum(goal, 2e-3)) - model.albedo_mean
    weight = weight[..., None] / (_ALBEDO_SIGMA**2 * _CORRELATED)
    normal = jnp.einsum("mxyc,nxyc->mn", model.albedo_basis * weight, model.albedo_basis)
    right = jnp.einsum("mxyc,xyc->m", model.albedo_basis, weight * rest)
    albedo = jnp.linalg.solve(normal + jnp.eye(len(right)), right)
    return fit.replace(parameters=fit.parameters.replace(albedo=albedo))


@jit
def balance_light(fit: FitResult, model: FaceModel) -> FitResult:
    """Returns the fit with its light scaled per channel to the most plausible level.

    With the photo's r = light + skin fixed (logarithms, split into level and colour, each with a
    normal prior), the most probable light is

        (light_0 / sigma_light^2 + (r - skin_0) / sigma_skin^2) / (sigma_light^-2 + sigma_skin^-2).

    Shape, camera, the light's directions and the albedo coefficients stay as they are; `unwrap`
    puts the difference into the low-frequency albedo. Differentiable.

    Args:
        fit: a fitted face.
        model: its face model.
    """
    parameters = fit.parameters
    normals = vertex_normals(fit.vertices, model.triangles)
    normals = normals @ rotation_matrix(parameters.camera.rotation).T
    skin = model.vertex_region == model.region_names.index("skin")
    weight = (skin * jnp.clip(-normals[:, 2], 0.0, 1.0))[:, None]
    corner_uv = (
        jnp.zeros((model.mean.shape[0], 2)).at[model.triangles].set(model.uvs[model.uv_triangles])
    )
    albedo = albedo_at(model, parameters.albedo, corner_uv)
    shading = jnp.maximum(shade(normals, parameters.lighting), 1e-3)

    def mean(logarithm):
        return jnp.sum(weight * logarithm, 0) / jnp.maximum(jnp.sum(weight), 1e-6)

    light, total = mean(jnp.log(shading)), mean(jnp.log(shading * albedo))
    surplus = total - jnp.asarray(SKIN)
    level = _posterior(_LIGHT, _LIGHT_LEVEL, surplus.mean(), _SKIN_LEVEL)
    colour = _posterior(0.0, _LIGHT_COLOUR, surplus - surplus.mean(), _SKIN_COLOUR)
    gain = jnp.exp(level + colour - light)
    lighting = Lighting(coefficients=parameters.lighting.coefficients * gain)
    return fit.replace(parameters=parameters.replace(lighting=lighting))


def _posterior(first, first_sigma: float, second, second_sigma: float):
    """Returns the precision-weighted mean of two estimates."""
    a, b = first_sigma**-2, second_sigma**-2
    return (a * first + b * second) / (a + b)
