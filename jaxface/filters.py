"""Image filters that the stages share: blur, morphology, medians, ramps, the logarithm of albedo.

Images are `[T, S, C]`, maps `[T, S]`. Windows are cut off at the border of the array.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LOG_OFFSET = 2e-3
"""Added to linear albedo before the logarithm; about sRGB level 7 of 255."""


def log_encode(linear: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """Returns log(linear + LOG_OFFSET): products of shading and pigment become sums."""
    return jnp.log(linear + LOG_OFFSET)


def log_decode(encoded: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """Returns the linear albedo of `log_encode`, clipped to 0..1."""
    return jnp.clip(jnp.exp(encoded) - LOG_OFFSET, 0.0, 1.0)


def blur(image: Float[Array, "T S C"], sigma: float | Float[Array, ""]) -> Float[Array, "T S C"]:
    """Returns the image convolved with a Gaussian of `sigma` pixels, renormalised at the border.

    Separable, by products with dense matrices: for textures of up to 2,048 texels faster in XLA
    than a convolution with a long kernel, and `sigma` may be traced.
    """

    def kernel(size: int) -> Array:
        x = jnp.arange(size, dtype=image.dtype)
        weights = jnp.exp(-0.5 * ((x[:, None] - x) / jnp.maximum(sigma, 1e-3)) ** 2)
        return weights / jnp.sum(weights, 1, keepdims=True)

    rows = jnp.tensordot(kernel(image.shape[0]), image, 1)
    return jnp.einsum("st,htc->hsc", kernel(image.shape[1]), rows)


def masked_blur(
    image: Float[Array, "T S C"],
    weights: Float[Array, "T S"],
    sigma: float | Float[Array, ""],
    *,
    floor: float = 1e-4,
) -> Float[Array, "T S C"]:
    """Returns the normalised convolution G(weights image) / max(G(weights), floor), with G the
    Gaussian of `sigma` pixels."""
    weights = weights[..., None]
    return blur(image * weights, sigma) / jnp.maximum(blur(weights, sigma), floor)


def dilate(mask: Float[Array, "T S"], radius: int) -> Float[Array, "T S"]:
    """Returns the maximum over a square of `2 radius + 1` pixels."""
    for shape in ((2 * radius + 1, 1), (1, 2 * radius + 1)):
        mask = jax.lax.reduce_window(mask, -jnp.inf, jax.lax.max, shape, (1, 1), "SAME")
    return mask


def erode(mask: Float[Array, "T S"], radius: int) -> Float[Array, "T S"]:
    """Returns the minimum over a square of `2 radius + 1` pixels."""
    return -dilate(-mask, radius)


def opening(image: Float[Array, "T S"], radius: int) -> Float[Array, "T S"]:
    """Returns the image without what is brighter than its surroundings and narrower than a square
    of `2 radius + 1` pixels."""
    return dilate(erode(image, radius), radius)


def closing(image: Float[Array, "T S"], radius: int) -> Float[Array, "T S"]:
    """Returns the image without what is darker than its surroundings and narrower than a square of
    `2 radius + 1` pixels."""
    return erode(dilate(image, radius), radius)


def weighted_median(
    values: Float[Array, "T S"], weights: Float[Array, "T S"], stride: int = 1
) -> Float[Array, ""]:
    """Returns the weighted median of every `stride`-th row and column; 0 if all weights are 0.

    The least value v with sum(weights where values <= v) >= sum(weights) / 2, by bisection over the
    floating-point numbers, one step per bit: many times faster than a sort on a CPU. The derivative
    is 1 in the element found and 0 in all others.
    """
    values, weights = values[::stride, ::stride].ravel(), weights[::stride, ::stride].ravel()
    weights = jax.lax.stop_gradient(weights)
    half = 0.5 * jnp.sum(weights)
    bits = jnp.finfo(values.dtype).bits
    kind = jnp.dtype(f"int{bits}")
    limits = jnp.iinfo(kind)
    # The bits of floats, as integers, are ordered as the floats are; those of negatives in reverse.
    rank = jax.lax.bitcast_convert_type(values, kind)
    rank = jnp.where(rank < 0, rank ^ limits.max, rank)

    def step(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low & high) + ((low ^ high) >> 1)
        enough = jnp.sum(jnp.where(rank <= middle, weights, 0.0)) >= half
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    start = jnp.asarray(limits.min, kind), jnp.asarray(limits.max, kind)
    low, _ = jax.lax.fori_loop(0, bits, step, start)
    found = values[jnp.argmax((rank == low) & (weights > 0))]
    return jnp.where(half > 0, found, 0.0)


def linear_ramp(
    x: Float[Array, "*N"], low: float | Float[Array, ""], high: float | Float[Array, ""]
) -> Float[Array, "*N"]:
    """Returns 0 below `low`, 1 above `high`, linear between; `high` may be the smaller one."""
    return jnp.clip((x - low) / (high - low), 0.0, 1.0)


def smoothstep(
    x: Float[Array, "*N"],
    low: float | Float[Array, ""] = 0.0,
    high: float | Float[Array, ""] = 1.0,
) -> Float[Array, "*N"]:
    """Returns 0 below `low`, 1 above `high`, and between them a cubic with slope 0 at both ends."""
    x = linear_ramp(x, low, high)
    return x * x * (3.0 - 2.0 * x)
