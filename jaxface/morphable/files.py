"""Loads face models. Host code."""

from __future__ import annotations

import jax
import numpy as np

from jaxface import assets
from jaxface.morphable import adapters
from jaxface.types import FaceModel

_FILES = (
    *("face_model.npz", "canonical_uv.npz", "landmark_embedding.npz"),
    *("albedo_model.npz", "delighting.npz"),
)


def load_model(name: str = "default") -> FaceModel:
    """Returns the face model of that name, on JAX's default device. Host function.

    Args:
        name: `default`, the embedded model, built from MakeHuman data; or a kind and the path of
            its official files, as `ict:PATH`, which is registered to the canonical UV.

    Raises:
        InputError: there is no model of that name, or its files are not the official ones.
        AssetError: a file of the embedded model is missing or damaged.

    Example:
        >>> load_model().mean.shape
        (5448, 3)
    """
    if name != "default":
        return adapters.load(name, load_model())
    arrays: dict[str, np.ndarray] = {}
    for file in _FILES:
        arrays |= assets.load_npz(file)
    fields = FaceModel.__dataclass_fields__
    tensors, names = {}, {}
    for key in fields.keys() & arrays.keys():
        value = arrays[key]
        if value.dtype.kind == "U":
            names[key] = tuple(value.tolist())
        else:
            kind = np.int32 if value.dtype.kind in "iu" else np.float32
            tensors[key] = value.astype(kind)
    return FaceModel(**jax.device_put(tensors), **names)  # type: ignore[arg-type]
