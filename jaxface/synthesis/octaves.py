"""Detail by octaves: how strong a person's skin is, and a database's detail of that strength."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_BOUND = 0.02  # log detail that one face adds per octave: pores, but neither moles nor nostrils
_VARIED = 1.5  # real skins differ from region to region by more than the database's
_STRONG, _GAINS = 0.08, (0.4, 2.0)  # log detail beyond which it is no skin; bounds


def blur(image: Float[Array, "T S C"], sigma: float) -> Float[Array, "T S C"]:
    """Returns the Gaussian blur, renormalised at the border. Two matrix products: fast in XLA."""

    def matrix(size: int) -> Array:
        at = np.arange(size)
        kernel = np.exp(-0.5 * ((at[:, None] - at) / max(sigma, 1e-3)) ** 2)
        return jnp.asarray(kernel / kernel.sum(1, keepdims=True), jnp.float32)

    rows = jnp.tensordot(matrix(image.shape[0]), image, 1)
    return jnp.einsum("st,htc->hsc", matrix(image.shape[1]), rows)


def bands(
    image: Float[Array, "T T C"], share: Float[Array, "T T"], sigmas: Sequence[float]
) -> list[Float[Array, "T T C"]]:
    """Returns the octaves of an image between Gaussians of some texels, the coarsest first; what
    lies where `share` is 0 does not run into the rest."""
    share = share[..., None] + 1e-4

    def soft(sigma: float) -> Array:
        return blur(image * share, sigma) / blur(share, sigma)

    return [fine - coarse for coarse, fine in pairwise([*map(soft, sigmas), image])]


def transfer(width: Float[Array, "T T"], sigmas: Sequence[float]) -> list[Float[Array, "T T 1"]]:
    """Returns what share of each octave's contrast a Gaussian of `width` texels leaves.

    A difference of Gaussians of s and 2 s answers most to the frequency w where (s w)^2 is
    log(4) / 1.5, of which a Gaussian of g leaves exp(-(g w)^2 / 2).
    """
    finer = [*sigmas[1:], 0.7 * sigmas[-1]]
    return [jnp.exp(-0.462 * jnp.square(width / sigma))[..., None] for sigma in finer]


def mean_product(
    a: Float[Array, "T T 3"], b: Float[Array, "T T 3"], where: Float[Array, "T T"]
) -> Array:
    """Returns the mean product of two octaves, what is stronger than skin cut."""
    level, other = (jnp.clip(jnp.mean(x, -1), -_STRONG, _STRONG) for x in (a, b))
    return jnp.mean(level * other * where)


def strengths(
    own: list[Array], face: list[Array], legible: list[Array], seen: Float[Array, "T T"]
) -> list[Array]:
    """Returns how strong the person's skin is beside a database face's, octave by octave.

    Compared on the seen texels, as far as the photo can show an octave there (`legible`). Where it
    cannot, its skin is taken to be as strong as in the next coarser one.
    """
    gain, gains = jnp.ones(()), []
    for mine, other, part in zip(own, face, legible, strict=True):
        where = seen * (jnp.abs(jnp.mean(other, -1)) < _STRONG)
        known, power = (
            mean_product(part * other, part * other, where),
            mean_product(other, other, where),
        )
        ratio = jnp.sqrt(mean_product(mine, mine, where) / jnp.maximum(known, 1e-9) + 1e-9)
        trust = jnp.clip(2 * known / jnp.maximum(power, 1e-9) - 0.5, 0.0, 1.0)
        trust = jnp.where(power > 1e-9, trust, 0.0)
        gain = trust * jnp.clip(ratio, *_GAINS) + (1 - trust) * gain
        gains.append(gain)
    return gains


def local_strength(
    octave: Float[Array, "T T 3"],
    share: Float[Array, "T T"],
    known: Float[Array, "T T"],
    sigma: float,
) -> Float[Array, "T T 1"]:
    """Returns the root mean square of detail around each texel over its mean where it is known, at
    most 1: what is stronger is the rim of a brow or of a lip."""
    level = jnp.clip(jnp.mean(octave, -1, keepdims=True), -_STRONG, _STRONG)
    share, known = share[..., None] + 1e-4, known[..., None] + 1e-6
    local = jnp.sqrt(blur(level**2 * share, sigma) / blur(share, sigma) + 1e-8)
    mean = jnp.sum(local * known) / jnp.sum(known)
    return jnp.clip((local / mean) ** _VARIED, 0.4, 1.0)


def besides(face: Float[Array, "T T 3"], average: Float[Array, "T T 3"]) -> Float[Array, "T T 3"]:
    """Returns what of an octave one face has besides what faces have in common, bounded."""
    return _BOUND * jnp.tanh((face - average) / _BOUND)
