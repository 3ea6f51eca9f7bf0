"""Stage 6: the complete texture, by optimising for the blended correlations.

Saito et al. 2017, section 5: the texture whose features stay near a content image's and whose
correlations equal the blended ones. What is ours: the start and the content are composed from
what is known (the photo, its mirror image, the database's detail) on the low-frequency albedo,
correlations are compared cell by cell with the mean taken out, the blended ones are those of what
each database face's fine detail makes of the photo, tone may not drift, and seen texels keep the
photo. `method="paper"` is the paper's plain form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float

from jaxface.blending import mix
from jaxface.features.correlations import (
    CorrelationConfig,
    correlate_features,
    resize,
)
from jaxface.mapping import Run, Shared, one
from jaxface.precision import jit
from jaxface.rendering.color import linear_to_srgb, srgb_to_linear
from jaxface.synthesis.compose import compose
from jaxface.synthesis.config import SynthesisConfig
from jaxface.synthesis.objective import Level, differentiable, loss, projected
from jaxface.types import Correlations, SynthesisResult, Textures

Callback = Callable[[Array, float], None]


def synthesize(
    low_frequency: Float[Array, "T T 3"],
    partial_linear: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    textures: Textures,
    weights: Float[Array, " K"],
    vgg: Mapping[str, Any] | Shared,
    *,
    pixels_per_texel: Float[Array, "T T"] | None = None,
    fixed: Float[Array, "T T"] | Shared | None = None,
    skin: Float[Array, "T T"] | Shared | None = None,
    correlation: CorrelationConfig = CorrelationConfig(),
    config: SynthesisConfig = SynthesisConfig(),
    callback: Callback | None = None,
    target: Callable[[int], Correlations] | None = None,
    alpha: Float[Array, ""] | None = None,
    run: Run = one,
) -> SynthesisResult:
    """Returns the complete texture, linear RGB, and the loss after every chunk of steps.

    Minimises content + alpha * correlation distance over the texels that the photo does not show,
    by L-BFGS (Liu and Nocedal 1989) on a pyramid; where one level ends the next one starts.

    Args:
        low_frequency: complete albedo without detail, linear.
        partial_linear: what the photo shows, unlit; anything where `mask` is 0.
        mask: what of it is skin that is seen, 0..1.
        textures: the database, sRGB 0..255 (floating point where it is to be differentiated).
        weights: on the simplex, from `blend`.
        vgg: weights of VGG-16.
        pixels_per_texel: width of a texel in pixels of the photo; missing, the photo is fine
            enough.
        fixed: 1 where a part is no skin (eyes, mouth) and stays as composed.
        skin: 1 where skin is bare, over which the person's grain is continued; all that is not
            `fixed` if missing.
        correlation: as used by `correlate`.
        config: static settings.
        callback: called on the host with the loss and the share that is done.
        target: the correlations wanted at a side, instead of the blended ones.
        alpha: weight of the correlations instead of the config's, where it is to be differentiated
            or changed without compiling again; any scale from 0 upwards.
        run: how to run the steps; with `Many`, faces lie along a leading axis of everything that
            is not `Shared`, and so does the callback's loss.

    Differentiable when no callback is given, as `config.derivative` says. Through the steps, the
    reverse pass stores the state before each and evaluates the step again (`jax.checkpoint`); at
    the optimum it needs no step.

    Example:
        >>> synthesize(
        ...     seen.low_frequency, seen.partial, seen.skin_mask, textures, weights, vgg
        ... ).texture.shape  # doctest: +SKIP
        (512, 512, 3)
    """
    size = low_frequency.shape[-2]
    weight = jnp.asarray(config.alpha if alpha is None else alpha, low_frequency.dtype)
    start, free, variable, faces, shares = run(
        _prepare,
        *(low_frequency, partial_linear, mask, textures, weights, fixed, pixels_per_texel, skin),
        config=config,
    )
    total = sum(steps * share**2 for share, steps in config.levels)
    done, losses = 0.0, []
    implicit = config.derivative == "implicit"
    for share, steps in config.levels:
        side = int(size * share)
        if target is None:
            experts = config.experts if side > 256 else 2 * config.experts
            wanted = run(
                blended_correlations,
                *(faces, shares, vgg),
                config=correlation,
                side=side,
                experts=experts,
            )
        else:
            wanted = target(side)
        settings = {"correlation": correlation, "config": config}
        known = start, free, variable, wanted, vgg, Shared(weight)
        level, state = run(_begin, *known, side=side, **settings)
        backward = 0 if implicit else steps if config.unroll is None else config.unroll
        # A loop of the host: XLA's own makes the same step more than twice as slow on the CPU.
        for step in range(1, steps + 1):
            given = level, state, vgg
            if step <= steps - backward:
                given = jax.lax.stop_gradient(given)
            state = run(_advance, *given, **settings)
            if step % config.chunk and step < steps:
                continue
            losses.append(state.best_loss)
            if callback is not None:
                callback(state.best_loss, (done + step * share**2) / total)
        done += steps * share**2
        variable = state.best
    if implicit:  # of the finest level alone: what the coarser ones found is its start
        variable = run(differentiable, variable, level, vgg, **settings)
    change = run(_projected, variable, level.free, config=config)
    return run(_finish, start, change, losses)


@partial(jit, static_argnames="config")
def _prepare(
    low_frequency: Array,
    partial_linear: Array,
    mask: Array,
    textures: Array,
    weights: Array,
    fixed: Array | None,
    pixels_per_texel: Array | None,
    skin: Array | None,
    *,
    config: SynthesisConfig,
) -> tuple[Array, Array, Array, Array, Array]:
    """Returns the start (sRGB), which texels are free `[T, T, 1]`, no change yet, and the textures
    `[E, T, T, 3]` (sRGB, 0..255) whose correlations are blended, with their shares."""
    if config.method == "paper":
        start, seen = low_frequency, jnp.zeros_like(mask)
        shares, index = jax.lax.top_k(weights, min(2 * config.experts, len(weights)))
        faces = textures[index]
    else:
        known = low_frequency, partial_linear, mask
        found = compose(*known, textures, weights, config, fixed, pixels_per_texel, skin)
        start, seen, shares = found.start, found.seen, found.shares
        faces = 255.0 * linear_to_srgb(found.completions)
    free = 1.0 - seen if fixed is None else (1.0 - seen) * (1.0 - fixed)
    return linear_to_srgb(start), free[..., None], jnp.zeros((8, 8, 3)), faces, shares


_projected = jit(projected, static_argnames="config")


@jit
def _finish(start: Array, change: Array, losses: list[Array]) -> SynthesisResult:
    texture = srgb_to_linear(jnp.clip(start + change, 0.0, 1.0))
    return SynthesisResult(texture=texture, losses=jnp.stack(losses))


@partial(jit, static_argnames=("config", "side", "experts"))
def blended_correlations(
    textures: Textures,
    weights: Float[Array, " K"],
    vgg: Mapping[str, Any],
    config: CorrelationConfig,
    side: int,
    experts: int,
) -> Correlations:
    """Returns the blend of complete correlations at a side, of the textures (sRGB, 0..255) of the
    `experts` largest weights.

    Correlations depend on how many texels a millimetre has, so each level has its own.
    """
    largest, index = jax.lax.top_k(weights, min(experts, len(weights)))

    @jax.checkpoint
    def one(texture: Array) -> Correlations:
        image = resize(texture / 255.0, side)
        return correlate_features(config.features(vgg, image), None, config)

    complete = jax.lax.map(one, textures[index])
    return mix(largest / jnp.maximum(largest.sum(), 1e-6), complete)


@struct.dataclass
class _State:
    """L-BFGS: the point to evaluate, the best one so far with its gradient, and the step's size."""

    x: Array
    best: Array
    best_loss: Array
    direction: Array
    step: Array
    memory: Any


@partial(jit, static_argnames=("side", "correlation", "config"))
def _begin(
    start: Array,
    free: Array,
    variable: Array,
    target: Correlations,
    vgg: Any,
    alpha: Array,
    *,
    side: int,
    correlation: CorrelationConfig,
    config: SynthesisConfig,
) -> tuple[Level, _State]:
    start, free = resize(start, side), resize(free, side)
    variable = jax.image.resize(variable, (side, side, 3), "linear")
    layer = (config.content_layer,)
    content = replace(correlation, layers=layer).features(vgg, start)[config.content_layer]
    level = Level(start, free, content, target, alpha)
    zero = jnp.zeros(())
    # Optax divides by the first step's difference from here before it ignores the quotient; a
    # difference of zero would make the derivative NaN.
    memory = optax.scale_by_lbfgs(config.memory).init(variable)
    state = _State(
        x=variable,
        best=variable,
        best_loss=zero + jnp.inf,
        direction=jnp.zeros_like(variable),
        step=zero + 1.0,
        memory=memory._replace(params=variable - 1.0),
    )
    return level, state


@partial(jit, static_argnames=("correlation", "config"))
def _advance(
    level: Level,
    state: _State,
    vgg: Any,
    *,
    correlation: CorrelationConfig,
    config: SynthesisConfig,
) -> _State:
    """Returns the state after one evaluation.

    A line search would evaluate every point twice. Instead every L-BFGS step is taken whole; one
    that raises the loss is taken back and tried again at a quarter of its length.
    """
    stepped = partial(_stepped, correlation=correlation, config=config)
    return jax.checkpoint(stepped)(level, state, vgg)


def _stepped(
    level: Level,
    state: _State,
    vgg: Any,
    *,
    correlation: CorrelationConfig,
    config: SynthesisConfig,
) -> _State:
    lbfgs = optax.scale_by_lbfgs(config.memory)
    value, gradient = jax.value_and_grad(loss)(state.x, level, vgg, correlation, config)
    better = value < state.best_loss
    direction, memory = lbfgs.update(gradient, state.memory, state.x)

    def keep(new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(better, a, b), new, old)

    direction = keep(direction, state.direction)
    size = jnp.where(better, jnp.minimum(2 * state.step, 1.0), 0.25 * state.step)
    best = keep(state.x, state.best)
    return _State(
        x=best - size * direction,
        best=best,
        best_loss=jnp.minimum(value, state.best_loss),
        direction=direction,
        step=size,
        memory=keep(memory, state.memory),
    )
