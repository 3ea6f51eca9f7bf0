"""Specular highlights on skin: white light on top of the skin's own colour, taken off."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import linear_ramp, log_encode, masked_blur
from jaxface.unwrapping.config import HighlightConfig

SIGMA = 1.5 / 512  # of the texture's side: over which gloss is estimated; less is noise
MAX_LOSS = 0.9  # of a texel's darkest channel: what is left stays positive


def remove_highlights(
    unlit: Float[Array, "T T 3"],
    albedo: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    config: HighlightConfig = HighlightConfig(),
) -> tuple[Float[Array, "T T 3"], Float[Array, "T T"]]:
    """Returns the skin without the white light on it, and the mask without what shows little but
    that light.

    Each texel is k albedo + s (1, 1, 1) by least squares, the dichromatic reflection model (Shafer,
    *Using color to separate reflection components*, 1985). Of s, what exceeds `pigment` and lies
    on texels that are brighter than the albedo around is gloss: pale spots and stubble are not.
    Differentiable.

    Args:
        unlit: radiance over shading, linear RGB.
        albedo: smooth and complete, linear RGB.
        mask: skin that is seen, 0..1.
        config: settings.
    """
    square, level = jnp.sum(albedo**2, -1), jnp.sum(albedo, -1)
    along, total = jnp.sum(unlit * albedo, -1), jnp.sum(unlit, -1)
    determinant = 3.0 * square - level**2 + config.ridge * 3.0 * square
    white = (square * total - level * along) / jnp.maximum(determinant, 1e-6)
    brighter = log_encode(total / 3.0) - log_encode(level / 3.0)
    sigma = SIGMA * mask.shape[0]
    smooth_white, brighter = jnp.moveaxis(
        masked_blur(jnp.stack([white, brighter], -1), mask, sigma), -1, 0
    )
    certain = linear_ramp(brighter, *config.brighter)
    pigment = config.pigment * level / 3.0
    surplus = config.strength * certain * jnp.maximum(smooth_white - pigment, 0.0)
    # Where a highlight burnt out, its colour overstates it; no gloss leaves skin darker than it is.
    above = level / 3.0 * jnp.maximum(jnp.exp(brighter) - 1.0, 0.0)
    gloss = mask * jnp.minimum(jnp.minimum(surplus, above), MAX_LOSS * jnp.min(unlit, -1))
    matte = unlit - gloss[..., None]
    # What is left there would be a grey patch: the albedo's hue, as bright as it is.
    total_albedo = jnp.maximum(level, 1e-3)
    left = certain * jnp.maximum(white - gloss - pigment, 0.0)
    burnt = mask * linear_ramp(3.0 * left / total_albedo, *config.burnt)
    skin = albedo * (jnp.sum(matte, -1) / total_albedo)[..., None]
    matte = matte + burnt[..., None] * (skin - matte)
    return matte, mask * (1.0 - linear_ramp(3.0 * surplus / total_albedo, *config.hiding))
