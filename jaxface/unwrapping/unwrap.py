"""The photo on the face's texture: diffuse albedo of visible texels, a complete smooth albedo.

see              projection of each texel into the photo, radiance and visibility there
mask_evidence    regions and exposure
rounds of        the light's level and colour, the skin mask, the shading, the albedo
paint_parts      scalp, eyes and teeth
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import LOG_OFFSET, log_decode, log_encode
from jaxface.morphable.albedo import albedo_texture
from jaxface.precision import jit
from jaxface.rendering.lighting import shade
from jaxface.types import FaceModel, FitResult, TexelMap, UnwrapResult
from jaxface.unwrapping.config import UnwrapConfig
from jaxface.unwrapping.delight import shading_correction
from jaxface.unwrapping.exposure import albedo_coefficients, balance_light
from jaxface.unwrapping.facial_hair import hue_of_hair, light_on_beard
from jaxface.unwrapping.folds import fold_shading, fold_weight
from jaxface.unwrapping.highlights import remove_highlights
from jaxface.unwrapping.membrane import texels_to_vertices, vertices_to_texels
from jaxface.unwrapping.paint import paint_parts
from jaxface.unwrapping.skin_limits import asymmetry_excess, no_bluer_than_grey, skin_excess
from jaxface.unwrapping.skin_mask import mask_evidence, shading_steepness, skin_mask
from jaxface.unwrapping.tone import low_frequency_albedo
from jaxface.unwrapping.visible import see

MAX_LOG_RATIO = 4.0  # of photo over rendered fit: beyond is no skin, and would bias the trend


@partial(jit, static_argnames="known_light")
def unwrap(
    photo_srgb: Float[Array, "H W 3"],
    fit: FitResult,
    model: FaceModel,
    texels: TexelMap,
    *,
    classes: Float[Array, "H W K"] | None = None,
    known_light: bool = False,
    config: UnwrapConfig = UnwrapConfig(),
) -> tuple[UnwrapResult, FitResult]:
    """Returns the face's texture from the photo, and `fit` with lighting and albedo re-estimated.

    In the returned fit the lighting is rescaled per channel (`balance_light`) and the albedo
    coefficients are those of visible skin; shape and camera are unchanged.

    Alternating estimation (block coordinate descent), `rounds` iterations, as the mask depends on
    the albedo and the albedo on the mask. With radiance p, the fit's albedo a and its shading s_0
    by spherical harmonics, the log ratio is r = log(p + o) - log(a s_0 + o), o = `LOG_OFFSET`,
    clipped to +-4. `skin_mask` finds skin by r; `shading_correction` d of r, `fold_shading` and
    `asymmetry_excess` h of r - d and `skin_excess` e of what is left without specular reflection
    give the shading s = s_0 exp(d + h + e); `partial` is p / s without specular reflection,
    facial hair with one hue (`hue_of_hair`); the low-frequency albedo is a exp(m), m the
    screened-Laplacian interpolation (`membrane`) of r - d - h - e. Last, a is fitted to `partial`:
    the last round's a is in the returned fit, but not used in the returned maps.
    `pixels_per_texel` is the sampling rate over 1 + noise / `NoiseConfig.masking` (noise: standard
    deviation, sRGB 0..1), the resolution that is left of a noisy photo.

    Differentiable in photo and fit, except through which texels are visible and show skin.

    Args:
        photo_srgb: 0..1.
        fit: the fitted face, its camera in pixels of `photo_srgb` (a crop's, inside `observe`).
        model: the face model of the fit.
        texels: of the model, T x T.
        classes: probabilities of the parser's `CLASSES`; all face if missing.
        known_light: leave the light's level and colour as fitted; static.
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

    seen = see(photo_srgb, fit, model, texels, classes, config)
    view = seen.projection
    evidence = mask_evidence(seen, model, texels, config)
    folds = fold_weight(fit, model, texels)

    def estimate(fit: FitResult, _: None) -> tuple[FitResult, tuple[Array, ...]]:
        fit = balance(fit)
        albedo = albedo_texture(model, fit.parameters.albedo, size)
        lighting = fit.parameters.lighting
        shading = jnp.maximum(shade(view.normals, lighting), LOG_OFFSET)
        log_ratio = log_encode(seen.radiance) - log_encode(albedo * shading)
        log_ratio = jnp.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO)
        steepness = shading_steepness(view.normals, lighting)
        mask = skin_mask(log_ratio, steepness, evidence, model, texels, config)

        bare = mask * (1.0 - seen.facial_hair)  # whose darkness and hue are not light's
        values, weights = texels_to_vertices(log_ratio, mask, model, texels)
        correction = shading_correction(*texels_to_vertices(log_ratio, bare, model, texels), model)
        of_texels = vertices_to_texels(correction, texels)
        grey = jnp.mean(log_ratio - of_texels, -1)
        of_folds = fold_shading(grey, bare, folds)
        of_halves = asymmetry_excess(grey - of_folds, bare, steepness, model, texels)
        excess = jnp.broadcast_to((of_folds + of_halves)[..., None], log_ratio.shape)
        lit = shading * jnp.exp(of_texels + excess)
        excess = excess + light_on_beard(lit, bare, seen.beard)
        shading = shading * jnp.exp(of_texels + excess)
        tone = values - correction - texels_to_vertices(excess, mask, model, texels)[0]
        with_gloss = low_frequency_albedo(albedo, tone, weights, model, texels, config)
        partial, matt = remove_highlights(
            seen.radiance / shading, with_gloss, bare, config.highlights
        )
        # After the gloss, whose white would count as a hue that is light's, and be removed twice.
        log_albedo_ratio = log_encode(partial) - log_encode(albedo)
        log_albedo_ratio = jnp.clip(log_albedo_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO)
        where = (mask > 0.0) * (1.0 - seen.facial_hair)
        excess = skin_excess(log_albedo_ratio, bare, where, model, texels)
        partial, shading = partial * jnp.exp(-excess), shading * jnp.exp(excess)
        partial = log_decode(hue_of_hair(log_encode(partial), bare, seen.facial_hair))
        partial = no_bluer_than_grey(partial)
        tone = tone - texels_to_vertices(excess, mask, model, texels)[0]
        mask = mask - bare + matt
        partial = jnp.where((seen.visibility > 0)[..., None], partial, 0.0)
        coefficients = albedo_coefficients(partial, matt, model, config.exposure)
        fit = fit.replace(parameters=fit.parameters.replace(albedo=coefficients))
        return fit, (albedo, shading, tone, weights, partial, mask)

    fit, rounds = jax.lax.scan(estimate, fit, length=config.rounds)
    albedo, shading, tone, weights, partial, mask = jax.tree.map(lambda leaf: leaf[-1], rounds)
    low_frequency = low_frequency_albedo(albedo, tone, weights, model, texels, config)
    result = UnwrapResult(
        radiance=seen.radiance * (seen.visibility > 0)[..., None],
        shading=shading,
        partial=partial,
        visibility=seen.visibility,
        skin_mask=mask,
        pixels_per_texel=view.pixels_per_texel / (1.0 + seen.noise / config.noise.masking),
        low_frequency=paint_parts(
            *(low_frequency, albedo, shading, seen, fit.vertices, model, texels)
        ),
    )
    return result, fit
