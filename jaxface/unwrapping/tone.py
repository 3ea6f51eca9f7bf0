"""The complete low-frequency albedo: the fitted one times a smooth field of tone."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import masked_blur
from jaxface.types import FaceModel, TexelMap
from jaxface.unwrapping.config import UnwrapConfig
from jaxface.unwrapping.membrane import membrane, vertices_to_texels, with_mirror
from jaxface.unwrapping.regions import chart_mask

STEPS = 160  # of conjugate gradients: the field crosses the whole unseen head
GAP_SIGMA = 1 / 100  # of the texture's side: extrapolation of a chart's tone into the gap beside it
MAX_TONE = 2.0  # natural logarithm


def low_frequency_albedo(
    albedo: Float[Array, "T T 3"],
    log_ratio: Float[Array, "V 3"],
    weights: Float[Array, " V"],
    model: FaceModel,
    texels: TexelMap,
    config: UnwrapConfig,
) -> Float[Array, "T T 3"]:
    """Returns albedo exp(m), with m the membrane (screened-Laplacian interpolation) of the log
    ratio of visible skin, so that both agree at its border.

    Where only one side is visible, the other takes its mirrored tone. Differentiable in albedo, log
    ratio and weights.

    Args:
        albedo: fitted, linear RGB.
        log_ratio: photo over albedo times shading, natural logarithm, at vertices.
        weights: of visible skin, at vertices.
        model: mesh and mirror.
        texels: of the model.
        config: `tone_reach` and `mirror_weight` are used.
    """
    values, total_weights = with_mirror(log_ratio, weights, model.mirror, config.mirror_weight)
    tone = membrane(values, total_weights, model.triangles, reach=config.tone_reach, steps=STEPS)
    tone = vertices_to_texels(tone, texels)
    charts = chart_mask(texels)
    # Bilinear lookups at a chart's border reach into the gap beside it.
    extrapolated = masked_blur(tone, charts, GAP_SIGMA * len(charts))
    tone = jnp.where(charts[..., None] > 0, tone, extrapolated)
    return jnp.clip(albedo * jnp.exp(jnp.clip(tone, -MAX_TONE, MAX_TONE)), 0.0, 1.0)
