"""What of a residual log ratio is light that the spherical harmonics lack, and what is pigment.

Shadows, light between cheek and nose, gloss and errors of the fitted shape stay in the ratio of
photo to rendered fit beside what is the skin's own: beard, blush, make-up, moles. Linear minimum
mean square error estimate: log pigment = gain x bands of the ratio, the gain of each place in the
canonical UV learnt on rendered people of whom both are known (`building.delighting`).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.morphable.model import vertex_uvs
from jaxface.rendering.texture import sample_texture
from jaxface.types import FaceModel
from jaxface.unwrapping.membrane import membrane
from jaxface.unwrapping.regions import near_brows

REACHES = (1.0, 3.0, 9.0)  # of the membranes S_1 to S_3 between the bands, mesh edges
BANDS = len(REACHES) + 1
STEPS = 160  # of conjugate gradients
COLOURS = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [0.5, 0.5, -1.0]]) / np.sqrt(
    [[3.0], [2.0], [1.5]]
)
"""Rows: grey, red to green, yellow to blue. Orthonormal."""
FEATURES = BANDS * 2 * 3


def shading_correction(
    log_ratio: Float[Array, "V 3"], weights: Float[Array, " V"], model: FaceModel
) -> Float[Array, "V 3"]:
    """Returns the log ratio less its mean and less the pigment in it: what is light.

    pigment = bands gain, at each vertex, of `residual_bands`; at the brows, whose darkness is hair,
    light is the membrane through that around them. The mean stays in the albedo: tone is
    `balance_light`'s affair. Differentiable in log ratio and weights.

    Args:
        log_ratio: photo over fitted albedo times shading, natural logarithm, at vertices.
        weights: of visible skin, at vertices.
        model: mesh, mirror and `pigment_gain`.
    """
    bands = residual_bands(log_ratio, weights, model)
    gain = pigment_gain(model)
    colours = jnp.asarray(COLOURS, log_ratio.dtype)
    pigment = jnp.einsum("vf,vfc->vc", bands, gain) @ colours
    residual = bands.reshape(-1, BANDS, 2, 3).sum((1, 2)) @ colours
    light, brows = residual - pigment, near_brows(model)
    around = membrane(light, weights * (1 - brows), model.triangles, reach=REACHES[0], steps=STEPS)
    return light + brows[:, None] * (around - light)


def residual_bands(
    log_ratio: Float[Array, "V 3"], weights: Float[Array, " V"], model: FaceModel
) -> Float[Array, f"V {FEATURES}"]:
    """Returns the bands r - S_1, S_1 - S_2, S_2 - S_3, S_3 - mean of a log ratio r, each as its
    even and odd part under the mirror, in `COLOURS`: `[V, bands x 2 x 3]`.

    S_k is the membrane through r of reach `REACHES[k]`; the finest band is that of visible
    vertices. The odd part is q (b - b mirrored) / 2, the even one the rest, with q from 0 to 1 for
    how well both sides are seen. Differentiable in log ratio and weights.

    Args:
        log_ratio: at vertices.
        weights: of visible skin, at vertices, about 1 where well seen.
        model: mesh and mirror.
    """
    smooth = [
        membrane(log_ratio, weights, model.triangles, reach=reach, steps=STEPS) for reach in REACHES
    ]
    mean = jnp.sum(log_ratio * weights[:, None], 0) / jnp.maximum(jnp.sum(weights), 1e-6)
    visible = jnp.minimum(1.0, 2.0 * weights)[:, None]
    finest = visible * (log_ratio - smooth[0])
    coarser = [a - b for a, b in zip(smooth, [*smooth[1:], mean], strict=True)]
    bands = jnp.stack([finest, *coarser], 1) @ jnp.asarray(COLOURS, log_ratio.dtype).T
    both_visible = jnp.minimum(visible, visible[model.mirror])[:, :, None]
    odd = 0.5 * both_visible * (bands - bands[model.mirror])
    return jnp.stack([bands - odd, odd], 2).reshape(-1, FEATURES)


def pigment_gain(model: FaceModel) -> Float[Array, f"V {FEATURES} 3"]:
    """Returns the gain at vertices. Without `FaceModel.pigment_gain`: 1 for even parts, 0 for odd
    ones, as skin is symmetric at low frequency."""
    count = len(model.mean)
    if model.pigment_gain is None:
        even = np.tile(np.eye(3), (BANDS, 2, 1, 1)) * np.array([1.0, 0.0])[:, None, None]
        gain = jnp.asarray(even.reshape(FEATURES, 3), model.mean.dtype)
        return jnp.broadcast_to(gain, (count, FEATURES, 3))
    side = model.pigment_gain.shape[0]
    flat = sample_texture(model.pigment_gain.reshape(side, side, -1), vertex_uvs(model))
    return flat.reshape(count, FEATURES, 3)
