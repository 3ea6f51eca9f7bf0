"""The linear face model: shape and landmarks from its coefficients.

Blanz and Vetter, *A Morphable Model for the Synthesis of 3D Faces* (SIGGRAPH 1999), with the
expressions of Li et al., *FLAME* (SIGGRAPH Asia 2017) in the form of ARKit's blendshapes.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.precision import jit
from jaxface.types import FaceModel


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
        >>> from jaxface.morphable.files import load_model
        >>> model = load_model()
        >>> rest = jnp.zeros(len(model.identity_names)), jnp.zeros(len(model.expression_names))
        >>> bool((shape(model, *rest) == model.mean).all())
        True
    """
    offset = identity @ model.identity_basis.reshape(len(identity), -1)
    offset += expression @ model.expression_basis.reshape(len(expression), -1)
    return model.mean + offset.reshape(-1, 3)


def vertex_uvs(model: FaceModel) -> Float[Array, "V 2"]:
    """Returns the canonical UV of each vertex, 0..1; of one side where a seam gives it several."""
    uvs = jnp.zeros((model.mean.shape[0], 2))
    return uvs.at[model.triangles].set(model.uvs[model.uv_triangles])


def landmark_points(model: FaceModel, vertices: Float[Array, "V 3"]) -> Float[Array, "L 3"]:
    """Returns the landmarks on the surface, model space, metres. Linear in the vertices.

    Args:
        model: the face model, whose embedding places each landmark on a triangle.
        vertices: of this model, metres.

    Example:
        >>> from jaxface.morphable.files import load_model
        >>> model = load_model()
        >>> landmark_points(model, model.mean).shape
        (478, 3)
    """
    corners = vertices[model.triangles[model.landmark_triangles]]
    return jnp.einsum("lk,lkc->lc", model.landmark_barycentrics, corners)
