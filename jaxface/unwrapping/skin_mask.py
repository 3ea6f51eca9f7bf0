"""Which texels show well-lit skin: the parser's face, less shadows and burnt-out pixels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxface.filters import blur, erode, smoothstep
from jaxface.rendering.color import luminance
from jaxface.types import FaceModel, FitResult, Lighting, TexelMap
from jaxface.unwrapping.config import UnwrapConfig
from jaxface.unwrapping.regions import chart_mask, region_mask
from jaxface.unwrapping.shadows import cast_shadows, self_shadow_mask
from jaxface.unwrapping.visible import VisibleTexels

REGIONS = ("skin", "nose", "lips", "brows", "lids", "ears")
"""Regions whose texture is taken from the photo. The neck is not: it lies in the head's shadow,
which no light of the fit explains, and would be stained."""
# Lengths are fractions of the texture's side.
MIN_USABLE = 0.3  # least weight of a texel that is kept
RADIUS = 1 / 256  # of the erosion of the border
BORDER_SIGMA = 1.5 / 256  # Gaussian of the soft border


@struct.dataclass
class MaskEvidence:
    """What decides the skin mask besides the log ratio and the light.

    Attributes:
        usable: weight, 0..1: the photo shows a face there, neither too dark nor saturated.
        self_shadowed: 1 where the head occludes the dominant light.
        normals: of the texels, camera space.
    """

    usable: Float[Array, "T T"]
    self_shadowed: Float[Array, "T T"]
    normals: Float[Array, "T T 3"]


def mask_evidence(
    seen: VisibleTexels, fit: FitResult, model: FaceModel, texels: TexelMap, config: UnwrapConfig
) -> MaskEvidence:
    """Returns what `skin_mask` needs besides the log ratio and the light. No gradient passes.

    Args:
        seen: the photo at each texel.
        fit: the fitted face, whose lighting gives the dominant light's direction.
        model: the face model of the fit.
        texels: of the model.
        config: `dark`, `burnt` and `shadows` are used.
    """
    seen, fit = jax.lax.stop_gradient((seen, fit))
    saturated_from, saturated_to = config.burnt
    level = luminance(seen.radiance)
    well_exposed = smoothstep(level, 0.0, config.dark)
    well_exposed = well_exposed * smoothstep(level, saturated_to, saturated_from)
    skin = sum(region_mask(model, texels, name) for name in REGIONS if name in model.region_names)
    return MaskEvidence(
        usable=seen.visibility * seen.face * well_exposed * skin * chart_mask(texels),
        self_shadowed=self_shadow_mask(fit, model, texels, config.shadows),
        normals=seen.projection.normals,
    )


def skin_mask(
    log_ratio: Float[Array, "T T 3"],
    lighting: Lighting,
    evidence: MaskEvidence,
    config: UnwrapConfig,
) -> Float[Array, "T T"]:
    """Returns 1 on texels that show skin, 0 on others, with a soft border. No gradient passes.

    Args:
        log_ratio: photo over fitted albedo times shading, natural logarithm.
        lighting: of the fit.
        evidence: from `mask_evidence`.
        config: `shadows` is used.
    """
    log_ratio, lighting, evidence = jax.lax.stop_gradient((log_ratio, lighting, evidence))
    usable, size = evidence.usable, len(log_ratio)
    shadow = cast_shadows(
        jnp.mean(log_ratio, -1),
        usable,
        evidence.self_shadowed,
        evidence.normals,
        lighting,
        config.shadows,
    )
    usable = usable * (1 - shadow)
    kept = 1.0 * (usable > MIN_USABLE)
    soft = erode(kept, max(1, round(RADIUS * size)))
    soft = blur(soft[..., None], BORDER_SIGMA * size)[..., 0]
    return soft * kept * jnp.minimum(2.0 * usable, 1.0)
