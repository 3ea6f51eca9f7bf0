"""glTF 2.0 binary: textured head with the model's expressions as morph targets. Host code."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from jaxface.export.mesh import normals, split_corners, tangents, triangle_regions
from jaxface.images import to_bytes
from jaxface.types import FaceModel, Materials

_FLOAT, _UINT = 5126, 5125
_ARRAY, _ELEMENTS = 34962, 34963
_MATERIALS = ("eyes", "mouth", "skin")  # separate, so that viewers can shade them differently
_MOUTH = ("teeth", "tongue", "inner_mouth")


@dataclass(frozen=True)
class Animation:
    """Keyframes of the face and its head.

    Attributes:
        times: `[N]` seconds.
        weights: `[N, E]` of the expressions, 0..1.
        rotations: `[N, 4]` of the head, unit quaternions x y z w, from model space.
        translations: `[N, 3]` of the head, metres.
    """

    times: np.ndarray
    weights: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray


class _Buffer:
    """Collects the binary chunk, buffer views and accessors; methods return indices of these."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, content: bytes, target: int | None = None) -> int:
        """Appends bytes as a buffer view."""
        self.data += b"\0" * (-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)}
        self.views.append(view if target is None else view | {"target": target})
        self.data += content
        return len(self.views) - 1

    def indices(self, array: np.ndarray) -> int:
        """Appends an accessor of vertex indices."""
        content = np.ascontiguousarray(array, np.uint32)
        return self._accessor(content, self.view(content.tobytes(), _ELEMENTS), _UINT, False)

    def attribute(self, array: np.ndarray, *, bounds: bool = False) -> int:
        """Appends an accessor of a vertex attribute, with its minimum and maximum if `bounds`."""
        content = np.ascontiguousarray(array, np.float32)
        return self._accessor(content, self.view(content.tobytes(), _ARRAY), _FLOAT, bounds)

    def keyframes(self, array: np.ndarray) -> int:
        """Appends an accessor of times or animated values."""
        content = np.ascontiguousarray(array, np.float32)
        return self._accessor(content, self.view(content.tobytes()), _FLOAT, array.ndim == 1)

    def _accessor(self, array: np.ndarray, view: int, component: int, bounds: bool) -> int:
        accessor: dict[str, Any] = {
            "bufferView": view,
            "componentType": component,
            "count": len(array),
            "type": "SCALAR" if array.ndim == 1 else f"VEC{array.shape[1]}",
        }
        if bounds:
            ends = np.atleast_1d(array.min(0)), np.atleast_1d(array.max(0))
            accessor |= {"min": ends[0].tolist(), "max": ends[1].tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def encode_glb(
    model: FaceModel,
    neutral: np.ndarray,
    expression: np.ndarray,
    texture_srgb: np.ndarray,
    surface: Materials,
    animation: Animation | None = None,
) -> bytes:
    """Returns the bytes of a `.glb`.

    The mesh is the neutral face; its morph targets have the model's expression names, and default
    weights of the given expression. Metres, y up, +z forward, as in glTF.

    Args:
        model: topology, UVs, expressions.
        neutral: `[V, 3]` vertices without expression, metres.
        expression: `[E]` default weights.
        texture_srgb: `[T, T, 3]` base colour, 0..1.
        surface: normal map, roughness and specular factor.
        animation: of the expressions and of the head; none if missing.
    """
    corners, buffer = split_corners(model), _Buffer()
    uvs = corners.uvs * np.array([1, -1]) + np.array([0, 1])  # glTF's origin is top-left
    positions, normal = np.asarray(neutral)[corners.source], normals(model, neutral)[corners.source]
    attributes = {
        "POSITION": buffer.attribute(positions, bounds=True),
        "NORMAL": buffer.attribute(normal),
        "TANGENT": buffer.attribute(tangents(corners, positions, normal)),
        "TEXCOORD_0": buffer.attribute(uvs),
    }
    targets = [
        {"POSITION": buffer.attribute(shape[corners.source], bounds=True)}
        for shape in np.asarray(model.expression_basis)
    ]
    material_ids = _triangle_materials(model)
    primitives = [
        {
            "attributes": attributes,
            "indices": buffer.indices(corners.triangles[material_ids == index].ravel()),
            "material": index,
            "targets": targets,
        }
        for index in range(len(_MATERIALS))
        if (material_ids == index).any()
    ]
    textures = {"albedo": texture_srgb} | surface_maps(surface)
    images = [
        {"bufferView": buffer.view(_png(image)), "mimeType": "image/png", "name": name}
        for name, image in textures.items()
    ]
    names = list(model.expression_names)
    document = {
        "asset": {"version": "2.0", "generator": "jaxface"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "face"}],
        "meshes": [
            {
                "name": "face",
                "primitives": primitives,
                "weights": np.asarray(expression, float).round(6).tolist(),
                "extras": {"targetNames": names},
            }
        ],
        "materials": [
            {
                "name": name,
                "doubleSided": True,
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": 0},
                    "metallicRoughnessTexture": {"index": 2},
                    "metallicFactor": 0.0,
                },
                "normalTexture": {"index": 1},
                "extensions": {"KHR_materials_specular": {"specularTexture": {"index": 3}}},
            }
            for name in _MATERIALS
        ],
        "extensionsUsed": ["KHR_materials_specular"],
        "textures": [{"source": index, "sampler": 0} for index in range(len(images))],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
        "images": images,
        "bufferViews": buffer.views,
        "accessors": buffer.accessors,
        "buffers": [{"byteLength": len(buffer.data) + (-len(buffer.data) % 4)}],
    }
    if animation is not None:
        document["animations"] = [_animation(buffer, animation)]
        document["buffers"] = [{"byteLength": len(buffer.data) + (-len(buffer.data) % 4)}]
    return _container(document, bytes(buffer.data))


def _animation(buffer: _Buffer, animation: Animation) -> dict[str, Any]:
    """Returns the glTF animation, its keyframes appended to the buffer."""
    times = buffer.keyframes(animation.times)
    values = {
        "weights": animation.weights.ravel(),
        "rotation": animation.rotations,
        "translation": animation.translations,
    }
    return {
        "name": "video",
        "samplers": [
            {"input": times, "output": buffer.keyframes(array), "interpolation": "LINEAR"}
            for array in values.values()
        ],
        "channels": [
            {"sampler": index, "target": {"node": 0, "path": path}}
            for index, path in enumerate(values)
        ],
    }


def surface_maps(surface: Materials) -> dict[str, np.ndarray]:
    """Returns glTF's textures of a surface, 0..1: normals, roughness in the green channel, the
    specular factor in the alpha channel."""
    roughness, specular = np.asarray(surface.roughness), np.asarray(surface.specular)
    zeros = np.zeros_like(roughness)
    return {
        "normal": 0.5 + 0.5 * np.asarray(surface.normal),
        "roughness": np.stack([zeros, roughness, zeros], -1),
        "specular": np.stack([specular] * 4, -1),
    }


def _png(image: np.ndarray) -> bytes:
    stream = BytesIO()
    Image.fromarray(to_bytes(image)).save(stream, "png", compress_level=4)
    return stream.getvalue()


def _triangle_materials(model: FaceModel) -> np.ndarray:
    """Returns the index into `_MATERIALS` of each triangle."""
    materials = _MATERIALS
    of_region = [
        materials.index("eyes" if name == "eyes" else "mouth" if name in _MOUTH else "skin")
        for name in model.region_names
    ]
    return np.array(of_region)[triangle_regions(model)]


def _container(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    chunks = b""
    for kind, content, filler in ((b"JSON", text, b" "), (b"BIN\0", binary, b"\0")):
        content += filler * (-len(content) % 4)
        chunks += struct.pack("<I4s", len(content), kind) + content
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
