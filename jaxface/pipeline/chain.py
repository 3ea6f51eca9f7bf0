"""The chain of stages, once, for one face and for many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from jaxface.database import Database, Library
from jaxface.features.correlations import CorrelationConfig
from jaxface.fitting import with_landmarks68
from jaxface.mapping import Run, Shared, one
from jaxface.pipeline.assets import SIDES, Assets
from jaxface.pipeline.config import ReconstructConfig
from jaxface.pipeline.face import Face, in_photo, prepare_face
from jaxface.pipeline.stages import (
    SHORTLIST,
    bare_skin,
    blend_face,
    fit_face,
    person,
    rank_faces,
    skin_free,
    surface,
    unwrap_face,
)
from jaxface.rendering.color import linear_to_srgb
from jaxface.synthesis import level_seams, synthesize
from jaxface.types import (
    BlendResult,
    FitResult,
    Reconstruction,
    Sketches,
    SynthesisResult,
    UnwrapResult,
)

Progress = Callable[[str, dict[str, Any]], None]


def reconstruct(
    photo_srgb: Float[np.ndarray | Array, "H W 3"],
    landmarks: Float[np.ndarray | Array, "L D"],
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
    *,
    blendshapes: Float[Array, "52"] | None = None,
    focal: float | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """Returns the complete textured face of a photo: the chain of all stages.

    Args:
        photo_srgb: `[H, W, 3]`, 0..1.
        landmarks: 478 or 68 points in pixels, from `detect` or the user; NaN where one is missing.
        assets: from `load_assets` with the same `config`.
        config: static settings.
        blendshapes: `Detection.blendshapes`, 0..1, a start for the expression.
        focal: focal length in pixels, where it is known.
        progress: called with the stage's name and `{"state": "start" | "step" | "end", ...}`.

    Raises:
        InputError: the number of landmarks is not one that the model knows.

    Host function around jitted stages; `run_stages` is what can be differentiated.

    Source: Saito, Wei, Hu, Nagano and Li, *Photorealistic Facial Texture Inference Using Deep
    Neural Networks* (CVPR 2017).

    Example:
        >>> reconstruct(photo.srgb, found.landmarks[0], load_assets())  # doctest: +SKIP
    """
    face = prepare_face(photo_srgb, landmarks, blendshapes=blendshapes, focal=focal)
    result, names = run_stages(face, assets, config, progress=progress)
    return result.replace(blend=result.blend.replace(faces=names[0]))


def run_stages(
    face: Face,
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
    *,
    alpha: Float[Array, ""] | None = None,
    run: Run = one,
    progress: Progress | None = None,
) -> tuple[Reconstruction, list[tuple[str, ...]]]:
    """Returns the result, and of each face the names of the database faces it was blended from.

    Without `progress`, and unless the database is a large one, nothing waits for a value, and the
    result can be differentiated by everything in `face` and `assets` (the model, the networks, the
    database's textures if they are floating point) and by `alpha`.

    Args:
        face: from `prepare_face`; with `Many`, faces stacked along a leading axis.
        assets: from `load_assets` with the same `config`.
        config: static settings.
        alpha: weight of the correlations instead of the config's.
        run: `one`, or `Many` for faces along a leading axis, which every result then has.
        progress: as for `reconstruct`; figures of many faces are their means.
    """
    tell = progress or (lambda stage, info: None)
    count = face.landmarks.shape[-2]
    model = with_landmarks68(assets.model) if count == 68 else assets.model
    noise = assets.noise if count == 478 else None

    tell("fit", {"state": "start"})
    mask = run(person, face, Shared(assets.networks))
    fitted = run(fit_face, face, mask, Shared(model), Shared(noise), config=config.fit)
    if progress:
        error = 100 * float(jnp.mean(fitted.landmark_error))
        tell("fit", {"state": "end", "note": f"landmarks {error:.2f} % of the eyes' distance"})

    tell("unwrap", {"state": "start"})
    fixed = Shared(model), Shared(assets.texels)
    for _ in range(2):
        seen, fitted = run(unwrap_face, face, mask, fitted, *fixed, config=config.unwrap)
    if progress:
        share = 100 * float(jnp.mean(seen.skin_mask))
        tell("unwrap", {"state": "end", "note": f"{share:.0f} % seen"})

    fitted = run(in_photo, fitted, face)
    return complete(fitted, seen, assets, config, alpha=alpha, run=run, progress=progress)


def complete(
    fitted: FitResult,
    seen: UnwrapResult,
    assets: Assets,
    config: ReconstructConfig,
    *,
    alpha: Float[Array, ""] | None = None,
    run: Run = one,
    progress: Progress | None = None,
) -> tuple[Reconstruction, list[tuple[str, ...]]]:
    """Returns the whole result of what is seen of a fitted face: stages 4 to 6 and the materials.

    Args and result as of `run_stages`; the fit is only handed on.
    """
    candidates = _candidates(seen, assets, config.correlation)
    blended, synthesis = _infer(seen, candidates, assets, config, alpha, run, progress)
    maps = run(
        surface,
        *(synthesis.texture, seen.skin_mask, candidates.heights, blended.weights),
        *(Shared(assets.model), Shared(assets.texels)),
    )
    result = Reconstruction(
        fit=fitted, unwrapped=seen, blend=blended, synthesis=synthesis, materials=maps
    )
    return result, candidates.names


def infer(
    seen: UnwrapResult,
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
    *,
    progress: Progress | None = None,
) -> tuple[BlendResult, SynthesisResult]:
    """Returns the blend and the complete texture of a partial one: stages 4 to 6.

    Differentiable in what is seen (`blend` by the implicit function theorem, `synthesize` as the
    config says) unless the database is a large one. Saito et al. (CVPR 2017), sections 4 and 5.

    Args:
        seen: the unwrapped photo.
        assets: the database and VGG-16's weights are used.
        config: static settings.
        progress: as for `reconstruct`.

    Example:
        >>> blended, result = infer(seen, load_assets())  # doctest: +SKIP
    """
    candidates = _candidates(seen, assets, config.correlation)
    blended, result = _infer(seen, candidates, assets, config, None, one, progress)
    return blended.replace(faces=candidates.names[0]), result


@struct.dataclass
class _Candidates:
    """The database faces to blend, `Shared` or of each face its own, and of each their names."""

    textures: Any
    heights: Any
    sketches: Any
    names: list[tuple[str, ...]]


def _candidates(seen: UnwrapResult, assets: Assets, config: CorrelationConfig) -> _Candidates:
    """Returns all of a small database, of a large one for each face those that look most alike."""
    database = assets.database
    count = len(seen.partial) if seen.partial.ndim == 4 else None
    if isinstance(database, Database):
        return _Candidates(
            textures=Shared(database.textures),
            heights=Shared(database.heights),
            sketches=Shared(database.sketches),
            names=[database.names] * (count or 1),
        )
    rows = [seen]
    if count is not None:
        rows = [jax.tree.map(lambda leaf, row=row: leaf[row], seen) for row in range(count)]
    faces = [_nearest(row, database, assets.vgg, config) for row in rows]
    parts = [(found.textures, found.heights, found.sketches) for found in faces]
    textures, heights, sketches = (
        parts[0] if count is None else jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
    )
    return _Candidates(textures, heights, sketches, [found.names for found in faces])


def _nearest(seen: UnwrapResult, library: Library, vgg: Any, config: CorrelationConfig) -> Database:
    """Returns what is to be blended of a large database: what looks alike, with sketches what also
    has like correlations."""
    chosen = library.nearest(np.asarray(linear_to_srgb(seen.partial)), np.asarray(seen.skin_mask))
    if library.sketches is None:
        return library.take(chosen)
    half, full = SIDES
    apart = rank_faces(seen, library.sketches.take(chosen, half), vgg, config=config)
    chosen = chosen[np.sort(np.argsort(np.asarray(apart), kind="stable")[:SHORTLIST])]
    sketches = Sketches(half=None, full=library.sketches.take(chosen, full))
    return library.take(chosen).replace(sketches=sketches)


def _infer(
    seen: UnwrapResult,
    candidates: _Candidates,
    assets: Assets,
    config: ReconstructConfig,
    alpha: Array | None,
    run: Run,
    progress: Progress | None,
) -> tuple[BlendResult, SynthesisResult]:
    tell = progress or (lambda stage, info: None)
    tell("blend", {"state": "start"})
    vgg = Shared(assets.vgg)
    blended = run(
        blend_face,
        *(seen, candidates.textures, vgg, candidates.sketches),
        config=config.correlation,
    )
    if progress:
        note = _most_like(np.asarray(blended.weights), candidates.names)
        tell("blend", {"state": "end", "note": note})

    def step(loss: Array, done: float) -> None:
        if progress:
            info = {"state": "step", "loss": float(jnp.mean(loss)), "done": done}
            tell("synthesize", info)

    tell("synthesize", {"state": "start"})
    result = synthesize(
        seen.low_frequency,
        seen.partial,
        seen.skin_mask,
        candidates.textures,
        blended.weights,
        vgg,
        pixels_per_texel=seen.pixels_per_texel,
        fixed=Shared(skin_free(assets.model, assets.texels)),
        skin=Shared(bare_skin(assets.model, assets.texels)),
        correlation=config.correlation,
        config=config.synthesis,
        callback=step if progress else None,
        alpha=alpha,
        run=run,
    )
    fixed = Shared(assets.seams), Shared(assets.model), Shared(assets.texels)
    result = result.replace(texture=run(level_seams, result.texture, *fixed))
    if progress:
        loss = float(jnp.mean(jax.block_until_ready(result).losses[..., -1]))
        tell("synthesize", {"state": "end", "loss": loss})
    return blended, result


def _most_like(weights: np.ndarray, names: list[tuple[str, ...]]) -> str:
    if weights.ndim == 2:
        return f"{len(weights)} faces"
    largest = int(weights.argmax())
    return f"most like {names[0][largest]} ({100 * weights[largest]:.0f} %)"
