"""What a photo shows of a face: person mask, fit, unwrapping."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.config import ReconstructConfig
from jaxface.fitting.fit import fit
from jaxface.fitting.schemes import with_landmarks68
from jaxface.landmarks.segmentation import SIZE, segment_padded
from jaxface.precision import jit
from jaxface.types import Assets, Crop, FaceCrop, FitResult, Networks, Observation
from jaxface.unwrapping.unwrap import unwrap


def observe(
    crop: FaceCrop, assets: Assets, config: ReconstructConfig = ReconstructConfig()
) -> Observation:
    """Returns what a photo shows of a face: the fit, and the photo in the canonical UV.

    Pure, of one face: works under `jit`, `vmap` and `grad`; under none of them it is five jitted
    programs. Differentiable in the crop, in the assets' face model and networks and in the numbers
    of `config`, as `fit` and `unwrap` are. Saito et al. (CVPR 2017), section 4.

    Args:
        crop: from `crop_face`; the square's colours are sRGB, its landmarks in its own pixels.
        assets: from `load_assets` with the same `config`; the database is not used.
        config: settings.

    Example:
        >>> seen = observe(crop, assets)  # doctest: +SKIP
        >>> seen.unwrapped.partial.shape  # doctest: +SKIP
        (512, 512, 3)
    """
    few = len(crop.landmarks) == 68
    model = with_landmarks68(assets.model) if few else assets.model
    mask = person_mask(crop.srgb, assets.networks)
    fitted = fit(
        crop.srgb,
        crop.landmarks,
        model,
        blendshapes=crop.blendshapes,
        focal=crop.focal,
        noise=None if few else assets.noise,
        person_mask=mask,
        principal=crop.principal,
        photo_size=crop.photo_side,
        config=config.fit,
    )
    unwrapped, fitted = unwrap(
        crop.srgb, fitted, model, assets.texels, person_mask=mask, config=config.unwrap
    )
    return Observation(fit=_in_photo(crop.crop, fitted), unwrapped=unwrapped)


@jit
def _in_photo(crop: Crop, fitted: FitResult) -> FitResult:
    return crop.fit_to_photo(fitted)


@jit
def person_mask(square_srgb: Float[Array, "S S 3"], networks: Networks) -> Float[Array, "S S"]:
    """Returns the probability of a person in each pixel of a square. Differentiable in both."""
    size = square_srgb.shape[0]
    whole = Crop(jnp.full(2, size / 2.0), jnp.full((), float(size)), size=SIZE)
    return segment_padded(square_srgb, jnp.full(2, float(size)), whole, networks)
