"""The noise of a photo: how strong it is, and the photo without it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_LEVELS = 4  # octaves that are cleaned; in coarser ones noise has averaged out
_WINDOW = 2  # pixels: radius over which an octave's power is measured
_CLEAN = 0.004  # below, noise is the last bit's and the skin's own colour, and stays
_CERTAIN = 1.5  # times the noise's power that an octave must have before anything is kept
_DARK, _BRIGHT = 0.06, 0.94  # beyond, noise is clipped
_SPLINE = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
_FINEST = np.array([1.0, -2.0, 1.0]) / np.sqrt(6.0)  # white noise keeps its strength
# Rows: luminance and two orthonormal opponent colours; white noise stays white.
_OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3.0], [2.0], [6.0]])


def noise_level(srgb: Float[Array, "H W 3"]) -> Float[Array, ""]:
    """Returns the standard deviation of the noise in each channel, 0..1 sRGB; 0 for a clean photo.

    Measured on opponent colours at the finest octave, where skin and most things show hardly any
    but a sensor's three channels differ: the median absolute deviation (the filter is that of
    Immerkaer, *Fast noise variance estimation*, 1996). A photo whose colours were smoothed, as by
    JPEG's subsampling, counts as clean, whatever its grain: no detail is lost by mistake. No
    gradient passes.
    """
    srgb = jax.lax.stop_gradient(srgb)
    colour = srgb @ jnp.asarray(_OPPONENT[1:].T, srgb.dtype)
    detail = _filtered(_filtered(colour, _FINEST, 0), _FINEST, 1)
    legible = jnp.all((srgb > _DARK) & (srgb < _BRIGHT), -1)
    inner = jnp.where(legible[..., None], jnp.abs(detail), jnp.nan)[::3, ::3]
    level = jnp.nan_to_num(jnp.nanmedian(inner) / 0.6745)
    return jnp.sqrt(jnp.maximum(level**2 - _CLEAN**2, 0.0))


def denoise(srgb: Float[Array, "H W 3"]) -> tuple[Float[Array, "H W 3"], Float[Array, ""]]:
    """Returns the photo with its noise taken off, and how strong that was, 0..1 sRGB.

    Each octave of luminance and opponent colours (undecimated B-spline wavelets, Starck et al.,
    *The undecimated wavelet decomposition*, 2007) keeps what share of its local power noise does
    not explain (Wiener). A photo without noise stays as it is. Differentiable in the photo; which
    share is kept is taken as constant.

    Args:
        srgb: 0..1.
    """
    level = noise_level(srgb)
    # Most photos are clean, and on a CPU the wavelets take a second.
    return jax.lax.cond(level > 0, _shrunk, lambda photo, _: photo, srgb, level), level


def _shrunk(srgb: Float[Array, "H W 3"], level: Float[Array, ""]) -> Float[Array, "H W 3"]:
    """Returns the photo less the share of its octaves that noise of that level explains."""
    to_opponent = jnp.asarray(_OPPONENT, srgb.dtype)
    coarse, clean = srgb @ to_opponent.T, jnp.zeros_like(srgb)
    for octave in range(_LEVELS):
        smooth = coarse
        for axis in (0, 1):
            smooth = _filtered(smooth, _SPLINE, axis, 2**octave)
        detail = coarse - smooth
        power = jax.lax.stop_gradient(detail) ** 2
        for axis in (0, 1):
            window = np.ones(2 * _WINDOW + 1) / (2 * _WINDOW + 1)
            power = _filtered(power, window, axis, 2**octave)
        noise = (_strength(octave) * level) ** 2
        kept = jnp.clip(1.0 - _CERTAIN * noise / jnp.maximum(power, 1e-12), 0.0, 1.0)
        clean, coarse = clean + kept * detail, smooth
    return (clean + coarse) @ to_opponent


def _strength(octave: int) -> float:
    """Returns the standard deviation of an octave of white noise of strength 1."""

    def kernel(count: int) -> np.ndarray:
        total = np.ones(1)
        for k in range(count):
            spread = np.zeros(4 * 2**k + 1)
            spread[:: 2**k] = _SPLINE
            total = np.convolve(total, spread)
        return np.outer(total, total)

    sharp, smooth = kernel(octave), kernel(octave + 1)
    margin = (len(smooth) - len(sharp)) // 2
    return float(np.linalg.norm(np.pad(sharp, margin) - smooth))


def _filtered(
    image: Float[Array, "H W C"], kernel: np.ndarray, axis: int, step: int = 1
) -> Float[Array, "H W C"]:
    """Returns an image under a symmetric kernel with holes along an axis, the border replicated."""
    reach = len(kernel) // 2 * step
    pad = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
    padded, length = jnp.pad(image, pad, mode="edge"), image.shape[axis]
    moved = (
        float(weight) * jax.lax.slice_in_dim(padded, k * step, k * step + length, axis=axis)
        for k, weight in enumerate(kernel)
    )
    return sum(moved, jnp.zeros_like(image))
