"""What the stages need besides the photo."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxface.database import Database, Library, open_database, open_sketches
from jaxface.features.weights import load_vgg
from jaxface.fitting import LandmarkNoise, load_noise
from jaxface.landmarks.networks import Networks, load_networks
from jaxface.morphable.model import load_model
from jaxface.morphable.texels import TexelMap, texel_map
from jaxface.pipeline.config import ReconstructConfig
from jaxface.pipeline.stages import BLEND_SIZE
from jaxface.pytrees import pytree
from jaxface.synthesis import seam_pairs
from jaxface.types import FaceModel, Sketches

SIDES = BLEND_SIZE // 2, BLEND_SIZE


@pytree
class Assets:
    """What the stages need besides the photo, as pytrees.

    Attributes:
        model: the face model.
        texels: of its canonical UV, at the texture's size.
        database: textures of other faces.
        networks: that find faces and landmarks.
        vgg: weights of VGG-16.
        noise: of the landmark detector.
        seams: pairs of texels that meet where charts do, as flat indices.
    """

    model: FaceModel
    texels: TexelMap
    database: Database | Library
    networks: Networks
    vgg: Any
    noise: LandmarkNoise | None
    seams: Int[Array, "N 2"]


def load_assets(
    config: ReconstructConfig = ReconstructConfig(),
    *,
    model: str = "default",
    database: str | None = None,
) -> Assets:
    """Returns the assets for a texture size. Host function.

    Args:
        config: whose `size` counts, and whether there is to be a `sketch`.
        model: name of the face model.
        database: folder of a texture database; the embedded one if missing.

    Raises:
        AssetError: a file is missing or damaged, or the sketch is.
        InputError: there is no model or database of that name.

    Example:
        >>> load_assets(ReconstructConfig(size=256)).texels.mask.shape  # doctest: +SKIP
        (256, 256)
    """
    face = load_model(model)
    faces = open_database(database, size=config.size)
    if config.sketch:
        stored = open_sketches(database, config.size, config.correlation, SIDES)
        if isinstance(faces, Library):
            faces.sketches = stored
        else:
            half, full = (stored.take(range(len(faces.names)), side) for side in SIDES)
            faces = faces.replace(sketches=Sketches(half, full))
    return Assets(
        model=face,
        texels=texel_map(face, config.size),
        database=faces,
        networks=load_networks(),
        vgg=load_vgg(),
        noise=load_noise(),
        seams=jnp.asarray(seam_pairs(face)),
    )
