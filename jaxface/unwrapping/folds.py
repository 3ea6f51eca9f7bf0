"""Folds of an expression: narrow lines in skin that it compresses are light, not pigment."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import blur, closing, dilate, masked_blur, opening, smoothstep
from jaxface.morphable.model import shape
from jaxface.types import FaceModel, FitResult, TexelMap
from jaxface.unwrapping.membrane import vertices_to_texels
from jaxface.unwrapping.regions import region_mask
from jaxface.unwrapping.skin_limits import REGIONS, SIDE

_HAIRY = ("brows", "lids", "lips")  # whose dark lines are their own
_MARGIN = 6.0  # millimetres around these
_WIDEST, _FINEST = 7.0, 0.8  # millimetres: of folds; deviation of the blur that spares hairs, pores
_SURROUND = 8.0  # millimetres: deviation of the mean that stands for what is not seen
_COMPRESSED = (0.03, 0.13)  # log of length: the expression makes no fold, makes one


def fold_weight(fit: FitResult, model: FaceModel, texels: TexelMap) -> Float[Array, "T T"]:
    """Returns how much the expression compresses the skin, 0..1; 0 at brows, lids and lips.

    Args:
        fit: with the photo's expression.
        model: the face model.
        texels: of the model.
    """
    margin = round(_MARGIN / SIDE * texels.mask.shape[0])
    free = 1.0 - dilate(region_mask(model, texels, *_HAIRY), margin)
    squeezed = smoothstep(-log_compression(fit, model), *_COMPRESSED)
    squeezed = vertices_to_texels(squeezed[:, None], texels)[..., 0]
    return region_mask(model, texels, *REGIONS) * free * squeezed


def fold_shading(
    log_ratio: Float[Array, "T T"], mask: Float[Array, "T T"], weight: Float[Array, "T T"]
) -> Float[Array, "T T"]:
    """Returns the log shading of folds: dark lines, and their lit flanks.

    With r the log ratio, blurred so that beards keep hairs, and w the weight, it is w (r - m),
    m the mean of r opened after closing and closed after opening: what is narrow, and darker or
    brighter than its surroundings on both sides. It would stay on a neutral face as a painted line.

    Args:
        log_ratio: luminance of the photo over shading and fitted albedo, natural logarithm.
        mask: visible skin, 0..1.
        weight: `fold_weight`.

    Source: alternating filters, Serra, *Image Analysis and Mathematical Morphology* (1982).
    """
    scale = len(mask) / SIDE
    around = masked_blur(log_ratio[..., None], mask, _SURROUND * scale)[..., 0]
    filled = mask * log_ratio + (1.0 - mask) * around
    smooth = blur(filled[..., None], _FINEST * scale)[..., 0]
    radius = max(1, round(0.5 * _WIDEST * scale))
    bright_last = opening(closing(smooth, radius), radius)
    dark_last = closing(opening(smooth, radius), radius)
    level = 0.5 * (bright_last + dark_last)
    return mask * weight * (smooth - level)


def log_compression(fit: FitResult, model: FaceModel) -> Float[Array, " V"]:
    """Returns the log of the smaller principal stretch of the skin from the neutral face to the
    fitted expression, at the vertices: below 0 where the expression compresses it.

    With G the Gram matrices of two edges, the squared stretches are the eigenvalues of
    G_neutral^-1 G_fitted. Differentiable.

    Args:
        fit: the fitted face.
        model: the face model.
    """
    parameters = fit.parameters
    neutral = shape(model, parameters.identity, jnp.zeros_like(parameters.expression))

    def gram(vertices: Float[Array, "V 3"]) -> tuple[Array, Array, Array]:
        corner = vertices[model.triangles]
        a, b = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
        return jnp.sum(a * a, -1), jnp.sum(a * b, -1), jnp.sum(b * b, -1)

    (aa, ab, bb), (cc, cd, dd) = gram(neutral), gram(fit.vertices)
    tiny = 1e-14  # square metres squared
    area = jnp.maximum(aa * bb - ab**2, tiny)
    half_trace = 0.5 * (bb * cc - 2.0 * ab * cd + aa * dd) / area
    determinant = jnp.maximum(cc * dd - cd**2, tiny) / area
    spread = jnp.sqrt(jnp.maximum(half_trace**2 - determinant, 1e-12))
    least = jnp.maximum(half_trace - spread, 1e-3)
    weight = jnp.sqrt(area)[:, None] * jnp.ones(3)
    values = 0.5 * jnp.log(least)[:, None] * weight
    total = jnp.zeros(len(neutral)).at[model.triangles].add(values)
    return total / jnp.maximum(jnp.zeros(len(neutral)).at[model.triangles].add(weight), 1e-12)
