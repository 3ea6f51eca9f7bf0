"""Time and memory of a database of many large textures: `python benchmarks/large_database.py`.

The packed textures are a sparse file of zeros, so that no disk space is needed; thumbnails are
random, one of them is what is looked for.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from jaxface import assets
from jaxface.database.disk import THUMBNAIL, DiskDatabase
from jaxface.database.store import FORMAT, LIST, UV


def simulate(folder: Path, count: int, size: int, wanted: np.ndarray, place: int) -> None:
    """Writes a database whose textures are empty and whose thumbnails are noise but for one."""
    names = [{"name": f"face{index:05d}", "files": {}, "about": {}} for index in range(count)]
    listing = {"format": FORMAT, "uv": UV, "source": "simulation", "faces": names}
    (folder / LIST).write_text(json.dumps(listing))
    packed = folder / f"packed-{size}"
    packed.mkdir()
    for name, channels in (("textures.u8", 3), ("heights.u8", 1)):
        with open(packed / name, "wb") as stream:
            stream.truncate(count * size * size * channels)
    rng = np.random.default_rng(0)
    with open(packed / "thumbnails.u8", "wb") as stream:
        for index in range(count):
            noise = rng.integers(60, 200, (THUMBNAIL, THUMBNAIL, 3), np.uint8)
            stream.write((wanted if index == place else noise).tobytes())
    stamp = {"list": assets.checksum(folder / LIST), "size": size}
    (packed / "stamp.json").write_text(json.dumps(stamp))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=1024)
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    wanted = rng.integers(60, 200, (THUMBNAIL, THUMBNAIL, 3), np.uint8)
    place = args.count // 3
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder), args.count, args.size, wanted, place)
        start = time.perf_counter()
        database = DiskDatabase(folder, size=args.size)
        opened = time.perf_counter()
        step = args.size // THUMBNAIL
        photo = np.kron(wanted / 255.0, np.ones((step, step, 1)))
        mask = np.zeros(photo.shape[:2])
        mask[:, : args.size // 2] = 1
        found = database.take(database.nearest(photo, mask))
        done = time.perf_counter()
    virtual = args.count * args.size**2 * 4 / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{args.count} textures of {args.size} x {args.size}, {virtual:.1f} GB packed")
    indices = np.asarray(found.indices)
    print(f"found the one among the {len(indices)} nearest: {place in indices}")
    print(
        f"opened in {opened - start:.2f} s, searched in {done - opened:.1f} s, peak {peak:.2f} GB"
    )


if __name__ == "__main__":
    main()
