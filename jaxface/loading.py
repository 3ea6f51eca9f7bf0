"""Loads what the stages need besides the photo. Host code."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from jaxface.config import ReconstructConfig
from jaxface.database import DiskDatabase, face_names, open_database, open_features
from jaxface.features.weights import load_vgg
from jaxface.filters import dilate
from jaxface.fitting.files import load_noise
from jaxface.landmarks.networks import load_networks
from jaxface.morphable.files import load_model
from jaxface.morphable.texels import texel_map
from jaxface.precision import jit
from jaxface.synthesis.seams import seam_pairs
from jaxface.types import Assets, FaceModel, FeatureCaches, TexelMap

BARE = ("skin", "scalp")
"""Regions of open skin."""
PAINTED = ("eyes", "teeth", "tongue", "inner_mouth")
"""Regions that the albedo model paints whole."""


def load_assets(
    config: ReconstructConfig = ReconstructConfig(),
    *,
    model: str = "default",
    database: str | None = None,
) -> Assets:
    """Returns the assets for a texture size. Host function.

    Args:
        config: whose `size` counts, and whether there is to be a `feature_cache`.
        model: name of the face model.
        database: folder of a texture database; the embedded one if missing.

    Raises:
        AssetError: a file is missing or damaged, or the feature cache is.
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
        noise=load_noise(),
        seams=jnp.asarray(seam_pairs(face)),
        painted=painted_mask(face, texels),
        bare_skin=bare_skin_mask(face, texels),
        face_names=face_names(database),
    )


@jit
def painted_mask(model: FaceModel, texels: TexelMap) -> Array:
    """Returns 1 on painted regions, `[T, T]`, and on the gaps around their charts, from which
    bilinear lookups take a part."""
    own = _in_regions(model, texels, PAINTED).astype(jnp.float32)
    return jnp.where(texels.mask, own, dilate(own, max(2, own.shape[0] // 128)))


@jit
def bare_skin_mask(model: FaceModel, texels: TexelMap) -> Array:
    """Returns 1 on open skin, the scalp included, `[T, T]`: no nose, lips, lids, brows, ears."""
    return _in_regions(model, texels, BARE).astype(jnp.float32)


def _in_regions(model: FaceModel, texels: TexelMap, names: tuple[str, ...]) -> Bool[Array, "T T"]:
    parts = np.array([i for i, name in enumerate(model.region_names) if name in names])
    return jnp.isin(texels.region_ids, parts) & texels.mask
