"""What a derivative costs: value and gradient of the whole chain beside the value alone.

`python benchmarks/gradient.py [PHOTO] [--quality draft] [--derivative unrolled implicit]` prints a
row for each: seconds of the value, of value and gradient by the photo, their ratio, and the peak
memory of both, each in a process of its own, the first call (which compiles) left out.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import jax
import jax.numpy as jnp

import jaxface
from jaxface.pipeline import run_stages


def measure(photo: str, quality: str, derivative: str, steps: int, rounds: int, mode: str) -> dict:
    """Returns the median seconds of a call and the peak memory in GB."""
    config = jaxface.ReconstructConfig.for_quality(quality)
    synthesis = replace(config.synthesis, derivative=derivative)
    if steps:
        synthesis = replace(synthesis, levels=((1.0, steps),))
    config = replace(config, synthesis=synthesis)
    assets = jaxface.load_assets(config)
    picture = jaxface.read_photo(photo).srgb
    found = jaxface.detect(picture, assets.networks)
    face = jaxface.prepare_face(picture, found.landmarks[0], blendshapes=found.blendshapes[0])

    def total(srgb: jax.Array) -> jax.Array:
        result, _ = run_stages(face.replace(srgb=srgb), assets, config)
        return jnp.mean(result.synthesis.texture)

    call = total if mode == "value" else jax.value_and_grad(total)
    seconds = []
    for _ in range(1 + rounds):
        begin = time.perf_counter()
        found = jax.block_until_ready(call(face.srgb))
        seconds.append(time.perf_counter() - begin)
    if mode != "value":
        assert bool(jnp.isfinite(found[1]).all()) and float(jnp.abs(found[1]).max()) > 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds": statistics.median(seconds[1:]), "first": seconds[0], "GB": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", nargs="?", default="examples/photos/obama.jpg")
    parser.add_argument("--quality", default="draft")
    parser.add_argument("--derivative", nargs="+", default=["unrolled", "implicit"])
    parser.add_argument("--steps", type=int, nargs="+", default=[0], help="one level; 0: as usual")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--mode", choices=("value", "gradient"))
    given = parser.parse_args()
    if given.mode:
        settings = given.derivative[0], given.steps[0], given.rounds, given.mode
        print(json.dumps(measure(given.photo, given.quality, *settings)))
        return
    print("| derivative | steps | value s | value and gradient s | ratio | GB | GB |")
    for steps in given.steps:
        for derivative in given.derivative:
            both = []
            for mode in ("value", "gradient"):
                command = [sys.executable, __file__, given.photo, "--quality", given.quality]
                command += ["--derivative", derivative, "--steps", str(steps)]
                command += ["--rounds", str(given.rounds), "--mode", mode]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                both.append(json.loads(done.stdout.splitlines()[-1]))
            value, slope = both
            print(
                f"| {derivative} | {steps or 'usual'} | {value['seconds']:.1f} "
                f"| {slope['seconds']:.1f} | {slope['seconds'] / value['seconds']:.2f} "
                f"| {value['GB']:.1f} | {slope['GB']:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
