"""Robust statistics of the colours of a part: an iris, a row of teeth, the skin."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import weighted_median


def part_median(values: Float[Array, "T S"], weights: Float[Array, "T S"]) -> Float[Array, ""]:
    """Returns the weighted median, of about 256 rows and columns at an even stride."""
    return weighted_median(values, weights, max(1, len(values) // 256))


def median_colour(
    colours: Float[Array, "T S 3"], weights: Float[Array, "T S"]
) -> Float[Array, "3"]:
    """Returns the weighted median of each channel; see `part_median`."""
    return jnp.stack([part_median(colours[..., channel], weights) for channel in range(3)])


def top_quartile_blue_weights(
    colours: Float[Array, "T S 3"], weights: Float[Array, "T S"]
) -> Float[Array, "T S"]:
    """Returns the weights with all but the quarter of the texels that has the most blue set to 0.

    Of eyes or teeth these are the whitest. The median is passed twice.
    """
    blue = colours[..., 2]
    for _ in range(2):
        weights = weights * (blue >= part_median(blue, weights))
    return weights
