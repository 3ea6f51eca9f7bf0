"""Eyelashes: MakeHuman's, bound to the lids. Host code."""

from __future__ import annotations

from functools import cache
from io import BytesIO

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from PIL import Image
from scipy.spatial import cKDTree

from jaxface import assets
from jaxface.hair.files import FILE, gaussian_weights
from jaxface.morphable.files import load_model
from jaxface.types import FaceModel, HairMesh

_REACH, _ANCHORS = (8e-4, 0.5), 8  # as of hair
_COLOUR, _LIGHTEST = 0.3, 0.05  # over that of the hair of the head, linear RGB
_STILL = 1e-4  # metres
_USUAL = (0.04, 0.025, 0.018)  # of hair, where the head has none


class Lashes:
    """Lashes on the mean head of the default model."""

    def __init__(self) -> None:
        stored, model = assets.load_npz(FILE), load_model()
        self.mean = np.asarray(model.mean, float)
        lids = np.flatnonzero(np.asarray(model.vertex_region) == model.region_names.index("lids"))
        self.vertices = stored["lashes_vertices"].astype(float)
        tree = cKDTree(self.mean[lids])
        _, index, self.weights = gaussian_weights(self.vertices, tree, *_REACH, _ANCHORS)
        self.anchors = lids[index]
        self.triangles = stored["lashes_triangles"].astype(np.int32)
        self.uvs = stored["lashes_uvs"].astype(np.float32)
        opacity = np.asarray(Image.open(BytesIO(stored["lashes_texture"].tobytes())))[..., 1]
        self.texture = np.stack([np.ones(opacity.shape), opacity / 255], -1).astype(np.float32)

    def moved(self, offsets: np.ndarray) -> np.ndarray:
        """Returns how vertices `[..., N, 3]` move with the head's `[..., V, 3]`, metres."""
        return np.einsum("na,...nac->...nc", self.weights, offsets[..., self.anchors, :])


_lashes = cache(Lashes)


def lash_mesh(
    model: FaceModel,
    vertices: Float[np.ndarray | Array, "V 3"],
    hair: HairMesh | None = None,
) -> HairMesh | None:
    """Returns the lashes of a face; None for another model than the default one.

    Args:
        model: the face model.
        vertices: the face, with its expression or without, metres.
        hair: of the head, whose colour they darken.
    """
    if model.name != "default":
        return None
    lashes = _lashes()
    colour = np.array(_USUAL)
    if hair is not None:
        shown = np.asarray(hair.colours)[np.asarray(hair.colours)[:, 3] > 0.5, :3]
        colour = np.median(shown, 0) if len(shown) else colour
    colour = np.append(np.minimum(_COLOUR * colour, _LIGHTEST), 1.0)
    points = lashes.vertices + lashes.moved(np.asarray(vertices, float) - lashes.mean)
    return HairMesh(
        vertices=jnp.asarray(points, jnp.float32),
        triangles=jnp.asarray(lashes.triangles),
        uvs=jnp.asarray(lashes.uvs),
        colours=jnp.broadcast_to(jnp.asarray(colour, jnp.float32), (len(points), 4)),
        texture=jnp.asarray(lashes.texture),
        layers=1,
    )


def lash_basis(model: FaceModel) -> Float[np.ndarray, "E N 3"]:
    """Returns how the lashes move from the neutral to each full expression, metres; less than
    `_STILL` is none."""
    moved = _lashes().moved(np.asarray(model.expression_basis, float)).astype(np.float32)
    still = np.abs(moved).max((1, 2)) < _STILL
    moved[still] = 0.0
    return moved
