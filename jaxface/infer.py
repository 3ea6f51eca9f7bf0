"""The complete face from what a photo shows: correlate, blend, compose, materials."""

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
    rank_database,
    resize,
)
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
"""Faces that are blended; the others' weights are zero."""


def infer(
    seen: Observation,
    database: Database,
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
) -> Reconstruction:
    """Returns the complete face: blend, texture, materials.

    Pure, of one face: works under `jit`, `vmap` and `grad`; under none of them it is two jitted
    programs. Faces of the database are chosen and weighed by their masked correlations; the texture
    is composed from the photo, its mirror image and that blend. With `config.method` "paper" the
    texture is the low-frequency albedo, where the paper's optimisation starts: `refine` goes on
    from either. Differentiable in what is seen, the database's textures (if floating point),
    VGG-16's weights and the numbers of `config`: `blend` by the implicit function theorem, all else
    directly, but for which faces and patches are chosen. Saito et al. (CVPR 2017), sections 4, 5.

    Args:
        seen: from `observe`; textures are linear RGB.
        database: of other faces: `assets.database`, or from `choose_faces` if that is on disk.
        assets: from `load_assets` with the same `config`.
        config: settings.

    Example:
        >>> infer(seen, assets.database, assets).synthesis.texture.shape  # doctest: +SKIP
        (512, 512, 3)
    """
    blended = blend_face(seen.unwrapped, database, assets.vgg, config.correlation)
    texture, maps = complete(seen.unwrapped, blended, database, assets, config)
    return Reconstruction(
        fit=seen.fit,
        unwrapped=seen.unwrapped,
        blend=blended,
        synthesis=SynthesisResult(texture=texture, losses=jnp.zeros(0)),
        materials=maps,
    )


@jit
def blend_face(
    seen: UnwrapResult, database: Database, vgg: Any, config: CorrelationConfig
) -> BlendResult:
    """Returns the simplex weights of the database's faces.

    Correlations are compared at `config.blend_side` texels a side, with the `SHORTLIST` faces that
    are nearest at half of that. Differentiable as `blend`.

    Args:
        seen: the unwrapped photo.
        database: K faces; with cached features none of them needs a pass of VGG.
        vgg: weights of VGG-16.
        config: what is correlated.
    """
    cached, count = database.features, len(database.indices)
    chosen = jnp.arange(count)
    if count > SHORTLIST:
        half = database.textures if cached is None else cached.half
        distances = rank_faces(seen, half, vgg, config)
        chosen = jnp.sort(jax.lax.top_k(-distances, SHORTLIST)[1])
    faces = database.textures if cached is None else cached.full
    faces = jax.tree.map(lambda leaf: leaf[chosen], faces)
    texture, mask = _at_size(seen, config.blend_side)
    photo = correlate(texture, mask, vgg, config)
    masked, _ = correlate_database(faces, mask, vgg, config)
    result = blend(photo, masked)
    return result.replace(
        weights=jnp.zeros(count).at[chosen].set(result.weights), faces=database.indices
    )


@jit
def rank_faces(
    seen: UnwrapResult, faces: Textures | FeatureCache, vgg: Any, config: CorrelationConfig
) -> Float[Array, " K"]:
    """Returns the distance of each database face's correlations to the photo's, at half the size.

    No derivative.
    """
    return rank_database(*_at_size(seen, config.sides[0]), faces, vgg, config)


def _at_size(seen: UnwrapResult, size: int) -> tuple[Float[Array, "S S 3"], Float[Array, "S S"]]:
    """Returns the photo's texture (sRGB, the low-frequency albedo where it shows nothing) and mask
    at a size."""
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
    """Returns the complete texture, linear RGB, its charts level at their seams, and its materials.

    Differentiable in what is seen, the blend's weights and the database's textures.
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
    """Returns a texture with its charts level at their seams, and its materials, whose relief is
    that of the database face of greatest weight where the photo shows none."""
    texture = level_seams(texture_linear, assets.seams, assets.model, assets.texels)
    relief = database.heights[jnp.argmax(blended.weights)]
    maps = materials(
        texture, seen.skin_mask, relief, assets.model, assets.texels, config=config.materials
    )
    return texture, maps
