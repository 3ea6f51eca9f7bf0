"""Statistics of skins: optical density, means on charts, principal components. NumPy."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from jaxface.skins.makehuman import Layout, dilate

MIN_LINEAR = 4e-3
"""Linear RGB below which a texture's optical density is that of black: the noise of dark texels
would have the largest densities otherwise."""


def density(texture_srgb: np.ndarray) -> np.ndarray:
    """Returns the logarithm of linear RGB of an sRGB texture."""
    curve = ((np.maximum(texture_srgb, 0.04045) + 0.055) / 1.055) ** 2.4
    linear = np.where(texture_srgb <= 0.04045, texture_srgb / 12.92, curve)
    return np.log(np.maximum(linear, MIN_LINEAR))


def blur_on_charts(image: np.ndarray, where: Layout, sigma: float) -> np.ndarray:
    """Returns the Gaussian mean over texels of charts, continued between the charts."""
    weight = where.mask[..., None].astype(float)
    widths = (sigma, sigma, 0)
    total = ndimage.gaussian_filter(image * weight, widths)
    return dilate(total / (ndimage.gaussian_filter(weight, widths) + 1e-6), where)


def principal_components(samples: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and the `count` first components, scaled to a standard deviation of 1.

    Args:
        samples: `[N, ...]`.
        count: number of components.
    """
    flat = samples.reshape(len(samples), -1)
    mean = flat.mean(0)
    _, scale, axes = np.linalg.svd(flat - mean, full_matrices=False)
    basis = axes[:count] * scale[:count, None] / np.sqrt(len(samples) - 1)
    return mean.reshape(samples.shape[1:]), basis.reshape(count, *samples.shape[1:])
