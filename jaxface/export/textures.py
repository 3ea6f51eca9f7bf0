"""A result's textures as files hold them, continued between the charts. Host code."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.linalg import cho_factor, cho_solve
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.sparse import csr_array, vstack
from scipy.spatial import KDTree

from jaxface.loading import PAINTED
from jaxface.morphable.texels import texel_map
from jaxface.synthesis.seams import seam_edges
from jaxface.types import FaceModel, Reconstruction
from jaxface.unwrapping.membrane import vertices_to_texels

_REACH = 0.04  # of the side: mip level 4 of 1024 texels mixes 32 of them
_PER_EDGE = 17  # points of an edge, among which the nearest is sought
_POINTS = (4, 4, 2, 2)  # of an edge, at which mip levels 1 to 4 agree; 3 leave a third more at 2
_FIXED, _FREE = 1.0, 5.0  # texels from a chart: what level 0 reads, and what may change wholly
_COLOUR_WEIGHT = 0.3  # of the charts' colour beside the step: more shows truer colours, less steps
_CHANGE_WEIGHT = 1e-4  # of the change of the padding: less closes the steps, with wilder colours


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
    albedo = across_seams(np.asarray(albedo), mask, model)
    albedo = jnp.asarray(level_mips(albedo, mask, model))
    synthesis = synthesis.replace(texture=albedo)
    return reconstruction.replace(synthesis=synthesis, materials=surface)


def occlusion_map(
    model: FaceModel, exposure: Float[Array, " V"], size: int
) -> Float[np.ndarray, "S S"]:
    """Returns the fraction of an overcast sky's light that reaches each texel, 0..1; 1 in eyes and
    mouth, whose albedo holds their shade.

    Args:
        model: the face model.
        exposure: of the vertices, from `sky_seen`.
        size: of the map, texels a side.
    """
    shaded = jnp.asarray([name in PAINTED for name in model.region_names])[model.vertex_region]
    exposure = jnp.where(shaded, 1.0, exposure)
    texels = texel_map(model, size)
    seen = vertices_to_texels(exposure[:, None], texels)[..., 0]
    return np.clip(np.asarray(pad(seen, np.asarray(texels.mask))), 0, 1)


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


def level_mips(
    texture: Float[np.ndarray, "T T C"], mask: Bool[np.ndarray, "T T"], model: FaceModel
) -> Float[np.ndarray, "T T C"]:
    """Returns a padded texture whose mip levels 1 to 4 agree on both sides of the seams of skin.

    A coarse texel at a seam mixes the chart with whatever its square holds beside it. With a and b
    what a level shows on the sides of a seam, and c the mean there of the charts alone, the change
    x of the padding minimises |a - b|^2 + w^2 (|a - c|^2 + |b - c|^2) + `_CHANGE_WEIGHT` |x|^2,
    where w is `_COLOUR_WEIGHT`. In terms of a - b and a + b - 2 c this is |r - A x|^2 +
    `_CHANGE_WEIGHT` |x|^2, solved by its dual: x = A' (A A' + `_CHANGE_WEIGHT`)^-1 r. Texels that
    level 0 reads at a seam keep their value.

    Args:
        texture: from `across_seams`.
        mask: texels on charts.
        model: the face model of the texture.
    """
    freedom = np.clip((distance_transform_edt(~mask) - _FIXED) / (_FREE - _FIXED), 0, 1)
    rows, columns = np.nonzero(freedom)
    free, image = freedom[rows, columns], texture.astype(np.float64)
    edges = seam_edges(model)
    if not len(edges):
        return texture
    starts, ends = np.asarray(model.uvs, float)[edges].transpose(2, 1, 0, 3)  # `[side, E, 2]`
    step_weight = np.sqrt(1 + _COLOUR_WEIGHT**2 / 2)
    mean_weight = np.sqrt(_COLOUR_WEIGHT**2 / 2)
    image = np.dstack([image, image * mask[..., None], mask])  # shown, on charts, share of charts
    blocks, residuals = [], []
    for level, points in enumerate(_POINTS, 1):
        image = 0.25 * (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2])
        size = len(image)
        at = (np.arange(points)[:, None, None] + 0.5) / points
        one, other = (
            _bilinear((start * (1 - at) + end * at).reshape(-1, 2), size)
            for start, end in zip(starts, ends, strict=True)
        )
        step, total = step_weight * (one - other), mean_weight * (one + other)
        texels = (rows >> level) * size + (columns >> level), np.arange(len(rows))
        spread = csr_array((free * 0.25**level, texels), (size**2, len(rows)))
        shown, charts, share = np.split(image.reshape(size**2, -1), [3, 6], 1)
        colour = (total @ charts) / np.maximum(total @ share, 1e-9)
        blocks += [step @ spread, total @ spread]
        residuals += [-step @ shown, 2 * mean_weight * colour - total @ shown]
    matrix = vstack(blocks, format="csr")
    gram = (matrix @ matrix.T).toarray()
    gram[np.diag_indices(len(gram))] += _CHANGE_WEIGHT
    change = matrix.T @ cho_solve(cho_factor(gram), np.concatenate(residuals))
    result = texture.copy()
    result[rows, columns] = np.clip(texture[rows, columns] + free[:, None] * change, 0, 1)
    return result


def _bilinear(uvs: Float[np.ndarray, "N 2"], size: int) -> csr_array:
    """Returns the matrix `[N, size^2]` that samples an image at UV coordinates, its border
    replicated."""
    places = np.clip(np.stack([uvs[:, 0], 1 - uvs[:, 1]], 1) * size - 0.5, 0, size - 1)
    column, row = first = np.minimum(places.astype(int), size - 2).T
    x, y = places.T - first
    weights = np.concatenate([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y])
    texels = np.concatenate([row * size + column + step for step in (0, 1, size, size + 1)])
    return csr_array((weights, (np.tile(np.arange(len(uvs)), 4), texels)), (len(uvs), size**2))
