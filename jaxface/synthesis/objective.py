"""What the synthesis minimises, and the derivative of its optimum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from jaxface.features.correlations import (
    CorrelationConfig,
    correlate_features,
    correlation_distance,
)
from jaxface.implicit import implicit
from jaxface.precision import jit
from jaxface.synthesis.config import SynthesisConfig
from jaxface.synthesis.octaves import blur
from jaxface.types import Correlations

_STEPS = 50  # of conjugate gradients
_DAMPING = 1e-3  # of the mean curvature: what hardly changes the loss hardly moves


@struct.dataclass
class Level:
    """What stays the same at one level of the pyramid.

    Attributes:
        start: the texture that is changed, sRGB 0..1.
        free: how much each texel may change, 0..1.
        content: features that it should keep.
        target: correlations that it should have.
        alpha: weight of the correlations against the content.
    """

    start: Float[Array, "S S 3"]
    free: Float[Array, "S S 1"]
    content: Float[Array, "h w C"]
    target: Correlations
    alpha: Float[Array, ""]


def smoothed(image: Float[Array, "S S 3"], exponent: float) -> Float[Array, "S S 3"]:
    """Returns an image whose frequencies f, periods a side, are multiplied by (1 + f^2)^(-e / 2).

    A texture's power falls with frequency, so a step that does not costs its coarse detail many.
    """
    side = image.shape[0]
    square = np.square(np.fft.fftfreq(side, 1 / side))
    square = square[:, None] + square[: side // 2 + 1]
    gain = jnp.asarray((1 + square[..., None]) ** (-exponent / 2), image.dtype)
    frequencies = gain * jnp.fft.rfft2(image, axes=(0, 1))
    return jnp.fft.irfft2(frequencies, (side, side), axes=(0, 1))


def projected(
    variable: Float[Array, "S S 3"], free: Float[Array, "S S 1"], config: SynthesisConfig
) -> Float[Array, "S S 3"]:
    """Returns the change that a variable stands for: of the free texels alone, without its tone."""
    if config.smooth:
        variable = smoothed(variable, config.smooth)
    change = variable * free
    if config.method == "paper":
        return change
    sigma = 2 * config.tone * change.shape[0] / 512.0
    return change - blur(change, sigma) * free


def loss(
    variable: Float[Array, "S S 3"],
    level: Level,
    vgg: Mapping[str, Any],
    correlation: CorrelationConfig,
    config: SynthesisConfig,
) -> Float[Array, ""]:
    """Returns how far features are from the content's and correlations from their target."""
    texture = level.start + projected(variable, level.free, config)
    features = correlation.features(vgg, texture, config.content_layer)
    kept, now = (x.astype(texture.dtype) for x in (level.content, features[config.content_layer]))
    content = jnp.mean((now - kept) ** 2) / (jnp.mean(kept**2) + 1e-12)
    found = correlate_features(features, None, correlation)
    return content + level.alpha * correlation_distance(found, level.target)


@partial(jit, static_argnames=("correlation", "config"))
def differentiable(
    variable: Float[Array, "S S 3"],
    level: Level,
    vgg: Mapping[str, Any],
    *,
    correlation: CorrelationConfig,
    config: SynthesisConfig,
) -> Float[Array, "S S 3"]:
    """Returns the optimum as it is, with its derivative by the level and the network.

    That of the point where the loss is least, as if the steps had reached it; which texels are
    free is a choice. Hessian-vector products and conjugate gradients: neither memory nor time
    depends on how many steps there were.
    """

    def slope(x: Array, parameters: tuple[Level, Any]) -> Array:
        return jax.grad(loss)(x, *parameters, correlation, config)

    def solve(right: Array, x: Array, parameters: tuple[Level, Any]) -> Array:
        @jax.checkpoint
        def curvature(y: Array) -> Array:
            return jax.jvp(lambda x: slope(x, parameters), (x,), (y,))[1]

        probe = jax.random.rademacher(jax.random.key(0), x.shape, x.dtype)
        mean = jnp.vdot(probe, curvature(probe)) / x.size
        damping = _DAMPING * jnp.abs(mean) + 1e-20

        # `cg` alone cannot be transposed: it hands its start on beside the right-hand side.
        def descend(matrix: Callable[[Array], Array], right: Array) -> Array:
            return jax.scipy.sparse.linalg.cg(matrix, right, tol=1e-6, maxiter=_STEPS)[0]

        return jax.lax.custom_linear_solve(
            lambda y: curvature(y) + damping * y, right, descend, symmetric=True
        )

    level = level.replace(free=jax.lax.stop_gradient(level.free))
    return implicit(slope, solve, jax.lax.stop_gradient(variable), (level, vgg))
