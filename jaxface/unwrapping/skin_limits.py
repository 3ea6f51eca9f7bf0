"""What no skin has is light's: odd hues, halves of the face that differ, blue.

Rims of coloured light, shadows that a camera saturates, light from one side on a shape that is not
quite the photo's. Limits are what real skin shows.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import masked_blur
from jaxface.types import FaceModel, TexelMap
from jaxface.unwrapping.regions import region_mask

REGIONS = ("skin", "nose")
SIDE = 324.0  # millimetres that the texture's side measures on the front of the mean face
SIGMAS = (1.25, 2.5, 5.0, 10.0, 20.0)  # of the Gaussians between the bands, millimetres
HUE_LIMITS = (0.044, 0.020, 0.028, 0.039, 0.044)
"""Natural logarithms: 95th percentile of the length of each band on real skin, the median of
MakeHuman's eleven that are at hand at 2,048 texels."""
FIRST_OF_HALVES = 2
"""Bands before this one hold moles, scars and wrinkles, which may be on one side only."""
HALVES_LIMITS = (0.015, 0.016, 0.016)
"""Likewise of the odd part of luminance under the mirror, from band `FIRST_OF_HALVES` on."""


def hue_excess(
    log_ratio: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    model: FaceModel,
    texels: TexelMap,
) -> Float[Array, "T T 3"]:
    """Returns how much more of a hue the log ratio has than skin can: it is light's.

    With h the ratio less its mean over RGB and G_k the masked Gaussian means, each band
    b = G_(k-1) h - G_k h is drawn to b / sqrt(1 + |b|^2 / limit^2); the excess is what is lost. It
    is 0 off the mask and in lips, lids and brows, and the widest mean stays. Differentiable.

    Args:
        log_ratio: photo over shading and fitted albedo, natural logarithm.
        mask: visible skin, 0..1.
        model: the face model.
        texels: of the model.
    """
    weight = mask * region_mask(model, texels, *REGIONS)
    hue = log_ratio - jnp.mean(log_ratio, -1, keepdims=True)
    means = [masked_blur(hue, weight, s / SIDE * len(mask)) for s in SIGMAS]
    bands = jnp.stack([hue, *means[:-1]]) - jnp.stack(means)
    square = jnp.sum(bands**2, -1, keepdims=True)
    limit = jnp.asarray(HUE_LIMITS)[:, None, None, None]
    return weight[..., None] * jnp.sum(_beyond(bands, square, limit), 0)


def asymmetry_excess(
    log_ratio: Float[Array, "T T"],
    mask: Float[Array, "T T"],
    doubt: Float[Array, "T T"],
    model: FaceModel,
    texels: TexelMap,
) -> Float[Array, "T T"]:
    """Returns how much more the halves of the face differ in luminance than skin can: it is light.

    With r the log ratio and r' its mirror image, the bands of (r - r') / 2 from `FIRST_OF_HALVES`
    on are drawn inside `HALVES_LIMITS` as in `hue_excess`. What is lost is taken from both halves,
    from each in proportion to its error's variance. 0 where one half is not seen, and in lips, lids
    and brows; the widest mean stays. Differentiable.

    Args:
        log_ratio: photo over shading and fitted albedo, mean over RGB, natural logarithm.
        mask: visible skin, 0..1.
        doubt: standard deviation of the shading's logarithm, to a factor.
        model: the face model.
        texels: of the model, whose mirror image is the texture's.
    """
    weight = mask * region_mask(model, texels, *REGIONS)
    both = weight * weight[:, ::-1]
    odd = 0.5 * (log_ratio - log_ratio[:, ::-1])[..., None]
    sigmas = SIGMAS[FIRST_OF_HALVES - 1 :]
    means = jnp.stack([masked_blur(odd, both, s / SIDE * len(mask)) for s in sigmas])[..., 0]
    bands = means[:-1] - means[1:]
    limit = jnp.asarray(HALVES_LIMITS)[:, None, None]
    lost = jnp.sum(_beyond(bands, bands**2, limit), 0)
    own, other = doubt**2, doubt[:, ::-1] ** 2
    return 2.0 * both * lost * own / jnp.maximum(own + other, 1e-12)


def _beyond(bands: Array, square: Array, limit: Array) -> Array:
    """Returns b - b / sqrt(1 + |b|^2 / limit^2): what is lost when bands are drawn inside."""
    return bands * (1.0 - 1.0 / jnp.sqrt(1.0 + square / limit**2))


def no_bluer_than_grey(albedo: Float[Array, "*N 3"]) -> Float[Array, "*N 3"]:
    """Returns the albedo with green no more than red and blue no more than green.

    Melanin, in skin and hair, absorbs the more the shorter the wavelength (Jacques, *Phys. Med.
    Biol.* 2013, equation 5), and blood reddens. Black hair divided by a warm light would be blue.
    """
    red, green, blue = albedo[..., 0], albedo[..., 1], albedo[..., 2]
    green = jnp.minimum(red, green)
    return jnp.stack([red, green, jnp.minimum(green, blue)], -1)
