"""Drawing of hair: transparent layers, front to back, over a head."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.rendering.camera import project, rotation_matrix, to_camera
from jaxface.rendering.interpolate import interpolate
from jaxface.rendering.lighting import STUDIO_LIGHTS, shade
from jaxface.rendering.normals import normalize, vertex_normals
from jaxface.rendering.rasterize import rasterize_layers
from jaxface.rendering.texture import sample_texture
from jaxface.types import Camera, HairMesh, Lighting

CROWN = (0.0, 0.01, -0.085)
"""Middle of the cranium on the mean head, metres: hair is lit as a round body about it."""
DIMMEST = 0.4
"""Least light, over its mean on the face, by which hair, on the head or in the face, is divided:
where less comes the light's nine harmonics are not believed."""
_ROUND = 0.8  # share of that body's normals in the normals
_CUT = 5.0  # slope at which the vertices' opacity becomes a border
_RAGGED = 1.2  # by which the detail shifts that border, single hairs along it
_SHINE, _WIDTH = 0.03, 80.0  # of the highlight along strands: strength, exponent


def draw_hair(
    hair: HairMesh,
    camera: Camera,
    lighting: Lighting,
    head_depth: Float[Array, "H W"],
    *,
    factor: int = 1,
    specular: float | Float[Array, ""] = 0.0,
) -> Float[Array, "H W 4"]:
    """Returns the hair before the head: linear RGB times opacity, and opacity. Differentiable in
    the hair's colours, texture and place, camera and lighting; not through what covers what.

    Args:
        hair: the mesh.
        camera: for pixels `factor` times as large as those of `head_depth`.
        lighting: in camera space.
        head_depth: metres along the camera's axis; infinite where there is no head.
        factor: pixels of `head_depth` a pixel of the camera.
        specular: factor of the highlights of the studio lights, 0..1.

    Source: highlights, Kajiya and Kay, *Rendering Fur with Three Dimensional Textures* (SIGGRAPH
    1989).
    """
    height, width = head_depth.shape
    xy, depth = project(hair.vertices, camera)
    rasters = rasterize_layers(xy * factor, depth, hair.triangles, height, width, hair.layers)
    rotation = rotation_matrix(camera.rotation)
    normals, view = hair_normals(hair) @ rotation.T, normalize(-to_camera(hair.vertices, camera))
    lit = hair.colours[:, :3] * jnp.maximum(shade(normals, lighting), 0.0)
    lit = lit + specular * _highlight(_strands(hair) @ rotation.T, normals, view)
    per_vertex = jnp.concatenate([lit, hair.colours[:, 3:], hair.uvs], 1)

    def add(image: Array, raster: Array) -> tuple[Array, None]:
        pixel = interpolate(per_vertex, raster, hair.triangles)
        before = (raster[..., 3] > 0) & (raster[..., 2] < head_depth)
        texture = sample_texture(hair.texture, pixel[..., 4:])
        kept = pixel[..., 3]
        ragged = _RAGGED * kept * (1 - kept) * jnp.clip(texture[..., 0] - 1.0, -0.5, 0.5)
        cut = jnp.clip(_CUT * (kept + ragged - 0.5) + 0.5, 0.0, 1.0)
        opacity = jnp.where(before, texture[..., 1] * cut, 0.0)[..., None]
        layer = jnp.concatenate([pixel[..., :3] * texture[..., :1] * opacity, opacity], -1)
        return image + (1 - image[..., 3:]) * layer, None

    return jax.lax.scan(add, jnp.zeros((height, width, 4)), rasters)[0]


def hair_normals(hair: HairMesh) -> Float[Array, "N 3"]:
    """Returns unit normals: those of a round body with hair, more than those of its surfaces."""
    away = normalize(hair.vertices - jnp.asarray(CROWN))
    own = vertex_normals(hair.vertices, hair.triangles)
    own = own * jnp.where(jnp.sum(own * away, -1, keepdims=True) < 0, -1.0, 1.0)
    return normalize(_ROUND * away + (1 - _ROUND) * own)


def _strands(hair: HairMesh) -> Float[Array, "N 3"]:
    """Returns the unit direction of increasing v at each vertex."""
    corner, uv = hair.vertices[hair.triangles], hair.uvs[hair.triangles]
    edges, uv_edges = corner[:, 1:] - corner[:, :1], uv[:, 1:] - uv[:, :1]
    (a, b), (c, d) = uv_edges[:, 0].T, uv_edges[:, 1].T
    sign = jnp.where(a * d - b * c < 0, -1.0, 1.0)[:, None]
    along = sign * (a[:, None] * edges[:, 1] - c[:, None] * edges[:, 0])
    total = jnp.zeros_like(hair.vertices).at[hair.triangles].add(along[:, None])
    return normalize(total)


def _highlight(strand: Array, normal: Array, view: Array) -> Float[Array, "N 3"]:
    """Returns the reflection of the studio lights along strands, linear RGB."""
    total = jnp.zeros_like(normal)
    for direction, colour in STUDIO_LIGHTS:
        light = normalize(jnp.array(direction))
        half = normalize(view + light)
        along = jnp.sum(strand * half, -1)
        sine = jnp.sqrt(jnp.maximum(1 - along**2, 1e-6))
        facing = jnp.maximum(jnp.sum(normal * light, -1), 0.0)
        total += (_SHINE * sine**_WIDTH * facing)[..., None] * jnp.array(colour)
    return total
