"""The stages in order: photo -> landmarks -> fit -> unwrap -> correlate -> blend -> synthesize.

Every stage is a pure function of one face, jitted where it is defined; what is here is the chain,
the assets that it needs and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int, UInt8

from jaxface.blending import blend
from jaxface.database import Database, Library, open_database
from jaxface.errors import InputError
from jaxface.features.correlations import (
    PAPER,
    CorrelationConfig,
    correlate,
    correlate_database,
    rank_database,
    resize,
)
from jaxface.features.weights import load_vgg
from jaxface.fitting import FitConfig, LandmarkNoise, fit, load_noise, with_landmarks68
from jaxface.landmarks.crops import Region
from jaxface.landmarks.detector import pad_photo
from jaxface.landmarks.mesh import landmark_region
from jaxface.landmarks.networks import Networks, load_networks
from jaxface.landmarks.segmentation import segment_padded
from jaxface.materials import materials
from jaxface.morphable.model import load_model
from jaxface.morphable.texels import TexelMap, texel_map
from jaxface.rendering.color import linear_to_srgb
from jaxface.synthesis import SynthesisConfig, level_seams, seam_pairs, synthesize
from jaxface.types import (
    BlendResult,
    Camera,
    FaceModel,
    FitResult,
    Reconstruction,
    SynthesisResult,
    UnwrapResult,
)
from jaxface.unwrapping import UnwrapConfig, balance_light, explain_albedo, unwrap
from jaxface.unwrapping.skin import grow

Progress = Callable[[str, dict[str, Any]], None]
Quality = Literal["draft", "standard", "high"]
Method = Literal["default", "paper"]
SIZES = {"draft": 256, "standard": 512, "high": 1024}
# The face's square of the photo, in sides of the landmarks' region, and its pixels a side.
HEAD, WORKING_SIZES = 1.7, (512, 1024)
BLEND_SIZE = 256
SHORTLIST = 12  # faces: the weights of the others are zero
NO_SKIN = ("eyes", "teeth", "tongue", "inner_mouth")


@dataclass(frozen=True)
class ReconstructConfig:
    """Settings of `reconstruct`; `for_quality` makes consistent ones.

    Attributes:
        quality: `draft`, `standard` or `high`.
        method: `default`, or `paper` for the paper's plain form.
        size: texture side in texels.
        seed: same seed and inputs, same bits on one device.
    """

    quality: Quality = "standard"
    method: Method = "default"
    size: int = 512
    seed: int = 0
    fit: FitConfig = field(default_factory=FitConfig)
    unwrap: UnwrapConfig = field(default_factory=UnwrapConfig)
    correlation: CorrelationConfig = field(default_factory=CorrelationConfig)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)

    @classmethod
    def for_quality(
        cls,
        quality: str = "standard",
        *,
        method: str = "default",
        size: int | None = None,
        alpha: float | None = None,
        seed: int = 0,
    ) -> ReconstructConfig:
        """Returns the settings of a quality. Raises `InputError` for a name that does not exist."""
        if quality not in get_args(Quality):
            raise InputError(f"--quality is draft, standard or high, not {quality!r}.")
        if method not in get_args(Method):
            raise InputError(f"--method is default or paper, not {method!r}.")
        size = size or SIZES[quality]
        if size not in (256, 512, 1024, 2048):
            raise InputError(f"--size is 256, 512, 1024 or 2048, not {size}.")
        synthesis = SynthesisConfig.for_quality(quality, method=method)
        if alpha is not None:
            synthesis = replace(synthesis, alpha=alpha)
        correlation = PAPER if method == "paper" else CorrelationConfig()
        return cls(
            quality=quality,  # type: ignore[arg-type]
            method=method,  # type: ignore[arg-type]
            size=size,
            seed=seed,
            correlation=correlation,
            synthesis=synthesis,
        )


@struct.dataclass
class Assets:
    """What the stages need besides the photo, as pytrees."""

    model: FaceModel
    texels: TexelMap
    database: Database | Library
    networks: Networks
    vgg: Any
    noise: LandmarkNoise | None
    seams: Int[Array, "N 2"]


def load_assets(
    config: ReconstructConfig = ReconstructConfig(),
    *,
    model: str = "default",
    database: str | None = None,
) -> Assets:
    """Returns the assets for a texture size. Host function.

    Raises:
        AssetError: a file is missing or damaged.
        InputError: there is no model or database of that name.
    """
    face = load_model(model)
    return Assets(
        model=face,
        texels=texel_map(face, config.size),
        database=open_database(database, size=config.size),
        networks=load_networks(),
        vgg=load_vgg(),
        noise=load_noise(),
        seams=jnp.asarray(seam_pairs(face)),
    )


@struct.dataclass
class WorkingPhoto:
    """The square of a photo around a face, at a standard size, so that compilations are few.

    A point of the photo is `(working / scale) + corner`.
    """

    srgb: Float[Array, "S S 3"]
    corner: Float[Array, "2"]
    scale: Float[Array, ""]


@partial(jax.jit, static_argnames="size")
def working_photo(
    photo: Float[Array, "H W 3"],
    extent: Float[Array, "2"],
    landmarks: Float[Array, "L D"],
    *,
    size: int,
) -> WorkingPhoto:
    """Returns the face's square of a padded photo, resampled without aliasing.

    Differentiable in the photo; where to cut is a constant.
    """
    region = landmark_region(landmarks)
    side = HEAD * region.side
    scale = jnp.minimum(size / side, 1.0)
    corner = region.center - 0.5 * size / scale
    # Beyond the photo's true border, repeat it: the padding is black.
    height, width = extent
    rows = jnp.minimum(jnp.arange(photo.shape[0]), height.astype(jnp.int32) - 1)
    columns = jnp.minimum(jnp.arange(photo.shape[1]), width.astype(jnp.int32) - 1)
    image = jax.image.scale_and_translate(
        photo[rows][:, columns],
        (size, size, 3),
        (0, 1),
        jnp.stack([scale, scale]),
        -corner[::-1] * scale,
        "linear",
        antialias=True,
    )
    return WorkingPhoto(srgb=jnp.clip(image, 0.0, 1.0), corner=corner, scale=scale)


def to_photo_camera(camera: Camera, working: WorkingPhoto) -> Camera:
    """Returns the camera of the working photo as one of the whole photo."""
    return camera.replace(
        focal=camera.focal / working.scale,
        principal=camera.principal / working.scale + working.corner,
    )


def reconstruct(
    photo_srgb: Float[Array, "H W 3"],
    landmarks: Float[Array, "L D"],
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
        landmarks: 478 or 68 points in pixels, from `detect` or the user.
        assets: from `load_assets` with the same `config`.
        config: static settings.
        blendshapes: `Detection.blendshapes`, a start for the expression.
        focal: focal length in pixels, where it is known.
        progress: called with the stage's name and `{"state": "start" | "step" | "end", ...}`.

    Raises:
        InputError: the number of landmarks is not one that the model knows.

    Source: Saito, Wei, Hu, Nagano and Li, *Photorealistic Facial Texture Inference Using Deep
    Neural Networks* (CVPR 2017).
    """
    tell = progress or (lambda stage, info: None)
    model = assets.model
    if len(landmarks) == 68:
        model = with_landmarks68(model)
    height, width = photo_srgb.shape[:2]
    padded, extent = pad_photo(np.asarray(photo_srgb, np.float32))
    landmarks = jnp.asarray(landmarks, jnp.float32)[:, :2]

    tell("fit", {"state": "start"})
    side = float(HEAD * landmark_region(landmarks).side)
    size = next((s for s in WORKING_SIZES if s >= side), WORKING_SIZES[-1])
    working = working_photo(padded, extent, landmarks, size=size)
    square = Region(center=jnp.full(2, size / 2.0), side=jnp.float32(size), angle=jnp.zeros(()))
    person = segment_padded(working.srgb, jnp.full(2, float(size)), square, assets.networks)
    fitted = fit(
        working.srgb,
        (landmarks - working.corner) * working.scale,
        model,
        blendshapes=blendshapes,
        focal=None if focal is None else focal * working.scale,
        noise=assets.noise if len(landmarks) == 478 else None,
        person_mask=person,
        principal=(jnp.array([width / 2.0, height / 2.0]) - working.corner) * working.scale,
        photo_size=max(height, width) * working.scale,
        config=config.fit,
    )
    error = 100 * float(fitted.landmark_error)
    tell("fit", {"state": "end", "note": f"landmarks {error:.2f} % of the eyes' distance"})

    tell("unwrap", {"state": "start"})
    for _ in range(2):  # first to know which pixels are skin, then with their albedo and light
        fitted = balance_light(fitted, model)
        seen = unwrap(
            working.srgb, fitted, model, assets.texels, person_mask=person, config=config.unwrap
        )
        fitted = explain_albedo(fitted, seen, model)
    jax.block_until_ready(seen.partial)
    tell("unwrap", {"state": "end", "note": f"{100 * float(seen.skin_mask.mean()):.0f} % seen"})
    assets = assets.replace(database=_faces(seen, assets.database))
    blended, synthesis = infer(seen, assets, config, progress=progress)
    nearest = assets.database.heights[jnp.argmax(blended.weights)]
    surface = materials(synthesis.texture, seen.skin_mask, nearest, model, assets.texels)
    return Reconstruction(
        fit=_in_photo(fitted, working),
        unwrapped=seen,
        blend=blended,
        synthesis=synthesis,
        materials=surface,
    )


def infer(
    seen: UnwrapResult,
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
    *,
    progress: Progress | None = None,
) -> tuple[BlendResult, SynthesisResult]:
    """Returns the blend and the complete texture of a partial one: stages 4 to 6.

    Args:
        seen: the unwrapped photo.
        assets: the database and VGG-16's weights are used.
        config: static settings.
        progress: as for `reconstruct`.
    """
    tell = progress or (lambda stage, info: None)
    tell("blend", {"state": "start"})
    database = _faces(seen, assets.database)
    blended = _blend(seen, database.textures, assets.vgg, config.correlation)
    blended = blended.replace(faces=database.names)
    largest = int(jnp.argmax(blended.weights))
    share = 100 * float(blended.weights[largest])
    note = f"most like {database.names[largest]} ({share:.0f} %)"
    tell("blend", {"state": "end", "note": note})

    tell("synthesize", {"state": "start"})
    result = synthesize(
        seen.low_frequency,
        seen.partial,
        seen.skin_mask,
        database.textures,
        blended.weights,
        assets.vgg,
        footprint=seen.footprint,
        fixed=skin_free(assets.model, assets.texels),
        correlation=config.correlation,
        config=config.synthesis,
        callback=lambda loss, done: tell(
            "synthesize", {"state": "step", "loss": loss, "done": done}
        ),
    )
    levelled = level_seams(result.texture, assets.seams, assets.model, assets.texels)
    result = result.replace(texture=levelled)
    tell("synthesize", {"state": "end", "loss": float(result.losses[-1])})
    return blended, result


def _faces(seen: UnwrapResult, database: Database | Library) -> Database:
    """Returns the faces to blend: all of a small database, of a large one those most alike."""
    if isinstance(database, Database):
        return database
    return database.nearest(np.asarray(linear_to_srgb(seen.partial)), np.asarray(seen.skin_mask))


@partial(jax.jit, static_argnames="config")
def _blend(
    seen: UnwrapResult, textures: UInt8[Array, "K T T 3"], vgg: Any, config: CorrelationConfig
) -> BlendResult:
    """Correlations are compared at 256 texels a side, whatever the texture's size, with the
    faces that are nearest at half of that."""
    kept = seen.skin_mask[..., None]
    texture = linear_to_srgb(kept * seen.partial + (1 - kept) * seen.low_frequency)

    def at(size: int) -> tuple[Array, Array]:
        return resize(texture, size), resize(kept, size)[..., 0]

    chosen = jnp.arange(len(textures))
    if len(textures) > SHORTLIST:
        apart = rank_database(*at(BLEND_SIZE // 2), textures, vgg, config)
        chosen = jnp.sort(jax.lax.top_k(-apart, SHORTLIST)[1])
    texture, mask = at(BLEND_SIZE)
    photo = correlate(texture, mask, vgg, config)
    masked, complete = correlate_database(textures[chosen], mask, vgg, config)
    result = blend(photo, masked, complete)
    return result.replace(weights=jnp.zeros(len(textures)).at[chosen].set(result.weights))


@jax.jit
def skin_free(model: FaceModel, texels: TexelMap) -> Float[Array, "T T"]:
    """Returns 1 on eyes and the inside of the mouth, which the albedo model paints whole, and on
    the gaps around their charts, from which bilinear lookups take a share."""
    parts = jnp.array([i for i, name in enumerate(model.region_names) if name in NO_SKIN])
    own = jnp.isin(texels.region_ids, parts) & texels.mask
    around = grow(own.astype(jnp.float32), max(2, own.shape[0] // 128))
    return jnp.where(texels.mask, own.astype(jnp.float32), around)


def _in_photo(fitted: FitResult, working: WorkingPhoto) -> FitResult:
    parameters = fitted.parameters
    return fitted.replace(
        parameters=parameters.replace(camera=to_photo_camera(parameters.camera, working)),
        landmarks=fitted.landmarks / working.scale + working.corner,
    )
