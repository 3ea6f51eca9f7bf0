"""Detail by octaves: bands between Gaussians, their MTF under a photo's blur, their RMS contrast.

Detail is a difference of log linear albedo (natural logarithm, no unit); an octave is the band
between a Gaussian of s texels and one of s / 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import masked_blur
from jaxface.synthesis.config import CompositionConfig

_FAR = 1e-4  # weight outside a mask: far from it a masked Gaussian becomes the plain one
_PEAK = 0.462  # log(4) / 3, see `blur_mtf`

Sigma = float | Float[Array, ""]


def octave_sigmas(size: int, config: CompositionConfig) -> list[Sigma]:
    """Returns the standard deviations (texels) of the Gaussians between octaves, coarsest first.

    s_k = tone_sigma T / 512 / 2^k for k = 0 ... n. The number n is static; if the settings leave it
    open it is max(1, log2(T / 32)).

    Args:
        size: T, the side of the texture in texels.
        config: `tone_sigma` and `octaves` count.
    """
    count = config.octaves
    if count is None:
        count = max(1, round(math.log2(size / 32)))
    return [config.tone_sigma * (size / 512.0) / 2**octave for octave in range(1 + count)]


def bands(
    image: Float[Array, "T T C"], weights: Float[Array, "T T"], sigmas: Sequence[Sigma]
) -> list[Float[Array, "T T C"]]:
    """Returns the octaves of an image, coarsest first: G_1 x - G_0 x, ..., x - G_n x.

    G_k is the Gaussian of `sigmas[k]` texels as a convolution normalised by `weights`: texels of
    weight 0 do not enter the others.
    """
    blurred = [masked_blur(image, weights + _FAR, sigma) for sigma in sigmas]
    return [fine - coarse for coarse, fine in pairwise([*blurred, image])]


def blur_mtf(
    blur_sigma: Float[Array, "T T"], sigmas: Sequence[Sigma]
) -> list[Float[Array, "T T 1"]]:
    """Returns the modulation transfer function of a Gaussian blur at each octave, 0..1.

    exp(-(g w)^2 / 2) for a Gaussian of g at the frequency w where the difference of Gaussians of s
    and 2 s has its maximum, (s w)^2 = log(4) / 1.5.

    Args:
        blur_sigma: g, texels.
        sigmas: from `octave_sigmas`; the finest octave is taken as that of s = 0.7 times the last.
    """
    finer = [*sigmas[1:], 0.7 * sigmas[-1]]
    return [jnp.exp(-_PEAK * jnp.square(blur_sigma / sigma))[..., None] for sigma in finer]


def mean_product(
    first: Float[Array, "T T 3"],
    second: Float[Array, "T T 3"],
    weights: Float[Array, "T T"],
    limit: Sigma,
) -> Float[Array, ""]:
    """Returns mean(w clip(a) clip(b)) over texels, of the means a and b over colour channels.

    Clipped at +-`limit`, so that brows and lips, of more contrast than skin, do not dominate.
    """
    a, b = (jnp.clip(jnp.mean(image, -1), -limit, limit) for image in (first, second))
    return jnp.mean(a * b * weights)


def skin_gains(
    photo_bands: Sequence[Float[Array, "T T 3"]],
    face_bands: Sequence[Float[Array, "T T 3"]],
    mtf: Sequence[Float[Array, "T T 1"]],
    weights: Float[Array, "T T"],
    config: CompositionConfig,
) -> list[Float[Array, ""]]:
    """Returns each octave's ratio of the person's RMS contrast to a database face's.

    k = sqrt(<p p> / <t f t f>) with the photo's band p, the face's f and the photo's MTF t, over
    seen texels, clipped to `min_gain`..`max_gain`. Where the photo cannot show an octave
    (<t f t f> / <f f> from 0.75 down to 0.25), it fades to the gain of the next coarser one.

    Args:
        photo_bands: of the photo, from `bands`.
        face_bands: of the database face.
        mtf: of the photo, 0..1, as from `blur_mtf`.
        weights: of the seen texels, 0..1.
        config: `max_skin_contrast`, `min_gain` and `max_gain` count.
    """
    limit = config.max_skin_contrast
    gain, gains = jnp.ones(()), []
    for photo, face, transfer in zip(photo_bands, face_bands, mtf, strict=True):
        where = weights * (jnp.abs(jnp.mean(face, -1)) < limit)
        power = mean_product(face, face, where, limit)
        blurred_power = mean_product(transfer * face, transfer * face, where, limit)
        photo_power = mean_product(photo, photo, where, limit)
        ratio = jnp.sqrt(photo_power / jnp.maximum(blurred_power, 1e-9) + 1e-9)
        confidence = jnp.clip(2 * blurred_power / jnp.maximum(power, 1e-9) - 0.5, 0.0, 1.0)
        confidence = jnp.where(power > 1e-9, confidence, 0.0)
        ratio = jnp.clip(ratio, config.min_gain, config.max_gain)
        gain = confidence * ratio + (1 - confidence) * gain
        gains.append(gain)
    return gains


def local_contrast(
    detail: Float[Array, "T T 3"],
    weights: Float[Array, "T T"],
    known: Float[Array, "T T"],
    sigma: Sigma,
    config: CompositionConfig,
) -> Float[Array, "T T 1"]:
    """Returns c = (sqrt(G d^2) / mean)^e, clipped to `min_local_contrast`..1.

    The local RMS contrast over its mean on known texels; values above 1 are edges, not skin.

    Args:
        detail: log albedo; d is its mean over the channels, clipped to +-`max_skin_contrast`.
        weights: mask of the normalised convolution G, 0..1.
        known: weights of the mean, 0..1.
        sigma: of the Gaussian G, texels.
        config: `max_skin_contrast`, `local_contrast_exponent` and `min_local_contrast` count.
    """
    limit = config.max_skin_contrast
    channel_mean = jnp.clip(jnp.mean(detail, -1, keepdims=True), -limit, limit)
    local = jnp.sqrt(masked_blur(channel_mean**2, weights + _FAR, sigma) + 1e-8)
    known = known[..., None] + 1e-6
    mean = jnp.sum(local * known) / jnp.sum(known)
    exponent = config.local_contrast_exponent
    return jnp.clip((local / mean) ** exponent, config.min_local_contrast, 1.0)


def soft_clip(
    values: Float[Array, "T T C"], limit: Sigma | Float[Array, "..."]
) -> Float[Array, "T T C"]:
    """Returns limit tanh(values / limit): the identity near 0, bounded by +-`limit`."""
    return limit * jnp.tanh(values / limit)
