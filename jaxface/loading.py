"""Loads the assets: everything that the stages need besides the photo. Host code."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array

from jaxface.config import ReconstructConfig
from jaxface.database import DiskDatabase, face_names, open_database, open_features
from jaxface.features.weights import load_vgg
from jaxface.filters import dilate
from jaxface.fitting.files import load_noise
from jaxface.hair.files import load_styles
from jaxface.landmarks.networks import load_networks
from jaxface.morphable.files import load_model
from jaxface.morphable.texels import texel_map
from jaxface.parsing.files import load_parser
from jaxface.precision import jit
from jaxface.synthesis.seams import seam_pairs
from jaxface.types import Assets, FaceModel, FeatureCaches, TexelMap
from jaxface.unwrapping.regions import region_mask

BARE = ("skin", "scalp")
"""Regions of bare skin, on which the person's grain may be continued."""
PAINTED = ("eyes", "teeth", "tongue", "inner_mouth")
"""Regions whose texture is the albedo model's, whatever the photo shows."""


def load_assets(
    config: ReconstructConfig = ReconstructConfig(),
    *,
    model: str = "default",
    database: str | None = None,
) -> Assets:
    """Returns the assets for a texture size. Host function.

    Args:
        config: whose `size`, `feature_cache` and `correlation` are used.
        model: name of the face model.
        database: folder of a texture database; the embedded one if missing.

    Raises:
        AssetError: a file or the feature cache is missing or damaged.
        InputError: there is no model or database of that name.

    Example:
        >>> load_assets(ReconstructConfig(size=256)).texels.mask.shape  # doctest: +SKIP
        (256, 256)
    """
    face = load_model(model)
    faces = open_database(database, size=config.size)
    if config.feature_cache:
        stored = open_features(database, config.size, config.correlation)
        if isinstance(faces, DiskDatabase):
            faces = faces.with_features(stored)
        else:
            half, full = (
                stored.take(range(len(faces.indices)), side) for side in config.correlation.sides
            )
            faces = faces.replace(features=FeatureCaches(half, full))
    texels = texel_map(face, config.size)
    return Assets(
        model=face,
        texels=texels,
        database=faces,
        networks=load_networks(),
        vgg=load_vgg(),
        parser=load_parser(),
        noise=load_noise(),
        seams=jnp.asarray(seam_pairs(face)),
        painted=painted_mask(face, texels),
        bare_skin=bare_skin_mask(face, texels),
        hair=None if config.hair.style == "none" else load_styles(face),
        face_names=face_names(database),
    )


@jit
def painted_mask(model: FaceModel, texels: TexelMap) -> Array:
    """Returns 1 on painted regions, `[T, T]`, and on a margin around their charts, which bilinear
    lookups at the border read."""
    painted = region_mask(model, texels, *PAINTED)
    margin = dilate(painted, max(2, painted.shape[0] // 128))
    return jnp.where(texels.mask, painted, margin)


@jit
def bare_skin_mask(model: FaceModel, texels: TexelMap) -> Array:
    """Returns 1 on bare skin and scalp, `[T, T]`; 0 on nose, lips, lids, brows, ears, neck."""
    return region_mask(model, texels, *BARE)
