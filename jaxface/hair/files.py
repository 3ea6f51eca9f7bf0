"""The hair styles, from `pretrained/`, bound to a face model. Host code."""

from __future__ import annotations

from functools import cache
from io import BytesIO

import jax.numpy as jnp
import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

from jaxface import assets
from jaxface.hair.config import HAIR_STYLES
from jaxface.types import FaceModel, HairStyles

FILE = "hair.npz"
_CARRIERS = ("skin", "scalp", "neck")  # regions with which hair moves
_FACE = ("skin", "lips", "brows", "lids", "nose")
_REACH = (6e-3, 0.7)  # metres, and over the distance: least deviation of the Gaussian weights
_ANCHORS, _NEIGHBOURS = 32, 12
_PINNED, _FREE = 0.004, 0.03  # metres from the face's skin
_COVERED = 0.025  # metres from the head within which hair is rooted


def load_styles(model: FaceModel) -> HairStyles:
    """Returns the embedded hair styles, bound to a face model. Host function.

    A vertex moves with the vertices of the head around it, by Gaussian weights: linear in the head.

    Args:
        model: whose mean head is MakeHuman's, in its place (the default model, or an adapted one).

    Raises:
        AssetError: the file is missing or damaged.

    Example:
        >>> from jaxface import load_model
        >>> load_styles(load_model()).names[0]
        'short01'
    """
    shared, head = style_meshes(), _Head(model)
    used = shared["used"].sum(1)
    pairs = zip(shared["vertices"], used, strict=True)
    rows = [head.bind(vertices[:count]) for vertices, count in pairs]
    columns = shared | {key: _stack([row[key] for row in rows]) for key in rows[0]}
    return HairStyles(**{k: jnp.asarray(x) for k, x in columns.items()}, names=HAIR_STYLES)


@cache
def style_meshes() -> dict[str, np.ndarray]:
    """Returns what of `HairStyles` does not depend on the face model, by name. Host function.

    Raises:
        AssetError: the file is missing or damaged.
    """
    stored = assets.load_npz(FILE)

    def stacked(kind: str, dtype: type) -> np.ndarray:
        return _stack([stored[f"{name}_{kind}"].astype(dtype) for name in HAIR_STYLES])

    textures = [Image.open(BytesIO(stored[f"{name}_texture"].tobytes())) for name in HAIR_STYLES]
    return {
        "vertices": stacked("vertices", np.float32),
        "uvs": stacked("uvs", np.float32),
        "triangles": stacked("triangles", np.int32),
        "textures": np.stack([np.asarray(each) for each in textures]),
        "used": _stack([np.ones(len(stored[f"{name}_vertices"]), bool) for name in HAIR_STYLES]),
    }


def gaussian_weights(
    points: np.ndarray, head: cKDTree, nearest: float, reach: float, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns distances (metres) and indices of the `count` nearest vertices of a head to each
    point, and their Gaussian weights, which sum to 1; `[N, A]` each.

    Args:
        points: `[N, 3]`, metres.
        head: of its vertices.
        nearest: least standard deviation, metres.
        reach: standard deviation over distance to the head.
        count: of vertices with weight.
    """
    distance, index = head.query(points, min(count, head.n))
    sigma = np.maximum(nearest, reach * distance[:, :1])
    weights = np.exp((distance[:, :1] ** 2 - distance**2) / (2 * sigma**2))
    return distance, index, weights / weights.sum(1, keepdims=True)


class _Head:
    """The mean head that hair is bound to."""

    def __init__(self, model: FaceModel) -> None:
        mean, region = np.asarray(model.mean, float), np.asarray(model.vertex_region)
        within = [np.isin(region, _ids(model, names)) for names in (_CARRIERS, _FACE, ("scalp",))]
        self.carriers = np.flatnonzero(within[0])
        self.on_scalp = within[2][self.carriers]
        self.carried, self.face = cKDTree(mean[self.carriers]), cKDTree(mean[within[1]])

    def bind(self, vertices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns how a style's vertices `[N, 3]` go with the head, by names of `HairStyles`."""
        distance, index, weights = gaussian_weights(vertices, self.carried, *_REACH, _ANCHORS)
        near, to_face = distance[:, 0], self.face.query(vertices)[0]
        tree = cKDTree(vertices)
        return {
            "anchors": self.carriers[index].astype(np.int32),
            "weights": weights.astype(np.float32),
            "neighbours": tree.query(vertices, _NEIGHBOURS + 1)[1][:, 1:].astype(np.int32),
            "mirror": tree.query(vertices * [-1, 1, 1])[1].astype(np.int32),
            "rooted": (self.on_scalp[index[:, 0]] & (near < _COVERED)).astype(np.float32),
            "close": np.exp(-((near / _COVERED) ** 2)).astype(np.float32),
            "freedom": np.clip((to_face - _PINNED) / (_FREE - _PINNED), 0, 1).astype(np.float32),
        }


def _ids(model: FaceModel, names: tuple[str, ...]) -> list[int]:
    """Returns the indices of those regions that the model has."""
    return [index for index, name in enumerate(model.region_names) if name in names]


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    """Returns arrays of several lengths stacked, padded with zeros: unused vertices, triangles
    without area."""
    stacked = np.zeros((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(stacked, arrays, strict=True):
        row[: len(array)] = array
    return stacked
