"""What the photo shows at each texel: its place, facing, visibility and radiance."""

from __future__ import annotations

import math

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from jaxface.filters import erode, smoothstep
from jaxface.rendering.camera import project, rotation_matrix, to_camera
from jaxface.rendering.color import srgb_to_linear
from jaxface.rendering.normals import normalize, vertex_normals
from jaxface.rendering.rasterize import rasterize
from jaxface.rendering.texture import sample_image, sample_pyramid
from jaxface.types import Camera, FaceModel, FitResult, TexelMap
from jaxface.unwrapping.config import UnwrapConfig
from jaxface.unwrapping.membrane import vertices_to_texels
from jaxface.unwrapping.noise import denoise
from jaxface.unwrapping.regions import chart_mask

LEVELS = 5  # of the photo's pyramid at most: photos of 16 pixels a texel and coarser alias
EDGE = 1 / 256  # of the texture's side: eroded at silhouettes, where the fit is off by a pixel
CONTOUR = 3.0  # texels around, all of which lie on the person, as its mask and the fit are off


@struct.dataclass
class Projection:
    """Texels in the photo.

    Attributes:
        xy: pixel coordinates.
        normals: unit, camera space.
        facing: cosine of the viewing angle.
        pixels_per_texel: width of a texel in pixels.
        unoccluded: whether nothing is in front of it, and it faces the camera.
    """

    xy: Float[Array, "T T 2"]
    normals: Float[Array, "T T 3"]
    facing: Float[Array, "T T"]
    pixels_per_texel: Float[Array, "T T"]
    unoccluded: Bool[Array, "T T"]


@struct.dataclass
class VisibleTexels:
    """What the photo shows at each texel, whatever light and albedo are.

    Attributes:
        projection: of the texels.
        photo_linear: the photo without its noise, linear RGB.
        noise: standard deviation of the photo's noise, sRGB 0..1.
        radiance: mean linear RGB over the texel's area.
        visibility: how well a texel is seen, 0..1.
        person: 1 where it lies on the person, 0..1.
    """

    projection: Projection
    photo_linear: Float[Array, "H W 3"]
    noise: Float[Array, ""]
    radiance: Float[Array, "T T 3"]
    visibility: Float[Array, "T T"]
    person: Float[Array, "T T"]


def see(
    photo_srgb: Float[Array, "H W 3"],
    fit: FitResult,
    model: FaceModel,
    texels: TexelMap,
    person_mask: Float[Array, "H W"] | None,
    config: UnwrapConfig,
) -> VisibleTexels:
    """Returns what the photo shows at each texel.

    Differentiable in photo and fit, except through which texels are hidden.

    Args:
        photo_srgb: 0..1.
        fit: the fitted face, with the camera in the photo's pixels.
        model: the face model of the fit.
        texels: of the model.
        person_mask: probability that a pixel shows a person, 0..1; all ones if None.
        config: `window`, `depth_tolerance`, `facing`, `noise` and `mask.person` are used.
    """
    size = texels.triangle_ids.shape[0]
    height, width = photo_srgb.shape[:2]
    view = project_texels(
        fit.vertices,
        fit.parameters.camera,
        model,
        texels,
        window=config.window,
        tolerance=config.depth_tolerance,
    )
    photo_srgb, noise = denoise(photo_srgb, config.noise)
    photo_linear = srgb_to_linear(photo_srgb)
    levels = 1 + max(0, math.ceil(math.log2(max(height, width) / size)))
    inside = jnp.all((view.xy > 1) & (view.xy < jnp.array([width - 1, height - 1])), axis=-1)
    clear = erode((view.unoccluded & inside).astype(jnp.float32), max(1, round(EDGE * size)))
    visibility = clear * smoothstep(view.facing, *config.facing)
    person = jnp.ones_like(visibility)
    if person_mask is not None:
        radius = CONTOUR * jnp.mean(view.pixels_per_texel * chart_mask(texels))
        person = smoothstep(_least_around(person_mask, view.xy, radius), *config.mask.person)
    return VisibleTexels(
        projection=view,
        photo_linear=photo_linear,
        noise=noise,
        radiance=sample_pyramid(
            photo_linear, view.xy, view.pixels_per_texel, levels=min(levels, LEVELS)
        ),
        visibility=visibility,
        person=person,
    )


def _least_around(
    probability: Float[Array, "H W"], xy: Float[Array, "T T 2"], radius: Float[Array, ""]
) -> Float[Array, "T T"]:
    """Returns the least probability at a place and at four `radius` pixels off it."""
    least = jnp.ones(xy.shape[:2])
    for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        place = xy + radius * jnp.array([dx, dy])
        least = jnp.minimum(least, sample_image(probability[..., None], place)[..., 0])
    return least


def project_texels(
    vertices: Float[Array, "V 3"],
    camera: Camera,
    model: FaceModel,
    texels: TexelMap,
    *,
    window: int,
    tolerance: float | Float[Array, ""],
) -> Projection:
    """Returns where each texel lies in the photo and whether it is seen.

    A texel is seen if its depth does not exceed the depth buffer by more than `tolerance` plus
    what the surface's slope changes across a pixel of the buffer. The buffer covers the projected
    face with `window` pixels, whatever the size of the photo.

    Args:
        vertices: model space, metres.
        camera: of the photo.
        model: of the mesh.
        texels: of the model.
        window: side of the depth buffer, pixels.
        tolerance: metres.
    """
    xy, depth = project(vertices, camera)
    triangles = model.triangles
    normals = vertex_normals(vertices, triangles) @ rotation_matrix(camera.rotation).T
    texel = vertices_to_texels(
        jnp.concatenate([to_camera(vertices, camera), normals], axis=1), texels
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
    unoccluded = (texel_depth <= nearest + slack) & texels.mask & (facing > 0)

    texels_per_triangle = _area(model.uvs[model.uv_triangles] * texels.mask.shape[0])
    ratio = _area(xy[triangles]) / jnp.maximum(texels_per_triangle, 1e-6)
    pixels_per_texel = jnp.sqrt(ratio + 1e-9)[jnp.maximum(texels.triangle_ids, 0)]
    return Projection(texel_xy, normal, facing, pixels_per_texel, unoccluded)


def _area(corners: Float[Array, "F 3 2"]) -> Float[Array, " F"]:
    """Returns the area of triangles in the plane."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return 0.5 * jnp.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
