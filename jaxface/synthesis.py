"""Stage 6: the complete texture, by optimising for the blended correlations.

Saito et al. 2017, section 5: the texture whose features stay near a content image's and whose
correlations equal the blended ones. What is ours: the start and the content are composed from
what is known (the photo, its mirror image, a database face's detail) on the low-frequency albedo,
correlations are compared cell by cell with the mean taken out, tone may not drift, and seen
texels keep the photo. `method="paper"` is the paper's plain form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float, UInt8

from jaxface.blending import mix
from jaxface.features.correlations import (
    CorrelationConfig,
    correlate_features,
    correlation_distance,
    resize,
)
from jaxface.features.vgg import vgg_features
from jaxface.rendering.color import linear_to_srgb, srgb_to_linear
from jaxface.types import Correlations, SynthesisResult

_EPSILON = 2e-3
_OCTAVES = 5  # blurs of up to 8 texels
_STRONG, _GAINS = 0.06, (0.4, 1.4)  # log detail beyond which it is no skin; bounds
Callback = Callable[[float, float], None]


@dataclass(frozen=True)
class SynthesisConfig:
    """Settings of `synthesize`. Lengths are texels of a 512 x 512 texture.

    Attributes:
        levels: (side as a share of T, steps), coarse to fine.
        alpha: weight of the correlation term against the content term.
        content_layer: VGG-16 layer of the content term.
        feather: width of the transition at the border of the seen.
        tone: detail is what is finer than this; tone is what is coarser and may not drift.
        sharp: as `tone`, on the fixed parts, whose edges are no detail.
        photo_blur: standard deviation, in pixels, of the blur of a photo.
        finest: bound on the log detail that is added to what a coarse photo shows.
        experts: so many database faces, those of greatest weight, give the correlations at the
            finest levels; twice as many at the coarse ones.
        chunk: steps between two reports.
        memory: pairs that L-BFGS keeps.
        method: `default` or `paper`.
    """

    levels: tuple[tuple[float, int], ...] = ((0.25, 16), (0.5, 16), (1.0, 8))
    alpha: float = 0.3
    content_layer: str = "relu3_1"
    feather: float = 4.0
    tone: float = 8.0
    sharp: float = 1.2
    photo_blur: float = 0.6
    finest: float = 0.08
    experts: int = 6
    chunk: int = 4
    memory: int = 8
    method: Literal["default", "paper"] = "default"

    @classmethod
    def for_quality(cls, quality: str, *, method: str = "default") -> SynthesisConfig:
        """Returns the settings of `draft`, `standard` or `high`."""
        steps = {
            "draft": ((0.5, 8), (1.0, 4)),
            "standard": ((0.25, 16), (0.5, 16), (1.0, 8)),
            "high": ((0.125, 16), (0.25, 24), (0.5, 24), (1.0, 4)),
        }[quality]
        if method == "paper":
            return cls(levels=steps, alpha=10.0, content_layer="relu4_1", method="paper")
        return cls(levels=steps)


def blur(image: Float[Array, "T S C"], sigma: float) -> Float[Array, "T S C"]:
    """Returns the Gaussian blur, renormalised at the border. Two matrix products: fast in XLA."""

    def matrix(size: int) -> Array:
        at = np.arange(size)
        kernel = np.exp(-0.5 * ((at[:, None] - at) / max(sigma, 1e-3)) ** 2)
        return jnp.asarray(kernel / kernel.sum(1, keepdims=True), jnp.float32)

    rows = jnp.tensordot(matrix(image.shape[0]), image, 1)
    return jnp.einsum("st,htc->hsc", matrix(image.shape[1]), rows)


def _finer_than(image: Float[Array, "T T C"], sigma: Float[Array, "T T"]) -> Array:
    """Returns what of an image a Gaussian of `sigma` texels (each texel's own) would remove."""
    level = jnp.clip(jnp.log2(jnp.maximum(2.0 * sigma, 1.0)), 0.0, _OCTAVES - 1.0)[..., None]
    kept = jnp.maximum(1.0 - level, 0.0) * image  # half a texel and less removes nothing
    for octave in range(1, _OCTAVES):
        weight = jnp.maximum(1.0 - jnp.abs(level - octave), 0.0)
        kept = kept + weight * blur(image, 0.5 * 2**octave)
    return image - kept


def _as_strong(
    face: Float[Array, "T T 3"], fine: Float[Array, "T T 3"], seen: Float[Array, "T T"], tone: float
) -> Float[Array, "T T 3"]:
    """Returns a face's detail, in two bands each as strong as the photo's where that is seen.

    Strength is the mean absolute value, bounded, so that brows and the rims of the eyes do not
    count for more than skin.
    """
    middle = tone / 4
    own = fine - blur(fine, middle)
    first, second = face - blur(face, middle), blur(face, middle) - blur(face, tone)

    def strength(band: Array) -> Array:
        level = jnp.minimum(jnp.abs(jnp.mean(band, -1)), _STRONG)
        return jnp.sum(level * seen) / jnp.maximum(jnp.sum(seen), 1e-6)

    def gain(mine: Array, other: Array) -> Array:
        ratio = strength(mine) / jnp.maximum(strength(other), 1e-6)
        return jnp.where(jnp.sum(seen) > 0, jnp.clip(ratio, *_GAINS), 1.0)

    low = gain(fine - own, second)
    # A photo that is coarser than the texture has less of the finest than its skin.
    return jnp.maximum(gain(own, first), low) * first + low * second


def _extend(values: Float[Array, "T T C"], weights: Float[Array, "T T"]) -> Float[Array, "T T C"]:
    """Returns weighted values continued smoothly to where there are none: pull and push over a
    pyramid (Gortler et al., The Lumigraph, SIGGRAPH 1996)."""
    share = weights[..., None]
    levels = [(values * share, share)]
    while levels[-1][0].shape[0] > 4:
        total, share = levels[-1]
        levels.append((_halved(total), _halved(share)))
    total, share = levels[-1]
    known = total / jnp.maximum(share, 1e-6)
    for total, share in levels[-2::-1]:
        side = total.shape[0]
        wide = jax.image.resize(known, (side, side, known.shape[-1]), "linear")
        trust = jnp.minimum(share, 1.0)
        known = trust * total / jnp.maximum(share, 1e-6) + (1 - trust) * wide
    return known


def _halved(image: Float[Array, "T T C"]) -> Float[Array, "t t C"]:
    side = image.shape[0] // 2
    return image.reshape(side, 2, side, 2, -1).mean((1, 3))


def soft_mask(mask: Float[Array, "T T"], feather: float) -> Float[Array, "T T"]:
    """Returns a mask that falls to 0 before the border of the seen is reached."""
    inner = blur(mask[..., None], feather)[..., 0]
    inner = jnp.clip(2.0 * inner - 1.0, 0.0, 1.0)
    return jnp.minimum(inner * inner * (3 - 2 * inner), mask)


@partial(jax.jit, static_argnames="config")
def compose(
    low_frequency: Float[Array, "T T 3"],
    partial_linear: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    textures: UInt8[Array, "K T T 3"],
    weights: Float[Array, " K"],
    config: SynthesisConfig = SynthesisConfig(),
    fixed: Float[Array, "T T"] | None = None,
    footprint: Float[Array, "T T"] | None = None,
) -> tuple[Float[Array, "T T 3"], Float[Array, "T T"]]:
    """Returns the texture composed of what is known (linear), and how much the photo counts.

    In the logarithm, where shading and pigment are sums: the photo's detail where it is seen, its
    mirror image's where that is, a database face's elsewhere, on the low-frequency albedo. Where
    the photo is coarser than the texture, the octaves that it cannot show are the database face's
    as well. The `fixed` parts (eyes, mouth) are whole already and are only sharpened.
    Differentiable except in the choice of the face of greatest weight.
    """
    scale = low_frequency.shape[0] / 512.0
    low = jnp.log(low_frequency + _EPSILON)
    seen = soft_mask(mask, config.feather * scale)
    own = jnp.where(mask[..., None] > 0, jnp.log(partial_linear + _EPSILON) - low, 0.0)
    mirrored = seen[:, ::-1] * (1 - seen)
    tone = config.tone * scale
    # What the mirror image says of tone is said by the low-frequency albedo already.
    weight = seen[..., None] + 1e-4
    fine = own - blur(own * weight, tone) / blur(weight, tone)
    face = jnp.log(srgb_to_linear(textures[jnp.argmax(weights)] / 255.0) + _EPSILON)
    detail = _as_strong(face, fine, seen, tone)
    if fixed is not None:
        sharper = face - blur(face, config.sharp * scale)
        detail = detail + fixed[..., None] * (sharper - detail)
        mirrored = mirrored * (1 - fixed)
    if footprint is not None:
        finer = _finer_than(face, config.photo_blur / jnp.maximum(footprint, 0.05))
        if fixed is not None:
            finer = finer * (1 - fixed[..., None])
        # Bounded, so that no strand of the face's brows is laid over the photo's.
        finer = config.finest * jnp.tanh(finer / config.finest)
        own, fine = own + finer, fine + finer
    inferred = mirrored[..., None] * fine[:, ::-1] + (1 - mirrored)[..., None] * detail
    # What the photo is off at the border of the seen goes on beyond it.
    beyond = _extend(own - inferred, seen)
    if fixed is not None:
        beyond = beyond * (1 - fixed[..., None])
    inferred = inferred + beyond
    log = low + seen[..., None] * own + (1 - seen)[..., None] * inferred
    return jnp.clip(jnp.exp(log) - _EPSILON, 0.0, 1.0), seen


def synthesize(
    low_frequency: Float[Array, "T T 3"],
    partial_linear: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    textures: UInt8[Array, "K T T 3"],
    weights: Float[Array, " K"],
    vgg: Mapping[str, Any],
    *,
    footprint: Float[Array, "T T"] | None = None,
    fixed: Float[Array, "T T"] | None = None,
    correlation: CorrelationConfig = CorrelationConfig(),
    config: SynthesisConfig = SynthesisConfig(),
    callback: Callback | None = None,
    target: Callable[[int], Correlations] | None = None,
) -> SynthesisResult:
    """Returns the complete texture, linear RGB, and the loss after every chunk of steps.

    Minimises content + alpha * correlation distance over the texels that the photo does not show,
    by L-BFGS (Liu and Nocedal 1989) on a pyramid; what is learned at one level is added to the
    start of the next.

    Args:
        low_frequency: complete albedo without detail, linear.
        partial_linear: what the photo shows, unlit; anything where `mask` is 0.
        mask: what of it is skin that is seen, 0..1.
        textures: the database, sRGB 0..255.
        weights: on the simplex, from `blend`.
        vgg: weights of VGG-16.
        footprint: width of a texel in pixels of the photo; missing, the photo is fine enough.
        fixed: 1 on parts that are no skin (eyes, mouth) and stay as composed.
        correlation: as used by `correlate`.
        config: static settings.
        callback: called on the host with the loss and the share that is done.
        target: the correlations wanted at a side, instead of the blended ones.

    Differentiable through the unrolled steps when no callback is given.
    """
    size = low_frequency.shape[0]
    if config.method == "paper":
        start, seen = low_frequency, jnp.zeros_like(mask)
    else:
        start, seen = compose(
            *(low_frequency, partial_linear, mask, textures, weights, config, fixed, footprint)
        )
    free = 1.0 - seen if fixed is None else (1.0 - seen) * (1.0 - fixed)
    start = linear_to_srgb(start)
    change = jnp.zeros((8, 8, 3))
    total = sum(steps * share**2 for share, steps in config.levels)
    done, losses = 0.0, []
    for share, steps in config.levels:
        side = int(size * share)
        if target is None:
            experts = config.experts if side > 256 else 2 * config.experts
            wanted = blended_correlations(textures, weights, vgg, correlation, side, experts)
        else:
            wanted = target(side)
        level, state = _begin(
            resize(start, side),
            resize(free[..., None], side),
            jax.image.resize(change, (side, side, 3), "linear"),
            wanted,
            vgg,
            correlation,
            config,
        )
        for _ in range(-(-steps // config.chunk)):
            state = _advance(
                level, state, steps=config.chunk, correlation=correlation, config=config
            )
            done += config.chunk * share**2 / total
            losses.append(state.best_loss)
            if callback is not None:
                callback(float(state.best_loss), min(done, 1.0))
        change = _projected(state.best, level.free, config)
    texture = jnp.clip(start + change, 0.0, 1.0)
    return SynthesisResult(texture=srgb_to_linear(texture), losses=jnp.stack(losses))


@partial(jax.jit, static_argnames=("config", "side", "experts"))
def blended_correlations(
    textures: UInt8[Array, "K T T 3"],
    weights: Float[Array, " K"],
    vgg: Mapping[str, Any],
    config: CorrelationConfig,
    side: int,
    experts: int,
) -> Correlations:
    """Returns the complete correlations of the blend at a side, from the `experts` largest weights.

    Correlations depend on how many texels a millimetre has, so each level has its own.
    """
    largest, index = jax.lax.top_k(weights, min(experts, len(weights)))

    def one(texture: Array) -> Correlations:
        image = resize(texture / 255.0, side)
        features = vgg_features(vgg, image, config.layers, pooling=config.pooling)
        return correlate_features(features, None, config)

    complete = jax.lax.map(one, textures[index])
    return mix(largest / jnp.maximum(largest.sum(), 1e-6), complete)


@struct.dataclass
class _Level:
    """What stays the same at one level of the pyramid."""

    start: Float[Array, "S S 3"]
    free: Float[Array, "S S 1"]
    content: Float[Array, "h w C"]
    target: Correlations
    vgg: Any


@struct.dataclass
class _State:
    """L-BFGS: the point to evaluate, the best one so far with its gradient, and the step's size."""

    x: Array
    best: Array
    best_loss: Array
    direction: Array
    step: Array
    memory: Any


def _projected(change: Array, free: Array, config: SynthesisConfig) -> Array:
    """Returns the change of the free texels alone, without its tone."""
    change = change * free
    if config.method == "paper":
        return change
    sigma = 2 * config.tone * change.shape[0] / 512.0
    return change - blur(change, sigma) * free


def _loss(
    change: Array, level: _Level, correlation: CorrelationConfig, config: SynthesisConfig
) -> Array:
    texture = level.start + _projected(change, level.free, config)
    layers = tuple(dict.fromkeys((*correlation.layers, config.content_layer)))
    features = vgg_features(level.vgg, texture, layers, pooling=correlation.pooling)
    apart = jnp.mean((features[config.content_layer] - level.content) ** 2)
    content = apart / (jnp.mean(level.content**2) + 1e-12)
    found = correlate_features(features, None, correlation)
    return content + config.alpha * correlation_distance(found, level.target)


@partial(jax.jit, static_argnames=("correlation", "config"))
def _begin(
    start: Array,
    free: Array,
    change: Array,
    target: Correlations,
    vgg: Any,
    correlation: CorrelationConfig,
    config: SynthesisConfig,
) -> tuple[_Level, _State]:
    content = vgg_features(vgg, start, (config.content_layer,), pooling=correlation.pooling)
    level = _Level(start, free, content[config.content_layer], target, vgg)
    zero = jnp.zeros(())
    # Optax divides by the first step's difference from here before it ignores the quotient; a
    # difference of zero would make the derivative NaN.
    memory = optax.scale_by_lbfgs(config.memory).init(change)
    state = _State(
        x=change,
        best=change,
        best_loss=zero + jnp.inf,
        direction=jnp.zeros_like(change),
        step=zero + 1.0,
        memory=memory._replace(params=change - 1.0),
    )
    return level, state


@partial(jax.jit, static_argnames=("steps", "correlation", "config"))
def _advance(
    level: _Level,
    state: _State,
    *,
    steps: int,
    correlation: CorrelationConfig,
    config: SynthesisConfig,
) -> _State:
    """Returns the state after some evaluations, one a step.

    A line search would evaluate every point twice. Instead every L-BFGS step is taken whole; one
    that raises the loss is taken back and tried again at a quarter of its length.
    """
    lbfgs = optax.scale_by_lbfgs(config.memory)
    evaluate = jax.value_and_grad(lambda x: _loss(x, level, correlation, config))

    def step(state: _State, _: None) -> tuple[_State, None]:
        loss, gradient = evaluate(state.x)
        better = loss < state.best_loss
        direction, memory = lbfgs.update(gradient, state.memory, state.x)

        def keep(new: Any, old: Any) -> Any:
            return jax.tree.map(lambda a, b: jnp.where(better, a, b), new, old)

        direction = keep(direction, state.direction)
        size = jnp.where(better, jnp.minimum(2 * state.step, 1.0), 0.25 * state.step)
        best = keep(state.x, state.best)
        return _State(
            x=best - size * direction,
            best=best,
            best_loss=jnp.minimum(loss, state.best_loss),
            direction=direction,
            step=size,
            memory=keep(memory, state.memory),
        ), None

    return jax.lax.scan(step, state, None, length=steps)[0]
