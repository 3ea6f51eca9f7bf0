"""Spherical-harmonic lighting: basis, Lambertian shading, uniform, directional and studio light.

Ramamoorthi and Hanrahan, *An Efficient Representation for Irradiance Environment Maps*
(SIGGRAPH 2001). Radiance L is expanded in real harmonics of bands 0 to 2; a Lambertian surface
of albedo rho reflects rho times `shade` = sum over l, m of (A_l / pi) L_lm Y_lm(n), with
A_0 = pi, A_1 = 2 pi / 3, A_2 = pi / 4. White radiance of 1 from everywhere shades to 1.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.precision import jit
from jaxface.rendering.normals import normalize
from jaxface.types import Lighting

_TRANSFER = (1.0,) + (2.0 / 3.0,) * 3 + (0.25,) * 5

# Direction towards the light in camera space, and linear RGB of a white surface that faces it.
STUDIO_LIGHTS = (
    ((-0.6, -0.6, -0.8), (0.42, 0.41, 0.40)),
    ((0.8, -0.2, -0.7), (0.17, 0.17, 0.18)),
    ((0.0, -0.9, 0.3), (0.10, 0.10, 0.10)),
)


def sh_basis(normals: Float[Array, "*N 3"]) -> Float[Array, "*N 9"]:
    """Returns the nine real spherical harmonics Y_00, Y_1-1, Y_10, Y_11, Y_2-2 ... Y_22.

    Differentiable in the directions.

    Args:
        normals: unit directions.

    Example:
        >>> round(float(sh_basis(jnp.array([0.0, 0.0, 1.0]))[0]), 6)
        0.282095
    """
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    return jnp.stack(
        [
            jnp.full_like(x, 0.28209479177),
            0.48860251190 * y,
            0.48860251190 * z,
            0.48860251190 * x,
            1.09254843059 * x * y,
            1.09254843059 * y * z,
            0.31539156525 * (3 * z * z - 1),
            1.09254843059 * x * z,
            0.54627421529 * (x * x - y * y),
        ],
        axis=-1,
    )


def irradiance_basis(normals: Float[Array, "*N 3"]) -> Float[Array, "*N 9"]:
    """Returns irradiance over pi of each harmonic of radiance: A_l / pi times `sh_basis`.

    Differentiable in the directions.

    Args:
        normals: unit directions.

    Example:
        >>> irradiance_basis(jnp.array([0.0, 0.0, 1.0]))[2].round(4).item()
        0.3257
    """
    return sh_basis(normals) * jnp.asarray(_TRANSFER, normals.dtype)


def shade(normals: Float[Array, "*N 3"], lighting: Lighting) -> Float[Array, "*N 3"]:
    """Returns irradiance over pi, RGB: the radiance of a white Lambertian surface.

    Differentiable in both arguments. Negative for some coefficients that no real light has.

    Args:
        normals: unit normals in camera space.
        lighting: radiance harmonics in camera space.

    Example:
        >>> shade(jnp.array([0.0, 0.0, -1.0]), uniform()).round(4).tolist()
        [1.0, 1.0, 1.0]
    """
    return irradiance_basis(normals) @ lighting.coefficients


def uniform(radiance: float = 1.0) -> Lighting:
    """Returns white light of equal radiance from everywhere. Linear in the radiance.

    Args:
        radiance: linear; 1 shades a white surface to 1.

    Example:
        >>> uniform(2.0).coefficients.shape
        (9, 3)
    """
    coefficients = jnp.zeros((9, 3)).at[0].set(math.sqrt(4 * math.pi) * radiance)
    return Lighting(coefficients=coefficients)


def directional(
    direction: Float[Array, "3"], colour: Float[Array, "3"], *, ambient: float = 0.0
) -> Lighting:
    """Returns one distant light, band-limited, plus uniform light. Differentiable.

    Args:
        direction: from the surface towards the light, camera space; any length.
        colour: radiance of a white surface that faces the light, without ambient, linear RGB.
        ambient: radiance of the uniform part.

    Example:
        >>> light = directional(jnp.array([0.0, 0, -1]), jnp.ones(3))
        >>> shade(jnp.array([0.0, 0, -1]), light).round(4).tolist()
        [1.0, 1.0, 1.0]
    """
    direction = normalize(direction)
    basis = sh_basis(direction)
    peak = jnp.sum(basis * basis * jnp.asarray(_TRANSFER))
    coefficients = basis[:, None] * colour / peak
    return Lighting(coefficients=coefficients + uniform(ambient).coefficients)


@jit
def studio() -> Lighting:
    """Returns a soft three-point light for previews: key from image left, fill right, rim above."""
    total = uniform(0.45).coefficients
    for direction, colour in STUDIO_LIGHTS:
        total = total + directional(jnp.array(direction), jnp.array(colour)).coefficients
    return Lighting(coefficients=total)
