"""Textures of the canonical UV, resampled into a model's own UV layout. Host code."""

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
    """One square of a layout: `quads [M]` of the model, `uvs [M, 4, 2]` of their corners."""

    name: str
    quads: np.ndarray
    uvs: np.ndarray

    def lay(self, model: FaceModel) -> tuple[FaceModel, FaceModel]:
        """Returns the sheet's part of the model in the canonical UV, and in the sheet's."""
        quads = np.asarray(model.quads)[self.quads]
        order = halve(np.arange(quads.size).reshape(-1, 4), quads)
        here = model.replace(
            triangles=jnp.asarray(halve(quads, quads)),
            uv_triangles=jnp.asarray(halve(np.asarray(model.uv_quads)[self.quads], quads)),
        )
        uvs = jnp.asarray(self.uvs.reshape(-1, 2), jnp.float32)
        return here, here.replace(uvs=uvs, uv_triangles=jnp.asarray(order))


def sheets(quads: np.ndarray, uvs: np.ndarray) -> list[Sheet]:
    """Returns the squares of a layout, told apart by the whole numbers in its UVs and named as
    UDIM numbers them, from 1001.

    Args:
        quads: `[M]` of a model.
        uvs: `[M, 4, 2]` of their corners.
    """
    square = np.maximum(np.floor(uvs.mean(1)).astype(int), 0)
    number = 1001 + square[:, 0] + 10 * square[:, 1]
    return [
        Sheet(str(one), quads[number == one], (uvs - square[:, None])[number == one])
        for one in np.unique(number)
    ]


def resample(
    textures: dict[str, np.ndarray],
    model: FaceModel,
    vertices: np.ndarray,
    sheet: Sheet,
    size: int,
) -> dict[str, np.ndarray]:
    """Returns textures of the canonical UV in a sheet's layout, `[size, size, C]` each.

    Each texel is the mean of four lookups, and texels off the mesh take the nearest colour. Of the
    texture called `normal` the vectors are turned from one layout's tangents to the other's.

    Args:
        textures: `[T, T, C]` by name, linear.
        model: the face model.
        vertices: `[V, 3]` metres, for the tangents.
        sheet: of the model.
        size: of the result, pixels a side.
    """
    here, own = sheet.lay(model)
    texels = texel_map(own, size * _SUPERSAMPLE)
    triangle, weights = jnp.maximum(texels.triangle_ids, 0), texels.barycentrics
    place = jnp.einsum("xyk,xykc->xyc", weights, here.uvs[here.uv_triangles[triangle]])
    sampled = {
        name: np.array(sample_texture(jnp.asarray(image), place))
        for name, image in textures.items()
    }
    if "normal" in sampled:
        frames = [_frame(one, vertices, triangle, weights) for one in (here, own)]
        sampled["normal"] = _turn(sampled["normal"], *frames)
    mask = np.asarray(texels.mask)
    return {name: _shrink(image, mask, size) for name, image in sampled.items()}


def _frame(
    model: FaceModel, vertices: np.ndarray, triangle: jnp.ndarray, weights: jnp.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the directions of u and v in space at each texel, across the normal."""
    corners, normal = split_corners(model), normals(model, vertices)
    normal = normal[corners.source]
    along = tangents(corners, np.asarray(vertices)[corners.source], normal)
    up = np.cross(normal, along[:, :3]) * along[:, 3:]
    ids = corners.triangles[np.asarray(triangle)]
    share = np.asarray(weights)[..., None]
    return (along[:, :3][ids] * share).sum(2), (up[ids] * share).sum(2)


def _turn(
    normal: np.ndarray, source: tuple[np.ndarray, np.ndarray], target: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Returns unit normals in the target's frame; both frames lie in the same plane."""
    across = normal[..., 0:1] * source[0] + normal[..., 1:2] * source[1]
    u, v = ((across * axis).sum(-1) / np.maximum((axis**2).sum(-1), 1e-9) for axis in target)
    turned = np.stack([u, v, normal[..., 2]], -1)
    return turned / np.maximum(np.linalg.norm(turned, axis=-1, keepdims=True), 1e-9)


def _shrink(image: np.ndarray, mask: np.ndarray, size: int) -> np.ndarray:
    """Returns the means of blocks of texels on the mesh, and off it the nearest mean."""
    blocks = (size, _SUPERSAMPLE, size, _SUPERSAMPLE)
    weight = mask.reshape(blocks).sum((1, 3))[..., None]
    total = (image * mask[..., None]).reshape(*blocks, -1).sum((1, 3))
    nearest = distance_transform_edt(
        weight[..., 0] == 0, return_distances=False, return_indices=True
    )
    return (total / np.maximum(weight, 1))[tuple(nearest)].astype(np.float32)
