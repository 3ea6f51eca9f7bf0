"""The part of a smooth log ratio that is shading: light that the spherical harmonics lack."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.types import FaceModel
from jaxface.unwrapping.config import UnwrapConfig
from jaxface.unwrapping.membrane import membrane

ODD_REACH = 3.0  # mesh edges over which asymmetric light is smooth; less takes pigment for light
ODD_TIKHONOV = 3e-3  # weight of zero: the odd part decays where the mirror image is not seen
MAX_ODD = 0.8  # log ratio; more is the fit's error


def shading_correction(
    log_ratio: Float[Array, "V 3"],
    weights: Float[Array, " V"],
    model: FaceModel,
    config: UnwrapConfig,
) -> Float[Array, "V 3"]:
    """Returns shading correction = `odd_part` + `excess_light` of the log ratio less `odd_part`.

    Skin is symmetric at low frequency, so what is odd under mirroring is shading; so is part of
    what makes skin brighter than is probable. Differentiable in log ratio and weights.

    Args:
        log_ratio: photo over fitted albedo times shading, natural logarithm, at vertices.
        weights: of visible skin, at vertices.
        model: mesh and mirror.
        config: `tone_reach`, `albedo_tolerance` and `excess_to_light` are used.
    """
    odd = odd_part(log_ratio, weights, model)
    even = membrane(log_ratio - odd, weights, model.triangles, reach=config.tone_reach)
    return odd + excess_light(even, weights, config)


def odd_part(
    log_ratio: Float[Array, "V 3"], weights: Float[Array, " V"], model: FaceModel
) -> Float[Array, "V 3"]:
    """Returns the smooth odd part of the log ratio r under mirroring M, (r - M r) / 2.

    Its data are the vertices that are visible on both sides; elsewhere it decays to zero.
    """
    both_visible = jnp.minimum(weights, weights[model.mirror])
    odd = 0.5 * (log_ratio - log_ratio[model.mirror])
    field = membrane(odd, both_visible, model.triangles, reach=ODD_REACH, tikhonov=ODD_TIKHONOV)
    return jnp.clip(0.5 * (field - field[model.mirror]), -MAX_ODD, MAX_ODD)


def excess_light(
    trend: Float[Array, "V 3"], weights: Float[Array, " V"], config: UnwrapConfig
) -> Float[Array, "V 1"]:
    """Returns excess_to_light max(0, level - mean level - albedo_tolerance), with level the trend's
    mean over the channels and mean level its mean over the visible skin.

    Skin that is brighter than the most probable albedo, and than the face's skin on average, is lit
    by what the harmonics lack: interreflection in the eye sockets, a light behind the head,
    specular reflection. A face that is brighter everywhere is pale.
    """
    level = jnp.mean(trend, -1, keepdims=True)
    mean = jnp.sum(level[:, 0] * weights) / jnp.maximum(jnp.sum(weights), 1e-6)
    return config.excess_to_light * jnp.maximum(level - mean - config.albedo_tolerance, 0.0)
