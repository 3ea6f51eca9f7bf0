"""The scalp under the hair: roots in the colour of the hair, so that gaps show no bare skin."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import blur
from jaxface.precision import jit
from jaxface.types import FaceModel, Hair, HairStyles, TexelMap

_NEAR = 8  # anchors of a vertex of hair that it covers
_DENSITY = 2.0  # per vertex of hair near a vertex of the scalp
_COVERED = 0.65  # share of hair over a place at which roots end
_DEEP = 0.85  # opacity of roots below dense hair
_WIDTH = 1 / 430  # of a root's blur over the texture's side
_CONTRAST = 0.15  # of roots against each other, log albedo
_EDGE, _RAGGED = 3.0, 0.06  # slope of the border of roots, and by how much they shift it


@jit
def paint_scalp(
    texture_linear: Float[Array, "T T 3"],
    skin_mask: Float[Array, "T T"],
    hair: Hair,
    model: FaceModel,
    texels: TexelMap,
    styles: HairStyles,
) -> Float[Array, "T T 3"]:
    """Returns the texture with roots of hair where the mesh of hair lies over the scalp.

    Differentiable in texture and hair. Unchanged for the bald.

    Args:
        texture_linear: albedo in the canonical UV.
        skin_mask: visible skin, 0..1, which is left as it is.
        hair: from `dress`.
        model: the face model.
        texels: of its canonical UV.
        styles: from `load_styles`.
    """
    style = jax.tree.map(lambda leaf: leaf[jnp.maximum(hair.style, 0)], styles)
    opacity = hair.colours[:, 3] * style.used
    weight = style.weights[:, :_NEAR] * (style.close * style.used)[:, None]

    def on_head(values: Array) -> Array:
        return jnp.zeros(len(model.mean)).at[style.anchors[:, :_NEAR]].add(values)

    total = on_head(weight)
    dense = on_head(weight * opacity[:, None]) / jnp.maximum(total, 1e-6)
    colour = opacity @ hair.colours[:, :3] / jnp.maximum(jnp.sum(opacity), 1e-3)
    scalp, skin = (model.region_names.index(name) for name in ("scalp", "skin"))
    grows = texels.mask & ((texels.region_ids == scalp) | (texels.region_ids == skin))
    cover = jnp.where(model.vertex_region == scalp, dense * (1.0 - jnp.exp(-_DENSITY * total)), 0.0)
    side = texture_linear.shape[0]
    cover = jnp.sum(cover[texels.vertex_ids] * texels.barycentrics, -1) * texels.mask
    cover = blur(cover[..., None], side / 128)
    grain = blur(jax.random.normal(jax.random.key(0), (side, side, 1)), _WIDTH * side)
    grain = grain / jnp.std(grain)
    share = jnp.clip(_EDGE * (cover - _COVERED + _RAGGED * grain) + 0.5, 0.0, 1.0)
    share = share * _DEEP * (grows * (1.0 - skin_mask) * (hair.style >= 0))[..., None]
    roots = colour * jnp.exp(_CONTRAST * grain)
    return texture_linear + share * (roots - texture_linear)
