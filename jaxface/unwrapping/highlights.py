"""Gloss on the skin: white light on top of the skin's own colour, found and taken off."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.unwrapping.skin import blur_within

_RIDGE = 0.005  # of skin whose colour is itself near white little can be told
_ROOM, _SHARE = 0.1, 0.8  # part of the albedo that is left to pigment; of the rest what is gloss
_BRIGHTER = (0.05, 0.2)  # log ratios to the albedo around, between which gloss becomes certain
_BLIND = (0.2, 0.5)  # shares of the albedo between which gloss hides what is under it
_BURNT = (0.04, 0.12)  # and between which white light that is left says that a highlight burnt out
_WIDTH = 1.5  # texels of a 512 x 512 texture


def highlights(
    unlit: Float[Array, "T T 3"], albedo: Float[Array, "T T 3"], mask: Float[Array, "T T"]
) -> tuple[Float[Array, "T T 3"], Float[Array, "T T"]]:
    """Returns the skin without the white light on it, and the mask without what shows little but
    that light.

    Each texel is `k albedo + s white` by least squares, the dichromatic reflection model (Shafer,
    *Using color to separate reflection components*, 1985). Only what is also brighter than the
    albedo around it counts: pale spots and stubble are not gloss. Differentiable.

    Args:
        unlit: radiance over shading, linear.
        albedo: smooth and complete, linear.
        mask: what of it is skin that is seen.
    """
    square, level = jnp.sum(albedo**2, -1), jnp.sum(albedo, -1)
    along, total = jnp.sum(unlit * albedo, -1), jnp.sum(unlit, -1)
    apart = 3.0 * square - level**2 + _RIDGE * 3.0 * square
    sharp = (square * total - level * along) / jnp.maximum(apart, 1e-6)
    brighter = jnp.log((total + 6e-3) / (level + 6e-3))
    sigma = _WIDTH * mask.shape[0] / 512
    white, brighter = jnp.moveaxis(
        blur_within(jnp.stack([sharp, brighter], -1), mask, sigma), -1, 0
    )
    certain = _ramp(brighter, _BRIGHTER)
    pigment = _ROOM * level / 3.0
    surplus = _SHARE * certain * jnp.maximum(white - pigment, 0.0)
    # Where a highlight burnt out, its colour says too much; no gloss leaves skin darker than it is.
    above = level / 3.0 * jnp.maximum(jnp.exp(brighter) - 1.0, 0.0)
    gloss = mask * jnp.minimum(jnp.minimum(surplus, above), 0.9 * jnp.min(unlit, -1))
    plain = unlit - gloss[..., None]
    # What is left there would be a grey patch: the albedo's hue, as bright as it is.
    whole = jnp.maximum(level, 1e-3)
    left = certain * jnp.maximum(sharp - gloss - pigment, 0.0)
    burnt = mask * _ramp(3.0 * left / whole, _BURNT)
    skin = albedo * (jnp.sum(plain, -1) / whole)[..., None]
    plain = plain + burnt[..., None] * (skin - plain)
    return plain, mask * (1.0 - _ramp(3.0 * surplus / whole, _BLIND))


def _ramp(value: Float[Array, "T T"], ends: tuple[float, float]) -> Float[Array, "T T"]:
    low, high = ends
    return jnp.clip((value - low) / (high - low), 0.0, 1.0)
