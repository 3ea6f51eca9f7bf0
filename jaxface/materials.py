"""What light needs to know of the surface beside its colour: relief, roughness, reflectance.

Where the photo shows skin, its fine darkness is read as depth: pores and lines catch little light.
Elsewhere the relief is the database face's that gave the texture its detail.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxface.database.store import HEIGHT_LEVEL
from jaxface.morphable.texels import TexelMap
from jaxface.precision import jit
from jaxface.rendering.normals import length, normalize
from jaxface.synthesis import blur, soft_mask
from jaxface.types import FaceModel, Materials
from jaxface.unwrapping.eyes import angle_of_texels

# Roughness (GGX, its square root) and reflectance as glTF's factor on 0.04, by region: skin
# reflects 0.028 at normal incidence; nose, forehead and lips are oily or wet (Weyrich et al.,
# Analysis of Human Faces using a Measurement-Based Skin Reflectance Model, SIGGRAPH 2006).
_ROUGHNESS = {
    "skin": 0.52, "nose": 0.42, "lips": 0.36, "lids": 0.5, "brows": 0.6, "ears": 0.55,
    "scalp": 0.6, "neck": 0.58, "eyes": 0.1, "teeth": 0.25, "tongue": 0.35, "inner_mouth": 0.4,
}  # fmt: skip
_SPECULAR = {"skin": 0.7, "scalp": 0.45, "brows": 0.4, "eyes": 1.0, "teeth": 1.0, "sockets": 0.3}
# How far fine darkness is depth: hair and lashes are dark without being deep.
_RELIEF = {"skin": 1.0, "nose": 1.0, "lips": 0.8, "lids": 0.5, "brows": 0.25, "ears": 0.5,
           "scalp": 0.25, "neck": 0.5}  # fmt: skip
# The model's eyeballs are spheres of 16.9 mm, a cornea is about one of 7.8 mm: how far it stands
# out, millimetres, and up to which angle around the axis.
_CORNEA, _LIMBUS = 0.84, 24.5


@dataclass(frozen=True)
class MaterialsConfig:
    """Settings of `materials`. Lengths are texels of a 512 x 512 texture.

    Attributes:
        depth: millimetres of height for one unit of log luminance.
        fine: blur that takes the photo's noise away.
        coarse: what is coarser than this is tone, not relief.
        deepest: bound on the height, millimetres.
        relief: factor on a database face's height.
    """

    depth: float = 1.0
    fine: float = 0.5
    coarse: float = 3.0
    deepest: float = 0.2
    relief: float = 2.0


@partial(jit, static_argnames="config")
def materials(
    texture_linear: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    relief: UInt8[Array, "T T"],
    model: FaceModel,
    texels: TexelMap,
    *,
    config: MaterialsConfig = MaterialsConfig(),
) -> Materials:
    """Returns the maps of a complete texture.

    Differentiable in the texture.

    Args:
        texture_linear: complete albedo.
        mask: what of it the photo shows.
        relief: height of the database face of greatest weight, as in `Database.heights`.
        model: for the size of texels on the face.
        texels: of the texture's size.
        config: static settings.
    """
    seen = soft_mask(mask, 4.0 * mask.shape[0] / 512)
    own = height_of_albedo(texture_linear, model, texels, config)
    known = (relief.astype(jnp.float32) - 128.0) * HEIGHT_LEVEL
    known = config.relief * known
    height = seen * own + (1.0 - seen) * known * _by_region(_SKIN_ONLY, 0.0, model, texels)
    cavity = jnp.clip(-height / config.deepest, 0.0, 1.0)
    height = height + _cornea(model, texels)
    roughness = _by_region(_ROUGHNESS, 0.55, model, texels)
    specular = _by_region(_SPECULAR, 0.7, model, texels)
    return Materials(
        height=height,
        normal=normals_of_height(height, model, texels),
        roughness=jnp.clip(roughness + 0.2 * cavity, 0.05, 1.0),
        specular=jnp.clip(specular * (1.0 - 0.6 * cavity), 0.0, 1.0),
    )


def _cornea(model: FaceModel, texels: TexelMap) -> Float[Array, "T T"]:
    """Returns the height of the corneas over the eyeballs, millimetres: windows are mirrored in
    them, not in the white."""
    share = jnp.clip(angle_of_texels(model, texels) / _LIMBUS, 0.0, 1.0)
    return _CORNEA * (1.0 - share**2) ** 2


def height_of_albedo(
    texture_linear: Float[Array, "T T 3"],
    model: FaceModel,
    texels: TexelMap,
    config: MaterialsConfig = MaterialsConfig(),
) -> Float[Array, "T T"]:
    """Returns the height that fine darkness stands for, millimetres. Differentiable."""
    scale = texture_linear.shape[0] / 512.0
    level = jnp.log(jnp.mean(texture_linear, -1, keepdims=True) + 2e-3)
    inside = texels.mask[..., None].astype(jnp.float32)

    def mean(sigma: float) -> Array:  # on the charts alone: what lies beside them is no relief
        return blur(level * inside, sigma) / jnp.maximum(blur(inside, sigma), 1e-3)

    band = (mean(config.fine * scale) - mean(config.coarse * scale))[..., 0] * inside[..., 0]
    height = config.deepest * jnp.tanh(config.depth * band / config.deepest)
    return height * _by_region(_RELIEF, 0.0, model, texels)


def normals_of_height(
    height_mm: Float[Array, "T T"], model: FaceModel, texels: TexelMap
) -> Float[Array, "T T 3"]:
    """Returns unit normals in tangent space. Differentiable in the height.

    With P the surface, the slope along u is dh/du / |dP/du|, so that a bump is as steep on the
    face wherever it lies in the square.
    """
    along_u, along_v = texel_sizes(model, texels)
    inside = texels.mask
    slopes = []
    for axis, step, sign in ((1, along_u, 1.0), (0, along_v, -1.0)):  # rows run down, v up
        ahead, behind = jnp.roll(height_mm, -1, axis), jnp.roll(height_mm, 1, axis)
        both = inside & jnp.roll(inside, -1, axis) & jnp.roll(inside, 1, axis)
        slopes.append(jnp.where(both, sign * 0.5 * (ahead - behind) / step, 0.0))
    return normalize(jnp.stack([-slopes[0], -slopes[1], jnp.ones_like(height_mm)], -1))


def texel_sizes(
    model: FaceModel, texels: TexelMap
) -> tuple[Float[Array, "T T"], Float[Array, "T T"]]:
    """Returns how many millimetres of the mean face a texel spans along u and along v."""
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
        return jnp.maximum(length(per) * 1e3 / size, 0.02)[triangle]

    return spanned(per_u), spanned(per_v)


_SKIN_ONLY = dict.fromkeys(("skin", "nose", "lips", "lids", "brows", "ears", "scalp", "neck"), 1.0)


def _by_region(
    table: dict[str, float], other: float, model: FaceModel, texels: TexelMap
) -> Float[Array, "T T"]:
    """Returns a value by region, softened across their borders (not between charts)."""
    values = jnp.asarray([table.get(name, other) for name in model.region_names])
    value = values[texels.region_ids][..., None]
    inside = texels.mask[..., None].astype(jnp.float32)
    sigma = value.shape[0] / 100
    smooth = blur(value * inside, sigma) / jnp.maximum(blur(inside, sigma), 1e-3)
    # Eyes and teeth are charts of their own: their value reaches to the border.
    hard = jnp.isin(
        texels.region_ids,
        jnp.asarray([i for i, n in enumerate(model.region_names) if n in ("eyes", "teeth")]),
    )
    return jnp.where(hard, value[..., 0], smooth[..., 0])
