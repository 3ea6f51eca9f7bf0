"""The teeth's colour: the model's own, as white as the photo shows them."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import linear_ramp
from jaxface.unwrapping.statistics import bluest_quarter, median_colour

MAX_BRIGHTER = 0.12  # natural logarithm; lips shade teeth, and more would be another light
MAX_WHITER = 0.7  # fraction of the way from the model's ivory to white
SEEN_PIXELS = 6.0  # width in the photo from which its colour is believed
CROWN = (0.6, 0.8)  # green over red between which gums become teeth


def whiten_teeth(
    albedo: Float[Array, "T T 3"],
    seen_albedo: Float[Array, "T T 3"],
    visibility: Float[Array, "T T"],
    pixels_per_texel: Float[Array, ""],
    teeth: Float[Array, "T T"],
) -> Float[Array, "T T 3"]:
    """Returns the albedo with teeth that are whiter and a little brighter if the photo's are.

    Lips shade teeth and redden what light reaches them, so that only a difference towards white
    counts, and of the teeth those that have the most light. Differentiable.

    Args:
        albedo: complete, the gums in their own red, linear RGB.
        seen_albedo: radiance over shading, linear RGB.
        visibility: 0..1.
        pixels_per_texel: mean width of a seen texel, pixels of the photo.
        teeth: 1 on the teeth's charts, gums included.
    """
    red, green = albedo[..., 0], albedo[..., 1]
    crown = teeth * linear_ramp(green / jnp.maximum(red, 1e-3), *CROWN)
    seen = crown * visibility
    own = _log_whitest(albedo, crown)
    change = _log_whitest(seen_albedo, seen) - own
    level, to_white = jnp.mean(change), jnp.mean(own) - own
    whiter = jnp.clip((change[2] - level) / jnp.maximum(to_white[2], 1e-2), 0.0, MAX_WHITER)
    width = jnp.sqrt(jnp.sum(seen) + 1e-9) * pixels_per_texel
    trust = jnp.clip(width / SEEN_PIXELS, 0.0, 1.0) * (jnp.sum(seen) > 0)
    gain = jnp.exp(trust * (jnp.clip(level, 0.0, MAX_BRIGHTER) + whiter * to_white))
    return albedo * (1.0 + crown[..., None] * (gain - 1.0))


def _log_whitest(colours: Float[Array, "T T 3"], weights: Float[Array, "T T"]) -> Float[Array, "3"]:
    """Returns the logarithm of the median colour of the whitest quarter."""
    median = median_colour(colours, bluest_quarter(colours, weights))
    return jnp.log(jnp.maximum(median, 5e-3))
