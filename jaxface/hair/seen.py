"""The hair that a photo shows: which pixels are hair of this head, and how coily it is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxface.filters import blur, dilate, weighted_median
from jaxface.parsing.classes import BACKGROUND, HAIR

SURE = 6
"""Exponent of the probability of hair, as the weight of its colour."""
# Colours of one head's hair: deviations of the log of linear RGB (plus `_DARK`), of its level and
# its hue, and how many of them away hair is something else.
_DARK, _LEVEL, _HUE, _UNLIKE = 0.02, 1.0, 0.25, 3.0
_CANDIDATE = 0.3  # probability from which paths lead through hair
_TENSOR = 6.0  # pixels of the crop: standard deviation of the structure tensor's window
_COHERENT = (0.33, 0.43)  # coherence of coily hair, and of hair with a direction


def hair_of_head(
    classes: Float[Array, "W W K"], linear: Float[Array, "W W 3"], head: Bool[Array, "W W"]
) -> Float[Array, "W W K"]:
    """Returns classes of pixels in which only the hair of a head is hair, the rest background.

    The rest is hair off the head that has another colour than the hair before the head, and what
    no path through hair connects with the head. Photos behind a head (flags, foliage, other people)
    hold both. Differentiable in the classes.

    Args:
        classes: probabilities of the parser's `CLASSES`.
        linear: the photo.
        head: where the fitted head lies.
    """
    hair = classes[..., HAIR]
    encoded = jnp.log(linear + _DARK)
    level = jnp.mean(encoded, -1, keepdims=True)
    colour = jnp.concatenate([level / _LEVEL, (encoded - level) / _HUE], -1)
    unlike = jnp.sum((colour - median(colour, hair**SURE * head)) ** 2, -1) > _UNLIKE**2
    candidate = 1.0 * (_halve(hair * (head | ~unlike)) > _CANDIDATE)

    def grow(connected: Array, _: None) -> tuple[Array, None]:
        return candidate * dilate(connected, 1), None

    start = candidate * _halve(1.0 * head)
    connected, _ = jax.lax.scan(grow, start, None, length=len(start))
    kept = jnp.repeat(jnp.repeat(dilate(connected, 1), 2, 0), 2, 1)
    lost = hair * (1.0 - jnp.clip(kept, 0.0, 1.0))
    return classes.at[..., HAIR].add(-lost).at[..., BACKGROUND].add(lost)


def coiliness(photo_srgb: Float[Array, "S S 3"], hair: Float[Array, "S S"]) -> Float[Array, ""]:
    """Returns 0 for hair whose strands have a direction, to 1 for coily hair.

    By the mean coherence of the structure tensor, (l1 - l2) / (l1 + l2) of its eigenvalues: on 72
    portraits .14 to .36 for coils and .43 to .86 for others.

    Args:
        photo_srgb: a crop.
        hair: probability of hair in its pixels.

    Source: Weickert, *Anisotropic Diffusion in Image Processing* (1998), section 2.2.
    """
    grey = blur(jnp.mean(photo_srgb, -1, keepdims=True), 1.0)[..., 0]
    gy, gx = jnp.gradient(grey)
    tensor = blur(jnp.stack([gx * gx, gy * gy, gx * gy], -1), _TENSOR)
    xx, yy, xy = tensor[..., 0], tensor[..., 1], tensor[..., 2]
    coherence = jnp.sqrt((xx - yy) ** 2 + 4.0 * xy**2 + 1e-12) / (xx + yy + 1e-6)
    deep = jnp.clip(2.0 * blur(hair[..., None], _TENSOR)[..., 0] - 1.0, 0.0, 1.0)
    mean = jnp.sum(coherence * deep) / jnp.maximum(jnp.sum(deep), 1.0)
    return jnp.clip((_COHERENT[1] - mean) / (_COHERENT[1] - _COHERENT[0]), 0.0, 1.0)


def median(image: Float[Array, "H W C"], weight: Float[Array, "H W"]) -> Float[Array, " C"]:
    """Returns the weighted median of each channel."""
    return jnp.stack([weighted_median(image[..., k], weight) for k in range(image.shape[-1])])


def shrink(image: Float[Array, "S S C"], side: int) -> Float[Array, "W W C"]:
    """Returns means of blocks; `side`, pixels, divides the image's."""
    factor = image.shape[0] // side
    return image.reshape(side, factor, side, factor, -1).mean((1, 3))


def _halve(plane: Float[Array, "W W"]) -> Float[Array, "N N"]:
    return shrink(plane[..., None], len(plane) // 2)[..., 0]
