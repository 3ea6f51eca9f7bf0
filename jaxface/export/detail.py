"""Subdivided heads for files, and their relief as displacement. Host code."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from jaxface.config import Detail
from jaxface.export.mesh import normals, smooth, split_corners
from jaxface.rendering.texture import sample_pyramid
from jaxface.types import FaceModel


def expressive_head(
    model: FaceModel, neutral: np.ndarray, detail: Detail
) -> tuple[FaceModel, np.ndarray]:
    """Returns model and neutral vertices to write with all expressions, subdivided once unless
    `detail` is none.

    Args:
        model: the face model.
        neutral: `[V, 3]` metres.
        detail: as in `ReconstructConfig`.
    """
    if detail == "none":
        return model, neutral
    basis = np.moveaxis(np.asarray(model.expression_basis), 0, 1)
    columns = np.concatenate([neutral, basis.reshape(len(neutral), -1)], 1)
    finer, fine = smooth(model, columns)
    moves = np.moveaxis(np.asarray(fine)[:, 3:].reshape(len(fine), -1, 3), 1, 0)
    return finer.replace(expression_basis=jnp.asarray(moves)), np.asarray(fine[:, :3])


def posed_head(
    model: FaceModel, vertices: np.ndarray, height_mm: np.ndarray, detail: Detail
) -> tuple[FaceModel, np.ndarray]:
    """Returns model and vertices to write with one expression: subdivided once if `detail` is
    smooth; if it is relief, twice, and moved out by the relief.

    Relief is averaged over the mean distance of two vertices on the texture: what is finer the mesh
    cannot hold.

    Args:
        model: the face model.
        vertices: `[V, 3]` metres.
        height_mm: `[T, T]` above the surface, millimetres, padded between charts.
        detail: as in `ReconstructConfig`.
    """
    for _ in range({"none": 0, "smooth": 1, "relief": 2}[detail]):
        model, finer = smooth(model, vertices)
        vertices = np.asarray(finer)
    if detail != "relief":
        return model, vertices
    size, corners = len(height_mm), split_corners(model)
    xy = (corners.uvs * [1, -1] + [0, 1]) * size
    spacing = math.sqrt(size**2 / len(model.quads))
    height = sample_pyramid(
        jnp.asarray(height_mm, jnp.float32)[..., None],
        jnp.asarray(xy, jnp.float32),
        jnp.full(len(xy), spacing, jnp.float32),
        levels=1 + int(math.log2(size)),
    )[:, 0]
    # A vertex on a seam has several UVs: their mean, so that the surface stays closed.
    count = np.bincount(corners.source, minlength=len(vertices))
    total = np.bincount(corners.source, np.asarray(height), minlength=len(vertices))
    offset = 1e-3 * total / np.maximum(count, 1)
    return model, (vertices + offset[:, None] * normals(model, vertices)).astype(np.float32)
