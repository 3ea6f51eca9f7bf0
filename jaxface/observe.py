"""What a photo shows of a face: classes of pixels, fit, unwrapping, hair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.config import ReconstructConfig
from jaxface.fitting.fit import fit
from jaxface.fitting.schemes import with_landmarks68
from jaxface.hair.dress import dress
from jaxface.parsing.classes import BEARD, FACE
from jaxface.parsing.network import ParserWeights
from jaxface.parsing.parse import parse
from jaxface.precision import jit
from jaxface.types import Assets, Crop, FaceCrop, FitResult, Observation
from jaxface.unwrapping.unwrap import unwrap


def observe(
    crop: FaceCrop, assets: Assets, config: ReconstructConfig = ReconstructConfig()
) -> Observation:
    """Returns what a photo shows of a face: the fit, and the photo in the canonical UV.

    Pure, unbatched: works under `jit`, `vmap` and `grad`. The fit returned is in pixels of the
    photo; `unwrapped.pixels_per_texel` counts pixels of the crop. Differentiable in the crop, the
    assets' face model and networks and the floating-point leaves of `config`, as `fit` and `unwrap`
    are. Saito et al. (CVPR 2017), section 4.

    Args:
        crop: from `crop_face`; colours are sRGB, landmarks in pixels of the crop.
        assets: from `load_assets` with the same `config`; the database is not used.
        config: settings.

    Example:
        >>> seen = observe(crop, assets)  # doctest: +SKIP
        >>> seen.unwrapped.partial.shape  # doctest: +SKIP
        (512, 512, 3)
    """
    is_68 = len(crop.landmarks) == 68
    model = with_landmarks68(assets.model) if is_68 else assets.model
    classes = pixel_classes(crop, assets.vgg, assets.parser)
    fitted = fit(
        crop.srgb,
        crop.landmarks,
        model,
        blendshapes=crop.blendshapes,
        focal=crop.focal,
        # Measured on the detector's 478 points: none is known for 68 of another detector.
        noise=None if is_68 else assets.noise,
        face_mask=classes[..., FACE] - classes[..., BEARD],  # whose colour no albedo has
        principal=crop.principal,
        photo_size=crop.photo_side,
        config=config.fit,
    )
    unwrapped, fitted = unwrap(
        crop.srgb, fitted, model, assets.texels, classes=classes, config=config.unwrap
    )
    hair = None
    if assets.hair is not None:
        hair = dress(crop.srgb, classes, fitted, model, assets.hair, config=config.hair)
    return Observation(fit=_fit_to_photo(crop.crop, fitted), unwrapped=unwrapped, hair=hair)


@jit
def _fit_to_photo(crop: Crop, fitted: FitResult) -> FitResult:
    """Returns a fit in pixels of the crop as one in pixels of the photo."""
    return crop.fit_to_photo(fitted)


@jit
def pixel_classes(
    crop: FaceCrop, vgg: Mapping[str, Any], parser: ParserWeights
) -> Float[Array, "S S K"]:
    """Returns the probabilities of the parser's `CLASSES` and `FACIAL_HAIR` in a crop's pixels.

    All are 0 outside the photo, where the crop repeats its edge. Differentiable in the crop's
    pixels and the networks' weights.

    Args:
        crop: the square around a face.
        vgg: weights of VGG-16, `load_vgg()`.
        parser: `load_parser()`.
    """
    classes = parse(crop.srgb, crop.landmarks, vgg, parser)
    first = crop.crop.points_to_crop(jnp.zeros(2))
    last = 2.0 * crop.principal - first
    y, x = jnp.meshgrid(*(jnp.arange(n) + 0.5 for n in classes.shape[:2]), indexing="ij")
    position = jnp.stack([x, y], -1)
    inside = jnp.all((position > first) & (position < last), -1)
    return jnp.where(inside[..., None], classes, 0.0)
