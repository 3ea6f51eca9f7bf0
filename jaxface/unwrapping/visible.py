"""Each texel in the photo: pixel coordinates, facing, visibility and radiance."""

from __future__ import annotations

import math

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from jaxface.filters import erode, smoothstep
from jaxface.parsing.classes import CLASSES, FACE, FACIAL_HAIR, HAIR
from jaxface.rendering.camera import project, rotation_matrix, to_camera
from jaxface.rendering.color import srgb_to_linear
from jaxface.rendering.normals import normalize, vertex_normals
from jaxface.rendering.rasterize import rasterize
from jaxface.rendering.texture import sample_image, sample_pyramid
from jaxface.types import Camera, FaceModel, FitResult, TexelMap
from jaxface.unwrapping.config import UnwrapConfig
from jaxface.unwrapping.facial_hair import believed_beard, believed_brows
from jaxface.unwrapping.membrane import vertices_to_texels
from jaxface.unwrapping.noise import denoise
from jaxface.unwrapping.regions import chart_mask

LEVELS = 5  # most of the photo's pyramid: above 16 pixels per texel, radiance aliases
EDGE = 1 / 256  # of the texture's side: erosion at silhouettes, as the fit is off by a pixel
CONTOUR = 3 / 512
"""Of the side: radius of the erosion of the parser's classes, which are as inexact."""


@struct.dataclass
class Projection:
    """The projection of each texel into the photo.

    Attributes:
        xy: pixel coordinates of the photo.
        normals: unit surface normals, camera space.
        facing: cosine of the viewing angle.
        pixels_per_texel: square root of a texel's area in the photo, pixels.
        unoccluded: whether it passes the depth test and faces the camera.
    """

    xy: Float[Array, "T T 2"]
    normals: Float[Array, "T T 3"]
    facing: Float[Array, "T T"]
    pixels_per_texel: Float[Array, "T T"]
    unoccluded: Bool[Array, "T T"]


@struct.dataclass
class VisibleTexels:
    """The photo at each texel, independent of lighting and albedo.

    Attributes:
        projection: of the texels.
        photo_linear: the denoised photo, linear RGB.
        noise: standard deviation of the photo's noise, sRGB 0..1.
        radiance: mean linear RGB over the texel's area.
        visibility: 0..1: unoccluded, inside the photo, and a ramp of the facing cosine.
        face: 1 where the parser sees the face (skin, brows, beard), 0 where it does not.
        sure: 1 where it is sure of that.
        head: as `face`, of face or hair.
        beard: how much of it is beard, 0..1.
        brows: how much of it is brow, 0..1.
        hair: probability of the head's hair, 0..1.
    """

    projection: Projection
    photo_linear: Float[Array, "H W 3"]
    noise: Float[Array, ""]
    radiance: Float[Array, "T T 3"]
    visibility: Float[Array, "T T"]
    face: Float[Array, "T T"]
    sure: Float[Array, "T T"]
    head: Float[Array, "T T"]
    beard: Float[Array, "T T"]
    brows: Float[Array, "T T"]
    hair: Float[Array, "T T"]

    @property
    def facial_hair(self) -> Float[Array, "T T"]:
        """How much of a texel is beard or brow, 0..1."""
        return jnp.maximum(self.beard, self.brows)


def see(
    photo_srgb: Float[Array, "H W 3"],
    fit: FitResult,
    model: FaceModel,
    texels: TexelMap,
    classes: Float[Array, "H W K"] | None,
    config: UnwrapConfig,
) -> VisibleTexels:
    """Returns the photo at each texel: radiance, visibility, whether it lies on the face.

    Differentiable in photo and fit, except through which texels are occluded.

    Args:
        photo_srgb: 0..1.
        fit: the fitted face, its camera in pixels of `photo_srgb`.
        model: the face model of the fit.
        texels: of the model.
        classes: probabilities of the parser's `CLASSES`; all face if None.
        config: `window`, `depth_tolerance`, `facing`, `noise`, `probable` and `sure` are used.
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
    visibility = visibility_of(view.unoccluded & inside, view.facing, config)
    radiance = sample_pyramid(
        photo_linear, view.xy, view.pixels_per_texel, levels=min(levels, LEVELS)
    )
    face = sure = head = jnp.ones_like(visibility)
    beard = brows = hair = jnp.zeros_like(visibility)
    if classes is not None:
        radius = CONTOUR * size * jnp.mean(view.pixels_per_texel * chart_mask(texels))
        face, head = (
            _least_around(probability, view.xy, radius)
            for probability in (classes[..., FACE], classes[..., FACE] + classes[..., HAIR])
        )
        sure = smoothstep(face, *config.sure)
        face, head = (smoothstep(p, *config.probable) for p in (face, head))
        facial = sample_image(classes[..., len(CLASSES) :], view.xy)
        hair = sample_image(classes[..., HAIR : HAIR + 1], view.xy)[..., 0]
        of_beard, of_brows = (facial[..., FACIAL_HAIR.index(k)] for k in ("beard", "brows"))
        beard = believed_beard(*(of_beard, radiance, visibility * face, view.facing, model, texels))
        brows = believed_brows(of_brows, radiance, visibility * face, model, texels)
    return VisibleTexels(
        projection=view,
        photo_linear=photo_linear,
        noise=noise,
        radiance=radiance,
        visibility=visibility,
        face=face,
        sure=sure,
        head=head,
        beard=beard,
        brows=brows,
        hair=hair,
    )


def visibility_of(
    unoccluded: Bool[Array, "T T"], facing: Float[Array, "T T"], config: UnwrapConfig
) -> Float[Array, "T T"]:
    """Returns 0..1: unoccluded, off silhouettes by `EDGE`, times a ramp of the facing cosine."""
    eroded = erode(unoccluded.astype(jnp.float32), max(1, round(EDGE * len(unoccluded))))
    return eroded * smoothstep(facing, *config.facing)


def _least_around(
    probability: Float[Array, "H W"], xy: Float[Array, "T T 2"], radius: Float[Array, ""]
) -> Float[Array, "T T"]:
    """Returns the least probability at each position and at four that are `radius` pixels off."""
    least = jnp.ones(xy.shape[:2])
    for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        position = xy + radius * jnp.array([dx, dy])
        least = jnp.minimum(least, sample_image(probability[..., None], position)[..., 0])
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
    """Returns each texel's projection into the photo and whether it is unoccluded.

    A texel passes the depth test if depth <= buffer + tolerance + tan(viewing angle) depth change
    across a pixel of the buffer, which covers the projected face with `window` pixels a side,
    whatever the size of the photo.

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
    interpolated = vertices_to_texels(
        jnp.concatenate([to_camera(vertices, camera), normals], axis=1), texels
    )
    texel_position, normal = interpolated[..., :3], normalize(interpolated[..., 3:])
    facing = -jnp.sum(normal * normalize(texel_position), axis=-1)
    texel_depth = texel_position[..., 2]
    texel_xy = camera.focal * texel_position[..., :2] / jnp.maximum(texel_depth, 1e-4)[..., None]
    texel_xy = texel_xy + camera.principal

    low, high = jnp.min(xy, axis=0), jnp.max(xy, axis=0)
    scale = window / (jnp.max(high - low) + 2.0)
    raster, _ = rasterize((xy - low + 1.0) * scale, depth, triangles, window, window)
    depth_buffer = jnp.where(raster[..., 3] > 0, raster[..., 2], jnp.inf)
    pixel = jnp.clip(((texel_xy - low + 1.0) * scale).astype(jnp.int32), 0, window - 1)
    nearest = depth_buffer[pixel[..., 1], pixel[..., 0]]
    cosine = jnp.clip(facing, 0.1, 1.0)
    tangent = jnp.sqrt(1.0 - cosine**2 + 1e-9) / cosine
    margin = tolerance + tangent * texel_depth / (camera.focal * scale)
    unoccluded = (texel_depth <= nearest + margin) & texels.mask & (facing > 0)

    texels_per_triangle = _area(model.uvs[model.uv_triangles] * texels.mask.shape[0])
    ratio = _area(xy[triangles]) / jnp.maximum(texels_per_triangle, 1e-6)
    pixels_per_texel = jnp.sqrt(ratio + 1e-9)[jnp.maximum(texels.triangle_ids, 0)]
    return Projection(texel_xy, normal, facing, pixels_per_texel, unoccluded)


def _area(corners: Float[Array, "F 3 2"]) -> Float[Array, " F"]:
    """Returns the area of triangles in the plane."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return 0.5 * jnp.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
