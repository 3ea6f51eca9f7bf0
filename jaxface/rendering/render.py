"""A picture of a textured face: rasterize, look up the texture, shade, filter."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.precision import jit
from jaxface.rendering.antialias import antialias
from jaxface.rendering.camera import project, rotation_matrix, to_camera
from jaxface.rendering.interpolate import interpolate, screen_derivatives
from jaxface.rendering.lighting import STUDIO_LIGHTS, shade
from jaxface.rendering.normals import normalize, vertex_normals
from jaxface.rendering.rasterize import rasterize, triangle_ids
from jaxface.rendering.texture import sample_texture
from jaxface.types import Camera, FaceModel, Lighting, Materials

_ROUGHNESS = {"eyes": 0.12, "lips": 0.35, "teeth": 0.3, "inner_mouth": 0.4}
_SKIN_ROUGHNESS = 0.5
_MOUTH = ("teeth", "tongue", "inner_mouth")
_SHELTERED = 3.0  # how much more the mouth's opening counts there than the surface's own normal
_OPENED = 0.1  # exposure of the front teeth behind lips that show them
_REFLECTANCE = 0.04
_LAMP = 0.06  # how far the size of the studio's lamps spreads a highlight: a GGX lobe's alpha


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
) -> tuple[Float[Array, "H W 3"], Float[Array, "H W"]]:
    """Returns the rendered picture (linear RGB over the background) and its coverage.

    Lambertian under spherical harmonics, smooth normals, both sides of triangles drawn, no cast
    shadows. Differentiable in vertices, texture, camera and lighting; through coverage and which
    surface hides which if `smooth`.

    Args:
        model: topology, UVs and regions.
        vertices: model space, metres.
        texture_linear: albedo in the canonical UV.
        camera: for `height` x `width` pixels.
        lighting: in camera space.
        height: of the picture, pixels.
        width: of the picture, pixels.
        supersample: each pixel is the mean of `supersample`² samples.
        smooth: antialias silhouettes and look the texture up in a mip map, which the gradients
            of shape, camera and minified textures need.
        specular: share of a dielectric's highlight from the studio lights' directions, 0..1.
        surface: relief, roughness and reflectance by texel; by region if missing.
        exposure: share of the light that reaches a vertex, from `sky_seen`; all if missing.
        background: linear RGB or grey behind the head.

    Source: Lambertian shading under spherical harmonics, Ramamoorthi and Hanrahan (SIGGRAPH 2001).

    Example:
        >>> from jaxface import load_model, look_at, uniform
        >>> model, skin = load_model(), jnp.full((8, 8, 3), 0.5)
        >>> picture, coverage = render(
        ...     model, model.mean, skin, look_at(0.0, 0.0, 24, 24), uniform(), 24, 24
        ... )
        >>> picture[12, 12].round(3).tolist()
        [0.5, 0.5, 0.5]
    """
    factor = supersample
    xy, depth = project(vertices, camera)
    raster, _ = rasterize(xy * factor, depth, model.triangles, height * factor, width * factor)
    covered = (raster[..., 3:] > 0).astype(jnp.float32)

    rotation = rotation_matrix(camera.rotation)
    points = to_camera(vertices, camera)
    # Light reaches the inside of the mouth through its opening alone, from the front.
    front = _part(model, _MOUTH)[:, None] * jnp.array([0.0, 0.0, _SHELTERED])
    lit = vertex_normals(vertices, model.triangles) + front
    roughness = jnp.asarray([_ROUGHNESS.get(name, _SKIN_ROUGHNESS) for name in model.region_names])
    per_vertex = jnp.concatenate(
        [
            lit @ rotation.T,
            points,
            roughness[model.vertex_region][:, None],
            *_lit(model, vertices, exposure),
        ],
        axis=1,
    )
    pixel = interpolate(per_vertex, raster, model.triangles)
    normals, view = normalize(pixel[..., :3]), normalize(-pixel[..., 3:6])
    facing = jnp.sum(normals * view, axis=-1, keepdims=True)
    normals = normals * jnp.where(facing < 0, -1.0, 1.0)

    uv = interpolate(model.uvs, raster, model.uv_triangles)
    slopes = None
    if smooth:
        slopes = screen_derivatives(
            *(model.uvs, raster, xy * factor, depth, model.triangles, model.uv_triangles)
        )
    albedo = sample_texture(texture_linear, uv, slopes)
    rough, strength = pixel[..., 6], jnp.ones(())
    if surface is not None:
        maps = [surface.normal, surface.roughness[..., None], surface.specular[..., None]]
        sampled = sample_texture(jnp.concatenate(maps, -1), uv, slopes)
        tangents = _tangents(points, model)[jnp.maximum(triangle_ids(raster), 0)]
        normals = _bumped(normals, tangents, sampled[..., :3])
        rough, strength = sampled[..., 3], sampled[..., 4:]
    diffuse = albedo * jnp.maximum(shade(normals, lighting), 0.0)
    glint = specular * strength * _highlights(normals, view, rough)
    colour = pixel[..., 7:8] * diffuse + pixel[..., 8:] * glint
    picture = jnp.concatenate([covered * colour, covered], axis=-1)
    if smooth:
        picture = antialias(picture, raster, xy * factor, model.triangles)
    picture = _box(picture, factor)
    coverage = picture[..., 3:]
    return picture[..., :3] + (1 - coverage) * background, coverage[..., 0]


def _part(model: FaceModel, names: tuple[str, ...]) -> Float[Array, " V"]:
    """Returns 1 on the vertices of some regions."""
    return jnp.asarray([1.0 * (name in names) for name in model.region_names])[model.vertex_region]


def _lit(
    model: FaceModel, vertices: Float[Array, "V 3"], exposure: Float[Array, " V"] | None
) -> tuple[Float[Array, "V 1"], Float[Array, "V 1"]]:
    """Returns the share of the light that each vertex scatters and that it mirrors.

    The mouth's paint darkens towards the throat by itself, so that what it scatters depends on how
    far lips let the teeth see.
    """
    if exposure is None:
        return jnp.ones((len(vertices), 1)), jnp.ones((len(vertices), 1))
    mouth = _part(model, _MOUTH)
    best = jnp.max(exposure * _part(model, ("teeth",)), initial=0.0)
    opened = jnp.clip(best / _OPENED, 0.0, 1.0)
    return (exposure + mouth * (opened - exposure))[:, None], exposure[:, None]


def _highlights(
    normals: Float[Array, "H W 3"],
    view: Float[Array, "H W 3"],
    roughness: Float[Array, "H W"],
) -> Float[Array, "H W 3"]:
    """Returns what the studio lights reflect off a rough dielectric (GGX, Schlick, Smith).

    Walter et al., Microfacet Models for Refraction through Rough Surfaces (EGSR 2007), with the
    joint masking term of Karis (2013) and a light as bright as `STUDIO_LIGHTS` says.
    """
    total = jnp.zeros_like(normals)
    alpha = jnp.sqrt(roughness**4 + _LAMP**2)
    facing = jnp.maximum(jnp.sum(normals * view, -1), 1e-3)
    for direction, colour in STUDIO_LIGHTS:
        light = normalize(jnp.array(direction))
        half = normalize(view + light)
        cosine = jnp.maximum(jnp.sum(normals * light, -1), 0.0)
        peak = jnp.maximum(jnp.sum(normals * half, -1), 0.0)
        spread = alpha**2 / (jnp.pi * (peak**2 * (alpha**2 - 1) + 1) ** 2)
        masking = 0.5 / (alpha + (1 - alpha) * 2 * facing * cosine + alpha * (facing + cosine))
        grazing = 1 - jnp.clip(jnp.sum(view * half, -1), 0.0, 1.0)
        fresnel = _REFLECTANCE + (1 - _REFLECTANCE) * grazing**5
        total += (jnp.pi * spread * masking * fresnel * cosine)[..., None] * jnp.array(colour)
    return total


def _tangents(points: Float[Array, "V 3"], model: FaceModel) -> Float[Array, "F 2 3"]:
    """Returns the unit directions in which u and v grow on each triangle."""
    corners, uvs = points[model.triangles], model.uvs[model.uv_triangles]
    edges, uv_edges = corners[:, 1:] - corners[:, :1], uvs[:, 1:] - uvs[:, :1]
    (a, b), (c, d) = uv_edges[:, 0].T, uv_edges[:, 1].T
    sign = jnp.where(a * d - b * c < 0, -1.0, 1.0)[:, None]
    along_u = sign * (d[:, None] * edges[:, 0] - b[:, None] * edges[:, 1])
    along_v = sign * (a[:, None] * edges[:, 1] - c[:, None] * edges[:, 0])
    return jnp.stack([normalize(along_u), normalize(along_v)], 1)


def _bumped(
    normals: Float[Array, "H W 3"], tangents: Float[Array, "H W 2 3"], bump: Float[Array, "H W 3"]
) -> Float[Array, "H W 3"]:
    """Returns the normals turned by a tangent-space normal."""
    across = (
        tangents
        - jnp.sum(tangents * normals[..., None, :], -1, keepdims=True) * (normals[..., None, :])
    )
    across = normalize(across)
    turned = jnp.einsum("hwk,hwkc->hwc", bump[..., :2], across) + bump[..., 2:] * normals
    return normalize(turned)


def _box(image: Float[Array, "h w C"], factor: int) -> Float[Array, "H W C"]:
    """Returns the mean of every `factor` x `factor` block."""
    height, width, channels = image.shape
    blocks = image.reshape(height // factor, factor, width // factor, factor, channels)
    return blocks.mean(axis=(1, 3))
