"""Peak memory of the stages against how many faces are done at once and the texture's side.

python benchmarks/memory.py [--cases 256x1 256x4 512x1 512x4 1024x1]

Each case is a process of its own, from prepared faces to textures and materials, with one step a
level of the synthesis: memory does not depend on how many there are. What is told is the device's
peak, or the process's where the device tells none (a CPU), compiling and the assets included.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np

from jaxface import ReconstructConfig, assets, detect, load_assets, prepare_face, read_photo
from jaxface.cli.bench import peak
from jaxface.cli.work import prepare_jax
from jaxface.mapping import Many, face_mesh
from jaxface.pipeline import prepare_assets, run_stages
from jaxface.pipeline.batched import stack


def measure(size: int, batch: int) -> tuple[float, float]:
    """Returns the most gigabytes in use before the stages and with them."""
    config = ReconstructConfig.for_quality("standard", size=size)
    levels = tuple((share, 1) for share, _ in config.synthesis.levels)
    config = replace(config, synthesis=replace(config.synthesis, levels=levels))
    loaded = load_assets(config)
    photo = read_photo(assets.path("demo.jpg"))
    found = detect(photo.srgb, loaded.networks)
    face = prepare_face(photo.srgb, np.asarray(found.landmarks[0]))
    many, loaded = Many(face_mesh()), prepare_assets(loaded)
    before = peak()
    faces = many.place(stack([face], batch))
    jax.block_until_ready(run_stages(faces, loaded, config, run=many)[0])
    return before / 1e9, peak() / 1e9


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cases", nargs="+", default=["256x1", "256x4", "512x1", "512x4", "1024x1"]
    )
    parser.add_argument("--one", help="a case, in this process")
    args = parser.parse_args()
    if args.one:
        prepare_jax(None)
        before, most = measure(*map(int, args.one.split("x")))
        print(f"{before:.2f} {most:.2f}")
        return
    print("| texels a side | faces at once | GB before the stages | GB at their peak |")
    print("| --- | --- | --- | --- |")
    for case in args.cases:
        run = [sys.executable, __file__, "--one", case]
        told = subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()
        print("| " + " | ".join([*case.split("x"), *told[-2:]]) + " |", flush=True)


if __name__ == "__main__":
    main()
