"""Material maps beside the albedo: height, normals, roughness, specular.

Where the photo shows skin, height is estimated from fine luminance: dark is deep, since pores and
wrinkles receive little light. Elsewhere it is that of the database face of greatest weight.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxface.filters import log_encode, masked_blur
from jaxface.precision import jit
from jaxface.pytrees import pytree
from jaxface.rendering.normals import length, normalize
from jaxface.synthesis import soft_mask
from jaxface.types import HEIGHT_LEVEL_MM, FaceModel, Materials, TexelMap
from jaxface.unwrapping.eyes import angle_of_texels

# Tables by the model's regions; regions that are not named have the value `..._ELSEWHERE`.
ROUGHNESS = {
    "skin": 0.52, "nose": 0.42, "lips": 0.36, "lids": 0.5, "brows": 0.6, "ears": 0.55,
    "scalp": 0.6, "neck": 0.58, "eyes": 0.1, "teeth": 0.25, "tongue": 0.35, "inner_mouth": 0.4,
}  # fmt: skip
ROUGHNESS_ELSEWHERE = 0.55
"""GGX roughness as glTF stores it: the square root of alpha. Nose and forehead are oily, lips and
eyes wet (Weyrich et al., *Analysis of Human Faces using a Measurement-Based Skin Reflectance
Model*, SIGGRAPH 2006)."""
SPECULAR = {"skin": 0.7, "scalp": 0.45, "brows": 0.4, "eyes": 1.0, "teeth": 1.0, "sockets": 0.3}
SPECULAR_ELSEWHERE = 0.7
"""glTF's factor on a reflectance of 0.04 at normal incidence: skin reflects 0.028."""
RELIEF_OF_LUMINANCE = {
    "skin": 1.0, "nose": 1.0, "lips": 0.8, "lids": 0.5, "brows": 0.25, "ears": 0.5, "scalp": 0.25,
    "neck": 0.5,
}  # fmt: skip
"""Factor on the height from luminance: hair and lashes are dark without being deep; 0 elsewhere."""
RELIEF_OF_DATABASE = dict.fromkeys(RELIEF_OF_LUMINANCE, 1.0)
"""Factor on a database face's height: 1 on skin, 0 elsewhere."""

CORNEA_MM, LIMBUS_DEGREES = 0.84, 24.5
"""Height of the cornea's apex over the eyeball, and its half angle seen from the eyeball's centre:
the model's eyeballs are spheres of 16.9 mm, a cornea is about one of 7.8 mm."""
SEEN_FEATHER = 4.0  # texels of 512: sigma of the transition from the photo's relief
REGION_SIGMA = 1 / 100  # of the texture's side: sigma of the transition between two regions
CAVITY_ROUGHNESS = 0.2  # added to the roughness at the bottom of a pore
CAVITY_SHADOW = 0.6  # fraction by which the bottom of a pore is less specular
MIN_TEXEL_MM = 0.02  # bounds the slopes on sliver triangles


@pytree
class MaterialsConfig:
    """Settings of `materials`. Lengths are texels of a 512 x 512 texture unless in millimetres.

    Attributes:
        depth_mm: height per unit of log luminance, millimetres.
        fine: Gaussian that removes the photo's noise.
        coarse: what is coarser than this Gaussian is tone, not relief.
        deepest_mm: bound (tanh) on the absolute height, millimetres.
        relief: factor on a database face's height.
    """

    depth_mm: float = 1.0
    fine: float = 0.5
    coarse: float = 3.0
    deepest_mm: float = 0.2
    relief: float = 2.0


@jit
def materials(
    texture_linear: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    relief: UInt8[Array, "T T"],
    model: FaceModel,
    texels: TexelMap,
    *,
    shading: Float[Array, "T T 3"] | None = None,
    config: MaterialsConfig = MaterialsConfig(),
) -> Materials:
    """Returns height, normals, roughness and specular of a complete texture.

    The height is `height_of_luminance` of albedo times shading on seen texels and the database
    face's elsewhere; its negative part over `deepest_mm`, the cavity, makes skin rougher and less
    specular. Differentiable in texture and shading.

    Args:
        texture_linear: complete albedo, linear RGB.
        mask: visible skin, 0..1.
        relief: height of the database face of greatest weight, as in `Database.heights`.
        model: for the size of texels on the face.
        texels: of the texture's size.
        shading: of the unwrapped photo, to whose fine darkness folds belong; None: even.
        config: settings.

    Source: roughness and reflectance of skin after Weyrich et al. (SIGGRAPH 2006).

    Example:
        >>> from jaxface.morphable.files import load_model
        >>> from jaxface.morphable.texels import texel_map
        >>> model, grey = load_model(), jnp.full((32, 32, 3), 0.3)
        >>> flat = jnp.full((32, 32), 128, jnp.uint8)
        >>> materials(grey, jnp.ones((32, 32)), flat, model, texel_map(model, 32)).normal.shape
        (32, 32, 3)
    """
    seen = soft_mask(mask, SEEN_FEATHER * mask.shape[0] / 512)
    lit = texture_linear if shading is None else texture_linear * shading
    of_photo = height_of_luminance(lit, model, texels, config)
    of_database = config.relief * (relief.astype(jnp.float32) - 128.0) * HEIGHT_LEVEL_MM
    of_database = of_database * _by_region(RELIEF_OF_DATABASE, 0.0, model, texels)
    height = seen * of_photo + (1.0 - seen) * of_database
    cavity = jnp.clip(-height / config.deepest_mm, 0.0, 1.0)
    height = height + _cornea(model, texels)
    roughness = _by_region(ROUGHNESS, ROUGHNESS_ELSEWHERE, model, texels)
    specular = _by_region(SPECULAR, SPECULAR_ELSEWHERE, model, texels)
    return Materials(
        height=height,
        normal=normals_of_height(height, model, texels),
        roughness=jnp.clip(roughness + CAVITY_ROUGHNESS * cavity, 0.05, 1.0),
        specular=jnp.clip(specular * (1.0 - CAVITY_SHADOW * cavity), 0.0, 1.0),
    )


def _cornea(model: FaceModel, texels: TexelMap) -> Float[Array, "T T"]:
    """Returns the height of the corneas over the eyeballs, millimetres."""
    radius = jnp.clip(angle_of_texels(model, texels) / LIMBUS_DEGREES, 0.0, 1.0)
    return CORNEA_MM * (1.0 - radius**2) ** 2


def height_of_luminance(
    radiance: Float[Array, "T T 3"],
    model: FaceModel,
    texels: TexelMap,
    config: MaterialsConfig = MaterialsConfig(),
) -> Float[Array, "T T"]:
    """Returns the height deepest_mm tanh(depth_mm b / deepest_mm), millimetres.

    b is the band of log luminance (mean of RGB) between the Gaussians `fine` and `coarse`: dark is
    deep; weighted by region. Differentiable.

    Args:
        radiance: linear RGB.
        model: the face model.
        texels: of the texture's size.
        config: settings.
    """
    scale = radiance.shape[0] / 512.0
    log_luminance = log_encode(jnp.mean(radiance, -1, keepdims=True))
    charts = texels.mask.astype(jnp.float32)

    def smooth(sigma: float | Array) -> Array:  # the gaps between charts do not count
        return masked_blur(log_luminance, charts, sigma * scale, floor=1e-3)[..., 0]

    band = (smooth(config.fine) - smooth(config.coarse)) * charts
    height = config.deepest_mm * jnp.tanh(config.depth_mm * band / config.deepest_mm)
    return height * _by_region(RELIEF_OF_LUMINANCE, 0.0, model, texels)


def normals_of_height(
    height_mm: Float[Array, "T T"], model: FaceModel, texels: TexelMap
) -> Float[Array, "T T 3"]:
    """Returns unit normals in tangent space. Differentiable in the height.

    With P the surface, the slope along u is dh/du / |dP/du|: millimetres per millimetre on the
    face, whatever the local scale of the UV map.

    Args:
        height_mm: millimetres above the mesh.
        model: for the size of texels on the face.
        texels: of the height's size.
    """
    along_u, along_v = texel_sizes(model, texels)
    inside = texels.mask
    slopes = []
    for axis, step, sign in ((1, along_u, 1.0), (0, along_v, -1.0)):  # rows run down, v up
        ahead, behind = jnp.roll(height_mm, -1, axis), jnp.roll(height_mm, 1, axis)
        interior = inside & jnp.roll(inside, -1, axis) & jnp.roll(inside, 1, axis)
        slopes.append(jnp.where(interior, sign * 0.5 * (ahead - behind) / step, 0.0))
    return normalize(jnp.stack([-slopes[0], -slopes[1], jnp.ones_like(height_mm)], -1))


def texel_sizes(
    model: FaceModel, texels: TexelMap
) -> tuple[Float[Array, "T T"], Float[Array, "T T"]]:
    """Returns |dP/du| / T and |dP/dv| / T with P the mean face: the millimetres that a texel spans
    along u and along v, constant on each triangle."""
    size = texels.triangle_ids.shape[0]
    corners = model.mean[model.triangles]
    uvs = model.uvs[model.uv_triangles]
    edges, uv_edges = corners[:, 1:] - corners[:, :1], uvs[:, 1:] - uvs[:, :1]
    (a, b), (c, d) = (uv_edges[:, 0].T, uv_edges[:, 1].T)
    area = a * d - b * c
    area = jnp.where(jnp.abs(area) < 1e-12, 1e-12, area)[:, None]
    per_u = (d[:, None] * edges[:, 0] - b[:, None] * edges[:, 1]) / area
    per_v = (a[:, None] * edges[:, 1] - c[:, None] * edges[:, 0]) / area
    triangle = jnp.maximum(texels.triangle_ids, 0)

    def spanned(per: Array) -> Array:
        return jnp.maximum(length(per) * 1e3 / size, MIN_TEXEL_MM)[triangle]

    return spanned(per_u), spanned(per_v)


def _by_region(
    table: dict[str, float], elsewhere: float, model: FaceModel, texels: TexelMap
) -> Float[Array, "T T"]:
    """Returns each texel's value of its region, blurred across borders of regions on one chart."""
    values = jnp.asarray([table.get(name, elsewhere) for name in model.region_names])
    value = values[texels.region_ids]
    charts = texels.mask.astype(jnp.float32)
    smooth = masked_blur(value[..., None], charts, REGION_SIGMA * len(value), floor=1e-3)[..., 0]
    # Eyes and teeth are charts of their own: their value is not blurred with that of other charts.
    separate = jnp.asarray([name in ("eyes", "teeth") for name in model.region_names])
    return jnp.where(separate[texels.region_ids], value, smooth)
