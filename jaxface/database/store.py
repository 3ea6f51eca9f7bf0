"""The texture database: a folder of images in the canonical UV and their list.

    database.json        `format` (version), `uv` (name of the UV layout), `source`, and `faces`:
                         of each its `name`, `files` (SHA-256 of each image), `about` (metadata)
    NAME.webp            albedo, sRGB
    NAME.height.webp     height h, grey: level 128 + h / `HEIGHT_LEVEL_MM`, clipped to 8 bits:
                         -0.32 to 0.3175 mm
    NAME.specular.webp   specular factor 0..1, grey, 256 x 256

A name holds letters, digits, `_` and `-` alone, so that no face's file name is another's. A face is
added by writing its images first and replacing the list last, so that a folder is consistent at
every moment; files that are not in the list are ignored.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import jax
import jax.numpy as jnp
import numpy as np

from jaxface import assets
from jaxface.errors import AssetError, InputError
from jaxface.types import HEIGHT_LEVEL_MM, Database

LIST, FORMAT, UV = "database.json", 2, "jaxface canonical UV 1"
_SPECULAR_SIZE = 256  # texels a side
# WebP's lossy quality, file size against error: the albedo is what is seen of a face.
_ALBEDO_QUALITY, _MAP_QUALITY = 94, 75
# Name, sRGB albedo 0..1, height in millimetres, specular 0..1, metadata.
FaceRecord = tuple[str, np.ndarray, np.ndarray | None, np.ndarray | None, dict[str, Any]]


def load_database(path: str | Path | None = None, *, size: int = 512) -> Database:
    """Returns the database of a folder, its textures and heights resized. Host function.

    Args:
        path: a folder with `database.json`; the embedded database if missing.
        size: T, texels.

    Raises:
        AssetError: the folder, its list or one of its images is missing or damaged.

    Example:
        >>> load_database(size=64).textures.shape  # doctest: +SKIP
        (64, 64, 64, 3)
    """
    folder = assets.path("database") if path is None else Path(path)
    names = face_names(folder)
    if len(names) < 2:
        raise AssetError(f"The database {folder} needs two or more textures.")
    textures = np.empty((len(names), size, size, 3), np.uint8)
    heights = np.empty((len(names), size, size), np.uint8)
    with ThreadPoolExecutor() as pool:  # decoding releases Python's lock
        images = pool.map(lambda name: load_images(folder, name, size), names)
        for index, (texture, height) in enumerate(images):
            textures[index], heights[index] = texture, height
    return Database(jnp.asarray(textures), jnp.asarray(heights), jnp.arange(len(names)))


def face_names(path: str | Path | None = None) -> tuple[str, ...]:
    """Returns the names of a database's faces, in the order of its list.

    Args:
        path: a folder with `database.json`; the embedded database if missing.

    Raises:
        AssetError: the folder or its list is missing or damaged.
    """
    folder = assets.path("database") if path is None else Path(path)
    return tuple(entry["name"] for entry in read_list(folder)["faces"])


def load_images(folder: Path, name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns one face's albedo `[T, T, 3]` and height `[T, T]`, as in `Database`.

    Raises:
        AssetError: an image is missing or damaged.
    """
    texture = _resize(_read(folder / f"{name}.webp"), size)
    if not (folder / f"{name}.height.webp").exists():
        return texture, np.full((size, size), 128, np.uint8)
    height = _read(folder / f"{name}.height.webp")[..., :1]
    return texture, _resize(height, size)[..., 0]


def database_id(path: str | Path | None = None) -> str:
    """Returns a fingerprint of a database: 16 hexadecimal digits of its list's SHA-256.

    The list holds the checksums of the images. Raises `AssetError` if it is missing or damaged.
    """
    folder = assets.path("database") if path is None else Path(path)
    read_list(folder)
    return assets.checksum(folder / LIST)[:16]


def read_list(folder: Path) -> dict[str, Any]:
    """Returns the list of a database. Raises `AssetError` if it is missing or damaged."""
    try:
        listing = json.loads((folder / LIST).read_text())
        if listing["format"] != FORMAT or listing["uv"] != UV:
            raise ValueError("made by another version of jaxface")
        if not all(isinstance(entry["name"], str) for entry in listing["faces"]):
            raise ValueError("a face without a name")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssetError(f"The texture database {folder} cannot be read ({error}).") from error
    return listing


def save_database(folder: Path, faces: Iterable[FaceRecord], *, source: str) -> None:
    """Writes faces as a new database; one that is in the folder is deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LIST).unlink(missing_ok=True)
    for file in folder.glob("*.webp"):
        file.unlink()
    write_list(folder, {"format": FORMAT, "uv": UV, "source": source, "faces": []})
    for face in faces:
        add_face(folder, *face)


def add_face(
    folder: Path,
    name: str,
    albedo: np.ndarray,
    height: np.ndarray | None = None,
    specular: np.ndarray | None = None,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Appends a face to a database.

    Args:
        folder: of the database.
        name: of the face, and of its files: letters, digits, `_` and `-`.
        albedo: sRGB `[T, T, 3]`, 0..1.
        height: millimetres `[T, T]`; clipped to -0.32..0.3175.
        specular: `[T, T]`, 0..1; resized to 256 x 256.
        metadata: stored in the list as `about`; anything that JSON can hold.

    Raises:
        InputError: there is a face of that name, or the name holds another character.
        AssetError: the database is damaged.
    """
    listing = read_list(folder)
    if not re.fullmatch(r"[\w-]+", name):
        raise InputError(
            f"{name!r} is no name for a face of a database: use letters, digits, _ and -."
        )
    if any(entry["name"] == name for entry in listing["faces"]):
        raise InputError(f"The database {folder} has a face named {name} already.")
    files = _files(name)
    images = {files[0]: (albedo, _ALBEDO_QUALITY)}
    if height is not None:
        images[files[1]] = (128 / 255 + height / HEIGHT_LEVEL_MM / 255, _MAP_QUALITY)
    if specular is not None:
        small = jax.image.resize(jnp.asarray(specular), [_SPECULAR_SIZE] * 2, "linear")
        images[files[2]] = (np.asarray(small), _MAP_QUALITY)
    checksums = {}
    for file, (image, quality) in images.items():
        levels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
        iio.imwrite(folder / file, levels, quality=quality, method=6)
        checksums[file] = assets.checksum(folder / file)
    listing["faces"].append({"name": name, "files": checksums, "about": metadata or {}})
    write_list(folder, listing)


def remove_face(folder: Path, name: str) -> None:
    """Deletes a face and its images. Raises `InputError` if the database has none of that name."""
    listing = read_list(folder)
    kept = [entry for entry in listing["faces"] if entry["name"] != name]
    if len(kept) == len(listing["faces"]):
        raise InputError(f"The database {folder} has no face named {name}.")
    write_list(folder, listing | {"faces": kept})
    for file in _files(name):
        (folder / file).unlink(missing_ok=True)


def verify_database(folder: Path) -> int:
    """Returns the number of faces after comparing each image with its checksum.

    Raises:
        AssetError: the list is damaged, or an image is missing or differs.
    """
    faces = read_list(folder)["faces"]
    for entry in faces:
        for file, checksum in entry.get("files", {}).items():
            if not (folder / file).exists() or assets.checksum(folder / file) != checksum:
                raise AssetError(f"The picture {folder / file} is missing or damaged.")
    return len(faces)


def write_list(folder: Path, listing: dict[str, Any]) -> None:
    """Replaces the list in one step, so that a reader never sees half of it."""
    temporary = folder / f".{LIST}"
    temporary.write_text(json.dumps(listing, indent=1) + "\n")
    os.replace(temporary, folder / LIST)


def _files(name: str) -> tuple[str, str, str]:
    """Returns the names of a face's files: albedo, height, specular."""
    return f"{name}.webp", f"{name}.height.webp", f"{name}.specular.webp"


def _read(file: Path) -> np.ndarray:
    try:
        return iio.imread(file, plugin="pillow", mode="RGB")
    except (OSError, ValueError) as error:
        raise AssetError(f"The picture {file} cannot be read ({error}).") from error


def _resize(texture: np.ndarray, size: int) -> np.ndarray:
    """Returns a square texture of bytes at another size, by means of blocks where they fit."""
    if texture.shape[0] == size:
        return texture
    if texture.ndim != 3 or texture.shape[0] != texture.shape[1]:
        raise AssetError(f"A texture of the database has the shape {texture.shape}, not square.")
    if texture.shape[0] % size == 0:
        step = texture.shape[0] // size
        total = np.zeros((size, size, texture.shape[-1]), np.uint32)
        for row in range(step):
            for column in range(step):
                total += texture[row::step, column::step]
        resized = total / np.float32(step**2)
    else:
        shape = (size, size, texture.shape[-1])
        resized = np.asarray(jax.image.resize(texture.astype(np.float32), shape, "linear"))
    return np.round(np.clip(resized, 0, 255)).astype(np.uint8)
