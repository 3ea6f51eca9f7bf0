"""Which texels the camera sees, where in the photo, and how squarely."""

from __future__ import annotations

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jaxface.rendering.camera import project, rotation_matrix, to_camera
from jaxface.rendering.normals import normalize, vertex_normals
from jaxface.rendering.rasterize import rasterize
from jaxface.types import Camera
from jaxface.unwrapping.membrane import scatter_vertices


@struct.dataclass
class Projection:
    """Texels in the photo: pixel `(x, y)`, camera-space normal, cosine of the viewing angle,
    width of a texel in pixels, and whether nothing is in front of it."""

    xy: Float[Array, "T T 2"]
    normals: Float[Array, "T T 3"]
    facing: Float[Array, "T T"]
    pixels_per_texel: Float[Array, "T T"]
    unoccluded: Bool[Array, "T T"]


def project_texels(
    vertices: Float[Array, "V 3"],
    camera: Camera,
    triangles: Int[Array, "F 3"],
    uvs: Float[Array, "U 2"],
    uv_triangles: Int[Array, "F 3"],
    triangle_ids: Int[Array, "T T"],
    vertex_ids: Int[Array, "T T 3"],
    barycentrics: Float[Array, "T T 3"],
    *,
    window: int,
    tolerance: float,
) -> Projection:
    """Returns where each texel lies in the photo and whether it is seen.

    A texel is seen if its depth does not exceed the depth buffer by more than `tolerance` plus
    what the surface's slope changes across a pixel of the buffer. The buffer covers the projected
    face with `window` pixels, whatever the size of the photo.

    Args:
        vertices: model space, metres.
        camera: of the photo.
        triangles: vertex indices.
        uvs: UV vertices.
        uv_triangles: UV indices in the order of `triangles`.
        triangle_ids: of each texel, -1 none.
        vertex_ids: of each texel's corners.
        barycentrics: of each texel.
        window: side of the depth buffer, pixels.
        tolerance: metres.
    """
    xy, depth = project(vertices, camera)
    normals = vertex_normals(vertices, triangles) @ rotation_matrix(camera.rotation).T
    texel = scatter_vertices(
        jnp.concatenate([to_camera(vertices, camera), normals], axis=1), vertex_ids, barycentrics
    )
    point, normal = texel[..., :3], normalize(texel[..., 3:])
    facing = -jnp.sum(normal * normalize(point), axis=-1)
    texel_depth = point[..., 2]
    texel_xy = camera.focal * point[..., :2] / jnp.maximum(texel_depth, 1e-4)[..., None]
    texel_xy = texel_xy + camera.principal

    low, high = jnp.min(xy, axis=0), jnp.max(xy, axis=0)
    scale = window / (jnp.max(high - low) + 2.0)
    raster, _ = rasterize((xy - low + 1.0) * scale, depth, triangles, window, window)
    buffer = jnp.where(raster[..., 3] > 0, raster[..., 2], jnp.inf)
    cell = jnp.clip(((texel_xy - low + 1.0) * scale).astype(jnp.int32), 0, window - 1)
    nearest = buffer[cell[..., 1], cell[..., 0]]
    cosine = jnp.clip(facing, 0.1, 1.0)
    slope = jnp.sqrt(1.0 - cosine**2 + 1e-9) / cosine
    slack = tolerance + slope * texel_depth / (camera.focal * scale)
    unoccluded = (texel_depth <= nearest + slack) & (triangle_ids >= 0) & (facing > 0)

    size = triangle_ids.shape[0]
    ratio = _area(xy[triangles]) / jnp.maximum(_area(uvs[uv_triangles] * size), 1e-6)
    pixels_per_texel = jnp.sqrt(ratio + 1e-9)[jnp.maximum(triangle_ids, 0)]
    return Projection(texel_xy, normal, facing, pixels_per_texel, unoccluded)


def _area(corners: Float[Array, "F 3 2"]) -> Float[Array, " F"]:
    """Returns the area of triangles in the plane."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return 0.5 * jnp.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
