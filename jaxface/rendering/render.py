"""Rendering of a textured face: rasterize, sample the texture, shade, antialias."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.precision import jit
from jaxface.rendering.antialias import antialias
from jaxface.rendering.camera import project, rotation_matrix, to_camera
from jaxface.rendering.hair import draw_hair
from jaxface.rendering.interpolate import interpolate, screen_derivatives
from jaxface.rendering.lighting import STUDIO_LIGHTS, shade
from jaxface.rendering.normals import normalize, vertex_normals
from jaxface.rendering.rasterize import rasterize, triangle_ids
from jaxface.rendering.texture import sample_texture
from jaxface.types import Camera, FaceModel, HairMesh, Lighting, Materials

_ROUGHNESS = {"eyes": 0.12, "lips": 0.35, "teeth": 0.3, "inner_mouth": 0.4}
_SKIN_ROUGHNESS = 0.5
_MOUTH = ("teeth", "tongue", "inner_mouth")
_MOUTH_FORWARD = 3.0  # weight of +z, the mouth's opening, added to the unit normals in the mouth
_OPEN_EXPOSURE = 0.1  # exposure of the teeth from which the mouth counts as open
_REFLECTANCE = 0.04  # of a dielectric at normal incidence
_LIGHT_ALPHA = 0.06  # GGX alpha that stands for the size of the studio lights


@partial(jit, static_argnames=("height", "width", "supersample", "smooth"))
def render(
    model: FaceModel,
    vertices: Float[Array, "V 3"],
    texture_linear: Float[Array, "T T 3"],
    camera: Camera,
    lighting: Lighting,
    height: int,
    width: int,
    *,
    supersample: int = 1,
    smooth: bool = False,
    specular: float | Float[Array, ""] = 0.0,
    surface: Materials | None = None,
    exposure: Float[Array, " V"] | None = None,
    background: Float[Array, "..."] | float = 0.0,
    hair: Sequence[HairMesh] = (),
) -> tuple[Float[Array, "H W 3"], Float[Array, "H W"]]:
    """Returns the rendered image (linear RGB over the background) and its coverage.

    Lambertian under spherical harmonics, vertex normals interpolated, both sides of triangles
    drawn, no cast shadows. Differentiable in vertices, texture, camera and lighting; through
    coverage and occlusion only if `smooth`.

    Args:
        model: topology, UVs and regions.
        vertices: model space, metres.
        texture_linear: albedo in the canonical UV.
        camera: for `height` x `width` pixels.
        lighting: in camera space.
        height: of the image, pixels.
        width: of the image, pixels.
        supersample: each pixel is the mean of `supersample`² samples.
        smooth: antialias silhouettes and look the texture up in a mip map, which the gradients
            of shape, camera and minified textures need.
        specular: factor of the specular reflection of the studio lights, 0..1.
        surface: normal map, roughness and specular factor by texel; by region if missing.
        exposure: fraction of the light that reaches a vertex, from `sky_seen`; 1 if missing.
        background: linear RGB or grey behind the head.
        hair: meshes drawn over the head, the later over the earlier; they cast no shadow.

    Source: Lambertian shading under spherical harmonics, Ramamoorthi and Hanrahan (SIGGRAPH 2001).

    Example:
        >>> from jaxface import load_model, look_at, uniform
        >>> model, skin = load_model(), jnp.full((8, 8, 3), 0.5)
        >>> image, coverage = render(
        ...     model, model.mean, skin, look_at(0.0, 0.0, 24, 24), uniform(), 24, 24
        ... )
        >>> image[12, 12].round(3).tolist()
        [0.5, 0.5, 0.5]
    """
    factor = supersample
    xy, depth = project(vertices, camera)
    raster, _ = rasterize(xy * factor, depth, model.triangles, height * factor, width * factor)
    covered = (raster[..., 3:] > 0).astype(jnp.float32)

    rotation = rotation_matrix(camera.rotation)
    points = to_camera(vertices, camera)
    # Light reaches the inside of the mouth only through its opening: normals are bent to +z.
    forward = _region_mask(model, _MOUTH)[:, None] * jnp.array([0.0, 0.0, _MOUTH_FORWARD])
    shading_normals = vertex_normals(vertices, model.triangles) + forward
    roughness = jnp.asarray([_ROUGHNESS.get(name, _SKIN_ROUGHNESS) for name in model.region_names])
    per_vertex = jnp.concatenate(
        [
            shading_normals @ rotation.T,
            points,
            roughness[model.vertex_region][:, None],
            *_exposures(model, vertices, exposure),
        ],
        axis=1,
    )
    pixel = interpolate(per_vertex, raster, model.triangles)
    normals, view = normalize(pixel[..., :3]), normalize(-pixel[..., 3:6])
    facing = jnp.sum(normals * view, axis=-1, keepdims=True)
    normals = normals * jnp.where(facing < 0, -1.0, 1.0)

    uv = interpolate(model.uvs, raster, model.uv_triangles)
    uv_derivatives = None
    if smooth:
        uv_derivatives = screen_derivatives(
            *(model.uvs, raster, xy * factor, depth, model.triangles, model.uv_triangles)
        )
    albedo = sample_texture(texture_linear, uv, uv_derivatives)
    pixel_roughness, specular_factor = pixel[..., 6], jnp.ones(())
    if surface is not None:
        maps = [surface.normal, surface.roughness[..., None], surface.specular[..., None]]
        sampled = sample_texture(jnp.concatenate(maps, -1), uv, uv_derivatives)
        tangents = _tangents(points, model)[jnp.maximum(triangle_ids(raster), 0)]
        normals = _perturbed(normals, tangents, sampled[..., :3])
        pixel_roughness, specular_factor = sampled[..., 3], sampled[..., 4:]
    diffuse = albedo * jnp.maximum(shade(normals, lighting), 0.0)
    highlight = specular * specular_factor * _specular_reflection(normals, view, pixel_roughness)
    colour = pixel[..., 7:8] * diffuse + pixel[..., 8:] * highlight
    image = jnp.concatenate([covered * colour, covered], axis=-1)
    if smooth:
        image = antialias(image, raster, xy * factor, model.triangles)
    head_depth = jnp.where(covered[..., 0] > 0, raster[..., 2], jnp.inf)
    for mesh in hair:
        over = draw_hair(mesh, camera, lighting, head_depth, factor=factor, specular=specular)
        image = over + (1 - over[..., 3:]) * image
    image = _box(image, factor)
    coverage = image[..., 3:]
    return image[..., :3] + (1 - coverage) * background, coverage[..., 0]


def _region_mask(model: FaceModel, names: tuple[str, ...]) -> Float[Array, " V"]:
    """Returns 1 on the vertices of some regions."""
    return jnp.asarray([1.0 * (name in names) for name in model.region_names])[model.vertex_region]


def _exposures(
    model: FaceModel, vertices: Float[Array, "V 3"], exposure: Float[Array, " V"] | None
) -> tuple[Float[Array, "V 1"], Float[Array, "V 1"]]:
    """Returns the factors of diffuse and of specular reflection at each vertex.

    Both are the exposure, but for diffuse reflection in the mouth: its albedo already darkens
    towards the throat, so that the factor is how open the mouth is, by the teeth's exposure.
    """
    if exposure is None:
        return jnp.ones((len(vertices), 1)), jnp.ones((len(vertices), 1))
    mouth = _region_mask(model, _MOUTH)
    teeth_exposure = jnp.max(exposure * _region_mask(model, ("teeth",)), initial=0.0)
    openness = jnp.clip(teeth_exposure / _OPEN_EXPOSURE, 0.0, 1.0)
    return (exposure + mouth * (openness - exposure))[:, None], exposure[:, None]


def _specular_reflection(
    normals: Float[Array, "H W 3"],
    view: Float[Array, "H W 3"],
    roughness: Float[Array, "H W"],
) -> Float[Array, "H W 3"]:
    """Returns the specular reflection of `STUDIO_LIGHTS` off a rough dielectric, linear RGB.

    GGX distribution, Schlick's Fresnel term; Walter et al., Microfacet Models for Refraction
    through Rough Surfaces (EGSR 2007), with the joint Smith masking of Karis (2013).
    """
    total = jnp.zeros_like(normals)
    alpha = jnp.sqrt(roughness**4 + _LIGHT_ALPHA**2)
    facing = jnp.maximum(jnp.sum(normals * view, -1), 1e-3)
    for direction, colour in STUDIO_LIGHTS:
        light = normalize(jnp.array(direction))
        half = normalize(view + light)
        cosine = jnp.maximum(jnp.sum(normals * light, -1), 0.0)
        peak = jnp.maximum(jnp.sum(normals * half, -1), 0.0)
        distribution = alpha**2 / (jnp.pi * (peak**2 * (alpha**2 - 1) + 1) ** 2)
        masking = 0.5 / (alpha + (1 - alpha) * 2 * facing * cosine + alpha * (facing + cosine))
        one_minus_cosine = 1 - jnp.clip(jnp.sum(view * half, -1), 0.0, 1.0)
        fresnel = _REFLECTANCE + (1 - _REFLECTANCE) * one_minus_cosine**5
        total += (jnp.pi * distribution * masking * fresnel * cosine)[..., None] * jnp.array(colour)
    return total


def _tangents(points: Float[Array, "V 3"], model: FaceModel) -> Float[Array, "F 2 3"]:
    """Returns unit tangent and bitangent (directions of increasing u and v) of each triangle."""
    corners, uvs = points[model.triangles], model.uvs[model.uv_triangles]
    edges, uv_edges = corners[:, 1:] - corners[:, :1], uvs[:, 1:] - uvs[:, :1]
    (a, b), (c, d) = uv_edges[:, 0].T, uv_edges[:, 1].T
    sign = jnp.where(a * d - b * c < 0, -1.0, 1.0)[:, None]
    along_u = sign * (d[:, None] * edges[:, 0] - b[:, None] * edges[:, 1])
    along_v = sign * (a[:, None] * edges[:, 1] - c[:, None] * edges[:, 0])
    return jnp.stack([normalize(along_u), normalize(along_v)], 1)


def _perturbed(
    normals: Float[Array, "H W 3"], tangents: Float[Array, "H W 2 3"], bump: Float[Array, "H W 3"]
) -> Float[Array, "H W 3"]:
    """Returns the normals perturbed by a tangent-space normal map."""
    orthogonal = (
        tangents
        - jnp.sum(tangents * normals[..., None, :], -1, keepdims=True) * (normals[..., None, :])
    )
    orthogonal = normalize(orthogonal)
    perturbed = jnp.einsum("hwk,hwkc->hwc", bump[..., :2], orthogonal) + bump[..., 2:] * normals
    return normalize(perturbed)


def _box(image: Float[Array, "h w C"], factor: int) -> Float[Array, "H W C"]:
    """Returns the mean of every `factor` x `factor` block."""
    height, width, channels = image.shape
    blocks = image.reshape(height // factor, factor, width // factor, factor, channels)
    return blocks.mean(axis=(1, 3))
