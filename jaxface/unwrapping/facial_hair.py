"""Beards and brows: which are believed, the light on beards, the one hue of hair."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import LOG_OFFSET, blur, dilate, log_encode, masked_blur, opening, smoothstep
from jaxface.rendering.hair import DIMMEST
from jaxface.types import FaceModel, TexelMap
from jaxface.unwrapping.regions import region_mask
from jaxface.unwrapping.skin_limits import SIDE

BEARD_RADIUS = 3 / 256
"""Of the side: half of what a beard measures at least, how far its border may be from its mirror
image, and its margin."""
FRONTAL, BEARD_AREA = 0.75, (200.0, 400.0)
"""Cosine of the viewing angle from which a texel counts as seen from the front; mm^2 seen so,
between which a beard is believed. Of 72 portraits, those without a beard have less than 190, all
but one with a beard (grey stubble on a half in shadow) more than 430."""
MOUTH_MM, MOUTH_SIGMA = 10.0, 12.0
"""Reach of a moustache off the lips; of the Gaussian that tells the skin around; millimetres."""
MOUSTACHE = (0.1, 0.5)  # log contrast to the skin around between which it comes to count
BESIDE_MM, BESIDE = 15.0, (0.15, 0.3)
"""Reach off the lips, millimetres, and the beard's share of the skin there between which a
moustache comes to be believed. Of the ten in 72 portraits whose beard is, eight have one around the
mouth and 0.32 to 0.83, two a shaded jaw and 0.12 and 0.13."""
BROWS_SIGMA = 5.0  # of the Gaussian by which brows lie off the face model's, millimetres
BROWS_SHARE = 0.112  # of brows in what the parser learnt them from, `building.parser`
BROWS_PROBABLE = (0.1, 0.4)  # probabilities between which a texel comes to count as brow
SKIN_SIGMA = 6.0  # of the Gaussian that tells the skin's colour below hair, millimetres
NEAR = 0.05  # share of the Gaussian that must be skin for that
FAINT = 0.1  # log contrast to skin from which a texel shows a brow, and a brow its hue


def believed_beard(
    probability: Float[Array, "T T"],
    radiance: Float[Array, "T T 3"],
    seen: Float[Array, "T T"],
    facing: Float[Array, "T T"],
    model: FaceModel,
    texels: TexelMap,
) -> Float[Array, "T T"]:
    """Returns the beard, with a margin, or 0 if there is too little of it to be one.

    A shaded jaw looks like a beard, but at the rim, on one side or in spots: what counts (the
    opening) is seen from the front, and the mirror image has one too or is not seen. Where a beard
    is believed around the mouth, what is darker there than the skin around is one, too.

    Args:
        probability: of beard.
        radiance: linear RGB.
        seen: how much of the face is seen, 0..1.
        facing: cosine of the viewing angle.
        model: the face model.
        texels: of the model.
    """
    radius = max(1, round(BEARD_RADIUS * len(seen)))
    opened = opening(probability, radius)
    other = dilate(opened, radius)[:, ::-1]
    both = opened * (1.0 - seen[:, ::-1] * (1.0 - other))
    area = jnp.sum(both * seen * (facing > FRONTAL)) * (SIDE / len(seen)) ** 2
    around = jnp.minimum(dilate(probability, radius), dilate(both, 3 * radius))
    lips, skin = (region_mask(model, texels, name) for name in ("lips", "skin"))
    near, beside = (
        dilate(lips, max(1, round(mm / SIDE * len(seen)))) * skin for mm in (MOUTH_MM, BESIDE_MM)
    )
    bare = seen * (1.0 - jnp.maximum(around, near)) * skin
    share = jnp.sum(around * seen * beside) / jnp.maximum(jnp.sum(seen * beside), 1e-6)
    moustache = near * seen * _darker(radiance, bare, MOUTH_SIGMA, MOUSTACHE)
    moustache = smoothstep(share, *BESIDE) * moustache
    return smoothstep(area, *BEARD_AREA) * jnp.maximum(around, moustache)


def believed_brows(
    probability: Float[Array, "T T"],
    radiance: Float[Array, "T T 3"],
    seen: Float[Array, "T T"],
    model: FaceModel,
    texels: TexelMap,
) -> Float[Array, "T T"]:
    """Returns the brows: what looks like one where brows are, and is darker than the skin around.

    Posterior odds: the parser's p / (1 - p), times the odds of the place over those in what it
    learnt from. A place's probability is the share of the face model's brows around it.

    Args:
        probability: of brows, by the parser.
        radiance: linear RGB.
        seen: how much of the face is seen, 0..1.
        model: the face model.
        texels: of the model.
    """
    sigma = BROWS_SIGMA / SIDE * len(probability)
    place = blur(region_mask(model, texels, "brows")[..., None], sigma)[..., 0]
    of_brow = probability * place / BROWS_SHARE
    of_skin = (1.0 - probability) * (1.0 - place) / (1.0 - BROWS_SHARE)
    brows = smoothstep(of_brow / jnp.maximum(of_brow + of_skin, 1e-6), *BROWS_PROBABLE)
    skin = seen * (1.0 - brows) * region_mask(model, texels, "skin")  # lids lie in shade
    return brows * _darker(radiance, skin, SKIN_SIGMA, (0.0, FAINT))


def _darker(
    radiance: Float[Array, "T T 3"],
    skin: Float[Array, "T T"],
    sigma_mm: float,
    contrasts: tuple[float, float],
) -> Float[Array, "T T"]:
    """Returns 0..1 where the log radiance is below that of the skin around, between contrasts."""
    level = jnp.mean(log_encode(radiance), -1, keepdims=True)
    around = masked_blur(level, skin, sigma_mm / SIDE * len(skin))
    return smoothstep((around - level)[..., 0], *contrasts)


def light_on_beard(
    shading: Float[Array, "T T 3"], skin: Float[Array, "T T"], beard: Float[Array, "T T"]
) -> Float[Array, "T T 3"]:
    """Returns by how much (log) a beard's light is above the given one: no channel is below
    `DIMMEST` of skin's mean, as nothing there tells of the light, and black hair would turn white.

    Args:
        shading: irradiance over pi.
        skin: weight of texels that show bare skin, 0..1.
        beard: how much of a texel is beard, 0..1.
    """
    dimmest = DIMMEST * jnp.einsum("tu,tuc->c", skin, shading) / jnp.maximum(jnp.sum(skin), 1e-6)
    brighter = jnp.maximum(dimmest / jnp.maximum(shading, LOG_OFFSET), 1.0)
    return beard[..., None] * jnp.log(brighter)


def hue_of_hair(
    log_albedo: Float[Array, "T T 3"], skin: Float[Array, "T T"], hair: Float[Array, "T T"]
) -> Float[Array, "T T 3"]:
    """Returns the log albedo with one hue of hair: skin's around it, the more changed the darker.

    Hair covers more or less of the skin below it, and has one colour. With y the mean over RGB of
    the log albedo less that of the skin around, and c the rest of it, c = k y, k the person's:
    sum(h y c) / sum(h y^2), h how much is hair. What departs from it (rims of the camera's, blue
    light) is not the hair's. Differentiable.

    Args:
        log_albedo: natural logarithm.
        skin: weight of texels that show bare skin, 0..1.
        hair: how much of a texel is hair, 0..1.
    """
    sigma = SKIN_SIGMA / SIDE * len(skin)
    around = masked_blur(log_albedo, skin, sigma)
    near = smoothstep(blur(skin[..., None], sigma), 0.0, NEAR)
    change = log_albedo - around
    level = jnp.mean(change, -1, keepdims=True)
    weight = near * hair[..., None]
    known = jnp.sum(weight * level**2, (0, 1)) + FAINT**2 * jnp.sum(weight) + 1e-6
    slope = jnp.sum(weight * level * (change - level), (0, 1)) / known
    return log_albedo + weight * (level * (1.0 + slope) - change)
