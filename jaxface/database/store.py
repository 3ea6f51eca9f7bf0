"""The texture database: a folder of pictures in the canonical UV and `database.json`."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, UInt8

from jaxface import assets
from jaxface.errors import AssetError


@struct.dataclass
class Database:
    """Complete textures of K faces, sRGB, in the canonical UV, and their names."""

    textures: UInt8[Array, "K T T 3"]
    names: tuple[str, ...] = struct.field(pytree_node=False)


def load_database(path: str | Path | None = None, *, size: int = 512) -> Database:
    """Returns the database of a folder, its textures resized.

    Args:
        path: a folder with `database.json`; the embedded database if missing.
        size: T.

    Raises:
        AssetError: the folder, its list or one of its pictures is missing or damaged.

    Example:
        >>> load_database(size=64).textures.shape
        (20, 64, 64, 3)
    """
    folder = assets.path("database") if path is None else Path(path)
    try:
        names = tuple(json.loads((folder / "database.json").read_text())["faces"])
        textures = [iio.imread(folder / f"{name}.webp", plugin="pillow")[..., :3] for name in names]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssetError(f"The texture database {folder} cannot be read ({error}).") from error
    if len(names) < 2 or any(t.shape != textures[0].shape for t in textures):
        raise AssetError(f"The database {folder} needs two or more textures of one size.")
    stack = np.stack([_resize(texture, size) for texture in textures])
    return Database(textures=jnp.asarray(stack), names=names)


def save_database(folder: Path, textures: dict[str, np.ndarray], *, source: str) -> None:
    """Writes textures (name to sRGB `[T, T, 3]`, 0..1) as a database, replacing its files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, texture in textures.items():
        picture = np.round(np.clip(texture, 0, 1) * 255).astype(np.uint8)
        iio.imwrite(folder / f"{name}.webp", picture, quality=92, method=6)
    listing = {"faces": sorted(textures), "source": source, "uv": "jaxface canonical UV 1"}
    (folder / "database.json").write_text(json.dumps(listing, indent=1) + "\n")


def _resize(texture: np.ndarray, size: int) -> np.ndarray:
    if texture.shape[0] == size:
        return texture
    resized = jax.image.resize(texture.astype(np.float32), (size, size, 3), "linear")
    return np.round(np.clip(np.asarray(resized), 0, 255)).astype(np.uint8)
