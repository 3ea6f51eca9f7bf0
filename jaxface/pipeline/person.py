"""The chain of stages for several photos of one person: one face."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.errors import InputError
from jaxface.fitting import fit_faces, with_landmarks68
from jaxface.pipeline.assets import Assets
from jaxface.pipeline.chain import Progress, complete
from jaxface.pipeline.config import ReconstructConfig
from jaxface.pipeline.face import in_photo, prepare_face
from jaxface.pipeline.stages import person, unwrap_face
from jaxface.types import FitResult, PersonReconstruction
from jaxface.unwrapping import explain_albedo, merge_unwrapped


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

    All photos are fitted with one identity and albedo (`fit_faces`), what each shows is merged by
    how well it shows it (`merge_unwrapped`), and the rest is inferred once. Host function.

    Args:
        photos_srgb: 0..1; up to a dozen or so, since all are fitted at once.
        landmarks: of each photo, 478 or 68 points in pixels, the same number in all.
        assets: from `load_assets` with the same `config`.
        config: static settings.
        blendshapes: of each photo, `Detection.blendshapes`, 0..1.
        focals: focal lengths in pixels, where they are known.
        progress: as for `reconstruct`.

    Raises:
        InputError: there is no photo, or the photos' landmarks are not of one kind.

    Source: Saito et al. (CVPR 2017) for the stages; several photos are ours.

    Example:
        >>> found = reconstruct_person(photos, points, load_assets())  # doctest: +SKIP
        >>> found.result.synthesis.texture.shape  # doctest: +SKIP
        (512, 512, 3)
    """
    count = len(photos_srgb)
    if not count or len({len(points) for points in landmarks}) != 1:
        raise InputError("A person needs photos whose landmarks are of one kind.")
    tell = progress or (lambda stage, info: None)
    tell("fit", {"state": "start"})
    faces = [
        prepare_face(photo, points, blendshapes=shapes, focal=focal)
        for photo, points, shapes, focal in zip(
            photos_srgb,
            landmarks,
            [None] * count if blendshapes is None else blendshapes,
            [None] * count if focals is None else focals,
            strict=True,
        )
    ]
    masks = [person(face, assets.networks) for face in faces]
    few = len(landmarks[0]) == 68
    model = with_landmarks68(assets.model) if few else assets.model
    fits = fit_faces(
        [face.srgb for face in faces],
        [face.landmarks for face in faces],
        model,
        blendshapes=[face.blendshapes for face in faces],
        focals=[face.focal for face in faces],
        noise=None if few else assets.noise,
        person_masks=masks,
        principals=[face.center for face in faces],
        photo_sizes=[face.longest for face in faces],
        config=config.fit,
    )
    error = 100 * float(jnp.mean(jnp.stack([fitted.landmark_error for fitted in fits])))
    tell("fit", {"state": "end", "note": f"landmarks {error:.2f} % of the eyes' distance"})

    tell("unwrap", {"state": "start"})
    seen, lit = [], []
    for face, mask, fitted in zip(faces, masks, fits, strict=True):
        for _ in range(2):
            found, fitted = unwrap_face(
                face, mask, fitted, model, assets.texels, config=config.unwrap
            )
        seen.append(found)
        lit.append(in_photo(fitted, face))
    merged, gains = merge_unwrapped(jax.tree.map(lambda *leaves: jnp.stack(leaves), *seen))
    albedo = explain_albedo(lit[0], merged, model).parameters.albedo
    fits = [_of_one_skin(*one, albedo) for one in zip(lit, gains, strict=True)]
    best = int(np.argmax([float(jnp.mean(one.skin_mask)) for one in seen]))
    share = 100 * float(jnp.mean(merged.skin_mask))
    tell("unwrap", {"state": "end", "note": f"{share:.0f} % seen"})

    result, names = complete(fits[best], merged, assets, config, progress=progress)
    result = result.replace(blend=result.blend.replace(faces=names[0]))
    return PersonReconstruction(result=result, fits=tuple(fits), best=best)


def _of_one_skin(
    fitted: FitResult, gain: Float[Array, "3"], albedo: Float[Array, " M"]
) -> FitResult:
    """Returns a photo's fit with the albedo of all photos, and the light that goes with it."""
    parameters = fitted.parameters
    lighting = parameters.lighting
    lighting = lighting.replace(coefficients=lighting.coefficients * gain)
    return fitted.replace(parameters=parameters.replace(albedo=albedo, lighting=lighting))
