"""The hair that a photo shows: which pixels are hair of this head, and how coily it is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxface.filters import blur, dilate, masked_blur, weighted_median
from jaxface.parsing.classes import BACKGROUND, BEARD, FACE, HAIR

SURE = 6
"""Exponent of the probability of hair, as the weight of its colour."""
# Colours of one head's hair, and of its skin: standard deviations of the log of linear RGB (plus
# `_DARK`), of its level and its hue, and how many of them away hair is another's.
_DARK, _LEVEL, _HUE, _UNLIKE = 0.02, 0.6, 0.15, 5.0
_ROUNDS = 3  # in which hair's colour and what is hair are found in turn
_SMOOTH = 4.0  # pixels of the window: standard deviation over which colours are judged
# Log of the odds by which colour speaks for skin at most: gloss on hair is as light.
_DECISIVE = 3.0
_CERTAIN = 0.01  # the parser's least probability
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
    colour = _level_and_hue(linear)
    unlike = jnp.sum((colour - median(colour, hair**SURE * head)) ** 2, -1) > _UNLIKE**2
    candidate = 1.0 * (_halve(hair * (head | ~unlike)) > _CANDIDATE)

    def grow(connected: Array, _: None) -> tuple[Array, None]:
        return candidate * dilate(connected, 1), None

    start = candidate * _halve(1.0 * head)
    connected, _ = jax.lax.scan(grow, start, None, length=len(start))
    kept = jnp.repeat(jnp.repeat(dilate(connected, 1), 2, 0), 2, 1)
    lost = hair * (1.0 - jnp.clip(kept, 0.0, 1.0))
    return classes.at[..., HAIR].add(-lost).at[..., BACKGROUND].add(lost)


def hair_or_skin(
    classes: Float[Array, "W W K"],
    linear: Float[Array, "W W 3"],
    head: Bool[Array, "W W"],
    scalp: Bool[Array, "W W"],
    ears: Bool[Array, "W W"],
    long: Float[Array, ""],
) -> Float[Array, "W W K"]:
    """Returns classes in which colour, too, tells hair from the skin of the scalp.

    Bayes' rule: the parser's odds of hair to face, times the ratio of two Gaussians around this
    photo's medians of hair and of skin. A shining bald scalp is not black as the hair beside it,
    smooth hair not as light as the forehead; where both have one colour, the parser decides.
    Differentiable in the classes.

    Args:
        classes: probabilities of the parser's `CLASSES`, of `hair_of_head`.
        linear: the photo.
        head: where the fitted head lies.
        scalp: where the scalp may be.
        ears: around the ears, of which colour makes no hair. The rest keeps its classes.
        long: 1 for long hair, 0 for short: below long hair no scalp is bald.
    """
    hair, face = classes[..., HAIR], classes[..., FACE]
    person = hair + face
    prior = hair / jnp.maximum(person, 1e-6)
    odds = jax.scipy.special.logit(jnp.clip(prior, _CERTAIN, 1.0 - _CERTAIN))
    odds = odds - long * (head & scalp & ~ears) * jax.scipy.special.logit(_CERTAIN)
    colour = _level_and_hue(linear)
    skin = median(colour, (face - classes[..., BEARD]).clip(0.0) ** SURE * head)
    far_from_skin = jnp.sum((colour - skin) ** 2, -1)

    def judge(share: Array, _: None) -> tuple[Array, None]:
        centre = median(colour, (person * share) ** SURE * scalp)
        ratio = 0.5 * (far_from_skin - jnp.sum((colour - centre) ** 2, -1))
        ratio = masked_blur(ratio[..., None], person, _SMOOTH)[..., 0]
        ratio = jnp.maximum(ratio, -_DECISIVE)
        on_scalp = jnp.maximum(ratio, ratio * (1.0 - long))
        ratio = jnp.where(ears, jnp.minimum(ratio, 0.0), on_scalp)
        return jnp.where(scalp | ears, jax.nn.sigmoid(odds + ratio), prior), None

    share, _ = jax.lax.scan(judge, prior, None, length=_ROUNDS)
    return classes.at[..., HAIR].set(person * share).at[..., FACE].set(person * (1.0 - share))


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


def _level_and_hue(linear: Float[Array, "W W 3"]) -> Float[Array, "W W 4"]:
    """Returns colours in deviations of one person's hair or skin."""
    encoded = jnp.log(linear + _DARK)
    level = jnp.mean(encoded, -1, keepdims=True)
    return jnp.concatenate([level / _LEVEL, (encoded - level) / _HUE], -1)


def _halve(plane: Float[Array, "W W"]) -> Float[Array, "N N"]:
    return shrink(plane[..., None], len(plane) // 2)[..., 0]
