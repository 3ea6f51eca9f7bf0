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
    mask = person_mask(crop.srgb, assets.networks)
    fitted = fit(
        crop.srgb,
        crop.landmarks,
        model,
        blendshapes=crop.blendshapes,
        focal=crop.focal,
        # Measured on the detector's 478 points: none is known for 68 of another detector.
        noise=None if is_68 else assets.noise,
        person_mask=mask,
        principal=crop.principal,
        photo_size=crop.photo_side,
        config=config.fit,
    )
    unwrapped, fitted = unwrap(
        crop.srgb, fitted, model, assets.texels, person_mask=mask, config=config.unwrap
    )
    return Observation(fit=_fit_to_photo(crop.crop, fitted), unwrapped=unwrapped)


@jit
def _fit_to_photo(crop: Crop, fitted: FitResult) -> FitResult:
    """Returns a fit in pixels of the crop as one in pixels of the photo."""
    return crop.fit_to_photo(fitted)


@jit
def person_mask(square_srgb: Float[Array, "S S 3"], networks: Networks) -> Float[Array, "S S"]:
    """Returns the probability of a person in each pixel of a square image.

    Differentiable in the image and in the networks' weights.
    """
    size = square_srgb.shape[0]
    whole = Crop(jnp.full(2, size / 2.0), jnp.full((), float(size)), size=SIZE)
    return segment_padded(square_srgb, jnp.full(2, float(size)), whole, networks)
