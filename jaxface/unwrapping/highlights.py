"""Removal of specular highlights on skin: white light on top of the diffuse colour."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import linear_ramp, log_encode, masked_blur
from jaxface.unwrapping.config import HighlightConfig

SIGMA = 1.5 / 512  # of the texture's side: Gaussian of the estimate, against noise
MAX_LOSS = 0.9  # of a texel's darkest channel, so that the diffuse part stays positive


def remove_highlights(
    reflectance: Float[Array, "T T 3"],
    albedo: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    config: HighlightConfig = HighlightConfig(),
) -> tuple[Float[Array, "T T 3"], Float[Array, "T T"]]:
    """Returns the diffuse albedo without specular reflection, and the mask without texels that are
    mostly specular.

    Each texel is k albedo + s (1, 1, 1) by least squares, the dichromatic reflection model (Shafer,
    *Using color to separate reflection components*, 1985). Specular is `strength` of what s,
    smoothed, exceeds `pigment` by, on texels that are brighter than the smooth albedo (pale spots
    and stubble are not). Where s remains because the photo saturates, the texel takes the smooth
    albedo's hue at its own brightness. Differentiable.

    Args:
        reflectance: radiance over shading, specular reflection included, linear RGB.
        albedo: smooth and complete, linear RGB.
        mask: visible skin, 0..1.
        config: settings.
    """
    norm2, sum_albedo = jnp.sum(albedo**2, -1), jnp.sum(albedo, -1)
    dot, sum_reflectance = jnp.sum(reflectance * albedo, -1), jnp.sum(reflectance, -1)
    determinant = 3.0 * norm2 - sum_albedo**2 + config.ridge * 3.0 * norm2
    white = (norm2 * sum_reflectance - sum_albedo * dot) / jnp.maximum(determinant, 1e-6)
    log_excess = log_encode(sum_reflectance / 3.0) - log_encode(sum_albedo / 3.0)
    sigma = SIGMA * mask.shape[0]
    smooth_white, log_excess = jnp.moveaxis(
        masked_blur(jnp.stack([white, log_excess], -1), mask, sigma), -1, 0
    )
    confidence = linear_ramp(log_excess, *config.brighter)
    pigment = config.pigment * sum_albedo / 3.0
    excess = config.strength * confidence * jnp.maximum(smooth_white - pigment, 0.0)
    # A saturated highlight's colour overstates it: without it skin is no darker than its albedo.
    max_specular = sum_albedo / 3.0 * jnp.maximum(jnp.exp(log_excess) - 1.0, 0.0)
    max_loss = MAX_LOSS * jnp.min(reflectance, -1)
    specular = mask * jnp.minimum(jnp.minimum(excess, max_specular), max_loss)
    diffuse = reflectance - specular[..., None]
    # What remains there would be a grey patch: the albedo's hue at the texel's brightness.
    safe_sum = jnp.maximum(sum_albedo, 1e-3)
    remaining = confidence * jnp.maximum(white - specular - pigment, 0.0)
    saturated = mask * linear_ramp(3.0 * remaining / safe_sum, *config.burnt)
    skin = albedo * (jnp.sum(diffuse, -1) / safe_sum)[..., None]
    diffuse = diffuse + saturated[..., None] * (skin - diffuse)
    return diffuse, mask * (1.0 - linear_ramp(3.0 * excess / safe_sum, *config.hiding))
