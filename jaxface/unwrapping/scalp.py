"""The scalp's colour: the mesh has no hair, so its scalp is painted in the photo's hair colour."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.filters import blur, masked_blur, smoothstep
from jaxface.rendering.color import luminance
from jaxface.types import FaceModel, TexelMap
from jaxface.unwrapping.membrane import (
    membrane,
    texels_to_vertices,
    vertices_to_texels,
    with_mirror,
)
from jaxface.unwrapping.regions import chart_mask, region_mask

MIN_SEEN = 0.004  # mean of `shown` from which the scalp is painted in full
MIRROR_WEIGHT = 0.05  # weight of the other side's colour, against 1 for a texel's own
LUMINANCE = (0.008, 0.6)  # least and greatest: black and white hair
HAIRLINE_POWER = 2.0  # of `coverage`: the model's hairline is not the person's, so far texels count
HAIRLINE_SIGMA = 1 / 40  # of the texture's side: width of the hairline
REACH, TIKHONOV, STEPS = 1.5, 1e-6, 160  # of the membrane, which must reach the back of the head
GAP_SIGMA = 1 / 100  # of the texture's side: extrapolation of the colour into the gap beside


def colour_scalp(
    albedo: Float[Array, "T T 3"],
    seen_albedo: Float[Array, "T T 3"],
    shown: Float[Array, "T T"],
    model: FaceModel,
    texels: TexelMap,
) -> Float[Array, "T T 3"]:
    """Returns a smooth albedo with the scalp in the colours that the photo shows there.

    Hair, or the skin of a bald head: a membrane (`membrane`) extrapolates its log colour over
    unobserved texels. Neither hair nor skin is green or blue: colours are clipped to red >= green
    >= blue, so that a hat leaves grey. Differentiable in `seen_albedo`.

    Args:
        albedo: smooth and complete, linear RGB.
        seen_albedo: radiance over shading, linear RGB.
        shown: weight of what the photo shows of the person, 0..1.
        model: mesh, mirror and regions; one without a scalp keeps its albedo.
        texels: of the model.
    """
    if "scalp" not in model.region_names:
        return albedo
    scalp, charts = region_mask(model, texels, "scalp"), chart_mask(texels)
    size = len(scalp)
    # 0 at the hairline and outside, where the face's albedo stays.
    coverage = masked_blur(scalp[..., None], charts, HAIRLINE_SIGMA * size)
    coverage = smoothstep(coverage, 0.5, 1.0)
    shown = shown * scalp * charts * coverage[..., 0] ** HAIRLINE_POWER
    log_seen = jnp.log(jnp.maximum(seen_albedo, 1e-3))
    values, weights = texels_to_vertices(log_seen, shown, model, texels)
    values, total_weights = with_mirror(values, weights, model.mirror, MIRROR_WEIGHT)
    # The Tikhonov term shrinks the log colour to zero: dividing by the membrane of 1 undoes it.
    homogeneous = jnp.concatenate([values, jnp.ones_like(values[:, :1])], axis=1)
    field = membrane(
        homogeneous, total_weights, model.triangles, reach=REACH, tikhonov=TIKHONOV, steps=STEPS
    )
    colour = jnp.exp(field[:, :3] / jnp.maximum(field[:, 3:], 1e-3))
    red, green, blue = colour[:, 0], colour[:, 1], colour[:, 2]
    green = jnp.minimum(green, red)
    colour = jnp.stack([red, green, jnp.minimum(blue, green)], -1)
    level = jnp.maximum(luminance(colour), 1e-4)
    colour = colour * (jnp.clip(level, *LUMINANCE) / level)[:, None]

    coverage = coverage * jnp.clip(jnp.mean(shown) / MIN_SEEN, 0.0, 1.0)
    log_albedo = jnp.log(jnp.maximum(albedo, 1e-4))
    log_colour = vertices_to_texels(jnp.log(colour), texels)
    mixed = jnp.exp(log_albedo + coverage * (log_colour - log_albedo))
    mixed = jnp.where((charts[..., None] > 0) & (coverage > 0), mixed, albedo)
    # Bilinear lookups at the chart's border reach into the gap beside it.
    extrapolated = masked_blur(mixed, scalp, GAP_SIGMA * size)
    near, any_near = jnp.split(blur(jnp.stack([scalp, charts], -1), GAP_SIGMA * size), 2, axis=-1)
    gap = (charts[..., None] == 0) & (near > 1e-3) & (near > 0.5 * any_near)
    return jnp.where(gap, extrapolated, mixed)
