"""The teeth's colour: the model's own, as white as the photo shows them."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.unwrapping.skin import bluest_quarter, median_colour

_BRIGHTER, _WHITER = 0.12, 0.7  # at most: logarithm; share of the way from ivory to white
_ENOUGH = 6.0  # pixels across


def whiten_teeth(
    albedo: Float[Array, "T T 3"],
    seen_albedo: Float[Array, "T T 3"],
    visibility: Float[Array, "T T"],
    teeth: Float[Array, "T T"],
    pixels_per_texel: Float[Array, ""],
) -> Float[Array, "T T 3"]:
    """Returns the albedo with teeth that are whiter and a little brighter if the photo's are.

    Lips shade teeth and redden what light reaches them, so that only a difference towards white
    counts, and of the teeth those that have the most light. Differentiable.

    Args:
        albedo: complete, the gums in their own red.
        seen_albedo: radiance over shading.
        visibility: 0..1.
        teeth: 1 on the teeth's charts, gums included.
        pixels_per_texel: pixels of the photo per texel, on the face.
    """
    red, green = albedo[..., 0], albedo[..., 1]
    crown = teeth * jnp.clip((green / jnp.maximum(red, 1e-3) - 0.6) / 0.2, 0.0, 1.0)
    seen = crown * visibility
    own = _brightest(albedo, crown)
    change = _brightest(seen_albedo, seen) - own
    level, white = jnp.mean(change), jnp.mean(own) - own
    whiter = jnp.clip((change[2] - level) / jnp.maximum(white[2], 1e-2), 0.0, _WHITER)
    across = jnp.sqrt(jnp.sum(seen) + 1e-9) * pixels_per_texel
    trust = jnp.clip(across / _ENOUGH, 0.0, 1.0) * (jnp.sum(seen) > 0)
    gain = jnp.exp(trust * (jnp.clip(level, 0.0, _BRIGHTER) + whiter * white))
    return albedo * (1.0 + crown[..., None] * (gain - 1.0))


def _brightest(colours: Float[Array, "T T 3"], weights: Float[Array, "T T"]) -> Float[Array, "3"]:
    """Returns the logarithm of the median of the whitest quarter."""
    median = median_colour(colours, bluest_quarter(colours, weights))
    return jnp.log(jnp.maximum(median, 5e-3))
