"""Wavefront OBJ with its material library. Host code."""

from __future__ import annotations

import numpy as np

from jaxface.export.mesh import normals
from jaxface.types import FaceModel


def encode_obj(model: FaceModel, vertices: np.ndarray, *, stem: str = "face") -> str:
    """Returns the text of an `.obj`: metres, y up, UVs with their origin bottom-left.

    Args:
        model: topology and UVs.
        vertices: `[V, 3]` metres.
        stem: name of the object and of its `.mtl`.
    """
    lines = [f"mtllib {stem}.mtl", f"o {stem}"]
    lines += ["v {:.7f} {:.7f} {:.7f}".format(*row) for row in np.asarray(vertices).tolist()]
    lines += ["vt {:.7f} {:.7f}".format(*row) for row in np.asarray(model.uvs).tolist()]
    lines += ["vn {:.5f} {:.5f} {:.5f}".format(*row) for row in normals(model, vertices).tolist()]
    lines.append(f"usemtl {stem}")
    triangles = np.asarray(model.triangles) + 1
    uvs = np.asarray(model.uv_triangles) + 1
    for corner, uv in zip(triangles.tolist(), uvs.tolist(), strict=True):
        lines.append("f " + " ".join(f"{v}/{t}/{v}" for v, t in zip(corner, uv, strict=True)))
    return "\n".join(lines) + "\n"


def encode_mtl(texture: str, *, stem: str = "face") -> str:
    """Returns the text of an `.mtl` whose diffuse texture is the file `texture`."""
    return (
        f"newmtl {stem}\nKa 0 0 0\nKd 1 1 1\nKs 0.04 0.04 0.04\nNs 30\nillum 2\nmap_Kd {texture}\n"
    )
