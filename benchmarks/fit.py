"""The fit beside Adam on the same objective: steps, milliseconds, and what each reaches.

`python benchmarks/fit.py [PHOTO ...]` prints a row a photo. Adam starts where `fit` starts and
takes 1,000 steps in one compiled loop; correspondences and visibility are renewed every 50 steps
(each step would cost a rasterization more), unknowns are kept inside their bounds. Of three rates
the one that ends lowest counts. `equal` is when Adam's photometric error first is no more than the
fit's, or never.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxface
from jaxface.cli.work import prepare_jax
from jaxface.fitting import FitConfig
from jaxface.fitting.derivative import Objective
from jaxface.fitting.files import load_noise
from jaxface.fitting.fit import pose_and_objective
from jaxface.fitting.target import FitTarget, fit_target
from jaxface.fitting.unknowns import POSE, bounds
from jaxface.landmarks.networks import load_networks
from jaxface.morphable.files import load_model

PHOTOS = [f"examples/photos/{name}.jpg" for name in ("astronaut", "biden", "obama")]
STEPS, RENEWED = 1000, 50
RATES = (0.003, 0.01, 0.03)


@jax.jit
def begin(
    target: FitTarget, model: Any, blendshapes: Any, noise: Any, config: FitConfig
) -> tuple[jax.Array, Objective]:
    """Returns where both start, and the objective of the finest level."""
    pose, objective = pose_and_objective(target, model, blendshapes, noise, config)
    pixels = objective.pixels
    # The light that explains the pixels best, as the fit's own start has it.
    x = objective.prior.mean.at[:POSE].set(pose)
    light = pixels.on(pixels.image[0]).at(x, objective.frame).lighting(x, pixels.layout)
    finest = objective.replace(pixels=pixels.replace(image=pixels.image[-1]))
    return x.at[-len(light) :].set(light), finest


@jax.jit
def adam(x: jax.Array, objective: Objective, rate: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns objective and photometric error after every `RENEWED` steps."""
    layout, frame = objective.points.layout, objective.frame
    lower, upper = bounds(layout)
    rule = optax.scale_by_adam()

    def stretch(carry: tuple, _: None) -> tuple[tuple, tuple]:
        x, state = carry
        points, pixels = objective.points.at(x, frame), objective.pixels.at(x, frame)

        def cost(x: jax.Array) -> jax.Array:
            terms = objective.prior.system(x), points.system(x, layout), pixels.system(x, layout)
            return sum(term.cost for term in terms)

        def step(carry: tuple, _: None) -> tuple[tuple, None]:
            x, state = carry
            move, state = rule.update(jax.grad(cost)(x), state)
            return (jnp.clip(x - rate * move, lower, upper), state), None

        x, state = jax.lax.scan(step, (x, state), None, length=RENEWED)[0]
        return (x, state), (objective.cost(x, x), objective.pixels.at(x, frame).error(x, layout))

    return jax.lax.scan(stretch, (x, rule.init(x)), None, length=STEPS // RENEWED)[1]


def seconds(call: Callable[[], Any], rounds: int) -> tuple[Any, float]:
    """Returns the result and the median time; the first call, which compiles, does not count."""
    times = []
    for _ in range(1 + rounds):
        start = time.perf_counter()
        found = jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return found, statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="*", default=PHOTOS)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    prepare_jax(None)
    model, networks, noise, config = load_model(), load_networks(), load_noise(), FitConfig()
    print("| photo | fit steps | fit ms | error | Adam ms | error | equal at step | ratio |")
    for path in given.photos:
        photo = jaxface.read_photo(path).srgb
        found = jaxface.detect(photo, networks)
        points, shapes = jnp.asarray(found.landmarks[0]), found.blendshapes[0]
        known = {"blendshapes": shapes, "noise": noise, "config": config}
        call = partial(jaxface.fit, jnp.asarray(photo), points, model, **known)
        fitted, ours = seconds(call, given.rounds)
        target = fit_target(jnp.asarray(photo), points, None, None, None, None, config.usual_focal)
        x, objective = begin(target, model, shapes, noise, config)
        runs = [seconds(partial(adam, x, objective, rate), 1) for rate in RATES]
        (_, errors), theirs = min(runs, key=lambda run: float(run[0][0][-1]))
        goal = float(fitted.photometric_error)
        reached = jnp.flatnonzero(errors <= goal)
        print(
            f"| {path} | {int(fitted.iterations)} | {1e3 * ours:.0f} | {goal:.4f} "
            f"| {1e3 * theirs:.0f} | {float(errors[-1]):.4f} "
            f"| {RENEWED * (int(reached[0]) + 1) if len(reached) else 'never'} "
            f"| {theirs / ours:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
