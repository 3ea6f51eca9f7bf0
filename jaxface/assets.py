"""Where the files of `pretrained/` are, and whether they are what they should be. Host code."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

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
    """Returns the arrays of an `.npz` asset. Raises `AssetError` if missing or unreadable."""
    file = path(name)
    try:
        with np.load(file, allow_pickle=False) as data:
            return {key: data[key] for key in data.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise AssetError(f"The asset {file} is damaged ({error}); reinstall jaxface.") from error
    except Exception as error:  # zipfile.BadZipFile and zlib.error share no base class
        raise AssetError(f"The asset {file} is damaged ({error}); reinstall jaxface.") from error


def checksum(file: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def manifest() -> dict[str, dict]:
    """Returns `pretrained/manifest.json`: name to sha256, bytes, source, version, licence."""
    return json.loads(path("manifest.json").read_text())
