"""Named regions of the face: their texels, and where they lie on the mean face."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxface.types import FaceModel, TexelMap


def chart_mask(texels: TexelMap) -> Float[Array, "T T"]:
    """Returns 1 on texels of the face's surface, 0 between charts."""
    return texels.mask.astype(jnp.float32)


def region_mask(model: FaceModel, texels: TexelMap, *names: str) -> Float[Array, "T T"]:
    """Returns 1 on the texels of some regions; names that the model lacks are passed over."""
    return (_isin(texels.region_ids, model, names) & texels.mask).astype(jnp.float32)


def region_bounds(model: FaceModel, *names: str) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """Returns the least and greatest coordinates of some regions of the mean face, metres; of the
    whole head if it has none of them."""
    inside = _isin(model.vertex_region, model, names)
    inside = (inside | ~jnp.any(inside))[:, None]
    return (
        jnp.min(jnp.where(inside, model.mean, jnp.inf), axis=0),
        jnp.max(jnp.where(inside, model.mean, -jnp.inf), axis=0),
    )


def _isin(ids: Array, model: FaceModel, names: tuple[str, ...]) -> Bool[Array, "*N"]:
    return jnp.asarray([name in names for name in model.region_names])[ids]
