"""The texture database: a folder of pictures in the canonical UV and their list.

    database.json        version, source, and of each face: name, checksums, what is known of it
    NAME.webp            albedo, sRGB
    NAME.height.webp     height, grey: 128 is none, a level is `HEIGHT_LEVEL_MM` millimetres
    NAME.specular.webp   how strongly the skin reflects, grey

A face is added by writing its pictures first and replacing the list last, so that a folder is
whole at every moment; what is not in the list does not count.
"""

from __future__ import annotations

import json
import os
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
_SPECULAR_SIZE = 256
# Name, sRGB albedo 0..1, height in millimetres, specular 0..1, what else is known.
FaceRecord = tuple[str, np.ndarray, np.ndarray | None, np.ndarray | None, dict[str, Any]]


def load_database(path: str | Path | None = None, *, size: int = 512) -> Database:
    """Returns the database of a folder, its textures resized. Host function.

    Args:
        path: a folder with `database.json`; the embedded database if missing.
        size: T.

    Raises:
        AssetError: the folder, its list or one of its pictures is missing or damaged.

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
        pictures = pool.map(lambda name: load_pictures(folder, name, size), names)
        for index, (texture, height) in enumerate(pictures):
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


def load_pictures(folder: Path, name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns one face's albedo `[T, T, 3]` and height `[T, T]`, as in `Database`.

    Raises:
        AssetError: a picture is missing or damaged.
    """
    texture = _resize(_read(folder / f"{name}.webp"), size)
    if not (folder / f"{name}.height.webp").exists():
        return texture, np.full((size, size), 128, np.uint8)
    height = _read(folder / f"{name}.height.webp")[..., :1]
    return texture, _resize(height, size)[..., 0]


def database_id(path: str | Path | None = None) -> str:
    """Returns what tells a database from others: 16 hexadecimal digits of its list's SHA-256.

    The list holds the checksums of the pictures. Raises `AssetError` if it is missing.
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
    """Writes faces as a new database, in place of what was there."""
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
    about: dict[str, Any] | None = None,
) -> None:
    """Appends a face to a database.

    Args:
        folder: of the database.
        name: of the face; it becomes a file's name.
        albedo: sRGB `[T, T, 3]`, 0..1.
        height: millimetres `[T, T]`.
        specular: `[T, T]`, 0..1.
        about: what else is known of the face, for the list.

    Raises:
        InputError: there is a face of that name, or it is no name for a file.
        AssetError: the database is damaged.
    """
    listing = read_list(folder)
    if Path(name).name != name or name.startswith("."):
        raise InputError(f"{name!r} is no name for a face of a database.")
    if any(entry["name"] == name for entry in listing["faces"]):
        raise InputError(f"The database {folder} has a face named {name} already.")
    pictures = {f"{name}.webp": (albedo, 94)}
    if height is not None:
        pictures[f"{name}.height.webp"] = (128 / 255 + height / HEIGHT_LEVEL_MM / 255, 75)
    if specular is not None:
        small = jax.image.resize(jnp.asarray(specular), [_SPECULAR_SIZE] * 2, "linear")
        pictures[f"{name}.specular.webp"] = (np.asarray(small), 75)
    checksums = {}
    for file, (picture, quality) in pictures.items():
        levels = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
        iio.imwrite(folder / file, levels, quality=quality, method=6)
        checksums[file] = assets.checksum(folder / file)
    listing["faces"].append({"name": name, "files": checksums, "about": about or {}})
    write_list(folder, listing)


def remove_face(folder: Path, name: str) -> None:
    """Takes a face out of a database. Raises `InputError` if it has none of that name."""
    listing = read_list(folder)
    kept = [entry for entry in listing["faces"] if entry["name"] != name]
    if len(kept) == len(listing["faces"]):
        raise InputError(f"The database {folder} has no face named {name}.")
    write_list(folder, listing | {"faces": kept})
    for file in folder.glob(f"{name}.*webp"):
        file.unlink()


def verify_database(folder: Path) -> int:
    """Returns the number of faces after comparing each picture with its checksum.

    Raises:
        AssetError: the list is damaged, or a picture is missing or differs.
    """
    faces = read_list(folder)["faces"]
    for entry in faces:
        for file, checksum in entry.get("files", {}).items():
            if not (folder / file).exists() or assets.checksum(folder / file) != checksum:
                raise AssetError(f"The picture {folder / file} is missing or damaged.")
    return len(faces)


def write_list(folder: Path, listing: dict[str, Any]) -> None:
    """Replaces the list in one step, so that a reader never sees half of it."""
    work = folder / f".{LIST}"
    work.write_text(json.dumps(listing, indent=1) + "\n")
    os.replace(work, folder / LIST)


def _read(file: Path) -> np.ndarray:
    try:
        return iio.imread(file, plugin="pillow", mode="RGB")
    except (OSError, ValueError) as error:
        raise AssetError(f"The picture {file} cannot be read ({error}).") from error


def _resize(texture: np.ndarray, size: int) -> np.ndarray:
    if texture.shape[0] == size:
        return texture
    if texture.ndim != 3 or texture.shape[0] != texture.shape[1]:
        raise AssetError(f"A texture of the database has the shape {texture.shape}, not square.")
    if texture.shape[0] % size == 0:  # means of whole blocks: fast, and without aliasing
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
