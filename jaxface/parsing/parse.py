"""From a photo and landmarks to the class of each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.parsing.classes import CLASSES, FACE
from jaxface.parsing.crop import SIZE, parsing_crop
from jaxface.parsing.network import ParserWeights, class_logits, parser_features
from jaxface.parsing.refine import guided_filter
from jaxface.precision import jit
from jaxface.rendering.crop import pyramid, sample
from jaxface.rendering.texture import sample_image

SIGMA, EPSILON = 4.0, 1e-3
"""Of the guided filter on the coarse stage: pixels of the crop, variance of sRGB 0..1. A larger
sigma reaches borders that lie farther off, a larger epsilon follows strong ones alone. The best of
(4, 1e-3), (2, 1e-3) and (4, 1e-2) on held-out pictures of `building.people` for that stage alone.
With the fine stage besides, it still adds 1.3 to the per cent of pixels within 4 pixels of the
face's border that are right."""


@jit
def parse(
    photo_srgb: Float[Array, "H W 3"],
    landmarks: Float[Array, "L D"],
    vgg: Mapping[str, Any],
    weights: ParserWeights,
) -> Float[Array, "H W K"]:
    """Returns the probability of each of `CLASSES` in each pixel of a photo; they sum to 1.

    A square around the face (`parsing_crop`) is parsed at 384 x 384 pixels: VGG-16's features,
    a coarse convolutional head at stride 4, with a guided filter along the photo's borders, and a
    fine one at stride 2, which sees rims of glasses and strands of hair. Outside the square
    everything is `background`. Pure, unbatched: works under `jit`, `vmap` and `grad`; where the
    square lies has no derivative.

    Args:
        photo_srgb: 0..1.
        landmarks: 478 in pixels; x and y are used.
        vgg: weights of VGG-16, `load_vgg()`.
        weights: `load_parser()`.

    Example:
        >>> from jaxface import load_parser, load_vgg
        >>> points = jnp.linspace(20.0, 40.0, 956).reshape(478, 2)
        >>> parse(jnp.full((64, 48, 3), 0.5), points, load_vgg(), load_parser()).shape
        (64, 48, 4)
    """
    crop = parsing_crop(landmarks)
    size = jnp.asarray(photo_srgb.shape[:2], jnp.float32)
    image = sample(pyramid(photo_srgb), size, crop)
    found = parse_square(image, vgg, weights)
    y, x = jnp.meshgrid(*(jnp.arange(n) + 0.5 for n in photo_srgb.shape[:2]), indexing="ij")
    at = crop.points_to_crop(jnp.stack([x, y], -1))
    inside = jnp.all((at >= 0) & (at <= SIZE), -1)[..., None]
    background = jax.nn.one_hot(CLASSES.index("background"), len(CLASSES))
    return jnp.where(inside, sample_image(found, at), background)


def parse_square(
    image_srgb: Float[Array, "S S 3"], vgg: Mapping[str, Any], weights: ParserWeights
) -> Float[Array, "S S K"]:
    """Returns the probabilities in the pixels of a square of `parsing_crop`.

    The face has the smaller one of the two stages' probabilities: both must see it. The rest is
    shared among the other classes as the stages' mean is. Arguments as `parse`.
    """
    coarse, fine = class_logits(*parser_features(image_srgb, vgg, weights), weights)
    size = (*image_srgb.shape[:2], len(CLASSES))
    seen = jax.image.resize(jax.nn.softmax(coarse), size, "linear")
    seen = guided_filter(seen, image_srgb, sigma=SIGMA, epsilon=EPSILON)
    near = jax.image.resize(jax.nn.softmax(fine), size, "linear")
    face = jnp.minimum(seen, near)[..., FACE : FACE + 1]
    rest = (seen + near) * (jnp.arange(len(CLASSES)) != FACE)
    rest = rest * (1 - face) / jnp.maximum(jnp.sum(rest, -1, keepdims=True), 1e-6)
    return jnp.where(jnp.arange(len(CLASSES)) == FACE, face, rest)
