"""The colour of the teeth: the model's, made as white and bright as the photo shows them."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import linear_ramp
from jaxface.unwrapping.statistics import median_colour, top_quartile_blue_weights

MAX_BRIGHTER = 0.12  # natural logarithm; a larger difference is an error of the shading
MAX_WHITER = 0.7  # fraction of the way from the model's ivory to neutral grey
SEEN_PIXELS = 6.0  # root of the visible crowns' area in the photo from which confidence is 1
CROWN = (0.6, 0.8)  # green over red: gums below the first, tooth crowns above the second
MIN_COLOUR = 5e-3  # linear RGB, darker than any tooth: keeps the logarithm finite


def whiten_teeth(
    albedo: Float[Array, "T T 3"],
    seen_albedo: Float[Array, "T T 3"],
    visibility: Float[Array, "T T"],
    pixels_per_texel: Float[Array, ""],
    teeth: Float[Array, "T T"],
) -> Float[Array, "T T 3"]:
    """Returns out = albedo (1 + crown (e^g - 1)), g = confidence (clip(D, 0, 0.12) + f n).

    With c the median colour of the bluest quarter of the crowns' texels (the least yellow and best
    lit): D is the mean over RGB of d = log c_photo - log c_model, n = mean(log c_model) -
    log c_model the shift to neutral grey of the same mean log, and f = clip((d_B - D) / n_B, 0,
    0.7) how far the photo's teeth are on that way. f is measured in blue alone: ivory lacks blue,
    while lips and gums redden the light on teeth. confidence = clip(sqrt(area of the visible crowns
    in pixels) / 6, 0, 1). crown = teeth ramp(G / R, 0.6, 0.8), since gums are redder.
    Differentiable.

    Args:
        albedo: complete texture, gums in the model's colour, linear RGB.
        seen_albedo: radiance over shading, linear RGB.
        visibility: 0..1.
        pixels_per_texel: mean width of a seen texel, pixels of the unwrapped image.
        teeth: 1 on the teeth's charts, gums included.
    """
    red, green = albedo[..., 0], albedo[..., 1]
    crown = teeth * linear_ramp(green / jnp.maximum(red, 1e-3), *CROWN)
    seen = crown * visibility
    log_model = _log_top_quartile_median(albedo, crown)
    change = _log_top_quartile_median(seen_albedo, seen) - log_model
    level, to_grey = jnp.mean(change), jnp.mean(log_model) - log_model
    fraction = jnp.clip((change[2] - level) / jnp.maximum(to_grey[2], 1e-2), 0.0, MAX_WHITER)
    width = jnp.sqrt(jnp.sum(seen) + 1e-9) * pixels_per_texel
    confidence = jnp.clip(width / SEEN_PIXELS, 0.0, 1.0) * (jnp.sum(seen) > 0)
    gain = jnp.exp(confidence * (jnp.clip(level, 0.0, MAX_BRIGHTER) + fraction * to_grey))
    return albedo * (1.0 + crown[..., None] * (gain - 1.0))


def _log_top_quartile_median(
    colours: Float[Array, "T T 3"], weights: Float[Array, "T T"]
) -> Float[Array, "3"]:
    """Returns the logarithm of the median colour of the bluest quarter of some texels."""
    median = median_colour(colours, top_quartile_blue_weights(colours, weights))
    return jnp.log(jnp.maximum(median, MIN_COLOUR))
