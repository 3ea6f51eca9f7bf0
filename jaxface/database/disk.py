"""A database too large for memory: its textures stay on disk, the nearest ones are read.

The packed textures (`textures-SIZE.u8`, K x T x T x 3 bytes) and thumbnails lie beside the
pictures and are mapped into memory; they are made when they are missing or older than the list.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxface import assets
from jaxface.database.features import StoredFeatures
from jaxface.database.store import LIST, face_names, load_database, load_pictures, read_list
from jaxface.types import Database

THUMBNAIL = 64
LARGE = 128  # faces


@jax.tree_util.register_static
class DiskDatabase:
    """The faces of a large database. `nearest` finds those that a photo needs, `take` reads them.

    Attributes:
        names: of the faces.
        textures: sRGB `[K, T, T, 3]`, memory-mapped.
        heights: `[K, T, T]`, memory-mapped; see `Database`.
        thumbnails: sRGB `[K, 64, 64, 3]`, memory-mapped.
        features: VGG-16's features of the faces, where the blend is to do without passes of VGG.
    """

    features: StoredFeatures | None = None

    def __init__(self, folder: str | Path, *, size: int = 512) -> None:
        """Opens a database. Raises `AssetError` if its list or a picture is damaged."""
        self.folder, self.size = Path(folder), size
        self.names = face_names(self.folder)
        packed = self.folder / f"packed-{size}"
        stamp = {"list": assets.checksum(self.folder / LIST), "size": size}
        if not (packed / "stamp.json").exists() or _read_stamp(packed) != stamp:
            self._pack(packed, stamp)
        shape = (len(self.names), size, size)
        small = (len(self.names), THUMBNAIL, THUMBNAIL, 3)
        self.textures = np.memmap(packed / "textures.u8", np.uint8, "r", shape=(*shape, 3))
        self.heights = np.memmap(packed / "heights.u8", np.uint8, "r", shape=shape)
        self.thumbnails = np.memmap(packed / "thumbnails.u8", np.uint8, "r", shape=small)

    def __len__(self) -> int:
        return len(self.names)

    def _pack(self, packed: Path, stamp: dict) -> None:
        packed.mkdir(exist_ok=True)
        (packed / "stamp.json").unlink(missing_ok=True)
        with (
            open(packed / "textures.u8", "wb") as textures,
            open(packed / "heights.u8", "wb") as heights,
            open(packed / "thumbnails.u8", "wb") as thumbnails,
        ):
            for name in self.names:
                texture, height = load_pictures(self.folder, name, self.size)
                textures.write(texture.tobytes())
                heights.write(height.tobytes())
                thumbnails.write(_thumbnail(texture).tobytes())
        work = packed / ".stamp.json"
        work.write_text(json.dumps(stamp))
        os.replace(work, packed / "stamp.json")

    def nearest(
        self, texture_srgb: np.ndarray, mask: np.ndarray, *, count: int = 64, chunk: int = 256
    ) -> np.ndarray:
        """Returns which faces' thumbnails look most like what a photo shows of a face.

        Compared is the logarithm of colour with the mean over the seen taken out, so that
        exposure does not count; a quarter of the difference in tone does.

        Args:
            texture_srgb: `[T, T, 3]`, 0..1.
            mask: `[T, T]`, what of it is seen.
            count: number of faces.
            chunk: faces read at a time.
        """
        shape = (THUMBNAIL, THUMBNAIL, 3)
        photo = np.asarray(jax.image.resize(jnp.asarray(texture_srgb), shape, "linear"))
        weight = np.asarray(jax.image.resize(jnp.asarray(mask), shape[:2], "linear"))[..., None]
        weight = weight / max(weight.sum(), 1e-6)

        def parts(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            log = np.log(image.astype(np.float32) + 0.02)
            tone = (log * weight).sum((-3, -2), keepdims=True)
            return log - tone, tone

        detail, tone = parts(photo)
        apart = np.empty(len(self), np.float32)
        for start in range(0, len(self), chunk):
            faces, tones = parts(np.asarray(self.thumbnails[start : start + chunk]) / 255.0)
            difference = (weight * (faces - detail) ** 2).sum((-3, -2, -1))
            apart[start : start + chunk] = difference + 0.25 * ((tones - tone) ** 2).sum((1, 2, 3))
        return np.sort(np.argsort(apart, kind="stable")[:count])

    def take(self, faces: Sequence[int] | np.ndarray) -> Database:
        """Returns the database of some faces, read from disk."""
        return Database(
            textures=jnp.asarray(self.textures[faces]),
            heights=jnp.asarray(self.heights[faces]),
            indices=jnp.asarray(faces, jnp.int32),
        )

    def with_features(self, features: StoredFeatures) -> DiskDatabase:
        """Returns the same database with VGG-16's features of its faces."""
        other = copy.copy(self)
        other.features = features
        return other


def open_database(path: str | Path | None = None, *, size: int = 512) -> Database | DiskDatabase:
    """Returns a database: in memory if it has at most `LARGE` faces, else mapped from disk.

    Raises:
        AssetError: the folder, its list or one of its pictures is missing or damaged.
    """
    folder = assets.path("database") if path is None else Path(path)
    if len(read_list(folder)["faces"]) > LARGE:
        return DiskDatabase(folder, size=size)
    return load_database(folder, size=size)


def _thumbnail(texture: np.ndarray) -> np.ndarray:
    step = texture.shape[0] // THUMBNAIL
    return texture.reshape(THUMBNAIL, step, THUMBNAIL, step, 3).mean((1, 3)).astype(np.uint8)


def _read_stamp(packed: Path) -> object:
    try:
        return json.loads((packed / "stamp.json").read_text())
    except (OSError, ValueError):
        return None
