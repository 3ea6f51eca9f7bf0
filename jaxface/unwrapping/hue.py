"""What hue of a texel cannot be skin's: rims of coloured light, shadows that a camera saturates."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import masked_blur
from jaxface.types import FaceModel, TexelMap
from jaxface.unwrapping.regions import region_mask

REGIONS = ("skin", "nose")
SIDE = 324.0  # millimetres that the texture's side measures on the front of the mean face
SIGMAS = (1.25, 2.5, 5.0, 10.0, 20.0)  # of the Gaussians between the bands, millimetres
LIMITS = (0.044, 0.020, 0.028, 0.039, 0.044)
"""Natural logarithms: 95th percentile of the length of each band on real skin, the median of
MakeHuman's eleven that are at hand at 2,048 texels."""


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
    limit = jnp.asarray(LIMITS)[:, None, None, None]
    lost = bands * (1.0 - 1.0 / jnp.sqrt(1.0 + square / limit**2))
    return weight[..., None] * jnp.sum(lost, 0)
