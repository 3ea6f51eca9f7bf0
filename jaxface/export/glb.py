"""glTF 2.0 binary: textured head with expressions and visemes as morph targets. Host code."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxface.export.buffer import Buffer
from jaxface.export.hair import FACE, LASHES, add_hair, add_lashes
from jaxface.export.mesh import normals, split_corners, tangents, triangle_regions
from jaxface.export.visemes import visemes_of
from jaxface.types import FaceModel, HairMesh, Materials

_MATERIALS = ("eyes", "mouth", "skin")  # separate, so that viewers can shade them differently
_MOUTH = ("teeth", "tongue", "inner_mouth")
_STILL = 1e-3  # radians: smaller turns of normals are left out of morph targets


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


def encode_glb(
    model: FaceModel,
    neutral: np.ndarray,
    expression: np.ndarray,
    texture_srgb: np.ndarray,
    surface: Materials,
    animation: Animation | None = None,
    hair: HairMesh | None = None,
    lashes: tuple[HairMesh, np.ndarray] | None = None,
    occlusion: np.ndarray | None = None,
) -> bytes:
    """Returns the bytes of a `.glb`.

    The mesh is the neutral face. Its morph targets are the model's expressions, with the given
    weights as default, then the visemes (`visemes_of`). Metres, y up, +z forward, as in glTF.

    Args:
        model: topology, UVs, expressions.
        neutral: `[V, 3]` vertices without expression, metres.
        expression: `[E]` default weights.
        texture_srgb: `[T, T, 3]` base colour, 0..1.
        surface: normal map, roughness and specular factor.
        animation: of the expressions and of the head; none if missing.
        hair: of the neutral face, a mesh of its own that moves with the head; none if missing.
        lashes: likewise, with their basis of expressions `[E, N, 3]`, which they share.
        occlusion: `[T, T]` ambient occlusion, 0..1; none if missing.
    """
    buffer, (viseme_names, visemes) = Buffer(), visemes_of(model.expression_names)
    names = [*model.expression_names, *viseme_names]
    weights = np.pad(np.asarray(expression, float), (0, len(viseme_names)))
    primitives = _primitives(model, np.asarray(neutral), visemes, buffer)
    textures = {"albedo": texture_srgb} | _surface_maps(surface, occlusion)
    images = [buffer.picture(image, name) for name, image in textures.items()]
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "jaxface"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": FACE}],
        "meshes": [
            {
                "name": FACE,
                "primitives": primitives,
                "weights": weights.round(6).tolist(),
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
    }
    if occlusion is not None:
        for material in document["materials"]:
            material["occlusionTexture"] = {"index": 2}
    if hair is not None:
        add_hair(document, buffer, hair)
    if lashes is not None:
        add_lashes(document, buffer, lashes[0], _with_visemes(lashes[1], visemes))
    if animation is not None:
        followers = [n for n, node in enumerate(document["nodes"]) if node["name"] == LASHES]
        document["animations"] = [_animation(buffer, animation, len(names), followers)]
    document["buffers"] = [{"byteLength": len(buffer.data) + (-len(buffer.data) % 4)}]
    return _container(document, bytes(buffer.data))


def _primitives(
    model: FaceModel, neutral: np.ndarray, visemes: np.ndarray, buffer: Buffer
) -> list[dict[str, Any]]:
    """Returns the primitives of the face, one for each of `_MATERIALS`, each with vertices of its
    own: importers copy a buffer that primitives share once for each."""
    corners, rest = split_corners(model), normals(model, neutral)
    positions, normal = neutral[corners.source], rest[corners.source]
    attributes = {
        "POSITION": positions,
        "NORMAL": normal,
        "TANGENT": tangents(corners, positions, normal),
        "TEXCOORD_0": corners.uvs * [1, -1] + [0, 1],  # glTF's origin is top-left
    }
    moves = _with_visemes(np.asarray(model.expression_basis), visemes)
    turns = np.stack([normals(model, neutral + move) - rest for move in moves])
    turns[np.abs(turns).max(-1) < _STILL] = 0.0
    moves, turns = moves[:, corners.source], turns[:, corners.source]
    material_ids = _triangle_materials(model)
    primitives = []
    for index in range(len(_MATERIALS)):
        used, order = np.unique(corners.triangles[material_ids == index], return_inverse=True)
        if not len(used):
            continue
        primitives.append(
            {
                "attributes": {
                    name: buffer.attribute(array[used], bounds=name == "POSITION")
                    for name, array in attributes.items()
                },
                "indices": buffer.indices(order.ravel()),
                "material": index,
                "targets": buffer.targets(moves[:, used], turns[:, used]),
            }
        )
    return primitives


def _with_visemes(basis: np.ndarray, visemes: np.ndarray) -> np.ndarray:
    """Returns the displacements `[E + 15, N, 3]` of expressions and visemes."""
    return np.concatenate([basis, np.tensordot(visemes, basis, 1).astype(np.float32)])


def _animation(
    buffer: Buffer, animation: Animation, targets: int, followers: list[int]
) -> dict[str, Any]:
    """Returns the glTF animation, its keyframes appended to the buffer, the weights of `targets`
    morph targets; `followers` are nodes whose expressions are the face's."""
    times = buffer.keyframes(animation.times)
    frames, expressions = animation.weights.shape
    weights = np.zeros((frames, targets))
    weights[:, :expressions] = animation.weights
    values = {
        "weights": weights.ravel(),
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
        ]
        + [{"sampler": 0, "target": {"node": node, "path": "weights"}} for node in followers],
    }


def _surface_maps(surface: Materials, occlusion: np.ndarray | None) -> dict[str, np.ndarray]:
    """Returns glTF's textures of a surface, 0..1: normals; occlusion in the red channel, roughness
    in the green one; the specular factor in the alpha channel."""
    roughness, specular = np.asarray(surface.roughness), np.asarray(surface.specular)
    zeros = np.zeros_like(roughness)
    return {
        "normal": 0.5 + 0.5 * np.asarray(surface.normal),
        "roughness": np.stack([zeros if occlusion is None else occlusion, roughness, zeros], -1),
        "specular": np.stack([zeros, zeros, zeros, specular], -1),
    }


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
