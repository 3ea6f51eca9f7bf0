"""The start of the synthesis: a texture composed of what is known."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxface.rendering.color import srgb_to_linear
from jaxface.synthesis.config import SynthesisConfig

_EPSILON = 2e-3
_OCTAVES = 5  # blurs of up to 8 texels
_ENOUGH = 0.8  # share of the power of skin up to which one face adds to the average
_BOUND = 0.02  # log detail that one face adds per octave: pores, but neither moles nor nostrils
_STRONG, _GAINS = 0.06, (0.4, 1.4)  # log detail beyond which it is no skin; bounds


def blur(image: Float[Array, "T S C"], sigma: float) -> Float[Array, "T S C"]:
    """Returns the Gaussian blur, renormalised at the border. Two matrix products: fast in XLA."""

    def matrix(size: int) -> Array:
        at = np.arange(size)
        kernel = np.exp(-0.5 * ((at[:, None] - at) / max(sigma, 1e-3)) ** 2)
        return jnp.asarray(kernel / kernel.sum(1, keepdims=True), jnp.float32)

    rows = jnp.tensordot(matrix(image.shape[0]), image, 1)
    return jnp.einsum("st,htc->hsc", matrix(image.shape[1]), rows)


def _of_database(
    textures: UInt8[Array, "K T T 3"], weights: Float[Array, " K"], count: int
) -> tuple[Float[Array, "T T 3"], Float[Array, "T T 3"]]:
    """Returns the logarithms of the face of greatest weight and of the weighted average."""
    largest, index = jax.lax.top_k(weights, min(2 * count, len(weights)))
    share = largest / jnp.maximum(largest.sum(), 1e-6)

    def linear(texture: Array) -> Array:
        return srgb_to_linear(texture / 255.0)

    def add(total: Array, one: tuple[Array, Array]) -> tuple[Array, None]:
        return total + one[0] * linear(textures[one[1]]), None

    # The mean of logarithms would be as dark as the darkest nostril.
    average, _ = jax.lax.scan(add, jnp.zeros(textures.shape[1:]), (share, index))
    return jnp.log(linear(textures[index[0]]) + _EPSILON), jnp.log(average + _EPSILON)


def _finer_than(image: Float[Array, "T T C"], sigma: Float[Array, "T T"]) -> Array:
    """Returns what of an image a Gaussian of `sigma` texels (each texel's own) would remove."""
    level = jnp.clip(jnp.log2(jnp.maximum(2.0 * sigma, 1.0)), 0.0, _OCTAVES - 1.0)[..., None]
    kept = jnp.maximum(1.0 - level, 0.0) * image  # half a texel and less removes nothing
    for octave in range(1, _OCTAVES):
        weight = jnp.maximum(1.0 - jnp.abs(level - octave), 0.0)
        kept = kept + weight * blur(image, 0.5 * 2**octave)
    return image - kept


def _mixed_detail(
    face: Float[Array, "T T 3"],
    average: Float[Array, "T T 3"],
    fine: Float[Array, "T T 3"],
    seen: Float[Array, "T T"],
    skin: Float[Array, "T T"],
    tone: float,
) -> Float[Array, "T T 3"]:
    """Returns the database's detail, each octave as strong as the photo's where that is seen.

    What the blended faces have in common is the likeliest; of one face there is added as much as
    an octave lacks in strength. Strength is the mean square of what is not stronger than skin, so
    that brows and the rims of the eyes do not count.
    """
    total, gain = jnp.zeros_like(face), jnp.ones(())
    images, skin = (fine, face, average), skin[..., None]

    def soft(image: Array, sigma: float) -> Array:  # no mouth's dark runs into the neck
        return blur(image * skin, sigma) / jnp.maximum(blur(skin, sigma), 1e-3)

    levels = [images, *(tuple(soft(x, tone / n) for x in images) for n in (4, 2, 1))]
    for sharp, coarse in zip(levels[-2::-1], levels[:0:-1], strict=True):  # coarse to fine
        mine, other, common = (a - b for a, b in zip(sharp, coarse, strict=True))
        quiet = jnp.abs(jnp.mean(other, -1)) < _STRONG

        def product(a: Array, b: Array, where: Array, quiet: Array = quiet) -> Array:
            level = jnp.clip(jnp.mean(a, -1), -_STRONG, _STRONG)
            with_level = jnp.clip(jnp.mean(b, -1), -_STRONG, _STRONG)
            return jnp.mean(level * with_level * where * quiet * skin[..., 0])

        known = product(other, other, seen)
        ratio = jnp.sqrt(product(mine, mine, seen) / jnp.maximum(known, 1e-9) + 1e-9)
        wanted = jnp.where(known > 1e-9, jnp.clip(ratio, *_GAINS), 1.0)
        # A photo that is coarser than the texture has less of the finest than its skin.
        gain = wanted if coarse is levels[-1] else jnp.maximum(wanted, gain)
        everywhere = jnp.ones(())
        besides = _BOUND * jnp.tanh((other - common) / _BOUND)
        power = product(common, common, everywhere)
        across = product(common, besides, everywhere)
        square = product(besides, besides, everywhere)
        goal = gain**2 * product(other, other, everywhere)
        lacking = _ENOUGH * goal - power
        root = jnp.sqrt(jnp.maximum(across**2 + square * lacking, 1e-12))
        share = jnp.clip((root - across) / jnp.maximum(square, 1e-9), 0.0, _GAINS[1])
        weaker = jnp.sqrt(jnp.clip(goal / jnp.maximum(power, 1e-9), _GAINS[0] ** 2, 1.0))
        total = total + weaker * (common + share * besides)
    return total


def _extend(values: Float[Array, "T T C"], weights: Float[Array, "T T"]) -> Float[Array, "T T C"]:
    """Returns weighted values continued smoothly to where there are none: pull and push over a
    pyramid (Gortler et al., The Lumigraph, SIGGRAPH 1996)."""
    share = weights[..., None]
    levels = [(values * share, share)]
    while levels[-1][0].shape[0] > 1:  # down to the mean of all that is known
        total, share = levels[-1]
        levels.append((_halved(total), _halved(share)))
    total, share = levels[-1]
    known = total / jnp.maximum(share, 1e-6)
    for total, share in levels[-2::-1]:
        side = total.shape[0]
        wide = jax.image.resize(known, (side, side, known.shape[-1]), "linear")
        trust = jnp.minimum(share, 1.0)
        known = trust * total / jnp.maximum(share, 1e-6) + (1 - trust) * wide
    return known


def _halved(image: Float[Array, "T T C"]) -> Float[Array, "t t C"]:
    side = image.shape[0] // 2
    return image.reshape(side, 2, side, 2, -1).mean((1, 3))


def soft_mask(mask: Float[Array, "T T"], feather: float) -> Float[Array, "T T"]:
    """Returns a mask that falls to 0 before the border of the seen is reached."""
    inner = blur(mask[..., None], feather)[..., 0]
    inner = jnp.clip(2.0 * inner - 1.0, 0.0, 1.0)
    return jnp.minimum(inner * inner * (3 - 2 * inner), mask)


@partial(jax.jit, static_argnames="config")
def compose(
    low_frequency: Float[Array, "T T 3"],
    partial_linear: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    textures: UInt8[Array, "K T T 3"],
    weights: Float[Array, " K"],
    config: SynthesisConfig = SynthesisConfig(),
    fixed: Float[Array, "T T"] | None = None,
    footprint: Float[Array, "T T"] | None = None,
) -> tuple[Float[Array, "T T 3"], Float[Array, "T T"]]:
    """Returns the texture composed of what is known (linear), and how much the photo counts.

    In the logarithm, where shading and pigment are sums: the photo's detail where it is seen, its
    mirror image's where that is, a database face's elsewhere, on the low-frequency albedo. Where
    the photo is coarser than the texture, the octaves that it cannot show are the database face's
    as well. The `fixed` parts (eyes, mouth) are whole already and are only sharpened.
    Differentiable except in the choice of the face of greatest weight.
    """
    scale = low_frequency.shape[0] / 512.0
    low = jnp.log(low_frequency + _EPSILON)
    seen = soft_mask(mask, config.feather * scale)
    own = jnp.where(mask[..., None] > 0, jnp.log(partial_linear + _EPSILON) - low, 0.0)
    mirrored = seen[:, ::-1] * (1 - seen)
    tone = config.tone * scale
    # What the mirror image says of tone is said by the low-frequency albedo already.
    weight = seen[..., None] + 1e-4
    fine = own - blur(own * weight, tone) / blur(weight, tone)
    face, average = _of_database(textures, weights, config.experts)
    if footprint is not None:
        finer = _finer_than(face, config.photo_blur / jnp.maximum(footprint, 0.05))
        if fixed is not None:
            finer = finer * (1 - fixed[..., None])
        # Bounded, so that no strand of the face's brows is laid over the photo's.
        finer = config.finest * jnp.tanh(finer / config.finest)
        own, fine = own + finer, fine + finer
    skin = jnp.ones_like(seen) if fixed is None else 1 - fixed
    detail = _mixed_detail(face, average, fine, seen, skin, tone)
    if fixed is not None:
        sharper = jnp.mean(face - blur(face, config.sharp * scale), -1, keepdims=True)
        detail = detail + fixed[..., None] * (sharper - detail)
        mirrored = mirrored * (1 - fixed)
    inferred = mirrored[..., None] * fine[:, ::-1] + (1 - mirrored)[..., None] * detail
    # What the photo is off at the border of the seen goes on beyond it.
    beyond = _extend(own - inferred, seen)
    if fixed is not None:
        beyond = beyond * (1 - fixed[..., None])
    inferred = inferred + beyond
    log = low + seen[..., None] * own + (1 - seen)[..., None] * inferred
    return jnp.clip(jnp.exp(log) - _EPSILON, 0.0, 1.0), seen
