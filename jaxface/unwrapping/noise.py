"""The noise of a photo: its standard deviation, and Wiener shrinkage."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.unwrapping.config import NoiseConfig

OCTAVES = 4  # wavelet bands that are denoised; in coarser ones noise has averaged out
POWER_RADIUS = 2  # samples, half the window of a band's mean power; more blurs the shrinkage
UNCLIPPED = (0.06, 0.94)  # sRGB; beyond, noise is clipped and its deviation is underestimated
SAMPLING = 3  # stride in rows and columns of the median
MAD_TO_SIGMA = 1 / 0.6745  # of a normal distribution
_SPLINE = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
_FINEST = np.array([1.0, -2.0, 1.0]) / np.sqrt(6.0)  # of unit norm: white noise keeps its strength
# Rows: luminance and two orthonormal opponent colours; white noise stays white.
_OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3.0], [2.0], [6.0]])


def noise_level(
    srgb: Float[Array, "H W 3"], config: NoiseConfig = NoiseConfig()
) -> Float[Array, ""]:
    """Returns the standard deviation of the noise in each channel, 0..1 sRGB; 0 for a clean photo.

    sqrt(max(0, MAD^2 - floor^2)), with MAD the median absolute value, scaled to a standard
    deviation, of two opponent colours under Immerkaer's filter (*Fast noise variance estimation*,
    1996): at the finest octave a scene has hardly any colour, while noise is independent between a
    sensor's channels. A photo with smoothed colours, as by JPEG's subsampling, counts as clean even
    if its luminance has grain, so that no detail is lost by mistake. No gradient passes.

    Args:
        srgb: 0..1.
        config: `floor` is used.
    """
    srgb = jax.lax.stop_gradient(srgb)
    colour = srgb @ jnp.asarray(_OPPONENT[1:].T, srgb.dtype)
    detail = _filtered(_filtered(colour, _FINEST, 0), _FINEST, 1)
    unclipped = jnp.all((srgb > UNCLIPPED[0]) & (srgb < UNCLIPPED[1]), -1)
    detail = jnp.where(unclipped[..., None], jnp.abs(detail), jnp.nan)[::SAMPLING, ::SAMPLING]
    level = jnp.nan_to_num(jnp.nanmedian(detail) * MAD_TO_SIGMA)
    return jnp.sqrt(jnp.maximum(level**2 - config.floor**2, 0.0))


def denoise(
    srgb: Float[Array, "H W 3"], config: NoiseConfig = NoiseConfig()
) -> tuple[Float[Array, "H W 3"], Float[Array, ""]]:
    """Returns the photo without its noise, and the noise's standard deviation, 0..1 sRGB.

    Wiener shrinkage of luminance and opponent colours: a wavelet band d of noise power n^2 becomes
    d max(0, 1 - oversubtraction n^2 / mean(d^2)), the mean over its neighbourhood (undecimated
    B-spline wavelets, Starck et al., *The undecimated wavelet decomposition*, 2007). A photo
    without noise stays as it is. Differentiable in the photo, with the factor as a constant.

    Args:
        srgb: 0..1.
        config: settings.
    """
    level = noise_level(srgb, config)
    # Most photos are clean, and on a CPU the wavelets take a second.
    shrunk = jax.lax.cond(
        level > 0, _wiener, lambda photo, *_: photo, srgb, level, config.oversubtraction
    )
    return shrunk, level


def _wiener(
    srgb: Float[Array, "H W 3"], level: Float[Array, ""], oversubtraction: Float[Array, ""]
) -> Float[Array, "H W 3"]:
    """Returns the photo under the Wiener factor of each band."""
    to_opponent = jnp.asarray(_OPPONENT, srgb.dtype)
    coarse, clean = srgb @ to_opponent.T, jnp.zeros_like(srgb)
    for octave in range(OCTAVES):
        smooth = coarse
        for axis in (0, 1):
            smooth = _filtered(smooth, _SPLINE, axis, 2**octave)
        detail = coarse - smooth
        power = jax.lax.stop_gradient(detail) ** 2
        for axis in (0, 1):
            window = np.ones(2 * POWER_RADIUS + 1) / (2 * POWER_RADIUS + 1)
            power = _filtered(power, window, axis, 2**octave)
        noise = (_band_sigma(octave) * level) ** 2
        factor = jnp.clip(1.0 - oversubtraction * noise / jnp.maximum(power, 1e-12), 0.0, 1.0)
        clean, coarse = clean + factor * detail, smooth
    return (clean + coarse) @ to_opponent


def _band_sigma(octave: int) -> float:
    """Returns the standard deviation in a wavelet band of white noise of standard deviation 1."""

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
    """Returns the convolution with a symmetric dilated kernel along an axis, edges replicated."""
    reach = len(kernel) // 2 * step
    pad = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
    padded, length = jnp.pad(image, pad, mode="edge"), image.shape[axis]
    shifted = (
        float(weight) * jax.lax.slice_in_dim(padded, k * step, k * step + length, axis=axis)
        for k, weight in enumerate(kernel)
    )
    return sum(shifted, jnp.zeros_like(image))
