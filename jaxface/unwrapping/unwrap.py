"""The photo on the face's texture: what is seen, without its light, and a complete smooth albedo.

see              where each texel lies in the photo, and what the photo shows there
mask_evidence    regions, visibility and depth tests from the lamp
rounds of        the light's level, the skin mask, the shading, the albedo
paint_parts      scalp, eyes and teeth
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import LOG_OFFSET, log_encode
from jaxface.morphable.albedo import albedo_texture
from jaxface.precision import jit
from jaxface.rendering.lighting import shade
from jaxface.types import FaceModel, FitResult, TexelMap, UnwrapResult
from jaxface.unwrapping.config import UnwrapConfig
from jaxface.unwrapping.delight import shading_correction
from jaxface.unwrapping.exposure import albedo_coefficients, balance_light
from jaxface.unwrapping.highlights import remove_highlights
from jaxface.unwrapping.membrane import texels_to_vertices, vertices_to_texels
from jaxface.unwrapping.paint import paint_parts
from jaxface.unwrapping.reject import mask_evidence, skin_mask
from jaxface.unwrapping.tone import low_frequency_albedo
from jaxface.unwrapping.visible import see

MAX_LOG_RATIO = 4.0  # of photo over rendered fit: more is no skin, and would bend the trend


@partial(jit, static_argnames="known_light")
def unwrap(
    photo_srgb: Float[Array, "H W 3"],
    fit: FitResult,
    model: FaceModel,
    texels: TexelMap,
    *,
    person_mask: Float[Array, "H W"] | None = None,
    known_light: bool = False,
    config: UnwrapConfig = UnwrapConfig(),
) -> tuple[UnwrapResult, FitResult]:
    """Returns what the photo shows of the face, and the fit that explains it.

    That fit has the light level and the albedo coefficients of what is seen.

    Seen are texels inside the photo that no triangle hides and that face the camera. With albedo a,
    shading s by spherical harmonics and radiance p, `skin_mask` keeps what the log ratio
    r = log p - log(a s) shows to be skin. `shading_correction` moves part of r to the shading;
    `partial` is p / s less the gloss, and the low-frequency albedo is a exp(m), with m a membrane
    through the rest of r. The mask depends on the albedo and the albedo on the mask: `rounds` of
    light level, mask, shading and albedo follow each other.

    Differentiable in photo and fit, except through which texels are seen and show skin.

    Args:
        photo_srgb: 0..1.
        fit: the fitted face, with the camera in the photo's pixels.
        model: the face model of the fit.
        texels: of the model, T x T.
        person_mask: probability that a pixel shows a person, 0..1; all ones if missing.
        known_light: leave the level of the light as it is; static.
        config: settings.

    Source: Saito et al. (CVPR 2017), section 4, for the partial texture and the linear albedo.

    Example:
        >>> texels = texel_map(model, 512)  # doctest: +SKIP
        >>> seen, fitted = unwrap(photo.srgb, fitted, model, texels)  # doctest: +SKIP
        >>> seen.partial.shape  # doctest: +SKIP
        (512, 512, 3)
    """
    size = texels.mask.shape[0]

    def balance(fit: FitResult) -> FitResult:
        return fit if known_light else balance_light(fit, model, config=config.exposure)

    seen = see(photo_srgb, fit, model, texels, person_mask, config)
    view = seen.projection
    evidence = mask_evidence(seen, balance(fit), model, texels, config)

    def estimate(fit: FitResult, _: None) -> tuple[FitResult, tuple[Array, ...]]:
        fit = balance(fit)
        albedo = albedo_texture(model, fit.parameters.albedo, size)
        lighting = fit.parameters.lighting
        shading = jnp.maximum(shade(view.normals, lighting), LOG_OFFSET)
        log_ratio = log_encode(seen.radiance) - log_encode(albedo * shading)
        log_ratio = jnp.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO)
        mask = skin_mask(log_ratio, lighting, evidence, model, texels, config)

        values, weights = texels_to_vertices(log_ratio, mask, model, texels)
        correction = shading_correction(values, weights, model, config)
        shading = shading * jnp.exp(vertices_to_texels(correction, texels))
        low_frequency = low_frequency_albedo(
            albedo, values - correction, weights, model, texels, config
        )
        partial, mask = remove_highlights(
            seen.radiance / shading, low_frequency, mask, config.highlights
        )
        partial = jnp.where((seen.visibility > 0)[..., None], partial, 0.0)
        coefficients = albedo_coefficients(partial, mask, model, config.exposure)
        fit = fit.replace(parameters=fit.parameters.replace(albedo=coefficients))
        return fit, (albedo, shading, low_frequency, partial, mask)

    fit, rounds = jax.lax.scan(estimate, fit, length=config.rounds)
    albedo, shading, low_frequency, partial, mask = jax.tree.map(lambda leaf: leaf[-1], rounds)
    result = UnwrapResult(
        radiance=seen.radiance * (seen.visibility > 0)[..., None],
        shading=shading,
        partial=partial,
        visibility=seen.visibility,
        skin_mask=mask,
        pixels_per_texel=view.pixels_per_texel / (1.0 + seen.noise / config.noise.masking),
        low_frequency=paint_parts(low_frequency, albedo, shading, seen, model, texels),
    )
    return result, fit
