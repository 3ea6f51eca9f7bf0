"""Hair and lashes in files: meshes of a glTF document, objects of an OBJ. Host code."""

from __future__ import annotations

import json
import struct
from io import BytesIO
from typing import Any

import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxface.export.buffer import COMPONENTS, Buffer
from jaxface.rendering.color import linear_to_srgb, srgb_to_linear
from jaxface.rendering.hair import hair_normals
from jaxface.types import HairMesh

FACE, HAIR, LASHES = "face", "hair", "lashes"
"""Names of nodes and meshes."""
SCALE = 2.5
"""Factor on the colours of a hair's vertices, and its brightest texel: in glTF 1 is the most."""
_SOLID, _BORDER = {"alphaMode": "MASK", "alphaCutoff": 0.5}, {"alphaMode": "BLEND"}


def add_hair(document: dict[str, Any], buffer: Buffer, hair: HairMesh) -> None:
    """Adds hair to a glTF document, as a child of the head's node.

    Drawn twice: what is opaque as a mask, which sorts, and then its soft borders blended over it.
    """
    _add_mesh(document, buffer, hair, HAIR, (_SOLID, _BORDER))


def add_lashes(
    document: dict[str, Any], buffer: Buffer, lashes: HairMesh, basis: np.ndarray
) -> None:
    """Adds lashes to a glTF document, as a child of the head's node, with the face's expressions.

    Args:
        document: of the face.
        buffer: its binary chunk.
        lashes: on the neutral face.
        basis: `[E, N, 3]` metres from the neutral to the full expression, visemes included.
    """
    mesh = _add_mesh(document, buffer, lashes, LASHES, (_BORDER,))
    rest, turns = np.asarray(hair_normals(lashes)), np.zeros_like(basis)
    for index in np.flatnonzero(basis.any((1, 2))):
        moved = lashes.replace(vertices=lashes.vertices + basis[index])
        turns[index] = np.asarray(hair_normals(moved)) - rest
    mesh["primitives"][0]["targets"] = buffer.targets(basis, turns)
    mesh |= {key: document["meshes"][0][key] for key in ("weights", "extras")}


def _add_mesh(
    document: dict[str, Any],
    buffer: Buffer,
    hair: HairMesh,
    name: str,
    modes: tuple[dict[str, Any], ...],
) -> dict[str, Any]:
    """Adds node, mesh, materials (one for each mode of transparency) and texture; returns the
    mesh."""
    uvs = np.asarray(hair.uvs) * np.array([1, -1]) + np.array([0, 1])
    colours, opacity = np.split(np.asarray(hair.colours), [3], 1)
    colours = np.clip(np.concatenate([colours * SCALE, opacity], 1), 0, 1)
    attributes = {
        "POSITION": buffer.attribute(np.asarray(hair.vertices), bounds=True),
        "NORMAL": buffer.attribute(np.asarray(hair_normals(hair))),
        "TEXCOORD_0": buffer.attribute(uvs),
        "COLOR_0": buffer.attribute(colours),
    }
    indices = buffer.indices(np.asarray(hair.triangles).ravel())
    factor, cover = np.moveaxis(np.asarray(hair.texture), -1, 0)
    grey = np.asarray(linear_to_srgb(jnp.asarray(np.clip(factor / SCALE, 0, 1))))
    document["images"].append(buffer.picture(np.stack([grey, grey, grey, cover], -1), name))
    document["textures"].append({"source": len(document["images"]) - 1, "sampler": 0})
    surface = {
        "baseColorTexture": {"index": len(document["textures"]) - 1},
        "metallicFactor": 0.0,
        "roughnessFactor": 0.6,
    }
    primitives = []
    for mode in modes:
        material = {"name": f"{name} {mode['alphaMode'].lower()}", "doubleSided": True}
        document["materials"].append(material | {"pbrMetallicRoughness": surface} | mode)
        index = len(document["materials"]) - 1
        primitives.append({"attributes": attributes, "indices": indices, "material": index})
    mesh = {"name": name, "primitives": primitives}
    document["meshes"].append(mesh)
    document["nodes"].append({"mesh": len(document["meshes"]) - 1, "name": name})
    document["nodes"][0].setdefault("children", []).append(len(document["nodes"]) - 1)
    return mesh


def read_hair(glb: bytes) -> HairMesh | None:
    """Returns the hair of a `.glb` of `encode_glb`; None if it has none.

    Raises:
        ValueError: the bytes are no such file.
        KeyError: likewise.
        struct.error: likewise.
    """
    length = struct.unpack_from("<I", glb, 12)[0]
    document, binary = json.loads(glb[20 : 20 + length]), glb[28 + length :]
    meshes = [mesh for mesh in document["meshes"] if mesh["name"] == HAIR]
    if not meshes:
        return None

    def bytes_of(view: int) -> bytes:
        where = document["bufferViews"][view]
        return binary[where["byteOffset"] : where["byteOffset"] + where["byteLength"]]

    def array(accessor: int) -> np.ndarray:
        about = document["accessors"][accessor]
        values = np.frombuffer(bytes_of(about["bufferView"]), COMPONENTS[about["componentType"]])
        return values.reshape(about["count"], -1)

    primitive = meshes[0]["primitives"][0]
    attributes = {name: array(index) for name, index in primitive["attributes"].items()}
    image = next(image for image in document["images"] if image["name"] == HAIR)
    with Image.open(BytesIO(bytes_of(image["bufferView"]))) as png:
        texture = jnp.asarray(np.asarray(png, np.float32)[..., [0, 3]] / 255)
    return HairMesh(
        vertices=jnp.asarray(attributes["POSITION"]),
        triangles=jnp.asarray(array(primitive["indices"]).reshape(-1, 3).astype(np.int32)),
        uvs=jnp.asarray(attributes["TEXCOORD_0"] * [1, -1] + [0, 1], jnp.float32),
        colours=jnp.asarray(attributes["COLOR_0"] / [SCALE, SCALE, SCALE, 1], jnp.float32),
        texture=jnp.stack([SCALE * srgb_to_linear(texture[..., 0]), texture[..., 1]], -1),
    )


def obj_lines(hair: HairMesh, name: str, vertices: int, uvs: int) -> list[str]:
    """Returns the lines of an object of an OBJ after so many vertices (and normals) and UVs; its
    material has its name, and its transparent triangles are left out."""
    lines = [f"o {name}"]
    lines += ["v {:.7f} {:.7f} {:.7f}".format(*row) for row in np.asarray(hair.vertices).tolist()]
    lines += ["vt {:.7f} {:.7f}".format(*row) for row in np.asarray(hair.uvs).tolist()]
    normals = np.asarray(hair_normals(hair)).tolist()
    lines += ["vn {:.5f} {:.5f} {:.5f}".format(*row) for row in normals]
    lines.append(f"usemtl {name}")
    triangles = np.asarray(hair.triangles)
    solid = triangles[np.asarray(hair.colours)[triangles, 3].mean(1) > 0.5]
    for corner in (solid + 1).tolist():
        lines.append("f " + " ".join(f"{v + vertices}/{v + uvs}/{v + vertices}" for v in corner))
    return lines


def obj_picture(hair: HairMesh) -> np.ndarray:
    """Returns the texture of an object of an OBJ, `[T, T, 4]`: one colour for all its vertices,
    sRGB, and opacity."""
    colours = np.asarray(hair.colours)
    mean = colours[:, 3] @ colours[:, :3] / max(float(colours[:, 3].sum()), 1e-6)
    linear = np.clip(np.asarray(hair.texture[..., :1]) * mean, 0, 1)
    return np.concatenate([linear_to_srgb(jnp.asarray(linear)), hair.texture[..., 1:]], -1)
