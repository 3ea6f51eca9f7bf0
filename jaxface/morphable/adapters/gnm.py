"""Reads GNM Head v3, Google's `gnm_head.npz` (Apache-2.0). Metres, y up, z out of the face.

Read are the first identity modes of the head and the first expressions; eyes, teeth and tongue,
which have separate modes, are replaced by the default model's.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from jaxface.errors import InputError
from jaxface.morphable.adapters.official import (
    EXPRESSION_MODES,
    IDENTITY_MODES,
    OfficialModel,
    require,
    signed,
)

_KEYS = (
    *("template_vertex_positions", "triangles", "triangle_uvs", "vertex_identity_basis"),
    *("identity_names", "expression_basis", "expression_names"),
)


def read(path: Path) -> OfficialModel:
    """Returns GNM Head.

    Args:
        path: `gnm_head.npz`, as downloaded by `jaxface assets fetch gnm`.

    Raises:
        InputError: it is damaged or lacks something.
    """
    name = str(path)
    try:
        with np.load(path, allow_pickle=False) as data:
            missing = [key for key in _KEYS if key not in data]
            require(not missing, name, f"it lacks {', '.join(missing)}")
            arrays = {key: data[key] for key in _KEYS}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"{name} cannot be read ({error}).") from error
    triangles, uvs = arrays["triangles"], arrays["triangle_uvs"]
    good = triangles.ndim == 2 and uvs.shape == (*triangles.shape, 2) and uvs.shape[1] == 3
    require(good, name, "its triangles and their UVs do not fit together")
    known = arrays["identity_names"].astype(str)
    chosen = [index for index, key in enumerate(known) if key.startswith("head")][:IDENTITY_MODES]
    require(len(chosen) > 0, name, "it has no identity modes of the head")
    require(len(arrays["vertex_identity_basis"]) == len(known), name, "its modes lack names")
    modes = arrays["expression_basis"][:EXPRESSION_MODES].astype(np.float32)
    expression, names = signed(modes, arrays["expression_names"][: len(modes)].astype(str).tolist())
    corners = np.arange(triangles.size, dtype=np.int32).reshape(-1, 3)
    return OfficialModel(
        name=name,
        vertices=arrays["template_vertex_positions"].astype(np.float32),
        quads=triangles[:, [0, 1, 2, 2]].astype(np.int32),
        identity=arrays["vertex_identity_basis"][chosen].astype(np.float32),
        expression=expression,
        expression_names=names,
        identity_names=tuple(known[chosen].tolist()),
        uvs=uvs.reshape(-1, 2).astype(np.float32),
        uv_quads=corners[:, [0, 1, 2, 2]],
    )
