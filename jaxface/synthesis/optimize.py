"""Optimisation: the texture optimised towards the blended correlations.

Saito et al. 2017, section 5: the texture whose features stay near a content image's and whose
correlations equal the blended ones. `method="paper"` is that, from the low-frequency albedo.
Differences of the default: (1) start and content are the composed texture; (2) correlations are
covariances in the cells of a grid; (3) the target is the weighted mean over completions of the
photo, one a database face; (4) tone and visible texels may not change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Key

from jaxface.blending import weighted_sum
from jaxface.features.correlations import CorrelationConfig, correlate_features, resize
from jaxface.precision import jit
from jaxface.rendering.color import linear_to_srgb, srgb_to_linear
from jaxface.synthesis.compose import compose
from jaxface.synthesis.config import CompositionConfig, SynthesisConfig
from jaxface.synthesis.objective import Level, attach_implicit_derivative, loss, texture_change
from jaxface.types import Correlations, SynthesisResult, Textures

Callback = Callable[[Array, float], None]
Target = Callable[[int], Correlations]

# Texels: on larger levels half the faces are blended, to save memory and time.
_ALL_FACES_SIDE = 256


def synthesize(
    key: Key[Array, ""],
    low_frequency: Float[Array, "T T 3"],
    partial_linear: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    textures: Textures,
    weights: Float[Array, " K"],
    vgg: Mapping[str, Any],
    *,
    painted: Float[Array, "T T"] | None = None,
    bare_skin: Float[Array, "T T"] | None = None,
    pixels_per_texel: Float[Array, "T T"] | None = None,
    correlation: CorrelationConfig = CorrelationConfig(),
    composition: CompositionConfig = CompositionConfig(),
    config: SynthesisConfig = SynthesisConfig(),
    target: Callable[[int], Correlations] | None = None,
    stepwise: bool = False,
    callback: Callable[[Array, float], None] | None = None,
) -> SynthesisResult:
    """Returns the texture of least content + alpha * correlation distance, and the losses.

    L-BFGS (Liu and Nocedal 1989) on a pyramid, each level from where the coarser one ended, over
    the texels that the photo does not show. Saito et al. 2017, equation 5. Pure, unbatched: works
    under `jit`, `vmap`, `grad` and `shard_map`. Differentiable as `config.derivative` says: through
    the L-BFGS steps, each rematerialised in the reverse pass (`jax.checkpoint`), or by the implicit
    function theorem at the optimum.

    Args:
        key: any random key, of the composition; see `compose`.
        low_frequency: complete albedo without detail, linear RGB.
        partial_linear: diffuse albedo that the photo shows, linear RGB; any where `mask` is 0.
        mask: visible skin, 0..1.
        textures: the database, sRGB 0..255 (floating point where it is to be differentiated).
        weights: on the simplex, from `blend`.
        vgg: weights of VGG-16.
        painted: 1 where the texture stays as composed (eyes, mouth), 0 elsewhere; none if missing.
        bare_skin: 1 where the person's grain may be continued, 0 elsewhere; all that is not
            `painted` if missing.
        pixels_per_texel: width of a texel in pixels of the photo; if missing, the photo is sharp.
        correlation: as used by `correlate`.
        composition: settings of the start.
        config: settings.
        target: function from a level's side in texels to C_target, in place of the blended ones.
        stepwise: loop over the same jitted step in Python: on a CPU, convolutions inside XLA's
            loops are more than twice as slow.
        callback: with `stepwise`: called after each step with the least loss so far, an array that
            may not be computed yet, and the fraction of all steps' work that is done.

    Example:
        >>> synthesize(
        ...     *(jax.random.key(0), seen.low_frequency, seen.partial, seen.skin_mask),
        ...     *(textures, weights, vgg),
        ... ).texture.shape  # doctest: +SKIP
        (512, 512, 3)
    """
    problem = _prepare(
        *(key, low_frequency, partial_linear, mask, textures, weights),
        painted=painted,
        bare_skin=bare_skin,
        pixels_per_texel=pixels_per_texel,
        composition=composition,
        config=config,
    )

    total, done = sum(steps * fraction**2 for fraction, steps in config.levels), 0.0

    def run(level: Level, state: _State, steps: int, fraction: float) -> tuple[_State, Array]:
        nonlocal done
        if not stepwise:
            return _scan(level, state, vgg, correlation, config, steps=steps)
        constant = steps - _differentiated_steps(steps, config)
        losses = []
        for step in range(steps):
            given = (level, state, vgg, correlation, config)
            state = _step(*(jax.lax.stop_gradient(given) if step < constant else given))
            losses.append(state.best_loss)
            done += fraction**2 / total
            if callback is not None:
                callback(state.best_loss, done)
        return state, jnp.stack(losses)

    return _optimise(problem, vgg, correlation, config, target, run)


@struct.dataclass
class _Problem:
    """The optimisation problem at full size, of which each `Level` is a resized copy.

    Attributes:
        start_srgb: the texture to which the change is added, 0..1.
        free: factor on the change of each texel, 0..1.
        faces: textures (sRGB, 0..255) whose correlations are blended.
        face_weights: of these, in descending order; any positive scale.
        tone_sigma: texels of a texture of 512 x 512; what is coarser may not change.
    """

    start_srgb: Float[Array, "T T 3"]
    free: Float[Array, "T T 1"]
    faces: Float[Array, "E T T 3"]
    face_weights: Float[Array, " E"]
    tone_sigma: Float[Array, ""]


@jit
def _prepare(
    key: Array,
    low_frequency: Array,
    partial_linear: Array,
    mask: Array,
    textures: Array,
    weights: Array,
    *,
    painted: Array | None,
    bare_skin: Array | None,
    pixels_per_texel: Array | None,
    composition: CompositionConfig,
    config: SynthesisConfig,
) -> _Problem:
    """Returns the problem of `synthesize`'s arguments."""
    count = min(config.blended_faces, len(weights))
    if config.method == "paper":
        start, photo_weight = low_frequency, jnp.zeros_like(mask)
        face_weights, indices = jax.lax.top_k(weights, count)
        faces = textures[indices]
    else:
        composed = compose(
            *(key, low_frequency, partial_linear, mask, textures, weights),
            painted=painted,
            bare_skin=bare_skin,
            pixels_per_texel=pixels_per_texel,
            config=composition,
            completions=count,
        )
        start, photo_weight = composed.texture, composed.photo_weight
        faces = 255.0 * linear_to_srgb(composed.completions)
        face_weights = composed.face_weights[: len(faces)]
    free = 1.0 - photo_weight
    if painted is not None:
        free = free * (1.0 - painted)
    tone_sigma = 2.0 * jnp.asarray(composition.tone_sigma, start.dtype)
    return _Problem(linear_to_srgb(start), free[..., None], faces, face_weights, tone_sigma)


def _optimise(
    problem: _Problem,
    vgg: Mapping[str, Any],
    correlation: CorrelationConfig,
    config: SynthesisConfig,
    target: Target | None,
    run: Callable[[Level, _State, int, float], tuple[_State, Array]],
) -> SynthesisResult:
    """Returns the optimised texture; `run` takes all steps of a level: `(state, losses)`."""
    size = problem.start_srgb.shape[0]
    variable, losses, level = jnp.zeros((8, 8, 3), problem.start_srgb.dtype), [], None
    for fraction, steps in config.levels:
        side = int(size * fraction)
        if target is not None:
            goal = target(side)
        else:
            count = config.blended_faces // (1 if side <= _ALL_FACES_SIDE else 2)
            goal = blended_correlations(
                problem.faces, problem.face_weights, vgg, correlation, side=side, faces=count
            )
        level, state = _begin(
            *(problem.start_srgb, problem.free, variable, goal, vgg, problem.tone_sigma),
            *(correlation, config),
            side=side,
        )
        state, level_losses = run(level, state, steps, fraction)
        losses.append(level_losses)
        variable = state.best
    if level is None:
        return SynthesisResult(texture=srgb_to_linear(problem.start_srgb), losses=jnp.zeros(0))
    if config.derivative == "implicit":  # of the finest level: the coarser ones gave its start
        variable = attach_implicit_derivative(variable, level, vgg, correlation, config)
    return _finish(problem.start_srgb, variable, level, config, jnp.concatenate(losses))


@jit
def _finish(
    start_srgb: Array, variable: Array, level: Level, config: SynthesisConfig, losses: Array
) -> SynthesisResult:
    """Returns the texture of the start plus the last level's change at full size."""
    change = resize(texture_change(variable, level, config), len(start_srgb))
    texture = srgb_to_linear(jnp.clip(start_srgb + change, 0.0, 1.0))
    return SynthesisResult(texture=texture, losses=losses)


@partial(jit, static_argnames=("side", "faces"))
def blended_correlations(
    textures: Textures,
    weights: Float[Array, " K"],
    vgg: Mapping[str, Any],
    correlation: CorrelationConfig = CorrelationConfig(),
    *,
    side: int,
    faces: int,
) -> Correlations:
    """Returns the weighted mean of the complete correlations of the textures of greatest weight.

    Correlations depend on the resolution in texels per millimetre, so each level has its own.
    Differentiable in textures and weights.

    Args:
        textures: sRGB, 0..255, resized.
        weights: positive, any scale.
        vgg: weights of VGG-16.
        correlation: as used by `correlate`.
        side: at which correlations are taken, texels.
        faces: number of textures of greatest weight that are blended.
    """
    largest, indices = jax.lax.top_k(weights, min(faces, len(weights)))

    @jax.checkpoint
    def correlate_face(texture: Array) -> Correlations:
        image = resize(texture / 255.0, side)
        return correlate_features(correlation.features(vgg, image), None, correlation)

    complete = jax.lax.map(correlate_face, textures[indices])
    return weighted_sum(largest / jnp.maximum(largest.sum(), 1e-6), complete)


@struct.dataclass
class _State:
    """State of L-BFGS.

    Attributes:
        x: the point to evaluate next.
        best: the point of least loss so far.
        best_loss: its loss.
        direction: from it, of descent, negated.
        step: length of the step along that, 1 being Newton's.
        memory: differences of points and gradients, as Optax keeps them.
    """

    x: Array
    best: Array
    best_loss: Array
    direction: Array
    step: Array
    memory: Any


@partial(jit, static_argnames="side")
def _begin(
    start_srgb: Array,
    free: Array,
    variable: Array,
    target: Correlations,
    vgg: Mapping[str, Any],
    tone_sigma: Array,
    correlation: CorrelationConfig,
    config: SynthesisConfig,
    *,
    side: int,
) -> tuple[Level, _State]:
    """Returns a level of `side` texels and its first state, at the coarser level's optimum."""
    start, free = resize(start_srgb, side), resize(free, side)
    variable = jax.image.resize(variable, (side, side, 3), "linear")
    layer = config.content_layer
    content = correlation.replace(layers=(layer,)).features(vgg, start)[layer]
    level = Level(start, free, content, target, tone_sigma * (side / 512.0))
    # At its first update Optax divides by a difference from `params` before it discards the
    # quotient, whose derivative would be NaN if the difference were zero.
    memory = optax.scale_by_lbfgs(config.memory).init(variable)
    memory = optax.tree.set(memory, params=variable - 1.0)
    state = _State(
        x=variable,
        best=variable,
        best_loss=jnp.full((), jnp.inf, variable.dtype),
        direction=jnp.zeros_like(variable),
        step=jnp.ones((), variable.dtype),
        memory=memory,
    )
    return level, state


def _differentiated_steps(steps: int, config: SynthesisConfig) -> int:
    """Returns how many of a level's last steps are differentiated; see `SynthesisConfig`."""
    if config.derivative == "implicit":
        return 0
    return steps if config.unroll is None else min(config.unroll, steps)


@partial(jit, static_argnames="steps")
def _scan(
    level: Level,
    state: _State,
    vgg: Mapping[str, Any],
    correlation: CorrelationConfig,
    config: SynthesisConfig,
    *,
    steps: int,
) -> tuple[_State, Float[Array, " N"]]:
    """Returns the state after all steps of a level, and the least loss so far after each."""
    last = _differentiated_steps(steps, config)
    losses = []
    for count, constant in ((steps - last, True), (last, False)):
        if count:
            given = (level, vgg, config)
            given, state = jax.lax.stop_gradient((given, state)) if constant else (given, state)

            def step(state: _State, _: None, given: tuple = given) -> tuple[_State, Array]:
                level, vgg, config = given
                state = _step(level, state, vgg, correlation, config)
                return state, state.best_loss

            state, found = jax.lax.scan(step, state, None, length=count)
            losses.append(found)
    return state, jnp.concatenate(losses)


@jit
def _step(
    level: Level,
    state: _State,
    vgg: Mapping[str, Any],
    correlation: CorrelationConfig,
    config: SynthesisConfig,
) -> _State:
    """Returns the state after one evaluation of the loss and its gradient.

    Without a line search, which would evaluate every point twice: the step from the best point is
    taken whole; if it raises the loss, a quarter of it is tried next from the same point.
    """
    return jax.checkpoint(_evaluate_and_step)(level, state, vgg, correlation, config)


def _evaluate_and_step(
    level: Level,
    state: _State,
    vgg: Mapping[str, Any],
    correlation: CorrelationConfig,
    config: SynthesisConfig,
) -> _State:
    """See `_step`."""
    lbfgs = optax.scale_by_lbfgs(config.memory)
    value, gradient = jax.value_and_grad(loss)(state.x, level, vgg, correlation, config)
    is_better = value < state.best_loss
    direction, memory = lbfgs.update(gradient, state.memory, state.x)

    def choose(new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(is_better, a, b), new, old)

    direction = choose(direction, state.direction)
    step = jnp.where(is_better, jnp.minimum(2 * state.step, 1.0), 0.25 * state.step)
    best = choose(state.x, state.best)
    return _State(
        x=best - step * direction,
        best=best,
        best_loss=jnp.minimum(value, state.best_loss),
        direction=direction,
        step=step,
        memory=choose(memory, state.memory),
    )
