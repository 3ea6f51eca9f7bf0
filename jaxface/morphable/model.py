"""The linear face model: loading, shape, landmarks.

Blanz and Vetter, *A Morphable Model for the Synthesis of 3D Faces* (SIGGRAPH 1999), with the
expressions of Li et al., *FLAME* (SIGGRAPH Asia 2017) in the form of ARKit's blendshapes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface import assets
from jaxface.morphable import adapters
from jaxface.precision import jit
from jaxface.rendering.normals import vertex_normals
from jaxface.types import FaceModel

__all__ = ["landmark_points", "load_model", "shape", "vertex_normals"]

_FILES = ("face_model.npz", "canonical_uv.npz", "albedo_model.npz", "landmark_embedding.npz")


def load_model(name: str = "default") -> FaceModel:
    """Returns the face model of that name, on JAX's default device. Host function.

    Args:
        name: `default`, the embedded model, built from MakeHuman data; or a kind and the path of
            its official files, as `ict:PATH`, which is brought into the canonical UV.

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


@jit
def shape(
    model: FaceModel, identity: Float[Array, " I"], expression: Float[Array, " E"]
) -> Float[Array, "V 3"]:
    """Returns the vertices in model space, metres. Linear in both arguments.

    Args:
        model: the face model.
        identity: whitened coefficients, N(0, 1) over people.
        expression: ARKit coefficients, 0..1.

    Example:
        >>> import jax.numpy as jnp
        >>> model = load_model()
        >>> rest = jnp.zeros(len(model.identity_names)), jnp.zeros(len(model.expression_names))
        >>> bool((shape(model, *rest) == model.mean).all())
        True
    """
    offset = identity @ model.identity_basis.reshape(len(identity), -1)
    offset += expression @ model.expression_basis.reshape(len(expression), -1)
    return model.mean + offset.reshape(-1, 3)


def landmark_points(model: FaceModel, vertices: Float[Array, "V 3"]) -> Float[Array, "L 3"]:
    """Returns the landmarks on the surface, model space, metres. Linear in the vertices.

    Args:
        model: the face model, whose embedding places each landmark on a triangle.
        vertices: of this model, metres.

    Example:
        >>> model = load_model()
        >>> landmark_points(model, model.mean).shape
        (478, 3)
    """
    corners = vertices[model.triangles[model.landmark_triangles]]
    return jnp.einsum("lk,lkc->lc", model.landmark_barycentrics, corners)
