"""Compile seconds and peak memory of a batch, by the texture's side and the number of faces.

python benchmarks/memory.py [--cases 256x1 256x4 512x1 512x4 1024x1] [--one-program] [--refine]

Each case is a process of its own, from crops of the demo photo to textures and materials, without
programs kept by earlier starts. By default it runs what `reconstruct_batch` runs, the two programs
`observe` and `infer` over a mesh of all devices; with `--one-program` it runs
`jit(shard_map(vmap(reconstruct_face)))`, for comparison: `--cases 512x8`, with and without. Memory
is the device's peak or, if it reports none (a CPU), the process's, compiler and assets included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import jax
import numpy as np
from jax.sharding import PartitionSpec

from jaxface import ReconstructConfig, crop_face, detect, load_assets, read_photo, reconstruct_face
from jaxface import assets as files
from jaxface.batch.timing import compile_seconds
from jaxface.cli.bench import peak
from jaxface.precision import jit
from jaxface.reconstruct import FACES, device_mesh, place, reconstruct_crops, replicate, stack


def measure(size: int, batch: int, *, one_program: bool, refine: bool) -> dict[str, float]:
    """Returns seconds compiling and running, and gigabytes before the stages and at their peak."""
    config = ReconstructConfig.for_quality("standard", size=size, refine=refine)
    if refine:  # memory does not depend on the number of steps
        levels = tuple((fraction, 1) for fraction, _ in config.synthesis.levels)
        config = config.replace(synthesis=config.synthesis.replace(levels=levels))
    mesh = device_mesh()
    assets = load_assets(config)
    photo = read_photo(files.path("demo.jpg"))
    found = detect(photo.srgb, assets.networks)
    crop = crop_face(photo.srgb, np.asarray(found.landmarks[0]), blendshapes=found.blendshapes[0])
    crops, assets = place(stack([crop], batch), mesh), replicate(assets, mesh)
    before, compiled = peak(), compile_seconds()

    if one_program:
        specs = PartitionSpec(FACES), PartitionSpec(), PartitionSpec()
        program = jit(
            jax.shard_map(
                jax.vmap(reconstruct_face, (0, None, None)),
                mesh=mesh, in_specs=specs, out_specs=PartitionSpec(FACES), check_vma=False,
            )
        )  # fmt: skip

        def run() -> None:
            jax.block_until_ready(program(crops, assets, config))
    else:

        def run() -> None:
            jax.block_until_ready(reconstruct_crops(crops, assets, config, mesh=mesh))

    run()
    compiled = compile_seconds() - compiled
    since = time.perf_counter()
    run()
    taken = time.perf_counter() - since
    return {"compile": compiled, "run": taken, "before": before / 1e9, "peak": peak() / 1e9}


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cases", nargs="+", default=["256x1", "256x4", "512x1", "512x4", "1024x1"],
        help="TEXELSxFACES; faces are a multiple of the devices",
    )  # fmt: skip
    parser.add_argument("--one-program", action="store_true", help="of the whole chain")
    parser.add_argument("--refine", action="store_true", help="with the optimisation, a step each")
    parser.add_argument("--one", metavar="CASE", help="a case, in this process")
    args = parser.parse_args()
    if args.one_program and args.refine:
        parser.error("the one program is observe and infer: --refine needs a program of its own")
    if args.one:
        jax.config.update("jax_enable_compilation_cache", False)
        size, batch = map(int, args.one.split("x"))
        print(json.dumps(measure(size, batch, one_program=args.one_program, refine=args.refine)))
        return
    print("| texels a side | faces at once | compile s | run s | GB before | GB at the peak |")
    print("| --- | --- | --- | --- | --- | --- |")
    options = ["--one-program"] * args.one_program + ["--refine"] * args.refine
    for case in args.cases:
        command = [sys.executable, __file__, "--one", case, *options]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        figures = f"{row['compile']:.0f} | {row['run']:.1f} | {row['before']:.2f}"
        print(f"| {case.replace('x', ' | ')} | {figures} | {row['peak']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
