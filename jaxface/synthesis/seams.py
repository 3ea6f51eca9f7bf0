"""Charts brought to one colour along the seams between them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxface.morphable.texels import TexelMap
from jaxface.precision import jit
from jaxface.types import FaceModel
from jaxface.unwrapping.membrane import gather_texels, membrane, scatter_vertices

_SKIN = ("skin", "ears", "scalp", "neck")  # lips and lids end at their seams on purpose
_EPSILON = 2e-3
_HOLD = 10.0  # weight of what is known at the seam
_PULL = 0.1  # towards no change, which is reached a few edges away


def seam_pairs(model: FaceModel) -> Int[np.ndarray, "N 2"]:
    """Returns the UVs of both sides of every seam vertex on the skin. Host function."""
    skin = [i for i, name in enumerate(model.region_names) if name in _SKIN]
    own = np.isin(np.asarray(model.vertex_region), skin)
    corners = np.stack([np.asarray(model.triangles), np.asarray(model.uv_triangles)], -1)
    vertices, uvs = np.unique(corners.reshape(-1, 2), axis=0).T
    first = np.flatnonzero(np.diff(vertices) == 0)
    first = first[own[vertices[first]]]
    return np.stack([uvs[first], uvs[first + 1]], 1).astype(np.int32)


@jit
def level_seams(
    texture_linear: Float[Array, "T T 3"],
    pairs: Int[Array, "N 2"],
    model: FaceModel,
    texels: TexelMap,
) -> Float[Array, "T T 3"]:
    """Returns the texture with both sides of each seam brought to their mean, a few edges wide.

    Detail stays: what is added to the logarithm is smooth on the charts. Differentiable in the
    texture. After Lempitsky and Ivanov, *Seamless Mosaicing of Image-Based Texture Maps* (2007).

    Args:
        texture_linear: linear RGB.
        pairs: from `seam_pairs`.
        model: the face model of the texture.
        texels: of the model.
    """
    own = texels.triangle_ids >= 0
    corners = model.uv_triangles[jnp.maximum(texels.triangle_ids, 0)], texels.barycentrics
    log = jnp.log(texture_linear + _EPSILON)
    count = model.uvs.shape[0]
    around, _ = gather_texels(log, own.astype(log.dtype), *corners, count)
    half = 0.5 * (around[pairs[:, 1]] - around[pairs[:, 0]])
    values = jnp.zeros((count, 3)).at[pairs[:, 0]].set(half).at[pairs[:, 1]].set(-half)
    weights = jnp.zeros(count).at[pairs.reshape(-1)].set(_HOLD)
    field = membrane(values, weights, model.uv_triangles, reach=1.0, pull=_PULL)
    change = jnp.where(own[..., None], scatter_vertices(field, *corners), 0.0)
    return jnp.clip(jnp.exp(log + change) - _EPSILON, 0.0, 1.0)
