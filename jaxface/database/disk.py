"""A database too large for memory: its textures stay on disk, the nearest ones are read.

Its images are decoded once into packed arrays beside them, which are mapped into memory:

    packed-SIZE/textures.u8     K x T x T x 3 bytes, sRGB
    packed-SIZE/heights.u8      K x T x T bytes
    packed-SIZE/thumbnails.u8   K x 64 x 64 x 3 bytes, sRGB
    packed-SIZE/checksums.u32   K x 3: the CRC-32 of each face's texture, height and thumbnail
    packed-SIZE/stamp.json      SHA-256 of `database.json`, and SIZE

They are packed again if the stamp does not match, or a file or a thumbnail is damaged; a texture
that turns out damaged when it is read is decoded from its image.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxface import assets
from jaxface.caches import replaced_folder, row_checksums
from jaxface.database.features import StoredFeatures
from jaxface.database.store import LIST, face_names, load_database, load_images, read_list
from jaxface.errors import AssetError
from jaxface.types import Database

THUMBNAIL = 64  # texels a side
LARGE = 128  # faces; a database of more stays on disk
_LOG_OFFSET = 0.02  # sRGB, five of 255 levels: keeps the noise of dark texels out of the logarithm
_TONE_WEIGHT = 0.25  # of the squared difference in mean log colour, which exposure changes too


@jax.tree_util.register_static
class DiskDatabase:
    """A large database on disk: `nearest` ranks its faces by thumbnail, `take` reads some of them.

    Attributes:
        names: of the faces.
        textures: sRGB `[K, T, T, 3]`, memory-mapped.
        heights: `[K, T, T]`, memory-mapped; see `Database`.
        thumbnails: sRGB `[K, 64, 64, 3]`, memory-mapped.
        features: cached VGG-16 features of the faces; None if VGG is to be run on them.
    """

    features: StoredFeatures | None = None

    def __init__(self, folder: str | Path, *, size: int = 512) -> None:
        """Opens a database, packing it if need be.

        Raises:
            AssetError: its list or an image is damaged, or the packed files cannot be written.
        """
        self.folder, self.size = Path(folder), size
        self.names = face_names(self.folder)
        packed = self.folder / f"packed-{size}"
        stamp = {"list": assets.checksum(self.folder / LIST), "size": size}
        if not self._open(packed, stamp):
            try:
                with replaced_folder(packed) as temporary:
                    self._pack(temporary, stamp)
            except OSError as error:
                raise AssetError(f"The database cannot be packed in {packed} ({error}).") from error
            if not self._open(packed, stamp):
                raise AssetError(f"The database {folder} is being changed; try again later.")

    def __len__(self) -> int:
        return len(self.names)

    def _open(self, packed: Path, stamp: dict) -> bool:
        """Maps the packed files; returns whether they are those of the stamp, and whole."""
        count, size = len(self.names), self.size
        try:
            if json.loads((packed / "stamp.json").read_text()) != stamp:
                return False

            def mapped(name: str, *shape: int, kind: type = np.uint8) -> np.ndarray:
                return np.memmap(packed / name, kind, "r", shape=(count, *shape))

            self.textures = mapped("textures.u8", size, size, 3)
            self.heights = mapped("heights.u8", size, size)
            self.thumbnails = mapped("thumbnails.u8", THUMBNAIL, THUMBNAIL, 3)
            self._checksums = mapped("checksums.u32", 3, kind=np.uint32)
        except (OSError, ValueError):
            return False
        return np.array_equal(row_checksums(self.thumbnails), self._checksums[:, 2])

    def _pack(self, packed: Path, stamp: dict) -> None:
        """Writes the packed files into a folder. Raises OSError."""
        with (
            open(packed / "textures.u8", "wb") as textures,
            open(packed / "heights.u8", "wb") as heights,
            open(packed / "thumbnails.u8", "wb") as thumbnails,
            open(packed / "checksums.u32", "wb") as checksums,
        ):
            for name in self.names:
                texture, height = load_images(self.folder, name, self.size)
                arrays = texture, height, _thumbnail(texture)
                for stream, array in zip((textures, heights, thumbnails), arrays, strict=True):
                    stream.write(array.tobytes())
                checksums.write(row_checksums(arrays).tobytes())
        (packed / "stamp.json").write_text(json.dumps(stamp))

    def nearest(
        self, texture_srgb: np.ndarray, mask: np.ndarray, *, count: int = 64, chunk: int = 256
    ) -> np.ndarray:
        """Returns the indices of the `count` faces of smallest d_k, in ascending order of index.

        d_k = sum_p w_p |(log c_kp - mu_k) - (log c_p - mu)|^2 + `_TONE_WEIGHT` |mu_k - mu|^2 with
        the colours c (sRGB + `_LOG_OFFSET`, on 64 x 64 thumbnails) of face k and of the photo, the
        visibility w normalised to the sum 1, and mu the mean of log c under w.

        Args:
            texture_srgb: `[T, T, 3]`, 0..1.
            mask: `[T, T]`, visibility, 0..1.
            count: number of faces.
            chunk: faces read at a time.
        """
        shape = (THUMBNAIL, THUMBNAIL, 3)
        photo = np.asarray(jax.image.resize(jnp.asarray(texture_srgb), shape, "linear"))
        weight = np.asarray(jax.image.resize(jnp.asarray(mask), shape[:2], "linear"))[..., None]
        weight = weight / max(weight.sum(), 1e-6)

        def centered_log(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            log = np.log(image.astype(np.float32) + _LOG_OFFSET)
            mean = (log * weight).sum((-3, -2), keepdims=True)
            return log - mean, mean

        detail, mean = centered_log(photo)
        distances = np.empty(len(self), np.float32)
        for start in range(0, len(self), chunk):
            thumbnails = np.asarray(self.thumbnails[start : start + chunk]) / 255.0
            details, means = centered_log(thumbnails)
            difference = (weight * (details - detail) ** 2).sum((-3, -2, -1))
            tone = _TONE_WEIGHT * ((means - mean) ** 2).sum((1, 2, 3))
            distances[start : start + chunk] = difference + tone
        return np.sort(np.argsort(distances, kind="stable")[:count])

    def take(self, faces: Sequence[int] | np.ndarray) -> Database:
        """Returns the database of some faces, read from disk.

        Raises:
            AssetError: a packed face is damaged, and so is its image.
        """
        textures, heights = self.textures[faces], self.heights[faces]
        found = _checksums(textures, heights)
        whole = (found == self._checksums[faces][:, :2]).all(1)
        for row in np.flatnonzero(~whole):
            image = load_images(self.folder, self.names[int(np.asarray(faces)[row])], self.size)
            textures[row], heights[row] = image
        return Database(
            textures=jnp.asarray(textures),
            heights=jnp.asarray(heights),
            indices=jnp.asarray(faces, jnp.int32),
        )

    def with_features(self, features: StoredFeatures) -> DiskDatabase:
        """Returns the same database with the cached VGG-16 features of its faces."""
        other = copy.copy(self)
        other.features = features
        return other


def open_database(path: str | Path | None = None, *, size: int = 512) -> Database | DiskDatabase:
    """Returns a database: in memory if it has at most `LARGE` faces, else mapped from disk.

    Raises:
        AssetError: the folder, its list or one of its images is missing or damaged.
    """
    folder = assets.path("database") if path is None else Path(path)
    if len(read_list(folder)["faces"]) > LARGE:
        return DiskDatabase(folder, size=size)
    return load_database(folder, size=size)


def _thumbnail(texture: np.ndarray) -> np.ndarray:
    step = texture.shape[0] // THUMBNAIL
    return texture.reshape(THUMBNAIL, step, THUMBNAIL, step, 3).mean((1, 3)).astype(np.uint8)


def _checksums(*arrays: np.ndarray) -> np.ndarray:
    """Returns the CRC-32 of each row of some arrays, side by side."""
    return np.stack([row_checksums(array) for array in arrays], 1)
