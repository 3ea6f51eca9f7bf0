"""Inference of the complete face from an observation: correlate, blend, compose, materials."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.blending import blend
from jaxface.config import ReconstructConfig
from jaxface.features.correlations import (
    CorrelationConfig,
    correlate,
    correlate_database,
    database_distances,
    resize,
)
from jaxface.hair.scalp import paint_scalp
from jaxface.materials import materials
from jaxface.precision import jit
from jaxface.rendering.color import linear_to_srgb
from jaxface.synthesis.compose import compose
from jaxface.synthesis.seams import level_seams
from jaxface.types import (
    Assets,
    BlendResult,
    Database,
    FeatureCache,
    Materials,
    Observation,
    Reconstruction,
    SynthesisResult,
    Textures,
    UnwrapResult,
)

SHORTLIST = 12
"""Number of faces, the nearest by correlation distance, that `blend` weights; the others' weights
are zero. `CompositionConfig.blended_faces` counts among these: more of them add nothing."""


def infer(
    seen: Observation,
    database: Database,
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
) -> Reconstruction:
    """Returns the complete face: blend, texture, materials.

    Pure, unbatched: works under `jit`, `vmap` and `grad`; called directly it runs two jitted
    programs. Faces of the database are selected and weighted by their masked correlations; the
    texture is composed of the photo, its mirror image and the blend. With `config.method` "paper"
    the texture is the low-frequency albedo, from which `refine` starts the paper's optimisation;
    else `refine` starts from the composition. Differentiable in the observation, the database's
    textures (if floating point), VGG-16's weights and the floating-point leaves of `config`:
    through `blend` by the implicit function theorem, elsewhere directly; the choice of faces and
    patches has no derivative. Saito et al. (CVPR 2017), sections 4, 5.

    Args:
        seen: from `observe`; textures are linear RGB.
        database: `assets.database`, or from `choose_faces` if that is on disk.
        assets: from `load_assets` with the same `config`.
        config: settings.

    Example:
        >>> infer(seen, assets.database, assets).synthesis.texture.shape  # doctest: +SKIP
        (512, 512, 3)
    """
    blended = blend_face(seen.unwrapped, database, assets.vgg, config.correlation)
    texture, maps = complete(seen.unwrapped, blended, database, assets, config)
    if seen.hair is not None and assets.hair is not None:
        texture = paint_scalp(
            *(texture, seen.unwrapped.skin_mask, seen.hair),
            *(assets.model, assets.texels, assets.hair),
        )
    return Reconstruction(
        fit=seen.fit,
        unwrapped=seen.unwrapped,
        blend=blended,
        synthesis=SynthesisResult(texture=texture, losses=jnp.zeros(0)),  # until `refine`
        materials=maps,
        hair=seen.hair,
    )


@jit
def blend_face(
    seen: UnwrapResult, database: Database, vgg: Any, config: CorrelationConfig
) -> BlendResult:
    """Returns the simplex weights of the database's faces.

    The `SHORTLIST` faces that are nearest at half of `config.blend_side` texels are blended at
    `blend_side`. Differentiable as `blend`.

    Args:
        seen: the unwrapped photo.
        database: K faces; with cached features none of them needs a pass of VGG-16.
        vgg: weights of VGG-16.
        config: layers, cells, centring and sides.
    """
    cached, count = database.features, len(database.indices)
    shortlist = jnp.arange(count)
    if count > SHORTLIST:
        half = database.textures if cached is None else cached.half
        distances = face_distances(seen, half, vgg, config)
        shortlist = jnp.sort(jax.lax.top_k(-distances, SHORTLIST)[1])
    faces = database.textures if cached is None else cached.full
    faces = jax.tree.map(lambda leaf: leaf[shortlist], faces)
    texture, mask = _at_size(seen, config.blend_side)
    photo = correlate(texture, mask, vgg, config)
    masked, _ = correlate_database(faces, mask, vgg, config)
    result = blend(photo, masked)
    return result.replace(
        weights=jnp.zeros(count).at[shortlist].set(result.weights), faces=database.indices
    )


@jit
def face_distances(
    seen: UnwrapResult, faces: Textures | FeatureCache, vgg: Any, config: CorrelationConfig
) -> Float[Array, " K"]:
    """Returns `database_distances` to the photo at half of `config.blend_side`. No derivative."""
    return database_distances(*_at_size(seen, config.sides[0]), faces, vgg, config)


def _at_size(seen: UnwrapResult, size: int) -> tuple[Float[Array, "S S 3"], Float[Array, "S S"]]:
    """Returns the photo's albedo (sRGB, low-frequency albedo where it shows nothing) and its mask,
    both at a size in texels."""
    mask = seen.skin_mask[..., None]
    texture = linear_to_srgb(mask * seen.partial + (1 - mask) * seen.low_frequency)
    return resize(texture, size), resize(mask, size)[..., 0]


@jit
def complete(
    seen: UnwrapResult,
    blended: BlendResult,
    database: Database,
    assets: Assets,
    config: ReconstructConfig,
) -> tuple[Float[Array, "T T 3"], Materials]:
    """Returns the complete texture (linear RGB, without steps at UV seams) and its materials.

    The texture is that of `compose`, or the low-frequency albedo if `config.method` is "paper".
    `blended` must be of the same `database`. Differentiable in the unwrapped photo, the blend's
    weights and the database's textures.
    """
    if config.method == "paper":
        texture = seen.low_frequency
    else:
        texture = compose(
            jax.random.key(config.seed),
            seen.low_frequency,
            seen.partial,
            seen.skin_mask,
            database.textures,
            blended.weights,
            painted=assets.painted,
            bare_skin=assets.bare_skin,
            pixels_per_texel=seen.pixels_per_texel,
            config=config.composition,
        ).texture
    return finish(texture, seen, blended, database, assets, config)


def finish(
    texture_linear: Float[Array, "T T 3"],
    seen: UnwrapResult,
    blended: BlendResult,
    database: Database,
    assets: Assets,
    config: ReconstructConfig,
) -> tuple[Float[Array, "T T 3"], Materials]:
    """Returns a texture after `level_seams`, and its materials; the relief of unseen texels is that
    of the database face of greatest weight."""
    texture = level_seams(texture_linear, assets.seams, assets.model, assets.texels)
    relief = database.heights[jnp.argmax(blended.weights)]
    maps = materials(
        *(texture, seen.skin_mask, relief, assets.model, assets.texels),
        shading=seen.shading,
        config=config.materials,
    )
    return texture, maps
