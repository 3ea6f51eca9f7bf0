"""Reads FLAME 2020 and 2023: `generic_model.pkl`, `flame2023.pkl`. Metres.

Li et al., *Learning a Model of Facial Shape and Expression from 4D Scans* (SIGGRAPH Asia 2017).
The jaw, which FLAME rotates by linear blend skinning, becomes the expression jawOpen: at 1 it is
FLAME's at 20 degrees with pose corrective, and it is linear between. If the published
`head_template.obj` is in the same folder, its UVs are read too.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix

from jaxface.errors import InputError
from jaxface.features.weights import ArrayUnpickler
from jaxface.morphable.adapters.ict import read_obj
from jaxface.morphable.adapters.official import EXPRESSION_MODES as EXPRESSIONS
from jaxface.morphable.adapters.official import IDENTITY_MODES as IDENTITIES
from jaxface.morphable.adapters.official import OfficialModel, require, signed

_SHAPE_MODES = 300  # of `shapedirs`; expressions follow
_JAW, _JAW_ANGLE = 2, np.deg2rad(20.0)
_KEYS = ("v_template", "f", "shapedirs", "posedirs", "weights", "J_regressor")


class _Held:
    """Stand-in for a pickled object of chumpy or SciPy: holds its state and runs no code."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state


def _rebuilt(kind: type, base: type, state: object) -> _Held:
    """Replaces `copyreg._reconstructor`: returns a stand-in."""
    if kind is not _Held:
        raise pickle.UnpicklingError(f"{kind} is not allowed")
    return _Held()


def _encoded(text: str, encoding: str) -> bytes:
    """Replaces `_codecs.encode`, for latin1 only."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"the encoding {encoding} is not allowed")
    return text.encode("latin1")


class _Unpickler(ArrayUnpickler):
    """Reads arrays, and stand-ins for the other objects of FLAME's files."""

    _ALLOWED = {  # noqa: RUF012
        ("copyreg", "_reconstructor"): _rebuilt,
        ("builtins", "object"): object,
        ("_codecs", "encode"): _encoded,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._ALLOWED:
            return self._ALLOWED[module, name]
        if name in ("Ch", "csc_matrix") and module.split(".")[0] in ("chumpy", "scipy"):
            return _Held
        return super().find_class(module, name)


def read(path: Path) -> OfficialModel:
    """Returns FLAME, with the first 100 of its shape modes and 50 of its expressions.

    Args:
        path: the pickle, read by an unpickler that makes nothing but arrays and stand-ins.

    Raises:
        InputError: it is damaged, lacks something, or holds other objects.
    """
    name = str(path)
    try:
        with open(path, "rb") as stream:
            held = _Unpickler(stream, encoding="latin1").load()
        require(isinstance(held, dict), name, "it holds no dictionary")
        missing = [key for key in _KEYS if key not in held]
        require(not missing, name, f"it lacks {', '.join(missing)}")
        values = {key: _array(held[key]) for key in _KEYS}
    except InputError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise InputError(f"{name} is not a readable FLAME file ({error}).") from error
    vertices, modes = values["v_template"], np.moveaxis(values["shapedirs"], -1, 0)
    triangles = values["f"].astype(np.int32)
    require(triangles.ndim == 2 and triangles.shape[1] == 3, name, "its faces are no triangles")
    require(len(modes) > _SHAPE_MODES, name, f"it has only {len(modes)} shape modes")
    identity = modes[: min(IDENTITIES, _SHAPE_MODES)]
    chosen = modes[_SHAPE_MODES : _SHAPE_MODES + EXPRESSIONS]
    expression, names = signed(chosen, [f"expression_{i}" for i in range(len(chosen))])
    quads = triangles[:, [0, 1, 2, 2]]
    uvs, uv_quads = _own_uvs(path.parent / "head_template.obj", quads)
    return OfficialModel(
        name=name,
        vertices=vertices,
        quads=quads,
        identity=identity,
        expression=np.concatenate([_jaw_open(values, name)[None], expression]),
        expression_names=("jawOpen", *names),
        identity_names=tuple(f"shape_{index}" for index in range(len(identity))),
        uvs=uvs,
        uv_quads=uv_quads,
    )


def _array(value: Any) -> np.ndarray:
    """Returns a value as an array, also of chumpy's `Ch` or a sparse matrix."""
    if isinstance(value, _Held):
        state = value.state
        if "x" in state:
            return np.asarray(state["x"], np.float32)
        parts = state["data"], state["indices"], state["indptr"]
        shape = state.get("_shape", state.get("shape"))
        value = csc_matrix(parts, shape=shape).toarray()
    return np.asarray(value, np.float32)


def _jaw_open(values: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Returns `[V, 3]` P + w (R - I) (v + P - j), with R the jaw's rotation, P its pose corrective,
    w the skinning weight and j the joint."""
    vertices, weights = values["v_template"], values["weights"]
    joints = values["J_regressor"] @ vertices
    require(len(joints) > _JAW and weights.shape == (len(vertices), len(joints)), name,
            "its skinning weights are not those of its joints")  # fmt: skip
    sine, cosine = np.sin(_JAW_ANGLE), np.cos(_JAW_ANGLE)
    turned = np.array([[0, 0, 0], [0, cosine - 1, -sine], [0, sine, cosine - 1]], np.float32)
    first = 9 * (_JAW - 1)  # correctives are of the rotations of all joints but the root
    directions = values["posedirs"].reshape(len(vertices), 3, -1)[..., first : first + 9]
    corrective = directions @ turned.ravel()
    moved = (vertices + corrective - joints[_JAW]) @ turned.T
    return corrective + weights[:, _JAW, None] * moved


def _own_uvs(file: Path, quads: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns UVs and UV indices of the template's OBJ, None if there is no such file."""
    if not file.exists():
        return None, None
    _, uvs, polygons = read_obj(file, str(file))
    corners = np.array([p + p[2:] for p in polygons if len(p) == 3], np.int32) - 1
    fits = corners.shape == (len(quads), 4, 2) and (corners[..., 0] == quads).all()
    require(bool(fits), str(file), "its faces are not those of the model beside it")
    return uvs, corners[..., 1]
