"""The feature cache on disk: VGG-16's features of every face of a database, mapped into memory.

    features-SIZE/stamp.json   which faces, layers and sides
    features-SIZE/SIDE.u8      K x N bytes, the layers' values one after the other
    features-SIZE/SIDE.f32     K x S numbers, the layers' scales

beside the pictures of a database, the embedded one's in the user's cache.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from jaxface import assets
from jaxface.database.store import LIST, read_list
from jaxface.errors import AssetError
from jaxface.features.correlations import CorrelationConfig, cache_features
from jaxface.features.vgg import layer_stride
from jaxface.features.weights import cache_folder
from jaxface.precision import jit
from jaxface.types import FeatureCache

_AT_ONCE = 8  # faces
_cache = jit(cache_features, static_argnames=("size", "config"))


class StoredFeatures:
    """The cached features of a database, mapped from disk; `take` reads those of some faces.

    Attributes:
        layers: names of VGG-16's layers.
        shapes: of each layer at each side.
        values: bytes of every face at each side.
        scales: numbers of every face at each side.
    """

    def __init__(self, folder: Path, count: int, config: CorrelationConfig):
        self.layers = config.layers
        self.shapes, self.values, self.scales = {}, {}, {}
        for side in config.sides:
            self.shapes[side] = shapes = _shapes(side, config)
            row = sum(int(np.prod(shape)) for shape in shapes)
            file = folder / f"{side}.u8"
            self.values[side] = np.memmap(file, np.uint8, "r", shape=(count, row))
            row = sum(shape[-1] for shape in shapes)
            file = folder / f"{side}.f32"
            self.scales[side] = np.memmap(file, np.float32, "r", shape=(count, row))

    def take(self, faces: Sequence[int] | np.ndarray, side: int) -> FeatureCache:
        """Returns the cached features of some faces at a side."""
        rows, scales = self.values[side][faces], self.scales[side][faces]
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

    Raises:
        AssetError: there are none, or they are of other faces or layers.
    """
    folder, stamp = _place(path, size), _stamp(path, size, config)
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
        textures: all of the database's, sRGB.
        path: its folder; the embedded one if None.
        vgg: weights of VGG-16.
        config: layers, pooling and the sides at which faces are compared.
        tell: takes how many faces are done, and of how many.

    Raises:
        AssetError: there is no room for them, or the folder cannot be written to.
    """
    size = textures.shape[1]
    folder = _place(path, size)
    work = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        shutil.rmtree(work, ignore_errors=True)  # what a killed run of the same number left
        work.mkdir(parents=True)
        for start in range(0, len(textures), _AT_ONCE):
            part = jnp.asarray(textures[start : start + _AT_ONCE])
            for side in config.sides:
                cached = _cache(part, size=side, vgg=vgg, config=config)
                for kind, leaves in (("u8", cached.values), ("f32", cached.scales)):
                    flat = [np.asarray(leaf).reshape(len(part), -1) for leaf in leaves]
                    with open(work / f"{side}.{kind}", "ab") as stream:
                        stream.write(np.concatenate(flat, 1).tobytes())
            tell(start + len(part), len(textures))
        (work / "stamp.json").write_text(json.dumps(_stamp(path, size, config)))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(work, folder)
    except OSError as error:
        raise AssetError(f"The feature cache cannot be written to {folder} ({error}).") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _place(path: str | Path | None, size: int) -> Path:
    return (cache_folder() if path is None else Path(path)) / f"features-{size}"


def _stamp(path: str | Path | None, size: int, config: CorrelationConfig) -> dict[str, Any]:
    folder = assets.path("database") if path is None else Path(path)
    return {
        "list": assets.checksum(folder / LIST),
        "faces": len(read_list(folder)["faces"]),
        "size": size,
        "sides": list(config.sides),
        "layers": list(config.layers),
        "pooling": config.pooling,
    }


def _shapes(side: int, config: CorrelationConfig) -> list[tuple[int, ...]]:
    """Returns the shapes of the layers' features at a side."""
    strides = [layer_stride(name) for name in config.layers]
    channels = [min(64 * stride, 512) for stride in strides]
    return [(side // s, side // s, c) for s, c in zip(strides, channels, strict=True)]
