"""Resampling of textures from the canonical UV into a model's published layout. Host code."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from scipy.ndimage import distance_transform_edt

from jaxface.export.mesh import normals, split_corners, tangents
from jaxface.morphable.adapters.registration import halve
from jaxface.morphable.texels import texel_map
from jaxface.rendering.texture import sample_texture
from jaxface.types import FaceModel

_SUPERSAMPLE = 2


@dataclass(frozen=True)
class Sheet:
    """One UDIM tile of a layout: `quads` `[M]` of the model, `uvs` `[M, 4, 2]` at their corners."""

    name: str
    quads: np.ndarray
    uvs: np.ndarray

    def lay(self, model: FaceModel) -> tuple[FaceModel, FaceModel]:
        """Returns the tile's part of the model with canonical UVs, and with the tile's."""
        quads = np.asarray(model.quads)[self.quads]
        order = halve(np.arange(quads.size).reshape(-1, 4), quads)
        canonical = model.replace(
            triangles=jnp.asarray(halve(quads, quads)),
            uv_triangles=jnp.asarray(halve(np.asarray(model.uv_quads)[self.quads], quads)),
        )
        uvs = jnp.asarray(self.uvs.reshape(-1, 2), jnp.float32)
        return canonical, canonical.replace(uvs=uvs, uv_triangles=jnp.asarray(order))


def sheets(quads: np.ndarray, uvs: np.ndarray) -> list[Sheet]:
    """Returns the tiles of a layout, by the integer parts of its UVs, named by UDIM number (from
    1001).

    Args:
        quads: `[M]` of a model.
        uvs: `[M, 4, 2]` of their corners.
    """
    square = np.maximum(np.floor(uvs.mean(1)).astype(int), 0)
    number = 1001 + square[:, 0] + 10 * square[:, 1]
    return [
        Sheet(str(tile), quads[number == tile], (uvs - square[:, None])[number == tile])
        for tile in np.unique(number)
    ]


def resample(
    textures: dict[str, np.ndarray],
    model: FaceModel,
    vertices: np.ndarray,
    sheet: Sheet,
    size: int,
) -> dict[str, np.ndarray]:
    """Returns textures of the canonical UV in a sheet's layout, `[size, size, C]` each.

    Each texel is the mean of four lookups, and texels off the mesh take the nearest colour. The
    vectors of the texture named `normal` are rotated from one tangent frame to the other.

    Args:
        textures: `[T, T, C]` by name, linear.
        model: the face model.
        vertices: `[V, 3]` metres, for the tangents.
        sheet: of the model.
        size: of the result, pixels a side.
    """
    canonical, target = sheet.lay(model)
    texels = texel_map(target, size * _SUPERSAMPLE)
    triangle, weights = jnp.maximum(texels.triangle_ids, 0), texels.barycentrics
    uv = jnp.einsum("xyk,xykc->xyc", weights, canonical.uvs[canonical.uv_triangles[triangle]])
    sampled = {
        name: np.array(sample_texture(jnp.asarray(image), uv)) for name, image in textures.items()
    }
    if "normal" in sampled:
        frames = [_frame(tile, vertices, triangle, weights) for tile in (canonical, target)]
        sampled["normal"] = _rotate(sampled["normal"], *frames)
    mask = np.asarray(texels.mask)
    return {name: _downsample(image, mask, size) for name, image in sampled.items()}


def _frame(
    model: FaceModel, vertices: np.ndarray, triangle: jnp.ndarray, weights: jnp.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns tangent and bitangent of each texel, the directions of u and v, in space."""
    corners, normal = split_corners(model), normals(model, vertices)
    normal = normal[corners.source]
    tangent = tangents(corners, np.asarray(vertices)[corners.source], normal)
    bitangent = np.cross(normal, tangent[:, :3]) * tangent[:, 3:]
    ids = corners.triangles[np.asarray(triangle)]
    weights_ = np.asarray(weights)[..., None]
    return (tangent[:, :3][ids] * weights_).sum(2), (bitangent[ids] * weights_).sum(2)


def _rotate(
    normal: np.ndarray, source: tuple[np.ndarray, np.ndarray], target: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Returns unit normals in the target's tangent frame; both frames span the same plane."""
    tangential = normal[..., 0:1] * source[0] + normal[..., 1:2] * source[1]
    u, v = ((tangential * axis).sum(-1) / np.maximum((axis**2).sum(-1), 1e-9) for axis in target)
    rotated = np.stack([u, v, normal[..., 2]], -1)
    return rotated / np.maximum(np.linalg.norm(rotated, axis=-1, keepdims=True), 1e-9)


def _downsample(image: np.ndarray, mask: np.ndarray, size: int) -> np.ndarray:
    """Returns means of blocks over texels on the mesh; blocks without any take the nearest."""
    blocks = (size, _SUPERSAMPLE, size, _SUPERSAMPLE)
    weight = mask.reshape(blocks).sum((1, 3))[..., None]
    total = (image * mask[..., None]).reshape(*blocks, -1).sum((1, 3))
    nearest = distance_transform_edt(
        weight[..., 0] == 0, return_distances=False, return_indices=True
    )
    return (total / np.maximum(weight, 1))[tuple(nearest)].astype(np.float32)
