"""From another model's official arrays to a `FaceModel` in the canonical UV. Host code."""

from __future__ import annotations

import hashlib
from pathlib import Path

import jax
import numpy as np
from scipy.spatial import cKDTree

from jaxface.caches import cache_folder, read_arrays, write_arrays
from jaxface.morphable import surface as surface_code
from jaxface.morphable.adapters import registration as registration_code
from jaxface.morphable.adapters.interior import Interior, interior
from jaxface.morphable.adapters.official import OfficialModel
from jaxface.morphable.adapters.registration import (
    Patches,
    Registration,
    Surface,
    halve,
    register,
    triangulate,
)
from jaxface.morphable.surface import vertex_normals
from jaxface.types import FaceModel

_SAME_UV = 0.01  # of the UV square: UVs of one vertex that are nearer than this are merged


def adapt(official: OfficialModel, model: FaceModel, *, name: str) -> FaceModel:
    """Returns a `FaceModel` with the other's skin and modes, and all else of the default model.

    Vertices are the skin's, in the official order, then the default's eyes and mouth. Expressions
    are the default's (ARKit's), zero where the other model lacks one, then the other's further
    ones.

    Args:
        official: the other model, checked.
        model: the default model.
        name: of the result.

    Raises:
        InputError: the other model's face is too far from the default's (`register`).
    """
    registration = registration_of(official, model)
    rotation = registration.rotation.T.astype(np.float32)
    identity, names = official.identity @ rotation, official.expression_names
    official_expression = dict(zip(names, official.expression @ rotation, strict=True))
    further = [key for key in names if key not in model.expression_names]
    every_name = (*model.expression_names, *further)
    zeros = np.zeros((len(official.vertices), 3), np.float32)
    expression = np.stack([official_expression.get(key, zeros) for key in every_name])
    parts = interior(official, registration, model, identity, expression, every_name)

    quads = official.quads[registration.kept]
    used = registration.skin
    quads = np.searchsorted(used, quads)
    uvs, uv_quads = _canonical_uvs(official, registration, model)
    new_id = np.full(len(model.mean), -1)
    new_id[parts.source] = len(used) + np.arange(len(parts.source))
    quads = np.concatenate([quads, new_id[np.asarray(model.quads)[parts.quads]]]).astype(np.int32)
    own_uv = np.asarray(model.uv_quads)[parts.quads]
    kept_uv, flat = np.unique(own_uv, return_inverse=True)
    uv_quads = np.concatenate([uv_quads, len(uvs) + flat.reshape(-1, 4)]).astype(np.int32)
    uvs = np.concatenate([uvs, np.asarray(model.uvs)[kept_uv]])
    mean = np.concatenate([registration.vertices[used], parts.vertices])

    nearest = registration.barycentrics.argmax(1)
    corners = np.asarray(model.triangles)[registration.triangles]
    region = np.asarray(model.vertex_region)
    own_region = np.take_along_axis(region[corners], nearest[:, None], axis=1)[used, 0]
    triangles = triangulate(quads)
    landmark_ids, weights = _landmarks(registration, model, parts, used, new_id, triangles)
    arrays = {
        "mean": mean,
        "identity_basis": np.concatenate([identity[:, used], parts.identity], 1),
        "expression_basis": np.concatenate([expression[:, used], parts.expression], 1),
        "triangles": triangles,
        "quads": quads,
        "uvs": uvs,
        "uv_triangles": halve(uv_quads, quads),
        "uv_quads": uv_quads,
        "mirror": _mirror(mean, len(used), parts, model, new_id),
        "vertex_region": np.concatenate([own_region, region[parts.source]]),
        "landmark_triangles": landmark_ids,
        "landmark_barycentrics": weights,
    }
    dtypes = {key: np.int32 if value.dtype.kind in "iu" else np.float32
             for key, value in arrays.items()}  # fmt: skip
    tensors = {key: np.asarray(value, dtypes[key]) for key, value in arrays.items()}
    return model.replace(
        **jax.device_put(tensors),
        expression_names=every_name,
        identity_names=official.identity_names,
        name=name,
    )


def registration_of(official: OfficialModel, model: FaceModel) -> Registration:
    """Returns the registration, cached for the user by the meshes and the source of its code."""
    digest = hashlib.sha256()
    for code in (registration_code, surface_code):
        digest.update(Path(str(code.__file__)).read_bytes())
    for array in (
        *(official.vertices, official.quads, model.mean, model.identity_basis),
        official.landmarks68 if official.landmarks68 is not None else np.zeros(0),
    ):
        digest.update(np.ascontiguousarray(array).tobytes())
    file = cache_folder() / f"registration-{digest.hexdigest()[:16]}.npz"
    arrays = read_arrays(file)
    if arrays is None:
        arrays = vars(register(official, model))
        write_arrays(file, arrays)
    return Registration(**arrays)


def _canonical_uvs(
    official: OfficialModel, registration: Registration, model: FaceModel
) -> tuple[np.ndarray, np.ndarray]:
    """Returns UVs `[U, 2]` and UV indices `[P, 4]` of the skin's polygons."""
    surface = Surface(registration.fitted, np.asarray(model.triangles))
    quads = official.quads[registration.kept]
    normals = vertex_normals(registration.vertices, triangulate(quads))
    corners_uv = np.asarray(model.uvs)[np.asarray(model.uv_triangles)]
    keys, flat = np.unique(
        np.stack([quads.ravel(), np.repeat(registration.patch, 4)], 1), axis=0, return_inverse=True
    )
    uvs = np.zeros((len(keys), 2))
    for patch, members in Patches(model).members.items():
        of_patch = np.flatnonzero(keys[:, 1] == patch)
        vertex = keys[of_patch, 0]
        found = surface.nearest(registration.vertices[vertex], normals[vertex], members)
        uvs[of_patch] = np.einsum("nk,nkc->nc", found[1], corners_uv[found[0]])
    # Where a vertex has nearly the same UV in two patches there is no seam.
    first = np.arange(len(keys))
    for step in (1, 2):
        same = np.flatnonzero(keys[step:, 0] == keys[:-step, 0])
        near = np.abs(uvs[same + step] - uvs[same]).max(1) < _SAME_UV
        first[same[near] + step] = first[same[near]]
    kept, order = np.unique(first, return_inverse=True)
    return uvs[kept], order[flat].reshape(-1, 4)


def _landmarks(
    registration: Registration,
    model: FaceModel,
    parts: Interior,
    used: np.ndarray,
    new_id: np.ndarray,
    triangles: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns triangles and barycentrics of the default's landmarks: those on the appended parts
    stay, the others go to the nearest points of the other's skin."""
    corners = np.asarray(model.triangles)[np.asarray(model.landmark_triangles)]
    weights = np.asarray(model.landmark_barycentrics).astype(float).copy()
    eyes = np.asarray(model.vertex_region)[corners] == model.region_names.index("eyes")
    triangle = np.zeros(len(corners), int)
    for index in np.flatnonzero(eyes.all(1)):
        vertex = new_id[corners[index][weights[index].argmax()]]
        triangle[index] = np.flatnonzero((triangles == vertex).any(1))[0]
        weights[index] = triangles[triangle[index]] == vertex
    on_skin = np.flatnonzero(~eyes.all(1))
    points = np.einsum("lk,lkc->lc", weights[on_skin], registration.fitted[corners[on_skin]])
    skin_triangles = np.flatnonzero((triangles < len(used)).all(1))
    skin = Surface(registration.vertices[used], triangles[skin_triangles])
    normals = vertex_normals(registration.fitted, np.asarray(model.triangles))
    facing = np.einsum("lk,lkc->lc", weights[on_skin], normals[corners[on_skin]])
    near, weights[on_skin], _ = skin.nearest(points, facing)
    triangle[on_skin] = skin_triangles[near]
    return triangle, weights


def _mirror(
    mean: np.ndarray, skin: int, parts: Interior, model: FaceModel, new_id: np.ndarray
) -> np.ndarray:
    """Returns `[V]` the mirror vertex: on skin the nearest to the mirrored position."""
    nearest = cKDTree(mean[:skin]).query(mean[:skin] * [-1, 1, 1])[1]
    return np.concatenate([nearest, new_id[np.asarray(model.mirror)[parts.source]]])
