"""The feature cache on disk: VGG-16's features of every face of a database, mapped into memory.

    features-SIZE/stamp.json   SHA-256 of `database.json`, number of faces, SIZE, sides, layers,
                               pooling; a cache with another stamp is refused
    features-SIZE/SIDE.u8      K rows of bytes: the quantised features of every layer, concatenated
    features-SIZE/SIDE.f32     K rows of float32: the scales of every layer, concatenated
    features-SIZE/SIDE.crc     K rows of 2 uint32: the CRC-32 of both, compared when they are read

SIZE is the side of the textures, SIDE that at which faces are compared, both in texels. The folder
lies beside the database's images, that of the embedded database in the user's cache.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from jaxface import assets
from jaxface.caches import cache_folder, replaced_folder, row_checksums
from jaxface.database.store import LIST, read_list
from jaxface.errors import AssetError
from jaxface.features.correlations import CorrelationConfig, cache_features
from jaxface.features.vgg import layer_stride
from jaxface.precision import jit
from jaxface.types import FeatureCache

_BATCH = 8  # faces
_cache = jit(cache_features, static_argnames=("size", "config"))


class StoredFeatures:
    """The cached features of a database, mapped from disk; `take` reads those of some faces.

    Attributes:
        layers: names of VGG-16's layers.
        shapes: by side: `(h, w, C)` of each layer.
        values: by side: quantised features of every face, the layers concatenated.
        scales: by side: factors of these for every face and channel, the layers concatenated.
        checksums: by side: of each face the `row_checksums` of its values and of its scales.
    """

    def __init__(self, folder: Path, count: int, config: CorrelationConfig):
        self.folder, self.layers = folder, config.layers
        self.shapes, self.values, self.scales, self.checksums = {}, {}, {}, {}
        for side in config.sides:
            self.shapes[side] = shapes = _shapes(side, config)
            row = sum(int(np.prod(shape)) for shape in shapes)
            file = folder / f"{side}.u8"
            self.values[side] = np.memmap(file, np.uint8, "r", shape=(count, row))
            row = sum(shape[-1] for shape in shapes)
            file = folder / f"{side}.f32"
            self.scales[side] = np.memmap(file, np.float32, "r", shape=(count, row))
            file = folder / f"{side}.crc"
            self.checksums[side] = np.memmap(file, np.uint32, "r", shape=(count, 2))

    def take(self, faces: Sequence[int] | np.ndarray, side: int) -> FeatureCache:
        """Returns the cached features of some faces at a side. Raises `AssetError` if damaged."""
        rows, scales = self.values[side][faces], self.scales[side][faces]
        if not np.array_equal(_checksums(rows, scales), self.checksums[side][faces]):
            raise AssetError(
                f"The feature cache {self.folder} is damaged: make it again by "
                "`jaxface database cache-features`."
            )
        shapes = self.shapes[side]
        cuts = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
        parts = zip(np.split(rows, cuts, axis=1), shapes, strict=True)
        cuts = np.cumsum([shape[-1] for shape in shapes])[:-1]
        return FeatureCache(
            values=tuple(jnp.asarray(part.reshape(-1, *shape)) for part, shape in parts),
            scales=tuple(jnp.asarray(part) for part in np.split(scales, cuts, axis=1)),
            layers=self.layers,
        )


def open_features(path: str | Path | None, size: int, config: CorrelationConfig) -> StoredFeatures:
    """Returns the feature cache of a database's textures of a size. Host function.

    Args:
        path: the database's folder; the embedded database if None.
        size: texels a side of its textures.
        config: layers, sides and pooling that must match.

    Raises:
        AssetError: there is none, or it is of other faces, layers, sides or pooling.
    """
    folder, stamp = _cache_path(path, size), _stamp(path, size, config)
    try:
        found = json.loads((folder / "stamp.json").read_text())
        if found != stamp:
            raise ValueError("made from other faces or settings")
        return StoredFeatures(folder, stamp["faces"], config)
    except (OSError, ValueError) as error:
        where = "" if path is None else f" {path}"
        raise AssetError(
            f"The database has no feature cache of {size} texels ({error}): make it once by "
            f"`jaxface database cache-features{where} --size {size}`."
        ) from error


def write_features(
    textures: UInt8[np.ndarray | Array, "K T T 3"],
    path: str | Path | None,
    vgg: Mapping[str, Any],
    config: CorrelationConfig,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Writes the feature cache of a database and returns its folder; an earlier one is replaced.

    Args:
        textures: all of the database's, sRGB 0..255.
        path: the database's folder; the embedded database if None.
        vgg: weights of VGG-16.
        config: layers, pooling and the sides at which faces are compared.
        tell: progress callback, called with the numbers of finished and of all faces.

    Raises:
        AssetError: the disk is full, or the folder cannot be written to.
    """
    size = textures.shape[1]
    folder = _cache_path(path, size)
    try:
        with replaced_folder(folder) as temporary:
            for start in range(0, len(textures), _BATCH):
                part = jnp.asarray(textures[start : start + _BATCH])
                for side in config.sides:
                    cached = _cache(part, size=side, vgg=vgg, config=config)
                    values, scales = _rows(cached.values), _rows(cached.scales)
                    rows = {"u8": values, "f32": scales, "crc": _checksums(values, scales)}
                    for kind, array in rows.items():
                        with open(temporary / f"{side}.{kind}", "ab") as stream:
                            stream.write(array.tobytes())
                tell(start + len(part), len(textures))
            (temporary / "stamp.json").write_text(json.dumps(_stamp(path, size, config)))
    except OSError as error:
        raise AssetError(f"The feature cache cannot be written to {folder} ({error}).") from error
    return folder


def _rows(leaves: tuple[Array, ...]) -> np.ndarray:
    """Returns the features of all layers, concatenated to a row for each face."""
    return np.concatenate([np.asarray(leaf).reshape(len(leaf), -1) for leaf in leaves], 1)


def _checksums(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Returns `[K, 2]`: the checksums of the rows of values and of scales."""
    return np.stack([row_checksums(values), row_checksums(scales)], 1)


def _cache_path(path: str | Path | None, size: int) -> Path:
    return (cache_folder() if path is None else Path(path)) / f"features-{size}"


def _stamp(path: str | Path | None, size: int, config: CorrelationConfig) -> dict[str, Any]:
    """Returns what a cache was made from, as `stamp.json` holds it."""
    folder = assets.path("database") if path is None else Path(path)
    faces = read_list(folder)["faces"]
    return {
        "list": assets.checksum(folder / LIST),
        "faces": len(faces),
        "size": size,
        "sides": list(config.sides),
        "layers": list(config.layers),
        "pooling": config.pooling,
    }


def _shapes(side: int, config: CorrelationConfig) -> list[tuple[int, ...]]:
    """Returns the shapes `(h, w, C)` of the layers' features at a side."""
    strides = [layer_stride(name) for name in config.layers]
    channels = [min(64 * stride, 512) for stride in strides]
    return [(side // s, side // s, c) for s, c in zip(strides, channels, strict=True)]
