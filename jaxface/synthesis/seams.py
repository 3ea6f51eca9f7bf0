"""Seams of the UV: removes the step in tone between the two sides of each seam."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxface.filters import log_decode, log_encode
from jaxface.precision import jit
from jaxface.types import FaceModel, TexelMap
from jaxface.unwrapping.membrane import gather_texels, membrane, scatter_vertices

_SKIN = ("skin", "ears", "scalp", "neck")  # lips and lids end at their seams on purpose
_SEAM_WEIGHT = 10.0  # data weight of half the step: higher closes it more exactly
_ZERO_WEIGHT = 0.1  # Tikhonov: higher confines the change to fewer edges beside the seam


def seam_pairs(model: FaceModel) -> Int[np.ndarray, "N 2"]:
    """Returns the UV vertex indices of the two sides of each seam vertex on skin. Host function."""
    skin = [i for i, name in enumerate(model.region_names) if name in _SKIN]
    is_skin = np.isin(np.asarray(model.vertex_region), skin)
    corners = np.stack([np.asarray(model.triangles), np.asarray(model.uv_triangles)], -1)
    vertices, uvs = np.unique(corners.reshape(-1, 2), axis=0).T
    first = np.flatnonzero(np.diff(vertices) == 0)
    first = first[is_skin[vertices[first]]]
    return np.stack([uvs[first], uvs[first + 1]], 1).astype(np.int32)


def seam_edges(model: FaceModel) -> Int[np.ndarray, "E 2 2"]:
    """Returns the UV vertex indices of the seams' edges on skin, of both sides and both ends in the
    same order: `[edge, side, end]`. Host function."""
    skin = [i for i, name in enumerate(model.region_names) if name in _SKIN]
    is_skin = np.isin(np.asarray(model.vertex_region), skin)
    sides = np.stack([np.asarray(model.triangles), np.asarray(model.uv_triangles)], 1)
    ends = np.stack([sides, np.roll(sides, -1, 2)], -1).swapaxes(1, 2).reshape(-1, 2, 2)
    swapped = ends[:, 0, 0] > ends[:, 0, 1]  # `[side, mesh or UV, end]`
    ends[swapped] = ends[swapped, :, ::-1]
    ends = np.unique(ends[is_skin[ends[:, 0]].all(1)], axis=0)
    first = np.flatnonzero((ends[1:, 0] == ends[:-1, 0]).all(1))
    return np.stack([ends[first, 1], ends[first + 1, 1]], 1)


@jit
def level_seams(
    texture_linear: Float[Array, "T T 3"],
    pairs: Int[Array, "N 2"],
    model: FaceModel,
    texels: TexelMap,
) -> Float[Array, "T T 3"]:
    """Returns the texture with the tones on both sides of each seam brought to their mean.

    Adds to log albedo the field u on UV vertices that minimises sum_edges (u_i - u_j)^2 +
    `_SEAM_WEIGHT` sum_seam (u_i - h_i)^2 + `_ZERO_WEIGHT` sum_i u_i^2, with h half the step in tone
    across the seam: smooth on the charts, and zero a few edges from the seam. Differentiable in the
    texture. After Lempitsky and Ivanov, *Seamless Mosaicing of Image-Based Texture Maps* (2007).

    Args:
        texture_linear: linear RGB, 0..1.
        pairs: UV vertex indices, from `seam_pairs`.
        model: the face model of the texture.
        texels: of the model.

    Example:
        >>> from jaxface.morphable.files import load_model
        >>> from jaxface.morphable.texels import texel_map
        >>> model, grey = load_model(), jnp.full((32, 32, 3), 0.3)
        >>> pairs = jnp.asarray(seam_pairs(model))
        >>> level_seams(grey, pairs, model, texel_map(model, 32)).shape
        (32, 32, 3)
    """
    on_chart = texels.triangle_ids >= 0
    corners = model.uv_triangles[jnp.maximum(texels.triangle_ids, 0)], texels.barycentrics
    log_albedo = log_encode(texture_linear)
    count = model.uvs.shape[0]
    tone, _ = gather_texels(log_albedo, on_chart.astype(log_albedo.dtype), *corners, count)
    half_step = 0.5 * (tone[pairs[:, 1]] - tone[pairs[:, 0]])
    values = jnp.zeros((count, 3)).at[pairs[:, 0]].set(half_step).at[pairs[:, 1]].set(-half_step)
    weights = jnp.zeros(count).at[pairs.reshape(-1)].set(_SEAM_WEIGHT)
    field = membrane(values, weights, model.uv_triangles, reach=1.0, tikhonov=_ZERO_WEIGHT)
    change = jnp.where(on_chart[..., None], scatter_vertices(field, *corners), 0.0)
    return log_decode(log_albedo + change)
