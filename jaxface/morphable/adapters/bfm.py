"""Reads the Basel Face Model: 2009 (MATLAB, micrometres), 2017 and 2019 (HDF5, millimetres).

Paysan et al., *A 3D Face Model for Pose and Illumination Invariant Face Recognition* (AVSS 2009);
Gerig et al., *Morphable Face Models - An Open Framework* (FG 2018). The 2009 model has no
expressions. Albedo is not read: the default albedo model is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from jaxface.errors import InputError
from jaxface.morphable.adapters.official import (
    EXPRESSION_MODES,
    IDENTITY_MODES,
    OfficialModel,
    require,
    signed,
)

_MICROMETRES, _MILLIMETRES = np.float32(1e-6), np.float32(1e-3)


def read(path: Path) -> OfficialModel:
    """Returns the model in a `.mat` file (2009) or a `.h5` file (2017, 2019).

    Args:
        path: `01_MorphableModel.mat`, `model2017-1_face12_nomouth.h5`, `model2019_fullHead.h5`
            and the like.

    Raises:
        InputError: it is damaged or lacks something, or h5py is not installed.
    """
    return _read_2009(path) if path.suffix == ".mat" else _read_2017(path)


def _read_2009(path: Path) -> OfficialModel:
    """Returns the model of a MATLAB file."""
    keys, name = ("shapeMU", "shapePC", "shapeEV", "tl"), str(path)
    try:
        data = loadmat(path, variable_names=keys)
    except Exception as error:  # SciPy raises nearly anything at a damaged file
        raise InputError(f"{name} is no MATLAB file that can be read ({error}).") from error
    missing = [key for key in keys if key not in data]
    require(not missing, name, f"it lacks {', '.join(missing)}")
    mean, modes, deviation, triangles = (np.asarray(data[key]) for key in keys)
    _check_faces(triangles, name)
    identity = _modes(modes, deviation.ravel(), mean.size, IDENTITY_MODES, name) * _MICROMETRES
    return OfficialModel(
        name=name,
        vertices=mean.reshape(-1, 3).astype(np.float32) * _MICROMETRES,
        quads=triangles[:, [0, 1, 2, 2]].astype(np.int32) - 1,
        identity=identity,
        expression=np.zeros((0, mean.size // 3, 3), np.float32),
        expression_names=(),
        identity_names=tuple(f"shape_{index}" for index in range(len(identity))),
    )


def _read_2017(path: Path) -> OfficialModel:
    """Returns the model of an HDF5 file."""
    try:
        import h5py
    except ImportError as error:
        raise InputError("HDF5 models need h5py; install jaxface[models].") from error
    name = str(path)
    try:
        with h5py.File(path, "r") as file:
            triangles = np.asarray(_dataset(file, "shape/representer/cells", name))
            parts = [_part(file, kind, name) for kind in ("shape", "expression")]
    except OSError as error:
        raise InputError(f"{name} is no HDF5 file that can be read ({error}).") from error
    triangles = triangles if triangles.shape[1:] == (3,) else triangles.T
    _check_faces(triangles, name)
    (mean, shape, shape_deviation), (offset, expressions, expression_deviation) = parts
    require(mean.size == offset.size and mean.size % 3 == 0, name, "its means do not fit together")
    identity = _modes(shape, shape_deviation, mean.size, IDENTITY_MODES, name) * _MILLIMETRES
    modes = (
        _modes(expressions, expression_deviation, mean.size, EXPRESSION_MODES, name) * _MILLIMETRES
    )
    expression, names = signed(modes, [f"expression_{i}" for i in range(len(modes))])
    return OfficialModel(
        name=name,
        vertices=(mean + offset).reshape(-1, 3).astype(np.float32) * _MILLIMETRES,
        quads=triangles[:, [0, 1, 2, 2]].astype(np.int32),
        identity=identity,
        expression=expression,
        expression_names=names,
        identity_names=tuple(f"shape_{index}" for index in range(len(identity))),
    )


def _part(file: Any, kind: str, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns mean, modes and standard deviations of shape or expression."""
    mean, modes, variance = (
        np.asarray(_dataset(file, f"{kind}/model/{key}", name))
        for key in ("mean", "pcaBasis", "pcaVariance")
    )
    return mean.ravel(), modes, np.sqrt(np.maximum(variance.ravel(), 0))


def _dataset(file: Any, key: str, name: str) -> Any:
    """Returns a dataset of the file; raises `InputError` if it is missing."""
    require(key in file, name, f"it lacks {key}")
    return file[key]


def _modes(
    modes: np.ndarray, deviation: np.ndarray, size: int, count: int, name: str
) -> np.ndarray:
    """Returns the first modes as `[n, V, 3]`, times their standard deviations."""
    require(modes.shape == (size, len(deviation)), name, f"its modes have the shape {modes.shape}")
    scaled = modes[:, :count] * deviation[:count]
    return scaled.T.reshape(-1, size // 3, 3).astype(np.float32)


def _check_faces(triangles: np.ndarray, name: str) -> None:
    """Raises `InputError` unless triangles are `[F, 3]`."""
    good = triangles.ndim == 2 and triangles.shape[1] == 3
    require(good, name, f"its triangles have the shape {triangles.shape}")
