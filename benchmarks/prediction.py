"""Faces an hour that an accelerator should reach: a prediction, not a measurement.

python benchmarks/prediction.py [--sizes 512 1024] [--rate 95] [--bandwidth 3.35]

The network's passes (blend, targets, steps of the synthesis) are compiled at batch 1 and their
operations and bytes counted by XLA; their time is the larger of operations over `--rate` (teraflop
a second that the network reaches: 95 were measured in the steps on an H200, whose chip is the
H100's) and bytes over `--bandwidth` (terabytes a second; 3.35 on an H100, 4.8 on an H200). Bytes
are those of a CPU's program, which fuses less than a GPU's. Fit and unwrapping have loops whose
length XLA does not know: their time is what the H200 took, unwrapping by the number of texels,
both by the bandwidth. Overlapped work of the host is left out. `jaxface bench` measures the same.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxface import ReconstructConfig
from jaxface.features.correlations import correlate
from jaxface.features.weights import load_vgg
from jaxface.pipeline.assets import SIDES
from jaxface.pipeline.stages import SHORTLIST
from jaxface.synthesis.optimize import _advance, _begin

FIT, UNWRAP = 0.004, 0.009  # seconds a face that the H200 took at 512 texels, 32 at once
BANDWIDTH = 4.8  # its terabytes a second
DATABASE = 64  # faces


def costs(function: Callable[..., Any], *arguments: Any) -> tuple[float, float]:
    """Returns operations and bytes of a function, as XLA counts them."""
    found = jax.jit(function).lower(*arguments).compile().cost_analysis()
    return found["flops"], found["bytes accessed"]


def work(size: int, vgg: Any) -> list[tuple[str, int, float, float]]:
    """Returns name, how often, operations and bytes of every kind of pass that a face needs."""
    config = ReconstructConfig.for_quality("standard", size=size)
    chosen = {"correlation": config.correlation, "config": config.synthesis}
    passes: Counter[int] = Counter()
    passes.update({SIDES[0]: 1 + DATABASE, SIDES[1]: 1 + SHORTLIST})
    steps = {int(size * share): count for share, count in config.synthesis.levels}
    for side in steps:
        experts = config.synthesis.experts
        passes[side] += experts if side > 256 else 2 * experts
    rows = []
    for side, count in sorted(passes.items()):
        square = jax.ShapeDtypeStruct((side, side), jnp.float32)
        image = jax.ShapeDtypeStruct((side, side, 3), jnp.float32)
        one = partial(correlate, config=config.correlation)
        rows.append((f"correlations {side}", count, *costs(one, image, square, vgg)))
        if side not in steps:
            continue
        target = jax.eval_shape(one, image, square, vgg)
        free = jax.ShapeDtypeStruct((side, side, 1), jnp.float32)
        begin = partial(_begin, side=side, **chosen)
        alpha = jax.ShapeDtypeStruct((), jnp.float32)
        level, state = jax.eval_shape(begin, image, free, image, target, vgg, alpha)
        step = partial(_advance, **chosen)
        rows.append((f"step {side}", steps[side], *costs(step, level, state, vgg)))
    return rows


def main() -> None:
    """Prints Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--rate", type=float, default=95.0)
    parser.add_argument("--bandwidth", type=float, default=3.35)
    args = parser.parse_args()
    vgg = load_vgg()
    print("| texels | pass | times | teraflop each | gigabytes each |")
    print("| --- | --- | --- | --- | --- |")
    told = []
    for size in args.sizes:
        rows = work(size, vgg)
        for name, count, flops, moved in rows:
            print(f"| {size} | {name} | {count} | {flops / 1e12:.3f} | {moved / 1e9:.2f} |")
        total = sum(count * flops for _, count, flops, _ in rows) / 1e12
        network = sum(
            count * max(flops / args.rate / 1e12, moved / args.bandwidth / 1e12)
            for _, count, flops, moved in rows
        )
        rest = (FIT + UNWRAP * (size / 512) ** 2) * BANDWIDTH / args.bandwidth
        taken = network + rest
        told.append(f"| {size} | {total:.2f} | {taken:.3f} | {3600 / taken:,.0f} |")
    print("\n| texels | teraflop a face | s a face | faces an hour |\n| --- | --- | --- | --- |")
    print("\n".join(told))


if __name__ == "__main__":
    main()
