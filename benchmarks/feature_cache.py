"""Weights from a database's feature cache: `python benchmarks/feature_cache.py [--faces 64 1000]`.

Beside those of the same faces by VGG-16 (total variation), and seconds of both. In a database
larger than the embedded one, the embedded faces' features stand where the thumbnails, which are
noise, lead to; the rest of the files is empty, so that 100 GB need no disk. They are read from
disk, not from memory, where the system drops its pages.
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

from jaxface import ReconstructConfig, choose_faces, crop_face, detect, load_assets, observe
from jaxface import assets as files
from jaxface.cli.work import prepare_jax
from jaxface.database import DiskDatabase, StoredFeatures
from jaxface.features.correlations import cache_features
from jaxface.images import read_photo
from jaxface.infer import blend_face
from jaxface.precision import jit
from jaxface.rendering.color import linear_to_srgb
from jaxface.types import Assets, BlendResult, FeatureCache, FeatureCaches, UnwrapResult


def unwrap_photo(path: Path, assets: Assets, config: ReconstructConfig) -> UnwrapResult:
    """Returns what a photo shows of its face."""
    photo = read_photo(path)
    found = detect(photo.srgb, assets.networks)
    crop = crop_face(photo.srgb, found.landmarks[0], blendshapes=found.blendshapes[0])
    return observe(crop, assets.replace(database=None), config).unwrapped


def timed(blend: Callable[[], BlendResult], before: Callable[[], None], rounds: int) -> float:
    """Returns the median of seconds, the first time, which compiles, apart."""
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
    parser.add_argument("--quality", default="standard")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    prepare_jax(None)
    config = ReconstructConfig.for_quality(args.quality)
    assets = load_assets(config)
    plain, vgg = assets.database, assets.vgg
    make = jit(cache_features, static_argnames="size")
    start = time.perf_counter()
    half, full = (
        jax.block_until_ready(make(plain.textures, size=side, vgg=vgg, config=config.correlation))
        for side in config.correlation.sides
    )
    cached = plain.replace(features=FeatureCaches(half, full))
    bytes_of_face = sum(value[0].size for value in half.values + full.values)
    print(f"cache: {bytes_of_face / 1e6:.1f} MB a face, {time.perf_counter() - start:.0f} s")
    seen = [unwrap_photo(path, assets, config) for path in args.photos]
    for path, one in zip(args.photos, seen, strict=True):
        found, wanted = (
            np.asarray(blend_face(one, faces, vgg, config.correlation).weights)
            for faces in (cached, plain)
        )
        print(f"{path.name}: total variation {0.5 * np.abs(found - wanted).sum():.4f}")
    for count in args.faces:
        if count == len(plain.indices):
            quick, slow = (
                timed(
                    lambda faces=faces: blend_face(seen[0], faces, vgg, config.correlation),
                    lambda: None,
                    args.rounds,
                )
                for faces in (cached, plain)
            )
            print(f"{count} faces in memory: {quick:.2f} s, by VGG {slow:.2f} s", flush=True)
        else:
            figures = on_disk(count, seen[0], assets, (half, full), config, args.rounds)
            print(f"{count} faces on disk: {figures}", flush=True)


def on_disk(
    count: int,
    seen: UnwrapResult,
    assets: Assets,
    caches: tuple[FeatureCache, FeatureCache],
    config: ReconstructConfig,
    rounds: int,
) -> str:
    """Returns the seconds of choosing and blending faces of a large database."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder, count, config.size, np.zeros((64, 64, 3), np.uint8), 0)
        faces = DiskDatabase(folder, size=config.size)
        partial, mask = np.asarray(linear_to_srgb(seen.partial)), np.asarray(seen.skin_mask)
        chosen = faces.nearest(partial, mask)
        for side, cache in zip(config.correlation.sides, caches, strict=True):
            _scatter(folder / f"{side}.u8", count, chosen, cache.values)
            _scatter(folder / f"{side}.f32", count, chosen, cache.scales)
        faces = faces.with_features(StoredFeatures(folder, count, config.correlation))

        def blend() -> BlendResult:
            near = choose_faces(seen, faces, assets, config)
            return blend_face(seen, near, assets.vgg, config.correlation)

        def drop_pages() -> None:
            for file in folder.rglob("*.[uf][83]*"):
                with open(file, "rb") as stream:
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

        read, kept = timed(blend, drop_pages, rounds), timed(blend, lambda: None, rounds)
        return f"{read:.2f} s from disk, {kept:.2f} s from the system's memory"


def _scatter(file: Path, count: int, places: np.ndarray, leaves: tuple[jax.Array, ...]) -> None:
    """Writes rows at the places of some faces into a sparse file of all."""
    rows = np.concatenate([np.asarray(leaf).reshape(len(leaf), -1) for leaf in leaves], 1)
    with open(file, "wb") as stream:
        stream.truncate(count * rows[0].nbytes)
        for place, row in zip(places, rows, strict=True):
            stream.seek(int(place) * row.nbytes)
            stream.write(row.tobytes())
        os.fsync(stream.fileno())


if __name__ == "__main__":
    main()
