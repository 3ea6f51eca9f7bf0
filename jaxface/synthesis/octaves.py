"""Detail by octaves: bands between Gaussians, what a photo's blur leaves of them, their strength.

Detail is a difference of log albedo; an octave lies between a Gaussian of s and one of s / 2.
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
_ANSWER = 0.462  # log(4) / 3, see `blur_mtf`

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

    G_k is the Gaussian of `sigmas[k]` texels, normalised by `weights`, so that nothing from where
    these are 0 enters the rest.
    """
    blurred = [masked_blur(image, weights + _FAR, sigma) for sigma in sigmas]
    return [fine - coarse for coarse, fine in pairwise([*blurred, image])]


def blur_mtf(
    blur_sigma: Float[Array, "T T"], sigmas: Sequence[Sigma]
) -> list[Float[Array, "T T 1"]]:
    """Returns the modulation transfer function of a Gaussian blur at each octave, 0..1.

    A difference of Gaussians of s and 2 s answers most to the frequency w where
    (s w)^2 = log(4) / 1.5, of which a Gaussian of g leaves exp(-(g w)^2 / 2).

    Args:
        blur_sigma: g, texels.
        sigmas: from `octave_sigmas`; the finest octave is taken as that of s = 0.7 times the last.
    """
    finer = [*sigmas[1:], 0.7 * sigmas[-1]]
    return [jnp.exp(-_ANSWER * jnp.square(blur_sigma / sigma))[..., None] for sigma in finer]


def mean_product(
    first: Float[Array, "T T 3"],
    second: Float[Array, "T T 3"],
    weights: Float[Array, "T T"],
    limit: Sigma,
) -> Float[Array, ""]:
    """Returns mean(w clip(a) clip(b)) over texels, of the means a and b over colour channels.

    Clipped at +-`limit`, so that what is stronger than skin (brows, lips) does not decide.
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
    """Returns the strength of the person's skin over a database face's, octave by octave.

    g = sqrt(<p p> / <m f m f>) with the photo's band p, the face's f and the photo's MTF m, over
    seen texels. Where the photo cannot show an octave (<m f m f> small against <f f>), the gain of
    the next coarser one is taken instead.

    Args:
        photo_bands: what the photo shows, from `bands`.
        face_bands: of the database face.
        mtf: contrast that the photo leaves, from `blur_mtf`, 0..1.
        weights: of the seen texels, 0..1.
        config: `max_skin_contrast`, `min_gain` and `max_gain` count.
    """
    limit = config.max_skin_contrast
    gain, gains = jnp.ones(()), []
    for photo, face, shown in zip(photo_bands, face_bands, mtf, strict=True):
        where = weights * (jnp.abs(jnp.mean(face, -1)) < limit)
        power = mean_product(face, face, where, limit)
        shown_power = mean_product(shown * face, shown * face, where, limit)
        photo_power = mean_product(photo, photo, where, limit)
        ratio = jnp.sqrt(photo_power / jnp.maximum(shown_power, 1e-9) + 1e-9)
        trust = jnp.clip(2 * shown_power / jnp.maximum(power, 1e-9) - 0.5, 0.0, 1.0)
        trust = jnp.where(power > 1e-9, trust, 0.0)
        gain = trust * jnp.clip(ratio, config.min_gain, config.max_gain) + (1 - trust) * gain
        gains.append(gain)
    return gains


def local_contrast(
    detail: Float[Array, "T T 3"],
    weights: Float[Array, "T T"],
    known: Float[Array, "T T"],
    sigma: Sigma,
    config: CompositionConfig,
) -> Float[Array, "T T 1"]:
    """Returns the local RMS contrast over its mean where it is known, raised to an exponent.

    clip((sqrt(G d^2) / mean)^e, least, 1): larger values come from the edges of brows and lips.

    Args:
        detail: d, log albedo.
        weights: what G does not mix with the rest, 0..1.
        known: where the mean is taken, 0..1.
        sigma: of the Gaussian G, texels.
        config: `max_skin_contrast`, `local_contrast_exponent` and `min_local_contrast` count.
    """
    limit = config.max_skin_contrast
    grey = jnp.clip(jnp.mean(detail, -1, keepdims=True), -limit, limit)
    local = jnp.sqrt(masked_blur(grey**2, weights + _FAR, sigma) + 1e-8)
    known = known[..., None] + 1e-6
    mean = jnp.sum(local * known) / jnp.sum(known)
    exponent = config.local_contrast_exponent
    return jnp.clip((local / mean) ** exponent, config.min_local_contrast, 1.0)


def soft_clip(
    values: Float[Array, "T T C"], limit: Sigma | Float[Array, "..."]
) -> Float[Array, "T T C"]:
    """Returns limit tanh(values / limit): small values stay, large ones end at +-`limit`."""
    return limit * jnp.tanh(values / limit)
