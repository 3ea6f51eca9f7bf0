"""Class probabilities that follow the borders of the photo."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import blur


def guided_filter(
    probabilities: Float[Array, "H W K"],
    guide_srgb: Float[Array, "H W 3"],
    *,
    sigma: float,
    epsilon: float,
) -> Float[Array, "H W K"]:
    """Returns the probabilities filtered along the borders of a picture.

    In each Gaussian window the output is affine in the guide, q = a . I + b, with
    a = (cov(I) + epsilon)^-1 cov(I, p) and b = mean(p) - a . mean(I); a and b are then averaged
    over the windows that hold a pixel. He, Sun and Tang, "Guided Image Filtering" (TPAMI 2013),
    equations 14 to 16, with Gaussians in place of boxes. Sums over classes are kept; values may
    leave 0..1 a little and are clipped. Differentiable; finite for constant pictures.

    Args:
        probabilities: of K classes.
        guide_srgb: the picture, 0..1.
        sigma: of the windows, pixels.
        epsilon: variance of the guide below which borders are not followed.
    """
    mean_guide, mean_p = blur(guide_srgb, sigma), blur(probabilities, sigma)
    squares = guide_srgb[..., :, None] * guide_srgb[..., None, :]
    products = guide_srgb[..., :, None] * probabilities[..., None, :]
    height, width, count = probabilities.shape
    mean_squares = blur(squares.reshape(height, width, 9), sigma).reshape(height, width, 3, 3)
    mean_products = blur(products.reshape(height, width, 3 * count), sigma)
    covariance = mean_squares - mean_guide[..., :, None] * mean_guide[..., None, :]
    covariance = covariance + epsilon * jnp.eye(3)
    cross = mean_products.reshape(height, width, 3, count)
    cross = cross - mean_guide[..., :, None] * mean_p[..., None, :]
    slope = jnp.einsum("hwij,hwjk->hwik", _inverse(covariance), cross)
    offset = mean_p - jnp.einsum("hwik,hwi->hwk", slope, mean_guide)
    slope = blur(slope.reshape(height, width, 3 * count), sigma).reshape(height, width, 3, count)
    return jnp.clip(jnp.einsum("hwik,hwi->hwk", slope, guide_srgb) + blur(offset, sigma), 0.0, 1.0)


def _inverse(m: Float[Array, "H W 3 3"]) -> Float[Array, "H W 3 3"]:
    """Returns the inverses of positive definite 3 x 3 matrices, by cofactors."""
    a, b, c = m[..., 0, :], m[..., 1, :], m[..., 2, :]
    rows = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], -1)
    determinant = jnp.sum(a * jnp.cross(b, c), -1)
    return rows / jnp.maximum(determinant, 1e-18)[..., None, None]
