"""The sRGB transfer function (IEC 61966-2-1) and luminance, as pure functions."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.precision import jit

_LUMINANCE = (0.2126, 0.7152, 0.0722)


@jit
def srgb_to_linear(image_srgb: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns linear RGB of sRGB values in 0..1 (IEC 61966-2-1:1999).

    Differentiable everywhere; values below 0 continue the linear toe.

    Args:
        image_srgb: any shape, 0..1.

    Example:
        >>> float(srgb_to_linear(jnp.asarray(1.0)))
        1.0
    """
    image_srgb = jnp.asarray(image_srgb)
    curve = ((jnp.maximum(image_srgb, 0.04045) + 0.055) / 1.055) ** 2.4
    return jnp.where(image_srgb <= 0.04045, image_srgb / 12.92, curve)


@jit
def linear_to_srgb(image_linear: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns sRGB values of linear RGB, clipped at neither end (IEC 61966-2-1:1999).

    Differentiable everywhere; values below 0 continue the linear toe.

    Args:
        image_linear: any shape, usually 0..1.

    Example:
        >>> round(float(linear_to_srgb(jnp.asarray(0.2140411))), 4)
        0.5
    """
    image_linear = jnp.asarray(image_linear)
    curve = 1.055 * jnp.maximum(image_linear, 0.0031308) ** (1 / 2.4) - 0.055
    return jnp.where(image_linear <= 0.0031308, image_linear * 12.92, curve)


def luminance(image_linear: Float[Array, "... 3"]) -> Float[Array, "..."]:
    """Returns the relative luminance (ITU-R BT.709) of linear RGB. Differentiable.

    Args:
        image_linear: linear RGB in the last axis.

    Example:
        >>> round(float(luminance(jnp.ones(3))), 4)
        1.0
    """
    return jnp.asarray(image_linear) @ jnp.asarray(_LUMINANCE)
