"""What a derivative costs: value and gradient of a stage or the whole chain beside the value alone.

`python benchmarks/gradient.py [PHOTO] [--stage chain fit synthesize] [--steps 10 40]
[--derivative implicit unrolled]` prints a row for each: seconds of the value, of value and gradient
by the photo (of `fit`: by the landmarks; of `synthesize`: by what the photo shows), their ratio,
and the peak memory of both, each in a process of its own, the first call (which compiles) left out.
`chain` is `reconstruct_face`, and `--derivative` that of its fit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

import jaxface
from jaxface.cli.bench import peak

Call = tuple[Callable[[jax.Array], jax.Array], jax.Array]
"""A scalar function and the argument by which it is differentiated."""


def chain(photo: str, assets: jaxface.Assets, config: jaxface.ReconstructConfig) -> Call:
    """From a photo's pixels to the texture."""
    picture = jaxface.read_photo(photo).srgb
    found = jaxface.detect(picture, assets.networks)
    crop = jaxface.crop_face(picture, found.landmarks[0], blendshapes=found.blendshapes[0])

    def total(srgb: jax.Array) -> jax.Array:
        result = jaxface.reconstruct_face(crop.replace(srgb=srgb), assets, config)
        return jnp.mean(result.synthesis.texture)

    return total, crop.srgb


def fit(photo: str, assets: jaxface.Assets, config: jaxface.ReconstructConfig) -> Call:
    """From landmarks, and a photo, to the face's vertices."""
    picture = jaxface.read_photo(photo).srgb
    found = jaxface.detect(picture, assets.networks)

    def total(landmarks: jax.Array) -> jax.Array:
        known = {"blendshapes": found.blendshapes[0], "noise": assets.noise}
        fitted = jaxface.fit(picture, landmarks, assets.model, **known, config=config.fit)
        return jnp.mean(fitted.vertices**2)

    return total, found.landmarks[0]


def synthesize(photo: str, assets: jaxface.Assets, config: jaxface.ReconstructConfig) -> Call:
    """From a texture of which the left 60 % are visible to the whole."""
    size = config.size
    low = jnp.full((size, size, 3), 0.35)
    mask = jnp.broadcast_to(jnp.arange(size) < 0.6 * size, (size, size)).astype(float)
    textures = assets.database.textures
    weights = jnp.full(len(textures), 1 / len(textures))
    grain = jax.random.normal(jax.random.key(0), (size, size, 1))

    def total(partial: jax.Array) -> jax.Array:
        found = jaxface.synthesize(
            *(jax.random.key(0), low, partial, mask, textures, weights, assets.vgg),
            correlation=config.correlation,
            config=config.synthesis,
        )
        return jnp.mean(found.texture)

    return total, low * jnp.exp(0.1 * grain)


STAGES = {"chain": chain, "fit": fit, "synthesize": synthesize}


def measure(given: argparse.Namespace) -> dict[str, float]:
    """Returns the median seconds of a call and the peak memory in GB."""
    config, derivative = jaxface.ReconstructConfig.for_quality(given.quality), given.derivative[0]
    if given.stage[0] == "synthesize":
        synthesis = config.synthesis.replace(derivative=derivative)
        if given.steps[0]:
            synthesis = synthesis.replace(levels=((1.0, given.steps[0]),))
        config = config.replace(synthesis=synthesis)
    else:
        config = config.replace(fit=config.fit.replace(derivative=derivative))
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
    return {"seconds": statistics.median(seconds[1:]), "first": seconds[0], "GB": peak() / 1e9}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", nargs="?", default="examples/photos/obama.jpg")
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=["chain"])
    parser.add_argument("--quality", default="draft")
    parser.add_argument("--derivative", nargs="+", default=["implicit", "unrolled"])
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[0],
        help="of `synthesize`, at one level; 0: the quality's own",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--mode", choices=("value", "gradient"))
    given = parser.parse_args()
    if given.mode:
        print(json.dumps(measure(given)))
        return
    print("| stage | steps | derivative | value s | value and gradient s | ratio | GB | GB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    cases = [
        (stage, steps, derivative)
        for stage in given.stage
        for steps in (given.steps if stage == "synthesize" else [0])
        for derivative in given.derivative
    ]
    for stage, steps, derivative in cases:
        both = []
        for mode in ("value", "gradient"):
            command = [sys.executable, __file__, given.photo, "--quality", given.quality]
            command += ["--stage", stage, "--derivative", derivative, "--steps", str(steps)]
            command += ["--rounds", str(given.rounds), "--mode", mode]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            both.append(json.loads(done.stdout.splitlines()[-1]))
        value, slope = both
        print(
            f"| {stage} | {steps or ''} | {derivative} | {value['seconds']:.1f} "
            f"| {slope['seconds']:.1f} | {slope['seconds'] / value['seconds']:.2f} "
            f"| {value['GB']:.1f} | {slope['GB']:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
