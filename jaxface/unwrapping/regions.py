"""Named regions of the face: masks in the texture, bounding boxes on the mean face."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxface.types import FaceModel, TexelMap


def chart_mask(texels: TexelMap) -> Float[Array, "T T"]:
    """Returns 1 on texels of the face's surface, 0 between charts."""
    return texels.mask.astype(jnp.float32)


def region_mask(model: FaceModel, texels: TexelMap, *names: str) -> Float[Array, "T T"]:
    """Returns 1 on the texels of some regions; names that the model lacks are ignored."""
    return (_isin(texels.region_ids, model, names) & texels.mask).astype(jnp.float32)


def region_bounds(model: FaceModel, *names: str) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """Returns the bounding box of some regions of the mean face, metres (the whole head's if it has
    none of them): least and greatest coordinates."""
    inside = _isin(model.vertex_region, model, names)
    inside = (inside | ~jnp.any(inside))[:, None]
    return (
        jnp.min(jnp.where(inside, model.mean, jnp.inf), axis=0),
        jnp.max(jnp.where(inside, model.mean, -jnp.inf), axis=0),
    )


def _isin(ids: Array, model: FaceModel, names: tuple[str, ...]) -> Bool[Array, "*N"]:
    """Returns whether each region id is that of one of the names."""
    return jnp.asarray([name in names for name in model.region_names])[ids]


def near_brows(model: FaceModel) -> Float[Array, " V"]:
    """Returns 1 at the vertices of the brows and of the triangles at them, 0 elsewhere: brows are
    seldom where the model has them to the millimetre. A model without that region has none."""
    brows = 1.0 * _isin(model.vertex_region, model, ("brows",))
    around = jnp.max(brows[model.triangles], axis=1, keepdims=True)
    return brows.at[model.triangles].max(around)
