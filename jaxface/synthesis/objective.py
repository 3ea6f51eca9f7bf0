"""What the synthesis minimises, and the derivative of its optimum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from jaxface.features.correlations import (
    CorrelationConfig,
    correlate_features,
    correlation_distance,
)
from jaxface.filters import blur
from jaxface.implicit import implicit
from jaxface.precision import jit
from jaxface.synthesis.config import SynthesisConfig
from jaxface.types import Correlations

_STEPS = 50  # of conjugate gradients: more are exact for flatter losses, and slower
_DAMPING = 1e-3  # of the mean curvature: directions that hardly change the loss hardly move


@struct.dataclass
class Level:
    """What stays the same at one level of the pyramid.

    Attributes:
        start_srgb: the texture that is changed, 0..1.
        free: how much each texel may change, 0..1.
        content: features that it should keep.
        target: correlations that it should have.
        tone_sigma: texels of the level; what is coarser than this Gaussian may not change.
    """

    start_srgb: Float[Array, "S S 3"]
    free: Float[Array, "S S 1"]
    content: Float[Array, "h w C"]
    target: Correlations
    tone_sigma: Float[Array, ""]


def precondition(
    image: Float[Array, "S S 3"], exponent: float | Float[Array, ""]
) -> Float[Array, "S S 3"]:
    """Returns an image with its frequencies f multiplied by (1 + f^2)^(-exponent / 2).

    A texture's power falls with frequency, so gradient steps, whose power does not, need many for
    its coarse detail.

    Args:
        image: any real image.
        exponent: 0 leaves the image as it is; f is in periods a side.
    """
    side = image.shape[0]
    square = np.square(np.fft.fftfreq(side, 1 / side))
    square = square[:, None] + square[: side // 2 + 1]
    gain = jnp.asarray(1 + square[..., None], image.dtype) ** (-exponent / 2)
    spectrum = gain * jnp.fft.rfft2(image, axes=(0, 1))
    return jnp.fft.irfft2(spectrum, (side, side), axes=(0, 1))


def texture_change(
    variable: Float[Array, "S S 3"], level: Level, config: SynthesisConfig
) -> Float[Array, "S S 3"]:
    """Returns the change of the texture (sRGB) that the optimised variable stands for.

    c - free G c with c = free P x: the variable x, preconditioned by P, on the free texels, without
    its tone (Gaussian G of `tone_sigma`); the paper's form lets tone change.
    """
    if config.smooth is not None:
        variable = precondition(variable, config.smooth)
    change = variable * level.free
    if config.method == "paper":
        return change
    return change - blur(change, level.tone_sigma) * level.free


def loss(
    variable: Float[Array, "S S 3"],
    level: Level,
    vgg: Mapping[str, Any],
    correlation: CorrelationConfig,
    config: SynthesisConfig,
) -> Float[Array, ""]:
    """Returns |F - F_0|^2 / |F_0|^2 + alpha d(C, C_target) (Saito et al. 2017, equation 5).

    F are the features of the content layer and F_0 the content's, C the correlations of the
    texture, d is `correlation_distance`.
    """
    texture_srgb = level.start_srgb + texture_change(variable, level, config)
    features = correlation.features(vgg, texture_srgb, config.content_layer)
    dtype = texture_srgb.dtype
    wanted, found = level.content.astype(dtype), features[config.content_layer].astype(dtype)
    content = jnp.mean((found - wanted) ** 2) / (jnp.mean(wanted**2) + 1e-12)
    correlations = correlate_features(features, None, correlation)
    return content + config.alpha * correlation_distance(correlations, level.target)


@jit
def differentiable(
    variable: Float[Array, "S S 3"],
    level: Level,
    vgg: Mapping[str, Any],
    correlation: CorrelationConfig,
    config: SynthesisConfig,
) -> Float[Array, "S S 3"]:
    """Returns the optimum as it is, with its derivative by the level, the network and the settings.

    That of the point where the loss is least, as if the steps had reached it: H dx = -dg, with the
    Hessian H and the change dg of the gradient, by conjugate gradients on H + damping. Neither
    memory nor time depends on the number of steps. `free` counts as a constant.
    """

    def slope(x: Array, parameters: tuple[Level, Any, SynthesisConfig]) -> Array:
        level, vgg, config = parameters
        return jax.grad(loss)(x, level, vgg, correlation, config)

    def solve(right: Array, x: Array, parameters: tuple[Level, Any, SynthesisConfig]) -> Array:
        @jax.checkpoint
        def curvature(y: Array) -> Array:
            return jax.jvp(lambda x: slope(x, parameters), (x,), (y,))[1]

        probe = _signs(x.shape).astype(x.dtype)
        mean = jnp.vdot(probe, curvature(probe)) / x.size
        damping = _DAMPING * jnp.abs(mean) + 1e-20

        # `cg` alone cannot be transposed: it hands its start on beside the right-hand side.
        def descend(matrix: Callable[[Array], Array], right: Array) -> Array:
            return jax.scipy.sparse.linalg.cg(matrix, right, tol=1e-6, maxiter=_STEPS)[0]

        return jax.lax.custom_linear_solve(
            lambda y: curvature(y) + damping * y, right, descend, symmetric=True
        )

    level = level.replace(free=jax.lax.stop_gradient(level.free))
    return implicit(slope, solve, jax.lax.stop_gradient(variable), (level, vgg, config))


def _signs(shape: tuple[int, ...]) -> Int[Array, "..."]:
    """Returns fixed signs z, each that of a hashed index: z.Hz estimates H's trace (Hutchinson)."""
    index = jnp.arange(np.prod(shape), dtype=jnp.uint32)
    for multiplier in (0x45D9F3B, 0x119DE1F3):
        index = (index ^ (index >> 16)) * jnp.uint32(multiplier)
    return (1 - 2 * ((index >> 16) & 1).astype(jnp.int32)).reshape(shape)
