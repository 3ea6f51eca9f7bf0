"""What no skin has is light's: contrasts, odd hues, halves of the face that differ, blue.

Shadows and gloss that no fitted light explains, rims of coloured light, shadows that a camera
saturates, light from one side on a shape that is not quite the photo's. Limits are what real skin
shows.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import masked_blur
from jaxface.types import FaceModel, TexelMap
from jaxface.unwrapping.membrane import vertices_to_texels
from jaxface.unwrapping.regions import near_brows, region_mask

REGIONS = ("skin", "nose")
_EYES = ("lids", "brows")
SIDE = 324.0  # millimetres that the texture's side measures on the front of the mean face
SIGMAS = (1.25, 2.5, 5.0, 10.0, 20.0)  # of the Gaussians between the bands, millimetres
AXES = ((0.400, 0.595, 0.697), (0.813, 0.122, -0.570), (-0.424, 0.795, -0.435))
"""Orthonormal, in log RGB: principal axes of real skin's bands. Along the first skin is darker or
brighter, as melanin makes it, along the second redder or yellower, along the third greener."""
DEVIATIONS = (
    (0.047, 0.0145, 0.0114),
    (0.025, 0.0056, 0.0034),
    (0.039, 0.0068, 0.0042),
    (0.064, 0.0092, 0.0053),
    (0.075, 0.0114, 0.0072),
)
"""Of real skin's bands along the axes, natural logarithm: root mean square around a place, the
upper quartile of all places; median of MakeHuman's eleven skins, at 512 texels
(`building/skin_deviations.py`)."""
AROUND = 10.0  # millimetres: sigma of the Gaussian of that mean square
FIRST_OF_HALVES = 2
"""Bands before this one hold moles, scars and wrinkles, which may be on one side only."""
HALVES_LIMITS = (0.015, 0.016, 0.016)
"""Likewise of the odd part of luminance under the mirror, from band `FIRST_OF_HALVES` on."""


def skin_excess(
    log_ratio: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    where: Float[Array, "T T"],
    model: FaceModel,
    texels: TexelMap,
) -> Float[Array, "T T 3"]:
    """Returns how much more contrast and hue the log ratio has than skin can: it is light's.

    With G_k the masked Gaussian means of the ratio r, each band b = G_(k-1) r - G_k r is drawn
    along each of `AXES` to b min(s / sqrt(G b^2), 1): around a place it varies no more than real
    skin does, s (`DEVIATIONS`). The excess is what is lost. The widest mean stays, and lips do;
    lids and what is near brows keep their darkness, and near brows nothing is reddened.
    Differentiable.

    Args:
        log_ratio: albedo over fitted albedo, natural logarithm.
        mask: visible skin, 0..1, of which the means are taken.
        where: 0..1, weight of the excess: all of it where the mask is soft, too.
        model: the face model.
        texels: of the model.
    """
    region = region_mask(model, texels, *REGIONS, *_EYES)
    weight = mask * region
    bands = skin_bands(log_ratio, weight)
    variance = jnp.asarray(DEVIATIONS)[:, None, None, :] ** 2
    ratio = variance / jnp.maximum(mean_square_around(bands, weight), variance)
    darker, redder, greener = jnp.moveaxis(bands * (1.0 - jnp.sqrt(ratio)), -1, 0)
    # A brow's border is as dark as its hairs are dense, and they may be black or grey.
    bare = 1.0 - vertices_to_texels(near_brows(model)[:, None], texels)[..., 0]
    darker = darker * bare * region_mask(model, texels, *REGIONS)
    redder = redder * jnp.where(redder < 0.0, bare, 1.0)
    lost = jnp.stack([darker, redder, greener], -1) @ jnp.asarray(AXES)
    return (region * where)[..., None] * jnp.sum(lost, 0)


def skin_bands(
    log_albedo: Float[Array, "T T 3"], weight: Float[Array, "T T"]
) -> Float[Array, "N T T 3"]:
    """Returns the differences of Gaussian means of `SIGMAS`, finest first, along `AXES`.

    Args:
        log_albedo: natural logarithm, or that of a ratio.
        weight: of a texel in the means, 0..1.
    """
    means = [masked_blur(log_albedo, weight, s / SIDE * len(weight)) for s in SIGMAS]
    return (jnp.stack([log_albedo, *means[:-1]]) - jnp.stack(means)) @ jnp.asarray(AXES).T


def mean_square_around(
    bands: Float[Array, "N T T 3"], weight: Float[Array, "T T"]
) -> Float[Array, "N T T 3"]:
    """Returns the weighted Gaussian mean of the squares, of sigma `AROUND`."""
    sigma = AROUND / SIDE * len(weight)
    return jax.vmap(lambda band: masked_blur(band**2, weight, sigma))(bands)


def asymmetry_excess(
    log_ratio: Float[Array, "T T"],
    mask: Float[Array, "T T"],
    doubt: Float[Array, "T T"],
    model: FaceModel,
    texels: TexelMap,
) -> Float[Array, "T T"]:
    """Returns how much more the halves of the face differ in luminance than skin can: it is light.

    With r the log ratio and r' its mirror image, the bands of (r - r') / 2 from `FIRST_OF_HALVES`
    on are drawn inside `HALVES_LIMITS` as in `skin_excess`. What is lost is taken from both halves,
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
    lost = jnp.sum(_beyond(bands, limit), 0)
    own, other = doubt**2, doubt[:, ::-1] ** 2
    return 2.0 * both * lost * own / jnp.maximum(own + other, 1e-12)


def _beyond(bands: Array, limit: Array) -> Array:
    """Returns b - b / (1 + (b / limit)^4)^(1/4): what is lost when bands are drawn inside."""
    return bands * (1.0 - (1.0 + (bands / limit) ** 4) ** -0.25)


def no_bluer_than_grey(albedo: Float[Array, "*N 3"]) -> Float[Array, "*N 3"]:
    """Returns the albedo with green no more than red and blue no more than green.

    Melanin, in skin and hair, absorbs the more the shorter the wavelength (Jacques, *Phys. Med.
    Biol.* 2013, equation 5), and blood reddens. Black hair divided by a warm light would be blue.
    """
    red, green, blue = albedo[..., 0], albedo[..., 1], albedo[..., 2]
    green = jnp.minimum(red, green)
    return jnp.stack([red, green, jnp.minimum(green, blue)], -1)
