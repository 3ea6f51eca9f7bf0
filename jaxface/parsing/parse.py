"""From a photo and landmarks to the class of each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import smoothstep
from jaxface.parsing.classes import BACKGROUND, BROWS, FACE
from jaxface.parsing.crop import SIZE, parsing_crop
from jaxface.parsing.network import ParserWeights, class_logits, facial_hair_logits, parser_features
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

WIDER = 1.5
"""Side of the wide square over that of the near one."""
SEAM = 24.0  # pixels of a square over which it comes in at its border

BEARD_PROBABLE = (0.3, 0.6)
"""Probabilities between which a pixel comes to count as beard; shaded cheeks have up to 0.3."""


@jit
def parse(
    photo_srgb: Float[Array, "H W 3"],
    landmarks: Float[Array, "L D"],
    vgg: Mapping[str, Any],
    weights: ParserWeights,
) -> Float[Array, "H W K"]:
    """Returns the probabilities of `CLASSES` and `FACIAL_HAIR` in each pixel of a photo.

    Those of the classes sum to 1; those of facial hair, the last, are part of the face's.

    A square around the face (`parsing_crop`) is parsed at 384 x 384 pixels: VGG-16's features,
    a coarse convolutional head at stride 4, with a guided filter along the photo's borders, and a
    fine one at stride 2, which sees rims of glasses and strands of hair. A square `WIDER` times as
    wide, parsed likewise, tells of what lies around it: hair that is high or long. Outside that
    everything is `background`. Pure, unbatched: works under `jit`, `vmap` and `grad`; where the
    squares lie has no derivative.

    Args:
        photo_srgb: 0..1.
        landmarks: 478 in pixels; x and y are used.
        vgg: weights of VGG-16, `load_vgg()`.
        weights: `load_parser()`.

    Example:
        >>> from jaxface import load_parser, load_vgg
        >>> points = jnp.linspace(20.0, 40.0, 956).reshape(478, 2)
        >>> parse(jnp.full((64, 48, 3), 0.5), points, load_vgg(), load_parser()).shape
        (64, 48, 6)
    """
    near = parsing_crop(landmarks)
    crops = (near.replace(side=WIDER * near.side), near)
    size, levels = jnp.asarray(photo_srgb.shape[:2], jnp.float32), pyramid(photo_srgb)
    images = jnp.stack([sample(levels, size, crop) for crop in crops])
    squares = jax.lax.map(lambda image: parse_square(image, vgg, weights), images)
    y, x = jnp.meshgrid(*(jnp.arange(n) + 0.5 for n in photo_srgb.shape[:2]), indexing="ij")
    found = jnp.broadcast_to(jax.nn.one_hot(BACKGROUND, BROWS + 1), (*x.shape, BROWS + 1))
    for crop, square in zip(crops, squares, strict=True):  # the near square over the wide one
        at = crop.points_to_crop(jnp.stack([x, y], -1))
        to_border = jnp.min(jnp.minimum(at, SIZE - at), -1, keepdims=True)
        inside = smoothstep(to_border, 0.0, SEAM)
        found = (1.0 - inside) * found + inside * sample_image(square, at)
    return found


def parse_square(
    image_srgb: Float[Array, "S S 3"], vgg: Mapping[str, Any], weights: ParserWeights
) -> Float[Array, "S S K"]:
    """Returns the probabilities in the pixels of a square of `parsing_crop`.

    The face has the smaller one of the two stages' probabilities: both must see it. The rest is
    shared among the other classes as the stages' mean is. Arguments as `parse`.
    """
    coarse, fine, features = class_logits(*parser_features(image_srgb, vgg, weights), weights)
    size = (*image_srgb.shape[:2], coarse.shape[-1])
    seen = jax.image.resize(jax.nn.softmax(coarse), size, "linear")
    seen = guided_filter(seen, image_srgb, sigma=SIGMA, epsilon=EPSILON)
    near = jax.image.resize(jax.nn.softmax(fine), size, "linear")
    face = jnp.minimum(seen, near)[..., FACE : FACE + 1]
    is_face = jnp.arange(size[-1]) == FACE
    rest = (seen + near) * ~is_face
    rest = rest * (1 - face) / jnp.maximum(jnp.sum(rest, -1, keepdims=True), 1e-6)
    beard, brows = jnp.unstack(jax.nn.sigmoid(facial_hair_logits(features, weights)), axis=-1)
    facial = jnp.stack([smoothstep(beard, *BEARD_PROBABLE), brows], -1)
    facial = jax.image.resize(facial, (*size[:2], facial.shape[-1]), "linear")
    return jnp.concatenate([jnp.where(is_face, face, rest), face * facial], -1)
