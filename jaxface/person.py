"""Reconstruction of one face from several photos of a person."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.config import ReconstructConfig
from jaxface.crops import crop_face
from jaxface.errors import InputError
from jaxface.fitting.person import fit_faces
from jaxface.fitting.schemes import with_landmarks68
from jaxface.hair.dress import dress
from jaxface.observe import pixel_classes
from jaxface.parsing.classes import FACE
from jaxface.reconstruct import Progress, complete_observation
from jaxface.types import Assets, FitResult, Observation, PersonReconstruction
from jaxface.unwrapping.exposure import estimate_albedo_coefficients
from jaxface.unwrapping.merge import merge_unwrapped
from jaxface.unwrapping.unwrap import unwrap


def reconstruct_person(
    photos_srgb: Sequence[Float[np.ndarray | Array, "H W 3"]],
    landmarks: Sequence[Float[np.ndarray | Array, "L D"]],
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
    *,
    blendshapes: Sequence[Float[Array, "52"]] | None = None,
    focals: Sequence[float | None] | None = None,
    progress: Progress | None = None,
) -> PersonReconstruction:
    """Returns one complete textured face from several photos of a person.

    All photos are fitted with shared identity and albedo (`fit_faces`), their textures are merged
    with weights by visibility and resolution (`merge_unwrapped`), and the rest is inferred once.
    Host function.

    Args:
        photos_srgb: 0..1; at most about 12, since all are fitted jointly.
        landmarks: of each photo, 478, 468 or 68 points in pixels, the same number in all.
        assets: from `load_assets` with the same `config`.
        config: settings.
        blendshapes: of each photo, `Detection.blendshapes`, 0..1.
        focals: focal lengths in pixels, where they are known.
        progress: as for `reconstruct`.

    Raises:
        InputError: there is no photo, or the photos differ in the number of landmarks.

    Source: Saito et al. (CVPR 2017) for the stages; several photos are ours.

    Example:
        >>> found = reconstruct_person(photos, points, load_assets())  # doctest: +SKIP
        >>> found.result.synthesis.texture.shape  # doctest: +SKIP
        (512, 512, 3)
    """
    count = len(photos_srgb)
    if not count or len({len(points) for points in landmarks}) != 1:
        raise InputError("A person needs photos whose landmarks are of one kind.")
    on_event = progress or (lambda stage, info: None)
    on_event("observe", {"state": "start"})
    crops = [
        crop_face(photo, points, blendshapes=shapes, focal=focal)
        for photo, points, shapes, focal in zip(
            photos_srgb,
            landmarks,
            [None] * count if blendshapes is None else blendshapes,
            [None] * count if focals is None else focals,
            strict=True,
        )
    ]
    classes = [pixel_classes(crop, assets.vgg, assets.parser) for crop in crops]
    is_68 = len(crops[0].landmarks) == 68
    model = with_landmarks68(assets.model) if is_68 else assets.model
    fits = fit_faces(
        [crop.srgb for crop in crops],
        [crop.landmarks for crop in crops],
        model,
        blendshapes=[crop.blendshapes for crop in crops],
        focals=[crop.focal for crop in crops],
        noise=None if is_68 else assets.noise,
        face_masks=[each[..., FACE] for each in classes],
        principals=[crop.principal for crop in crops],
        photo_sizes=[crop.photo_side for crop in crops],
        config=config.fit,
    )
    seen, refits, photo_fits = [], [], []
    for crop, each, fitted in zip(crops, classes, fits, strict=True):
        unwrapped, refit = unwrap(
            crop.srgb, fitted, model, assets.texels, classes=each, config=config.unwrap
        )
        seen.append(unwrapped)
        refits.append(refit)
        photo_fits.append(crop.crop.fit_to_photo(refit))
    merged, gains = merge_unwrapped(jax.tree.map(lambda *leaves: jnp.stack(leaves), *seen))
    albedo = estimate_albedo_coefficients(photo_fits[0], merged, model).parameters.albedo
    fits = [_of_one_skin(*pair, albedo) for pair in zip(photo_fits, gains, strict=True)]
    best = int(np.argmax([float(jnp.mean(unwrapped.skin_mask)) for unwrapped in seen]))
    error = 100 * float(jnp.mean(jnp.stack([fitted.landmark_error for fitted in fits])))
    fraction = 100 * float(jnp.mean(merged.skin_mask))
    note = f"landmarks {error:.2f} % of the eyes' distance, {fraction:.0f} % seen"
    on_event("observe", {"state": "end", "note": note})

    hair = None
    if assets.hair is not None:
        hair = dress(
            *(crops[best].srgb, classes[best], refits[best], model, assets.hair), config=config.hair
        )
    result = complete_observation(
        Observation(fit=fits[best], unwrapped=merged, hair=hair), assets, config, progress=progress
    )
    return PersonReconstruction(result=result, fits=tuple(fits), best=best)


def _of_one_skin(
    fitted: FitResult, gain: Float[Array, "3"], albedo: Float[Array, " M"]
) -> FitResult:
    """Returns a photo's fit with the albedo of all photos, and its lighting times the gain."""
    parameters = fitted.parameters
    lighting = parameters.lighting
    lighting = lighting.replace(coefficients=lighting.coefficients * gain)
    return fitted.replace(parameters=parameters.replace(albedo=albedo, lighting=lighting))
