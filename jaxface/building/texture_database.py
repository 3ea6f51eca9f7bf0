"""Builds a texture database from portraits, or from skins in MakeHuman's UV.

Each portrait is reconstructed like any photo; what is graded too low is rejected with a reason,
which the database's list keeps, so that a second run does not try again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import imageio.v3 as iio
import jax.numpy as jnp
import numpy as np

from jaxface.building import mouth_colours, skins
from jaxface.database import add_face, read_list
from jaxface.database.store import FORMAT, LIST, UV, write_list
from jaxface.errors import InputError, JaxfaceError
from jaxface.images import read_photo
from jaxface.landmarks.detector import detect
from jaxface.morphable.albedo import albedo_texture
from jaxface.pipeline import Assets, ReconstructConfig, reconstruct
from jaxface.rendering.color import linear_to_srgb
from jaxface.types import Reconstruction

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".heic", ".avif"}
Told = Callable[[str, str | None], None]

# A portrait is rejected beyond these.
_LANDMARK_ERROR = 0.045  # share of the eyes' distance
_SEEN = 0.14  # share of the square
_FOOTPRINT = 0.35  # pixels of the photo to a texel
_BURNT = 0.06  # share of the seen that is black or white


def prepare(folder: Path, *, source: str, resume: bool) -> None:
    """Makes the folder of a database. Raises `InputError` if there is one and not `resume`."""
    if (folder / LIST).exists():
        if not resume:
            raise InputError(f"{folder} holds a database already; add --resume to go on with it.")
        return
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} holds something else than a database; choose another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_list(folder, {"format": FORMAT, "uv": UV, "source": source, "faces": []})
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}.") from error


def find_pictures(paths: Iterable[Path]) -> list[Path]:
    """Returns the pictures among files and in folders, sorted. Raises `InputError` if none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += [f for f in path.rglob("*") if f.suffix.lower() in PICTURES]
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"{path} does not exist.")
    if not found:
        raise InputError("There is no picture to add.")
    return sorted(found)


def add_portraits(
    folder: Path, photos: list[Path], assets: Assets, config: ReconstructConfig, told: Told
) -> int:
    """Returns how many portraits were added to a database; others are rejected with a reason.

    Args:
        folder: of the database, from `prepare`.
        photos: names that the database has or has rejected are left out.
        assets: whose database completes what a portrait does not show.
        config: its size is the textures'.
        told: called with each name and None or the reason.
    """
    added = 0
    for photo in photos:
        listing = read_list(folder)
        known = {entry["name"] for entry in listing["faces"]} | set(listing.get("rejected", {}))
        if photo.stem in known:
            continue
        try:
            result = _reconstruct(photo, assets, config)
            reason = grade(result)
        except JaxfaceError as error:
            reason = str(error)
        if reason is None:
            texture = np.asarray(linear_to_srgb(result.synthesis.texture))
            seen = float(result.unwrapped.skin_mask.mean())
            add_face(folder, photo.stem, texture, about={"portrait": photo.name, "seen": seen})
            added += 1
        else:
            rejected = {**listing.get("rejected", {}), photo.stem: reason}
            write_list(folder, listing | {"rejected": rejected})
        told(photo.stem, reason)
    return added


def _reconstruct(photo: Path, assets: Assets, config: ReconstructConfig) -> Reconstruction:
    portrait = read_photo(photo)
    found = detect(portrait.srgb, assets.networks)
    return reconstruct(
        jnp.asarray(portrait.srgb),
        found.landmarks[0],
        assets,
        config,
        blendshapes=found.blendshapes[0],
        focal=portrait.focal,
    )


def grade(result: Reconstruction) -> str | None:
    """Returns why a portrait is not fit for a database, or None."""
    seen = result.unwrapped.skin_mask > 0.5
    share = float(seen.mean())
    if float(result.fit.landmark_error) > _LANDMARK_ERROR:
        return f"the face model fits badly ({100 * float(result.fit.landmark_error):.1f} %)"
    if share < _SEEN:
        return f"too little of the face is seen ({100 * share:.0f} % of the texture)"
    footprint = float(jnp.median(result.unwrapped.footprint[seen]))
    if footprint < _FOOTPRINT:
        return f"the face is too small or too noisy ({footprint:.2f} legible pixels a texel)"
    radiance = result.unwrapped.radiance[seen].mean(-1)
    burnt = float(((radiance < 0.003) | (radiance > 0.98)).mean())
    if burnt > _BURNT:
        return f"{100 * burnt:.0f} % of the skin is black or burnt out"
    return None


def add_skins(folder: Path, files: list[Path], assets: Assets, told: Told) -> int:
    """Returns how many skins in MakeHuman's UV were added; eyes and mouth are the face model's."""
    size = assets.texels.mask.shape[0]
    where = skins.layout(assets.model, size)
    eyes = where.part("eyes")
    mean = np.asarray(albedo_texture(assets.model, jnp.zeros(len(assets.model.albedo_names)), size))
    known = {entry["name"] for entry in read_list(folder)["faces"]}
    added = 0
    for file in files:
        if file.stem in known:
            continue
        try:
            picture = iio.imread(file, plugin="pillow", mode="RGB").astype(np.float32) / 255
        except (OSError, ValueError) as error:
            told(file.stem, f"it is no picture ({error})")
            continue
        skin = skins.Skin(file.stem, dark=False, old=False, picture=picture)
        srgb = skins.resample(skin, where)
        linear = np.where(srgb < 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        linear = mouth_colours.lay_over(linear, where)
        linear[eyes] = mean[eyes]
        texture = np.asarray(linear_to_srgb(jnp.asarray(linear, jnp.float32)))
        add_face(folder, file.stem, skins.dilate(texture, where), about={"skin": file.name})
        told(file.stem, None)
        added += 1
    return added


def contact_sheet(folder: Path, *, tile: int = 128, columns: int = 8) -> np.ndarray:
    """Returns all faces of a database side by side, sRGB `[H, W, 3]` bytes."""
    names = [entry["name"] for entry in read_list(folder)["faces"]]
    rows = -(-max(len(names), 1) // columns)
    sheet = np.zeros((rows * tile, columns * tile, 3), np.uint8)
    for index, name in enumerate(names):
        texture = iio.imread(folder / f"{name}.webp", plugin="pillow", mode="RGB")
        step = max(1, texture.shape[0] // tile)
        small = texture[: step * tile, : step * tile].reshape(tile, step, tile, step, 3)
        row, column = divmod(index, columns)
        place = slice(row * tile, (row + 1) * tile), slice(column * tile, (column + 1) * tile)
        sheet[place] = small.mean((1, 3)).astype(np.uint8)
    return sheet
