"""What a derivative costs: value and gradient of a stage or the whole chain beside the value alone.

`python benchmarks/gradient.py [PHOTO] [--stage chain fit synthesize] [--steps 10 40]
[--derivative unrolled implicit]` prints a row for each: seconds of the value, of value and gradient
by the photo (of `fit`: by the landmarks; of `synthesize`: by what the photo shows), their ratio,
and the peak memory of both, each in a process of its own, the first call (which compiles) left out.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

import jaxface
from jaxface.pipeline import run_stages


def chain(photo: str, assets: Any, config: Any) -> tuple[Callable[..., jax.Array], jax.Array]:
    """From a photo's pixels to the texture."""
    picture = jaxface.read_photo(photo).srgb
    found = jaxface.detect(picture, assets.networks)
    face = jaxface.prepare_face(picture, found.landmarks[0], blendshapes=found.blendshapes[0])

    def total(srgb: jax.Array) -> jax.Array:
        result, _ = run_stages(face.replace(srgb=srgb), assets, config)
        return jnp.mean(result.synthesis.texture)

    return total, face.srgb


def fit(photo: str, assets: Any, config: Any) -> tuple[Callable[..., jax.Array], jax.Array]:
    """From landmarks, and a photo, to the face's vertices."""
    picture = jaxface.read_photo(photo).srgb
    found = jaxface.detect(picture, assets.networks)

    def total(landmarks: jax.Array) -> jax.Array:
        known = {"blendshapes": found.blendshapes[0], "noise": assets.noise}
        fitted = jaxface.fit(picture, landmarks, assets.model, **known, config=config.fit)
        return jnp.mean(fitted.vertices**2)

    return total, found.landmarks[0]


def synthesize(photo: str, assets: Any, config: Any) -> tuple[Callable[..., jax.Array], jax.Array]:
    """From a texture of which the left 60 % are seen to the whole."""
    size = config.size
    low = jnp.full((size, size, 3), 0.35)
    mask = jnp.broadcast_to(jnp.arange(size) < 0.6 * size, (size, size)).astype(float)
    count = len(assets.database.textures)
    grain = jax.random.normal(jax.random.key(0), (size, size, 1))

    def total(shown: jax.Array) -> jax.Array:
        found = jaxface.synthesize(
            *(low, shown, mask, assets.database.textures, jnp.full(count, 1 / count), assets.vgg),
            correlation=config.correlation,
            config=config.synthesis,
        )
        return jnp.mean(found.texture)

    return total, low * jnp.exp(0.1 * grain)


STAGES = {"chain": chain, "fit": fit, "synthesize": synthesize}


def measure(given: argparse.Namespace) -> dict:
    """Returns the median seconds of a call and the peak memory in GB."""
    config, derivative = jaxface.ReconstructConfig.for_quality(given.quality), given.derivative[0]
    synthesis = replace(config.synthesis, derivative=derivative)
    if given.steps[0]:
        synthesis = replace(synthesis, levels=((1.0, given.steps[0]),))
    config = replace(config, synthesis=synthesis)
    if given.stage[0] == "fit":
        config = replace(config, fit=replace(config.fit, derivative=derivative))
    assets = jaxface.load_assets(config)
    total, argument = STAGES[given.stage[0]](given.photo, assets, config)
    call = total if given.mode == "value" else jax.value_and_grad(total)
    seconds = []
    for _ in range(1 + given.rounds):
        begin = time.perf_counter()
        found = jax.block_until_ready(call(argument))
        seconds.append(time.perf_counter() - begin)
    if given.mode != "value":
        assert bool(jnp.isfinite(found[1]).all()) and float(jnp.abs(found[1]).max()) > 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds": statistics.median(seconds[1:]), "first": seconds[0], "GB": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", nargs="?", default="examples/photos/obama.jpg")
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=["chain"])
    parser.add_argument("--quality", default="draft")
    parser.add_argument("--derivative", nargs="+", default=["unrolled", "implicit"])
    parser.add_argument("--steps", type=int, nargs="+", default=[0], help="one level; 0: as usual")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--mode", choices=("value", "gradient"))
    given = parser.parse_args()
    if given.mode:
        print(json.dumps(measure(given)))
        return
    print("| stage | steps | derivative | value s | value and gradient s | ratio | GB | GB |")
    cases = [(a, b, c) for a in given.stage for b in given.steps for c in given.derivative]
    for stage, steps, derivative in cases:
        both = []
        for mode in ("value", "gradient"):
            command = [sys.executable, __file__, given.photo, "--quality", given.quality]
            command += ["--stage", stage, "--derivative", derivative, "--steps", str(steps)]
            command += ["--rounds", str(given.rounds), "--mode", mode]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            both.append(json.loads(done.stdout.splitlines()[-1]))
        value, slope = both
        print(
            f"| {stage} | {steps or 'usual'} | {derivative} | {value['seconds']:.1f} "
            f"| {slope['seconds']:.1f} | {slope['seconds'] / value['seconds']:.2f} "
            f"| {value['GB']:.1f} | {slope['GB']:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
