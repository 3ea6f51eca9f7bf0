"""Reads ICT-FaceKit: the folder of OBJ files that USC publishes, or its arrays in one npz.

Li et al., *Learning Formation of Physically-Based Face Attributes* (CVPR 2020). The published
folder (`FaceXModel`) has `generic_neutral_mesh.obj`, `identity000.obj` and so on, one OBJ per
expression, and `vertex_indices.json`. Face, head and neck are read; eyes, teeth and lashes, which
follow them in the files, are replaced by the default model's. Centimetres. MIT licence.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np

from jaxface.errors import InputError
from jaxface.morphable.adapters.official import OfficialModel, require

_SKIN = 11248  # vertices of face, head and neck, the first in every file
_METRES = np.float32(0.01)
_ARRAYS = ("neutral", "identity", "expression", "expression_names", "polygons", "polygon_uvs")


def read(path: Path) -> OfficialModel:
    """Returns ICT-FaceKit.

    Args:
        path: its folder, with the OBJ files (also gzipped) or with `face_and_head.npz`.

    Raises:
        InputError: files are missing or damaged.
    """
    packed = path / "face_and_head.npz"
    if packed.exists():
        return _read_npz(packed)
    return _read_folder(path)


def arkit_name(name: str) -> str:
    """Returns ARKit's spelling: `mouthSmile_L` is `mouthSmileLeft`."""
    return re.sub("_R$", "Right", re.sub("_L$", "Left", name))


def read_obj(file: Path, name: str) -> tuple[np.ndarray, np.ndarray, list[list[list[int]]]]:
    """Returns vertices `[V, 3]`, UVs `[U, 2]` and polygons as corners `[vertex, uv]`, from 1."""
    opener = gzip.open if file.suffix == ".gz" else open
    vertices, uvs, polygons = [], [], []
    try:
        with opener(file, "rt") as stream:
            for line in stream:
                kind, _, rest = line.partition(" ")
                if kind == "v":
                    vertices.append(rest.split()[:3])
                elif kind == "vt":
                    uvs.append(rest.split()[:2])
                elif kind == "f":
                    corners = [corner.split("/")[:2] for corner in rest.split()]
                    polygons.append([[int(a) for a in corner] for corner in corners])
        return np.array(vertices, np.float32), np.array(uvs, np.float32), polygons
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{name} is missing or no OBJ file ({error}).") from error


def _read_npz(file: Path) -> OfficialModel:
    """Returns the model of the packed arrays."""
    name = str(file)
    try:
        with np.load(file, allow_pickle=False) as data:
            missing = [key for key in (*_ARRAYS, "uvs") if key not in data]
            require(not missing, name, f"it lacks {', '.join(missing)}")
            arrays = {key: data[key] for key in (*_ARRAYS, "uvs")}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{name} cannot be read ({error}).") from error
    quads, uv_quads = (
        np.where(arrays[key] < 0, arrays[key][:, 2:3], arrays[key])
        for key in ("polygons", "polygon_uvs")
    )
    return _model(
        name,
        arrays["neutral"],
        arrays["identity"],
        dict(zip(arrays["expression_names"].tolist(), arrays["expression"], strict=True)),
        quads,
        arrays["uvs"],
        uv_quads,
        _landmarks(file.parent),
    )


def _read_folder(folder: Path) -> OfficialModel:
    """Returns the model of a folder of OBJ files."""
    files = {file.name.split(".obj")[0]: file for file in sorted(folder.glob("*.obj*"))}
    name = str(folder)
    require("generic_neutral_mesh" in files, name, "it lacks generic_neutral_mesh.obj")
    neutral, uvs, polygons = read_obj(files.pop("generic_neutral_mesh"), name)
    require(len(neutral) >= _SKIN, name, f"its neutral mesh has only {len(neutral)} vertices")
    corners = [p for p in polygons if all(c[0] <= _SKIN for c in p) and len(p) in (3, 4)]
    padded = np.array([p + p[2:3] * (4 - len(p)) for p in corners], np.int32)
    require(padded.ndim == 3 and padded.shape[2] == 2, name, "its neutral mesh lacks UVs")
    offsets = {}
    for key, file in files.items():
        if re.fullmatch(r"identity\d+", key) or _is_expression(key):
            vertices = read_obj(file, str(file))[0]
            require(
                vertices.shape == neutral.shape, str(file), "its vertices are not the neutral's"
            )
            offsets[key] = (vertices - neutral)[:_SKIN]
    identity = [value for key, value in offsets.items() if key.startswith("identity")]
    require(len(identity) > 0, name, "it lacks identity000.obj and the like")
    return _model(
        name,
        neutral[:_SKIN],
        np.stack(identity),
        {key: value for key, value in offsets.items() if not key.startswith("identity")},
        padded[..., 0] - 1,
        uvs,
        padded[..., 1] - 1,
        _landmarks(folder),
    )


def _is_expression(key: str) -> bool:
    """Returns whether a file's name is that of an expression."""
    return re.match("brow|cheek|eye|jaw|mouth|nose", key) is not None


def _landmarks(folder: Path) -> np.ndarray | None:
    """Returns the vertices of the 68 landmarks, None if the folder has no list of them."""
    try:
        indices = json.loads((folder / "vertex_indices.json").read_text())
        return np.array(indices["idx_to_landmark_verts"], np.int32)
    except OSError:
        return None
    except (ValueError, KeyError) as error:
        raise InputError(f"{folder / 'vertex_indices.json'} is damaged ({error}).") from error


def _model(
    name: str,
    neutral: np.ndarray,
    identity: np.ndarray,
    expressions: dict[str, np.ndarray],
    quads: np.ndarray,
    uvs: np.ndarray,
    uv_quads: np.ndarray,
    landmarks: np.ndarray | None,
) -> OfficialModel:
    """Returns the model in metres; left and right of a single ARKit expression are added."""
    offsets: dict[str, np.ndarray] = {}
    for key, value in expressions.items():
        one = key[:-2] if key.startswith(("browInnerUp_", "cheekPuff_")) else arkit_name(key)
        offsets[one] = offsets.get(one, 0) + value.astype(np.float32) * _METRES
    return OfficialModel(
        name=name,
        vertices=neutral.astype(np.float32) * _METRES,
        quads=quads,
        identity=identity.astype(np.float32) * _METRES,
        expression=np.stack(list(offsets.values())),
        expression_names=tuple(offsets),
        identity_names=tuple(f"identity{index:03d}" for index in range(len(identity))),
        uvs=uvs,
        uv_quads=uv_quads,
        landmarks68=landmarks,
    )
