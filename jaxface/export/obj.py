"""Wavefront OBJ with its material library. Host code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from jaxface.export.hair import obj_lines
from jaxface.export.mesh import normals
from jaxface.types import FaceModel, HairMesh


def encode_obj(
    model: FaceModel,
    vertices: np.ndarray,
    *,
    stem: str = "face",
    hair: Mapping[str, HairMesh] | None = None,
) -> str:
    """Returns the text of an `.obj`: metres, y up, UVs with their origin bottom-left.

    Args:
        model: topology and UVs.
        vertices: `[V, 3]` metres.
        stem: name of the object and of its `.mtl`.
        hair: further objects by their names; transparent triangles are left out.
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
    points, places = len(np.asarray(vertices)), len(np.asarray(model.uvs))
    for name, mesh in (hair or {}).items():
        lines += obj_lines(mesh, name, points, places)
        points, places = points + len(mesh.vertices), places + len(mesh.uvs)
    return "\n".join(lines) + "\n"


def encode_mtl(texture: str, *, stem: str = "face", hair: Iterable[str] = ()) -> str:
    """Returns the text of an `.mtl` whose diffuse texture is the file `texture`; materials of hair
    take colour and opacity from files of their names."""
    surface = "Ka 0 0 0\nKd 1 1 1\nKs 0.04 0.04 0.04\nNs 30\nillum 2\n"
    text = f"newmtl {stem}\n{surface}map_Kd {texture}\n"
    for name in hair:
        text += f"newmtl {name}\n{surface}map_Kd {name}.png\nmap_d {name}.png\n"
    return text
