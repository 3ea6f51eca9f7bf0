"""The hair of a result as one mesh. Host code."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxface.hair.config import COILY, HAIR_STYLES
from jaxface.hair.files import style_meshes
from jaxface.types import Hair, HairMesh

_LEVEL, _UNIT = 128, 40  # how detail is stored: level of mean 0, levels a standard deviation
_FLAT = 0.5  # contrast that coils lack
_UNSEEN = 0.05  # opacity


def hair_mesh(hair: Hair | None) -> HairMesh | None:
    """Returns the mesh of a face's hair to draw; None for the bald.

    Triangles that are transparent are degenerate; the size is that of all styles, so that drawing
    is compiled once.

    Args:
        hair: from `dress`.

    Example:
        >>> mesh = hair_mesh(result.hair)  # doctest: +SKIP
        >>> float(mesh.texture[..., 1].max())  # doctest: +SKIP
        1.0
    """
    if hair is None or int(hair.style) < 0:
        return None
    style, styles = int(hair.style), style_meshes()
    colours = np.asarray(hair.colours)
    triangles = np.asarray(styles["triangles"][style])
    shown = (colours[triangles, 3] > _UNSEEN).any(1) & (triangles[:, 0] != triangles[:, 1])
    if not shown.any():
        return None
    triangles = np.where(shown[:, None], triangles, 0)
    texture = np.array(styles["textures"][style], np.float32)
    contrast = float(hair.contrast * (1 - _FLAT * hair.curl))
    coils = np.asarray(styles["textures"][HAIR_STYLES.index(COILY[0]), ..., 0], np.float32)
    texture[..., 0] += float(hair.curl) * (coils - texture[..., 0])
    factor = np.exp(contrast * (texture[..., 0] - _LEVEL) / _UNIT - 0.5 * contrast**2)
    return HairMesh(
        vertices=jnp.asarray(hair.vertices),
        triangles=jnp.asarray(triangles),
        uvs=jnp.asarray(styles["uvs"][style]),
        colours=jnp.asarray(colours),
        texture=jnp.asarray(np.stack([factor, texture[..., 1] / 255], -1)),
    )


def compact(hair: HairMesh) -> HairMesh:
    """Returns the mesh without degenerate triangles and the vertices that no triangle has."""
    triangles = np.asarray(hair.triangles)
    triangles = triangles[triangles[:, 0] != triangles[:, 1]]
    used, order = np.unique(triangles, return_inverse=True)
    return hair.replace(
        vertices=hair.vertices[used],
        triangles=jnp.asarray(order.reshape(-1, 3).astype(np.int32)),
        uvs=hair.uvs[used],
        colours=hair.colours[used],
    )
