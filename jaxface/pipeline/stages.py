"""The stages as the chain calls them: pure, jitted functions of one face."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from jaxface.blending import blend
from jaxface.features.correlations import (
    CorrelationConfig,
    correlate,
    correlate_database,
    rank_database,
    resize,
)
from jaxface.fitting import FitConfig, LandmarkNoise, fit
from jaxface.landmarks.crops import Region
from jaxface.landmarks.networks import Networks
from jaxface.landmarks.segmentation import segment_padded
from jaxface.materials import materials
from jaxface.morphable.texels import TexelMap
from jaxface.pipeline.face import Face
from jaxface.precision import jit
from jaxface.rendering.color import linear_to_srgb
from jaxface.types import (
    BlendResult,
    FaceModel,
    FitResult,
    Materials,
    Sketch,
    Sketches,
    Textures,
    UnwrapResult,
)
from jaxface.unwrapping import UnwrapConfig, balance_light, explain_albedo, unwrap
from jaxface.unwrapping.skin import grow

BLEND_SIZE = 256
SHORTLIST = 12  # faces: the weights of the others are zero
BARE = ("skin", "scalp")
NO_SKIN = ("eyes", "teeth", "tongue", "inner_mouth")


@jit
def person(face: Face, networks: Networks) -> Float[Array, "S S"]:
    """Returns the probability of a person in each pixel of the square."""
    size = float(face.srgb.shape[0])
    square = Region(center=jnp.full(2, size / 2.0), side=jnp.float32(size), angle=jnp.zeros(()))
    return segment_padded(face.srgb, jnp.full(2, size), square, networks)


@partial(jit, static_argnames="config")
def fit_face(
    face: Face,
    mask: Float[Array, "S S"],
    model: FaceModel,
    noise: LandmarkNoise | None,
    *,
    config: FitConfig,
) -> FitResult:
    """Returns the fit in pixels of the square; see `fit`. `mask` is the person's."""
    return fit(
        face.srgb,
        face.landmarks,
        model,
        blendshapes=face.blendshapes,
        focal=face.focal,
        noise=noise,
        person_mask=mask,
        principal=face.center,
        photo_size=face.longest,
        config=config,
    )


@partial(jit, static_argnames="config")
def unwrap_face(
    face: Face,
    mask: Float[Array, "S S"],
    fitted: FitResult,
    model: FaceModel,
    texels: TexelMap,
    *,
    config: UnwrapConfig,
) -> tuple[UnwrapResult, FitResult]:
    """Returns what is seen, and the fit with the albedo and light that explain it.

    Run twice: first to know which pixels are skin, then with their albedo and light.
    """
    fitted = balance_light(fitted, model)
    seen = unwrap(face.srgb, fitted, model, texels, person_mask=mask, config=config)
    return seen, explain_albedo(fitted, seen, model)


@partial(jit, static_argnames="config")
def blend_face(
    seen: UnwrapResult,
    textures: Textures,
    vgg: Any,
    sketches: Sketches | None = None,
    *,
    config: CorrelationConfig,
) -> BlendResult:
    """Returns the weights of the database's faces.

    Correlations are compared at 256 texels a side, whatever the texture's size, with the faces
    that are nearest at half of that. With `sketches` no face needs a pass of VGG.
    """
    chosen = jnp.arange(len(textures))
    if len(textures) > SHORTLIST:
        apart = rank_faces(
            seen, textures if sketches is None else sketches.half, vgg, config=config
        )
        chosen = jnp.sort(jax.lax.top_k(-apart, SHORTLIST)[1])
    faces = textures if sketches is None else sketches.full
    texture, mask = _shown(seen, BLEND_SIZE)
    photo = correlate(texture, mask, vgg, config)
    faces = jax.tree.map(lambda leaf: leaf[chosen], faces)
    masked, _ = correlate_database(faces, mask, vgg, config)
    result = blend(photo, masked)
    return result.replace(weights=jnp.zeros(len(textures)).at[chosen].set(result.weights))


@partial(jit, static_argnames="config")
def rank_faces(
    seen: UnwrapResult, faces: Textures | Sketch, vgg: Any, *, config: CorrelationConfig
) -> Float[Array, " K"]:
    """Returns how far each database face's correlations are from the photo's, at half the size."""
    return rank_database(*_shown(seen, BLEND_SIZE // 2), faces, vgg, config)


def _shown(seen: UnwrapResult, size: int) -> tuple[Float[Array, "S S 3"], Float[Array, "S S"]]:
    """Returns what is seen, sRGB, the rest without detail, and the mask, at a size."""
    kept = seen.skin_mask[..., None]
    texture = linear_to_srgb(kept * seen.partial + (1 - kept) * seen.low_frequency)
    return resize(texture, size), resize(kept, size)[..., 0]


@jit
def surface(
    texture_linear: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    heights: UInt8[Array, "K T T"],
    weights: Float[Array, " K"],
    model: FaceModel,
    texels: TexelMap,
) -> Materials:
    """Returns the materials, with the relief of the database face of greatest weight."""
    return materials(texture_linear, mask, heights[jnp.argmax(weights)], model, texels)


@jit
def skin_free(model: FaceModel, texels: TexelMap) -> Float[Array, "T T"]:
    """Returns 1 on eyes and the inside of the mouth, which the albedo model paints whole, and on
    the gaps around their charts, from which bilinear lookups take a share."""
    own = _regions(model, texels, NO_SKIN)
    around = grow(own.astype(jnp.float32), max(2, own.shape[0] // 128))
    return jnp.where(texels.mask, own.astype(jnp.float32), around)


@jit
def bare_skin(model: FaceModel, texels: TexelMap) -> Float[Array, "T T"]:
    """Returns 1 on open skin, the scalp included: no nose, lips, lids, brows, ears, neck."""
    return _regions(model, texels, BARE).astype(jnp.float32)


def _regions(model: FaceModel, texels: TexelMap, names: tuple[str, ...]) -> Bool[Array, "T T"]:
    parts = [i for i, name in enumerate(model.region_names) if name in names]
    return jnp.isin(texels.region_ids, jnp.array(parts)) & texels.mask
