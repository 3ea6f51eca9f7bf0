"""Hidden skin: known truth on real photos, without rendering.

Of the texels that a photo shows well, a part is hidden (`MASKS`), inferred from the rest by each
method, and compared with what was hidden. A line of a journal for each face, mask and method; a
second run over the same folder does what is missing.

What was hidden reaches no method: `hide` empties its texels in every map of colours and makes the
low-frequency albedo again without them. What the photo tells of shape, camera and light is kept, so
that both sides of the comparison are under one light.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.spatial.transform import Rotation

from jaxface.config import ReconstructConfig
from jaxface.errors import DetectionError, InputError
from jaxface.evaluation import scene
from jaxface.evaluation.benchmark import key, stem, view
from jaxface.evaluation.journal import append_to_journal, read_journal
from jaxface.evaluation.measures import Judge
from jaxface.evaluation.methods import METHODS, Case
from jaxface.evaluation.photo_measures import find_face
from jaxface.evaluation.truth import classes, face_texels
from jaxface.features.weights import load_alexnet
from jaxface.filters import log_encode, masked_blur
from jaxface.images import read_photo, write_png
from jaxface.morphable.albedo import albedo_texture
from jaxface.morphable.model import landmark_points
from jaxface.observe import pixel_classes
from jaxface.parsing.classes import BEARD
from jaxface.precision import jit
from jaxface.reconstruct import reconstruct_crops
from jaxface.rendering.texture import sample_image
from jaxface.types import Assets, Camera, FaceCrop, FitResult, Reconstruction, UnwrapResult
from jaxface.unwrapping.exposure import albedo_coefficients
from jaxface.unwrapping.membrane import texels_to_vertices, vertices_to_texels
from jaxface.unwrapping.regions import region_mask
from jaxface.unwrapping.tone import low_frequency_albedo
from jaxface.unwrapping.unwrap import MAX_LOG_RATIO
from jaxface.unwrapping.visible import project_texels, visibility_of

JOURNAL = "hidden.jsonl"
SETTING = "hidden skin"
STEPS = (
    *("ours", "refined", "uniform weights", "weighted average", "uniform average"),
    *("nearest face", "mirror", "low-frequency albedo"),
)
"""Methods that are compared unless others are named: the steps of ours, each alone, and what is
simpler."""
REGIONS: Mapping[str, tuple[tuple[int, ...], float]] = {
    "cheeks": ((205, 425), 0.022),
    "forehead": ((151, 108, 337), 0.022),
    "chin": ((199, 175), 0.017),
    "nose wings": ((129, 358, 98, 327), 0.010),
}
"""Regions hidden on both sides at once: landmarks of the face mesh, and the radius around them on
the mean face, metres."""
YAWS = (45, 60)
"""Degrees of a turned head, whose farther side is hidden."""
MASKS = ("half", *REGIONS, *(f"yaw {yaw}" for yaw in YAWS))
SURE, NO_BEARD = 0.9, 0.1  # skin mask and visibility from which, beard to which a texel is truth
KEPT = 0.5  # skin mask from which a texel that is not hidden counts as seen
FINE = 1.0  # least pixels per texel of truth: a coarser photo does not know it
_SHARP = 1e3  # pixels per texel that leave the photo as it is
_SPREAD = 1 / 128  # of the texture's side: Gaussian that continues colours into what is hidden
_DISTANCE, _FOCAL = 1.2, 1000.0  # metres and pixels, of the camera of `YAWS`
_PICTURE = 256  # pixels of the photo's picture
Say = Callable[[str], None]


@dataclass(frozen=True)
class Skin:
    """A photo's skin, of which `known` texels are truth.

    Attributes:
        photo_srgb: the crop around the face.
        seen: the unwrapped photo; its `pixels_per_texel` says that it is sharp, since what it shows
            is what is asked for.
        fit: of the face.
        known: well seen skin of the face, fine enough, without beard.
        texture_linear: the photo where it is known, elsewhere a completion that nobody judges.
    """

    photo_srgb: Float[np.ndarray, "S S 3"]
    seen: UnwrapResult
    fit: FitResult
    known: Bool[np.ndarray, "T T"]
    texture_linear: Float[np.ndarray, "T T 3"]


def read_skin(path: Path, assets: Assets, config: ReconstructConfig) -> Skin:
    """Returns the skin of a photo's largest face. Raises `DetectionError`, `InputError`."""
    _, crop = find_face(read_photo(path), assets)
    probabilities = pixel_classes(crop, assets.vgg, assets.parser)
    return skin_of(crop, probabilities, reconstruct_crops(crop, assets, config), assets, config)


def skin_of(
    crop: FaceCrop,
    probabilities: Float[Array, "S S K"],
    result: Reconstruction,
    assets: Assets,
    config: ReconstructConfig,
) -> Skin:
    """Returns the skin that a reconstructed crop shows.

    Args:
        crop: of the photo.
        probabilities: of its pixels' classes, from `pixel_classes`.
        result: its reconstruction.
        assets: with which it was made.
        config: with which it was made.
    """
    seen, camera = result.unwrapped, crop.crop.camera_to_crop(result.fit.parameters.camera)
    xy, _ = _project(result.fit, camera, assets, config)
    beard = sample_image(jnp.asarray(probabilities)[..., BEARD : BEARD + 1], xy)[..., 0]
    known = face_texels(assets.model, assets.texels) & (np.asarray(assets.painted) == 0)
    known &= (np.asarray(seen.skin_mask) > SURE) & (np.asarray(seen.visibility) > SURE)
    known &= (np.asarray(seen.pixels_per_texel) >= FINE) & (np.asarray(beard) < NO_BEARD)
    texture = np.where(known[..., None], seen.partial, result.synthesis.texture)
    sharp = seen.replace(pixels_per_texel=jnp.full(known.shape, _SHARP))
    return Skin(np.asarray(crop.srgb), sharp, result.fit, known, texture)


def check_mask(name: str) -> None:
    """Raises `InputError` if there is no such mask."""
    if name not in MASKS:
        raise InputError(f"There is no mask {name!r}; there are {', '.join(MASKS)}.")


def hidden_texels(
    mask: str, skin: Skin, assets: Assets, config: ReconstructConfig
) -> Bool[np.ndarray, "T T"]:
    """Returns which texels one of `MASKS` hides; of a face's two sides the one seen less."""
    check_mask(mask)
    model, texels = assets.model, assets.texels
    place = np.asarray(vertices_to_texels(model.mean, texels))
    left = place[..., 0] > 0
    side = 1 if skin.known[left].sum() <= skin.known[~left].sum() else -1
    if mask == "half":
        return side * place[..., 0] > 0
    if mask in REGIONS:
        numbers, radius = REGIONS[mask]
        centres = np.asarray(landmark_points(model, model.mean))[list(numbers)]
        distance = np.linalg.norm(place[..., None, :] - centres, axis=-1).min(-1)
        near = (distance < radius) & np.asarray(texels.mask)
        return near & (np.asarray(region_mask(model, texels, "skin", "nose")) > 0)
    rotation = Rotation.from_matrix(scene.head_rotation(side * float(mask.split()[1])))
    camera = Camera(
        rotation=jnp.asarray(rotation.as_rotvec(), jnp.float32),
        translation=jnp.array([0.0, 0.0, _DISTANCE]),
        focal=jnp.float32(_FOCAL),
        principal=jnp.zeros(2),
    )
    _, visible = _project(skin.fit, camera, assets, config)
    return np.asarray(visible < KEPT)


@jit
def _project(
    fit: FitResult, camera: Camera, assets: Assets, config: ReconstructConfig
) -> tuple[Float[Array, "T T 2"], Float[Array, "T T"]]:
    """Returns where a camera sees the texels, pixels, and how well, 0..1, as `see` does."""
    settings, texels = config.unwrap, assets.texels
    projection = project_texels(
        *(fit.vertices, camera, assets.model, texels),
        window=settings.window,
        tolerance=settings.depth_tolerance,
    )
    return projection.xy, visibility_of(projection.unoccluded, projection.facing, settings)


@jit
def hide(
    seen: UnwrapResult,
    fit: FitResult,
    hidden: Bool[Array, "T T"],
    assets: Assets,
    config: ReconstructConfig,
) -> tuple[UnwrapResult, FitResult]:
    """Returns an unwrapped photo and its fit as if the photo did not show some texels.

    Colours, visibility and skin mask are 0 there. The albedo coefficients, and from them the
    low-frequency albedo, are those of the other texels, as `unwrap` makes them; but painted regions
    and scalp, which are not hidden, keep theirs. The light and the shape stay.

    Args:
        seen: the unwrapped photo.
        fit: of the face.
        hidden: which texels.
        assets: of the stages.
        config: settings of `unwrap`.
    """
    model, texels, settings = assets.model, assets.texels, config.unwrap
    size = hidden.shape[0]
    shown = jnp.where(hidden, 0.0, 1.0)
    mask, partial = shown * seen.skin_mask, shown[..., None] * seen.partial
    # Coefficients are of a coarser texture, whose texels at the border would be mixed with black.
    around = masked_blur(partial, mask, _SPREAD * size, floor=1e-6)
    filled = jnp.where(hidden[..., None], around, partial)
    coefficients = albedo_coefficients(filled, mask, model, settings.exposure)
    albedo = albedo_texture(model, coefficients, size)
    log_ratio = log_encode(partial) - log_encode(albedo)
    log_ratio = jnp.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO)
    tone, weights = texels_to_vertices(log_ratio, mask, model, texels)
    smooth = low_frequency_albedo(albedo, tone, weights, model, texels, settings)
    stays = jnp.maximum(assets.painted, region_mask(model, texels, "scalp"))[..., None]
    unwrapped = seen.replace(
        radiance=shown[..., None] * seen.radiance,
        partial=partial,
        visibility=shown * seen.visibility,
        skin_mask=mask,
        low_frequency=stays * seen.low_frequency + (1 - stays) * smooth,
    )
    return unwrapped, fit.replace(parameters=fit.parameters.replace(albedo=coefficients))


def run(
    folder: Path,
    photos: Sequence[Path],
    assets: Assets,
    config: ReconstructConfig,
    *,
    masks: Sequence[str] = MASKS,
    methods: Sequence[str] = STEPS,
    read: Callable[[Path, Assets, ReconstructConfig], Skin] = read_skin,
    say: Say = print,
) -> list[dict[str, Any]]:
    """Returns the journal after judging what it does not hold.

    Args:
        folder: where the journal and the pictures are.
        photos: files, of one person each.
        assets: of the pipeline.
        config: of the pipeline, without `refine`.
        masks: names of `MASKS`.
        methods: names of `METHODS`.
        read: returns the skin of a photo.
        say: told what has been done.
    """
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    done = {key(row) for row in read_journal(folder / JOURNAL)}
    alexnet = load_alexnet()
    for number, path in enumerate(photos, start=1):
        rows = [
            {"setting": SETTING, "face": path.stem, "condition": mask,
             "quality": config.quality, "size": config.size, "method": method}
            for mask in masks for method in methods
        ]  # fmt: skip
        missing = [row for row in rows if key(row) not in done]
        if not missing:
            continue
        since = time.monotonic()
        try:
            skin = read(path, assets, config)
        except (DetectionError, InputError) as error:
            append_to_journal(folder / JOURNAL, [row | {"failed": str(error)} for row in missing])
            say(f"{number}/{len(photos)} {path.name}: {error}")
            continue
        for mask in dict.fromkeys(row["condition"] for row in missing):
            of_mask = [row for row in missing if row["condition"] == mask]
            _judge(folder, of_mask, skin, assets, config, alexnet)
        say(f"{number}/{len(photos)} {path.name}: {time.monotonic() - since:.0f} s")
    return read_journal(folder / JOURNAL)


def hidden_case(
    mask: str, skin: Skin, assets: Assets, config: ReconstructConfig
) -> tuple[Case, dict[str, Bool[np.ndarray, "T T"]]]:
    """Returns what the methods are given under a mask, and the known texels by their class:
    `seen`, not hidden; `mirrored`, hidden but seen on the other side; `unobserved`."""
    hidden = hidden_texels(mask, skin, assets, config)
    seen, fit = hide(skin.seen, skin.fit, jnp.asarray(hidden), assets, config)
    found = classes(skin.known, np.asarray(seen.skin_mask) > KEPT)
    if mask not in REGIONS:  # scraps at the rims, whose mirror image the photo does not show
        found["unobserved"][:] = False
    return Case(seen, fit, assets, config), found


def _judge(
    folder: Path,
    rows: Iterable[dict[str, Any]],
    skin: Skin,
    assets: Assets,
    config: ReconstructConfig,
    alexnet: Any,
) -> None:
    """Writes the rows of one mask, which lack only their measures, and their pictures."""
    rows = list(rows)
    case, found = hidden_case(rows[0]["condition"], skin, assets, config)
    shading = np.asarray(skin.seen.shading).mean(-1)
    judge = Judge(skin.texture_linear, found, shading, assets.vgg, alexnet)
    pictures = folder / "pictures" / stem(rows[0])
    pictures.mkdir(parents=True, exist_ok=True)
    photo = jax.image.resize(skin.photo_srgb, (_PICTURE, _PICTURE, 3), "linear")
    write_png(pictures / "photo.png", np.asarray(photo))
    kept = np.asarray(case.seen.partial) * np.asarray(case.seen.skin_mask)[..., None]
    vertices = np.asarray(skin.fit.vertices, float)
    _write(pictures, "seen", kept, None)
    _write(pictures, "truth", skin.texture_linear, view(case, vertices, skin.texture_linear, 0))
    for row in rows:
        since = time.monotonic()
        texture = METHODS[row["method"]](case)
        seconds = round(time.monotonic() - since, 2)
        # Elsewhere nothing is known; windows and receptive fields that reach there see the same.
        judged = np.where(skin.known[..., None], texture, skin.texture_linear)
        _write(pictures, row["method"], texture, view(case, vertices, texture, 0))
        line = row | {"seconds": seconds, "measures": judge(judged)}
        append_to_journal(folder / JOURNAL, [line])


def _write(folder: Path, name: str, texture_linear: np.ndarray, picture: np.ndarray | None) -> None:
    """Writes a texture and a view of it into a folder."""
    write_png(folder / f"texture {name}.png", scene.encode_srgb(texture_linear))
    if picture is not None:
        write_png(folder / f"view {name}.png", picture)
