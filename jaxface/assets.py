"""Where the files of `pretrained/` are, and whether they are what they should be. Host code."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from jaxface.errors import AssetError

_PACKAGE = Path(__file__).resolve().parent


def folder() -> Path:
    """Returns the folder of the assets: `$JAXFACE_ASSETS`, the installed one, or the checkout's."""
    if chosen := os.environ.get("JAXFACE_ASSETS"):
        return Path(chosen)
    installed = _PACKAGE / "pretrained"
    return installed if installed.is_dir() else _PACKAGE.parent / "pretrained"


def path(name: str) -> Path:
    """Returns the path of an asset. Raises `AssetError` if it is missing."""
    file = folder() / name
    if not file.exists():
        raise AssetError(
            f"The asset {name} is missing from {folder()}; reinstall jaxface or set JAXFACE_ASSETS."
        )
    return file


def load_npz(name: str) -> dict[str, np.ndarray]:
    """Returns the arrays of an `.npz` asset.

    Args:
        name: path inside the folder of the assets.

    Raises:
        AssetError: the file is missing or cannot be read.
    """
    file = path(name)
    try:
        with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as data:
            return {key: data[key] for key in data.files}
    except (OSError, ValueError, EOFError, KeyError, BadZipFile, zlib.error) as error:
        raise AssetError(f"The asset {file} is damaged ({error}); reinstall jaxface.") from error


def checksum(file: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def manifest() -> dict[str, dict]:
    """Returns `pretrained/manifest.json`: name to sha256, bytes, source and licence.

    Raises:
        AssetError: it is missing or not JSON.
    """
    file = path("manifest.json")
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise AssetError(f"The list of assets {file} is damaged; reinstall jaxface.") from error


def verify() -> int:
    """Returns the number of assets after comparing each with its checksum.

    Raises:
        AssetError: one is missing or differs.
    """
    entries = manifest()
    for name, entry in entries.items():
        if checksum(path(name)) != entry["sha256"]:
            raise AssetError(f"The asset {path(name)} is damaged; reinstall jaxface.")
    return len(entries)
