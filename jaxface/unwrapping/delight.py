"""Light that the spherical harmonics lack: what of a smooth log ratio is shading, not albedo."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.types import FaceModel
from jaxface.unwrapping.config import UnwrapConfig
from jaxface.unwrapping.membrane import membrane

ODD_REACH = 3.0  # mesh edges over which asymmetric light is smooth; less takes pigment for light
ODD_PULL = 3e-3  # to zero where the mirror image is not seen
MAX_ODD = 0.8  # log ratio; more is the fit's error


def shading_correction(
    log_ratio: Float[Array, "V 3"],
    weights: Float[Array, " V"],
    model: FaceModel,
    config: UnwrapConfig,
) -> Float[Array, "V 3"]:
    """Returns the log ratio's part that is shading: its odd part under mirroring, since skin is
    symmetric at low frequency, plus what makes skin brighter than is probable.

    Differentiable in log ratio and weights.

    Args:
        log_ratio: photo over fitted albedo times shading, natural logarithm, at vertices.
        weights: of the skin that is seen.
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

    It is known where both halves are seen and fades to zero elsewhere.
    """
    both = jnp.minimum(weights, weights[model.mirror])
    odd = 0.5 * (log_ratio - log_ratio[model.mirror])
    field = membrane(odd, both, model.triangles, reach=ODD_REACH, pull=ODD_PULL)
    return jnp.clip(0.5 * (field - field[model.mirror]), -MAX_ODD, MAX_ODD)


def excess_light(
    trend: Float[Array, "V 3"], weights: Float[Array, " V"], config: UnwrapConfig
) -> Float[Array, "V 1"]:
    """Returns excess_to_light max(0, level - mean level - albedo_tolerance), with the level the
    trend's mean over the channels, and its mean that over the seen skin.

    Skin that is brighter than the most probable albedo, and than the face's skin is on the whole,
    is lit by what the harmonics lack: a second bounce in the sockets of the eyes, a lamp behind the
    head, gloss. A face that is brighter everywhere is pale.
    """
    level = jnp.mean(trend, -1, keepdims=True)
    mean = jnp.sum(level[:, 0] * weights) / jnp.maximum(jnp.sum(weights), 1e-6)
    return config.excess_to_light * jnp.maximum(level - mean - config.albedo_tolerance, 0.0)
