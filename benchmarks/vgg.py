"""The fraction of the machine's matrix-product rate that VGG-16 with its correlations reaches.

python benchmarks/vgg.py [--sizes 256 512] [--rounds 7]

Products of square float32 matrices, by XLA and by NumPy, and passes are taken in turn, all cores,
medians; the faster product's rate counts. Operations are counted by XLA in the program before it is
optimised. Nothing else should run on the machine.
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
import numpy as np

from jaxface import load_database, load_vgg
from jaxface.features.correlations import CorrelationConfig, correlate
from jaxface.precision import jit

SIDE = 2048  # of the matrices
CONFIG = CorrelationConfig()


def seconds(run: Callable[[], Any]) -> float:
    """Returns what one call takes."""
    begun = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - begun


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    vgg = load_vgg()

    def values(texture: jax.Array) -> jax.Array:
        found = correlate(texture, jnp.ones(texture.shape[:2]), vgg, CONFIG)
        return sum(jnp.sum(value**2) for value in found.values)

    matrix = jax.random.normal(jax.random.key(0), (SIDE, SIDE))
    product = f"product of {SIDE} x {SIDE} matrices"
    jobs: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        product: (lambda a: a @ a, (matrix,))
    }
    for size in args.sizes:
        texture = jnp.asarray(load_database(size=size).textures[0], jnp.float32) / 255.0
        jobs[f"correlations, {size} texels"] = values, (texture,)
        jobs[f"their value and gradient, {size} texels"] = jax.value_and_grad(values), (texture,)
    lowered = {name: jit(job).lower(*inputs) for name, (job, inputs) in jobs.items()}
    operations = {name: program.cost_analysis()["flops"] for name, program in lowered.items()}
    runs = {name: partial(program.compile(), *jobs[name][1]) for name, program in lowered.items()}
    by_numpy = f"{product}, NumPy"
    operations[by_numpy] = operations[product]
    runs[by_numpy] = partial(np.matmul, np.asarray(matrix), np.asarray(matrix))
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(args.rounds + 1):
        for name, run in runs.items():
            found = seconds(run)
            if turn:  # the first warms up
                taken[name].append(found)
    rates = {name: operations[name] / statistics.median(taken[name]) for name in runs}
    best = max(rates[product], rates[by_numpy])
    print("| program | gigaflop | seconds | gigaflop/s | fraction of the product's rate |")
    print("| --- | --- | --- | --- | --- |")
    for name, rate in rates.items():
        print(
            f"| {name} | {operations[name] / 1e9:.1f} | {statistics.median(taken[name]):.3f} "
            f"| {rate / 1e9:.1f} | {rate / best:.2f} |"
        )


if __name__ == "__main__":
    main()
