"""Builds a texture database from portraits, or from skins in MakeHuman's UV.

Each portrait is reconstructed like any photo; what is graded too low is rejected with a reason,
which the database's list keeps, so that a second run does not try again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import imageio.v3 as iio
import jax.numpy as jnp
import numpy as np

from jaxface.config import ReconstructConfig
from jaxface.database import add_face, read_list
from jaxface.database.store import FORMAT, LIST, UV, write_list
from jaxface.errors import InputError, JaxfaceError
from jaxface.images import read_photo
from jaxface.landmarks.detector import detect
from jaxface.morphable.albedo import albedo_texture
from jaxface.names import decodable
from jaxface.reconstruct import reconstruct
from jaxface.rendering.color import linear_to_srgb
from jaxface.skins import makehuman, mouth_colours
from jaxface.types import Assets, Reconstruction

OnFace = Callable[[str, str | None], None]
"""Called with a face's name, and with why it is rejected or None."""

# A portrait is rejected beyond these: stricter, and fewer portraits are left to infer from.
MAX_LANDMARK_ERROR = 0.045  # fraction of the eyes' distance
MIN_SKIN_MASK = 0.14  # mean over the texture
MIN_PIXELS_PER_TEXEL = 0.35  # median over visible skin
MAX_CLIPPED = 0.06  # fraction of visible skin that is black or overexposed
DARKEST, BRIGHTEST = 0.003, 0.98  # linear radiance outside of which a texel is clipped


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


def face_name(file: Path) -> str:
    """Returns the name of a picture's face: its stem, `_` in place of what a name may not hold."""
    return re.sub(r"[^\w-]", "_", file.stem)


def name_faces(files: Iterable[Path]) -> dict[str, Path]:
    """Returns pictures by `face_name`. Raises `InputError` if two would have one name."""
    named: dict[str, Path] = {}
    for file in files:
        other = named.setdefault(face_name(file), file)
        if other != file:
            raise InputError(f"{other} and {file} would be faces of one name; rename one of them.")
    return named


def add_portraits(
    folder: Path, photos: list[Path], assets: Assets, config: ReconstructConfig, on_face: OnFace
) -> int:
    """Returns how many portraits were added to a database; others are rejected with a reason.

    Args:
        folder: of the database, from `prepare`.
        photos: names that the database has or has rejected are left out.
        assets: whose database completes what a portrait does not show.
        config: its size is the textures'.
        on_face: called for each portrait.

    Raises:
        InputError: two portraits would be faces of one name.
    """
    added = 0
    for name, photo in name_faces(photos).items():
        listing = read_list(folder)
        known = {entry["name"] for entry in listing["faces"]} | set(listing.get("rejected", {}))
        if name in known:
            continue
        try:
            result = _reconstruct(photo, assets, config)
            reason = grade(result)
        except JaxfaceError as error:
            reason = str(error)
        if reason is None:
            texture = np.asarray(linear_to_srgb(result.synthesis.texture))
            seen = float(result.unwrapped.skin_mask.mean())
            add_face(
                folder, name, texture, metadata={"portrait": decodable(photo.name), "seen": seen}
            )
            added += 1
        else:
            rejected = {**listing.get("rejected", {}), name: reason}
            write_list(folder, listing | {"rejected": rejected})
        on_face(name, reason)
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
    visible = result.unwrapped.skin_mask > 0.5
    fraction = float(visible.mean())
    if float(result.fit.landmark_error) > MAX_LANDMARK_ERROR:
        return f"the face model fits badly ({100 * float(result.fit.landmark_error):.1f} %)"
    if fraction < MIN_SKIN_MASK:
        return f"too little of the face is seen ({100 * fraction:.0f} % of the texture)"
    resolution = float(jnp.median(result.unwrapped.pixels_per_texel[visible]))
    if resolution < MIN_PIXELS_PER_TEXEL:
        return f"the face is too small or too noisy ({resolution:.2f} pixels a texel)"
    radiance = result.unwrapped.radiance[visible].mean(-1)
    clipped = float(((radiance < DARKEST) | (radiance > BRIGHTEST)).mean())
    if clipped > MAX_CLIPPED:
        return f"{100 * clipped:.0f} % of the skin is black or overexposed"
    return None


def add_skins(folder: Path, files: list[Path], assets: Assets, on_face: OnFace) -> int:
    """Returns how many skins in MakeHuman's UV were added; eyes and mouth are the face model's.

    Raises `InputError` if two skins would be faces of one name.
    """
    named = name_faces(files)
    size = assets.texels.mask.shape[0]
    where = makehuman.layout(assets.model, size)
    eyes = where.part("eyes")
    mean = np.asarray(albedo_texture(assets.model, jnp.zeros(len(assets.model.albedo_names)), size))
    known = {entry["name"] for entry in read_list(folder)["faces"]}
    added = 0
    for name, file in named.items():
        if name in known:
            continue
        try:
            picture = iio.imread(file, plugin="pillow", mode="RGB").astype(np.float32) / 255
        except (OSError, ValueError) as error:
            on_face(name, f"it is no picture ({error})")
            continue
        skin = makehuman.Skin(name, dark=False, old=False, picture=picture)
        srgb = makehuman.resample(skin, where)
        linear = np.where(srgb < 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        linear = mouth_colours.lay_over(linear, where)
        linear[eyes] = mean[eyes]
        texture = np.asarray(linear_to_srgb(jnp.asarray(linear, jnp.float32)))
        texture = makehuman.dilate(texture, where)
        add_face(folder, name, texture, metadata={"skin": decodable(file.name)})
        on_face(name, None)
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
