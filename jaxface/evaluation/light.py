"""Light of the independent renderer: spherical harmonics, a sun, highlights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_NORMAL_REFLECTANCE = 0.028  # of skin, index of refraction 1.4


@dataclass(frozen=True)
class Sun:
    """A light from one direction, outside the spherical harmonics that are fitted.

    Attributes:
        direction: towards the light, camera space, unit.
        colour: irradiance over pi that it gives a surface facing it, linear RGB.
        radius: of its disc, radians: the width of the penumbra.
        specular: strength of the highlight, 1 for skin's reflectance.
        roughness: of the GGX lobe.
    """

    direction: np.ndarray
    colour: np.ndarray
    radius: float = 0.02
    specular: float = 0.0
    roughness: float = 0.45


def irradiance(normals: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Returns irradiance over pi, by Ramamoorthi and Hanrahan 2001, equation 13 (matrix form).

    Args:
        normals: unit, camera space, `[N, 3]`.
        coefficients: radiance in the order L00, L1-1, L10, L11, L2-2 ... L22, `[9, 3]`.
    """
    c1, c2, c3, c4, c5 = 0.429043, 0.511664, 0.743125, 0.886227, 0.247708
    homogeneous = np.concatenate([normals, np.ones((len(normals), 1))], axis=1)
    result = np.empty((len(normals), 3))
    for channel in range(3):
        l00, l1m1, l10, l11, l2m2, l2m1, l20, l21, l22 = coefficients[:, channel]
        matrix = np.array(
            [
                [c1 * l22, c1 * l2m2, c1 * l21, c2 * l11],
                [c1 * l2m2, -c1 * l22, c1 * l2m1, c2 * l1m1],
                [c1 * l21, c1 * l2m1, c3 * l20, c2 * l10],
                [c2 * l11, c2 * l1m1, c2 * l10, c4 * l00 - c5 * l20],
            ]
        )
        result[:, channel] = np.einsum("ni,ij,nj->n", homogeneous, matrix, homogeneous) / np.pi
    return np.maximum(result, 0.0)


def highlight(
    normals: np.ndarray, view: np.ndarray, light: np.ndarray, roughness: float
) -> np.ndarray:
    """Returns pi times the GGX reflectance times the cosine to the light, `[N]`.

    Walter et al. 2007 with Smith's height-correlated masking and Schlick's Fresnel term; all
    vectors are unit and point away from the surface.
    """
    alpha2 = roughness**4
    half = view + light
    half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-12)
    nl = np.clip((normals * light).sum(1), 0, 1)
    nv = np.clip((normals * view).sum(1), 1e-3, 1)
    nh = np.clip((normals * half).sum(1), 0, 1)
    spread = alpha2 / (np.pi * (nh**2 * (alpha2 - 1) + 1) ** 2)
    masked = nl * np.sqrt(nv**2 * (1 - alpha2) + alpha2)
    masked += nv * np.sqrt(nl**2 * (1 - alpha2) + alpha2)
    reflectance = fresnel((view * half).sum(1))
    return np.pi * nl * spread * 0.5 / np.maximum(masked, 1e-9) * reflectance


def fresnel(cosine: np.ndarray) -> np.ndarray:
    """Returns skin's reflectance at a cosine of the angle of incidence (Schlick 1994)."""
    return _NORMAL_REFLECTANCE + (1 - _NORMAL_REFLECTANCE) * (1 - np.clip(cosine, 0, 1)) ** 5


def project_sun(sun: Sun) -> np.ndarray:
    """Returns the SH radiance `[9, 3]` of a sun: what of it the fitted light can express."""
    return np.pi * harmonics(sun.direction)[:, None] * np.asarray(sun.colour)


def harmonics(directions: np.ndarray) -> np.ndarray:
    """Returns the nine real spherical harmonics `[9, ...]` of unit directions `[..., 3]`.

    Ramamoorthi and Hanrahan 2001, equation 3, in the order of `irradiance`.
    """
    x, y, z = np.moveaxis(directions, -1, 0)
    return np.stack([
        0.282095 + 0 * x, 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y,
        1.092548 * y * z, 0.315392 * (3 * z**2 - 1), 1.092548 * x * z, 0.546274 * (x**2 - y**2),
    ])  # fmt: skip


def random_lighting(rng: np.random.Generator, contrast: float = 0.35) -> np.ndarray:
    """Returns SH radiance of a random, nearly white light that shades a face to about 0.8."""
    coefficients = np.zeros((9, 3))
    tint = 1 + 0.06 * rng.standard_normal(3)
    coefficients[0] = np.sqrt(4 * np.pi) * 0.75 * tint
    direction = rng.standard_normal(3) * [1, 0.7, 0.4] + [0, -0.5, -1.0]
    direction /= np.linalg.norm(direction)
    # L1 in the order y, z, x.
    coefficients[1:4] = (contrast * 2.2 * direction[[1, 2, 0]])[:, None] * tint
    coefficients[4:] = 0.12 * rng.standard_normal((5, 1)) * tint
    return coefficients
