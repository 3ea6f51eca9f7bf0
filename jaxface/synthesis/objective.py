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

_CG_STEPS = 50  # at most: more solve worse-conditioned Hessians, and take longer
_DAMPING = 1e-3  # lambda over |mean diagonal of H|: bounds the answer along flat directions


@struct.dataclass
class Level:
    """The constants of the loss at one level of the pyramid, S texels a side.

    Attributes:
        start_srgb: the texture to which the change is added, 0..1.
        free: factor on the change of each texel, 0..1.
        content: F_0, features of the content layer.
        target: C_target, correlations.
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
    """Returns the change of the texture (sRGB), c - free G c with c = free P x.

    x is the optimised variable, P the preconditioner, G the Gaussian of `tone_sigma`, so that tone
    does not change; the paper's method is c alone, and tone changes.
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

    F are the texture's features in the content layer, C its correlations, d is
    `correlation_distance`; F_0 and C_target are the level's.
    """
    texture_srgb = level.start_srgb + texture_change(variable, level, config)
    features = correlation.features(vgg, texture_srgb, config.content_layer)
    dtype = texture_srgb.dtype
    goal, found = level.content.astype(dtype), features[config.content_layer].astype(dtype)
    content = jnp.mean((found - goal) ** 2) / (jnp.mean(goal**2) + 1e-12)
    correlations = correlate_features(features, None, correlation)
    return content + config.alpha * correlation_distance(correlations, level.target)


@jit
def attach_implicit_derivative(
    variable: Float[Array, "S S 3"],
    level: Level,
    vgg: Mapping[str, Any],
    correlation: CorrelationConfig,
    config: SynthesisConfig,
) -> Float[Array, "S S 3"]:
    """Returns x unchanged, with the derivative that gradient(x) = 0 gives it.

    x is the optimised variable of `texture_change`, not a texture. Implicit differentiation of the
    loss's gradient g with respect to the level, VGG-16's weights and the settings: (H + lambda I)
    dx = -dg, with the Hessian H = dg/dx and lambda = `_DAMPING` |z.Hz| / n for a Rademacher probe z
    (Hutchinson's estimate of trace(H) / n), by at most `_CG_STEPS` of conjugate gradients. H may be
    indefinite (rectifiers, max pooling, a point that is no minimum); conjugate gradients then have
    no guarantee. Time and memory do not depend on the number of L-BFGS steps. `free` is held
    constant.
    """

    def gradient(x: Array, parameters: tuple[Level, Any, SynthesisConfig]) -> Array:
        level, vgg, config = parameters
        return jax.grad(loss)(x, level, vgg, correlation, config)

    def solve(rhs: Array, x: Array, parameters: tuple[Level, Any, SynthesisConfig]) -> Array:
        @jax.checkpoint
        def hessian_vector_product(y: Array) -> Array:
            return jax.jvp(lambda x: gradient(x, parameters), (x,), (y,))[1]

        probe = _rademacher_probe(x.shape).astype(x.dtype)
        mean_diagonal = jnp.vdot(probe, hessian_vector_product(probe)) / x.size
        damping = _DAMPING * jnp.abs(mean_diagonal) + 1e-20

        # `cg` traces x0 together with b, so JAX cannot transpose it in b alone;
        # `custom_linear_solve` supplies the transpose rule.
        def conjugate_gradient(matvec: Callable[[Array], Array], b: Array) -> Array:
            return jax.scipy.sparse.linalg.cg(matvec, b, tol=1e-6, maxiter=_CG_STEPS)[0]

        return jax.lax.custom_linear_solve(
            lambda y: hessian_vector_product(y) + damping * y,
            rhs,
            conjugate_gradient,
            symmetric=True,
        )

    level = level.replace(free=jax.lax.stop_gradient(level.free))
    return implicit(gradient, solve, jax.lax.stop_gradient(variable), (level, vgg, config))


def _rademacher_probe(shape: tuple[int, ...]) -> Int[Array, "..."]:
    """Returns fixed random signs, each a bit of its hashed index."""
    index = jnp.arange(np.prod(shape), dtype=jnp.uint32)
    for multiplier in (0x45D9F3B, 0x119DE1F3):
        index = (index ^ (index >> 16)) * jnp.uint32(multiplier)
    return (1 - 2 * ((index >> 16) & 1).astype(jnp.int32)).reshape(shape)
