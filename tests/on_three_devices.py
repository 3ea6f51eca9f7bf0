"""Five photos, and bad ones among them, in batches over 3 simulated devices and one by one.

`XLA_FLAGS=--xla_force_host_platform_device_count=3 python on_three_devices.py FOLDER` prints as
JSON who failed, and by how much the results of a photo are apart: millimetres, levels of 8 bits.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import jax
import numpy as np
from on_devices import PHOTO, SMALL, small_assets

from jaxface.batch import FaceWorker, faces, run_photos
from jaxface.rendering.color import linear_to_srgb
from jaxface.types import Reconstruction

CONFIG = replace(SMALL, refine=False)


def make_photos(folder: Path) -> list[Path]:
    """Returns five photos of one face, moved and darkened, with a bad one after each."""
    folder.mkdir()
    photo = iio.imread(PHOTO)
    for number in range(5):
        moved = np.roll(photo, (3 * number, 7 * number), (0, 1)) * (1 - 0.08 * number)
        iio.imwrite(folder / f"{number}.png", moved.astype(np.uint8))
    (folder / "0-broken.jpg").write_bytes(PHOTO.read_bytes()[:2000])
    (folder / "1-empty.jpg").write_bytes(b"")
    iio.imwrite(folder / "2-noface.png", np.full((300, 400, 3), 127, np.uint8))
    iio.imwrite(folder / "3-pixel.png", np.full((1, 1, 3), 127, np.uint8))
    return sorted(folder.iterdir())


def write_arrays(folder: Path, *, reconstruction: Reconstruction, **_: object) -> None:
    """Writes what is compared, in place of a whole result."""
    folder.mkdir(parents=True)
    vertices, albedo = reconstruction.fit.vertices, reconstruction.synthesis.texture
    np.savez(folder / "face.npz", vertices=1e3 * vertices, albedo=255 * linear_to_srgb(albedo))


def main() -> None:
    faces.write_result = write_arrays  # type: ignore[assignment]
    assert len(jax.devices()) == 3, jax.devices()
    folder, assets = Path(sys.argv[1]), small_assets(3)
    photos = make_photos(folder / "photos")
    found = {}
    for name, batch in (("together", 4), ("alone", 1)):
        worker = FaceWorker(assets, CONFIG, batch=batch)
        report = run_photos(photos, folder / name, worker, batch=worker.rows)
        failed = {path.name: [reason, code] for path, reason, code in report.failures}
        found[name] = {"rows": worker.rows, "done": report.done, "failed": failed}

    def apart(one: str, other: str) -> dict[str, float]:
        a, b = (np.load(folder / place / "face.npz") for place in (one, other))
        return {name: float(np.abs(a[name] - b[name]).max()) for name in a.files}

    found["same photo"] = [apart(f"together/{n}", f"alone/{n}") for n in range(5)]
    found["other photo"] = apart("together/0", "together/4")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
