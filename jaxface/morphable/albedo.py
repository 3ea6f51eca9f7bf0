"""The log-linear albedo model: coefficients to a texture, or to albedo at UV coordinates.

It is linear in optical density, the logarithm of linear RGB:
log albedo = mean + sum_m c_m basis_m, with c ~ N(0, 1) for each mode. Optical density, because
pigments absorb by the law of Beer and Lambert (Tsumura et al., *Image-Based Skin Color and Texture
Analysis/Synthesis by Extracting Hemoglobin and Melanin*, SIGGRAPH 2003).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.rendering.texture import sample_texture
from jaxface.types import FaceModel


def log_albedo(model: FaceModel, coefficients: Float[Array, " M"]) -> Float[Array, "A A 3"]:
    """Returns mean + sum_m c_m basis_m, the log of linear RGB albedo at the model's resolution."""
    return model.albedo_mean + jnp.tensordot(coefficients, model.albedo_basis, axes=1)


def albedo_texture(
    model: FaceModel, coefficients: Float[Array, " M"], size: int
) -> Float[Array, "T T 3"]:
    """Returns the albedo as a texture, linear RGB. Differentiable in the coefficients.

    Args:
        model: the face model.
        coefficients: whitened, N(0, 1) over people.
        size: T, texels a side.

    Example:
        >>> from jaxface.morphable.files import load_model
        >>> model = load_model()
        >>> albedo_texture(model, jnp.zeros(len(model.albedo_names)), 64).shape
        (64, 64, 3)
    """
    shape = (size, size, 3)
    return jnp.exp(jax.image.resize(log_albedo(model, coefficients), shape, "linear"))


def albedo_at(
    model: FaceModel, coefficients: Float[Array, " M"], uv: Float[Array, "N 2"]
) -> Float[Array, "N 3"]:
    """Returns the albedo at UV coordinates, linear RGB. Differentiable in coefficients and uv.

    Args:
        model: the face model.
        coefficients: whitened, N(0, 1) over people.
        uv: canonical UV, 0..1, origin at the bottom left.
    """
    return jnp.exp(sample_texture(log_albedo(model, coefficients), uv))
