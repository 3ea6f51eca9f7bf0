"""Weights from a database's sketch: `python benchmarks/sketch.py [--faces 64 1000 10000]`.

Beside those of the same faces by VGG (total variation), and seconds of both. Of a database that is
larger than the embedded one, the embedded faces' sketches stand where the thumbnails, which are
noise, lead to; the rest of the files is empty, so that 100 GB need no disk. These are read from
disk, not from memory, where the system lets go of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from large_database import simulate

from jaxface import assets as files
from jaxface.cli.work import prepare_jax
from jaxface.database import Library, StoredSketches
from jaxface.features.correlations import sketch_textures
from jaxface.images import read_photo
from jaxface.landmarks.detector import detect
from jaxface.pipeline import SIDES, Assets, ReconstructConfig, load_assets, prepare_face
from jaxface.pipeline.chain import _nearest
from jaxface.pipeline.stages import blend_face, fit_face, person, unwrap_face
from jaxface.precision import jit
from jaxface.rendering.color import linear_to_srgb
from jaxface.types import BlendResult, Sketches, UnwrapResult


def seen_of(path: Path, assets: Assets, config: ReconstructConfig) -> UnwrapResult:
    """Returns what a photo shows of its face."""
    photo = read_photo(path)
    found = detect(photo.srgb, assets.networks)
    face = prepare_face(photo.srgb, found.landmarks[0], blendshapes=found.blendshapes[0])
    mask = person(face, assets.networks)
    fitted = fit_face(face, mask, assets.model, assets.noise, config=config.fit)
    for _ in range(2):
        seen, fitted = unwrap_face(
            *(face, mask, fitted, assets.model, assets.texels), config=config.unwrap
        )
    return seen


def timed(blend: Callable[[], BlendResult], before: Callable[[], None], rounds: int) -> float:
    """Returns the median of seconds, the first time apart."""
    taken = []
    for _ in range(rounds + 1):
        before()
        start = time.perf_counter()
        jax.block_until_ready(blend().weights)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, nargs="+", default=[64, 1000, 10_000])
    parser.add_argument("--photos", type=Path, nargs="+", default=[files.path("demo.jpg")])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    prepare_jax(None)
    config = ReconstructConfig()
    assets = load_assets(config)
    textures, vgg = assets.database.textures, assets.vgg
    make = jit(sketch_textures, static_argnames="size")
    start = time.perf_counter()
    sketches = Sketches(
        *(jax.block_until_ready(make(textures, size=side, vgg=vgg)) for side in SIDES)
    )
    rows = [sum(value[0].size for value in one.values) for one in (sketches.half, sketches.full)]
    print(f"sketch: {sum(rows) / 1e6:.1f} MB a face, {time.perf_counter() - start:.0f} s")
    shown = [seen_of(path, assets, config) for path in args.photos]

    def exact(seen: UnwrapResult, sketches: Sketches | None = None) -> BlendResult:
        return blend_face(seen, textures, vgg, sketches, config=config.correlation)

    for path, seen in zip(args.photos, shown, strict=True):
        found, wanted = (np.asarray(exact(seen, x).weights) for x in (sketches, None))
        print(f"{path.name}: total variation {0.5 * np.abs(found - wanted).sum():.4f}")
    for count in args.faces:
        if count == len(textures):
            plain = timed(lambda: exact(shown[0]), lambda: None, args.rounds)
            quick = timed(lambda: exact(shown[0], sketches), lambda: None, args.rounds)
            print(f"{count} faces in memory: {quick:.2f} s, by VGG {plain:.2f} s")
        else:
            print(
                f"{count} faces on disk: {_large(count, shown[0], assets, sketches, args.rounds)}"
            )


def _large(count: int, seen: UnwrapResult, assets: Assets, sketches: Sketches, rounds: int) -> str:
    config = ReconstructConfig()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder, count, config.size, np.zeros((64, 64, 3), np.uint8), 0)
        library = Library(folder, size=config.size)
        partial, mask = np.asarray(linear_to_srgb(seen.partial)), np.asarray(seen.skin_mask)
        chosen = library.nearest(partial, mask)
        for side, sketch in zip(SIDES, (sketches.half, sketches.full), strict=True):
            _scatter(folder / f"{side}.u8", count, chosen, sketch.values)
            _scatter(folder / f"{side}.f32", count, chosen, sketch.scales)
        library.sketches = StoredSketches(folder, count, config.correlation, SIDES)

        def blend() -> BlendResult:
            nearest = _nearest(seen, library, assets.vgg, config.correlation)
            return blend_face(
                *(seen, nearest.textures, assets.vgg, nearest.sketches), config=config.correlation
            )

        def forget() -> None:
            for file in folder.rglob("*.[uf][83]*"):
                with open(file, "rb") as stream:
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

        read, kept = timed(blend, forget, rounds), timed(blend, lambda: None, rounds)
        return f"{read:.2f} s from disk, {kept:.2f} s from the system's memory"


def _scatter(file: Path, count: int, places: np.ndarray, leaves: tuple[jax.Array, ...]) -> None:
    rows = np.concatenate([np.asarray(leaf).reshape(len(leaf), -1) for leaf in leaves], 1)
    with open(file, "wb") as stream:
        stream.truncate(count * rows[0].nbytes)
        for place, row in zip(places, rows, strict=True):
            stream.seek(int(place) * row.nbytes)
            stream.write(row.tobytes())
        os.fsync(stream.fileno())


if __name__ == "__main__":
    main()
