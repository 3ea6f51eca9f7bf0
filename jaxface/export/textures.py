"""A result's textures as files hold them, continued between the charts. Host code."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.spatial import KDTree

from jaxface.morphable.texels import texel_map
from jaxface.synthesis.seams import seam_edges
from jaxface.types import FaceModel, Reconstruction

_REACH = 0.04  # of the side: mip level 4 of 1024 texels mixes 32 of them
_PER_EDGE = 17  # points of an edge, among which the nearest is sought


def padded(reconstruction: Reconstruction, model: FaceModel) -> Reconstruction:
    """Returns a result whose albedo and surface maps continue between the charts, the albedo of
    skin with what lies across the seam.

    Args:
        reconstruction: of a photo.
        model: the face model that was fitted.
    """
    synthesis = reconstruction.synthesis
    mask = np.asarray(texel_map(model, len(synthesis.texture)).mask)
    albedo, surface = pad((synthesis.texture, reconstruction.materials), mask)
    albedo = jnp.asarray(across_seams(np.asarray(albedo), mask, model))
    synthesis = synthesis.replace(texture=albedo)
    return reconstruction.replace(synthesis=synthesis, materials=surface)


def pad(textures: Any, mask: np.ndarray) -> Any:
    """Returns a pytree of textures `[T, T, ...]` whose texels outside the mask `[T, T]` have the
    value of the nearest one inside: mip levels mix no foreign colour into the charts' borders."""
    nearest = tuple(distance_transform_edt(~mask, return_distances=False, return_indices=True))
    return jax.tree.map(lambda texture: jnp.asarray(np.asarray(texture)[nearest]), textures)


def across_seams(
    texture: Float[np.ndarray, "T T C"], mask: Bool[np.ndarray, "T T"], model: FaceModel
) -> Float[np.ndarray, "T T C"]:
    """Returns a padded texture that continues each chart beyond a seam of skin with the chart on
    the other side, so that both sides of the seam are filtered alike.

    Args:
        texture: from `pad`.
        mask: texels on charts.
        model: the face model of the texture.
    """
    gaps, places = _sources(mask, seam_edges(model), np.asarray(model.uvs, float))
    result = texture.copy()
    for channel in range(texture.shape[2]):
        values = map_coordinates(texture[..., channel], places, order=1, mode="nearest")
        result[(*gaps, channel)] = values
    return result


def _sources(
    mask: Bool[np.ndarray, "T T"], edges: Int[np.ndarray, "E 2 2"], uvs: Float[np.ndarray, "U 2"]
) -> tuple[tuple[np.ndarray, np.ndarray], Float[np.ndarray, "2 N"]]:
    """Returns rows and columns of the texels between charts whose nearest texel on a chart lies at
    a seam, and where they lie beyond it (row and column of `map_coordinates`).

    A side p, q of an edge is taken to the other side r, s by the similarity with p to r and q to s,
    in complex numbers: z to r + (s - r) / (q - p) (z - p).
    """
    size = len(mask)
    side, other = np.moveaxis(np.concatenate([edges, edges[:, ::-1]]), 1, 0)
    corners = size * (uvs[:, 0] + 1j * (1 - uvs[:, 1]))
    (p, q), (r, s) = corners[side].T, corners[other].T
    at = np.linspace(0, 1, _PER_EDGE)
    points = (p[:, None] * (1 - at) + q[:, None] * at).ravel()
    gap = np.asarray(distance_transform_edt(~mask))
    rows, columns = np.nonzero(~mask & (gap <= _REACH * size))
    z = columns + 0.5 + 1j * (rows + 0.5)
    away, nearest = KDTree(np.stack([points.real, points.imag], 1)).query(
        np.stack([z.real, z.imag], 1), distance_upper_bound=_REACH * size
    )
    known = away <= gap[rows, columns] + 1.0  # else another border is nearer
    edge, z = nearest[known] // _PER_EDGE, z[known]
    beyond = r[edge] + (s - r)[edge] / (q - p)[edge] * (z - p[edge])
    return (rows[known], columns[known]), np.stack([beyond.imag, beyond.real]) - 0.5
