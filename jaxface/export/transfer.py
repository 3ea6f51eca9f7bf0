"""Transfer of a result to another model's topology and UV layout. Host code."""

from __future__ import annotations

import json
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxface.export.folder import whole_folder
from jaxface.export.layout import Sheet, resample, sheets
from jaxface.export.obj import encode_mtl
from jaxface.export.preview import fine_head, studio_view
from jaxface.export.stored import PARAMETERS, StoredResult, load_result
from jaxface.images import write_png
from jaxface.morphable import adapters
from jaxface.morphable.adapters.adapt import adapt, registration_of
from jaxface.morphable.adapters.follow import follow
from jaxface.morphable.adapters.official import OfficialModel
from jaxface.morphable.adapters.registration import Registration, largest_part
from jaxface.morphable.files import load_model
from jaxface.morphable.model import shape
from jaxface.morphable.surface import similarity
from jaxface.morphable.texels import texel_map
from jaxface.rendering.color import linear_to_srgb
from jaxface.types import FaceModel

_MAP_SIZE = 512  # texels a side of the texel map that gives correspondences between two topologies
_FACE = ("skin", "lips", "brows", "lids", "nose")  # regions that the coefficients are fitted to
_ROUNDS = 4  # alternations of alignment and identity
_VIEWS = (-35.0, 0.0, 35.0)  # degrees of yaw


def transfer(result: str | Path, to: str, output: str | Path, *, size: int | None = None) -> None:
    """Writes a finished face in the topology and the UV layout of another model. Host function.

    The folder gets `face.obj` (the official vertices in their order, moved by coefficients that
    follow the face, then the eyes and the inside of the mouth; metres), its textures in the
    model's own UV layout, one set for each tile (in the canonical layout if the model has none),
    `preview.png` and `parameters.json`.

    Args:
        result: folder of `jaxface reconstruct`.
        to: the other model, as `ict:PATH`.
        output: folder to write.
        size: of the textures, pixels a side; the result's own if missing.

    Raises:
        InputError: the folder holds no result, the model's files are not the official ones, or
            the output cannot be written.

    Example:
        >>> transfer("out/me", "ict:FaceXModel", "out/me_as_ict")  # doctest: +SKIP
    """
    stored, default = load_result(result), load_model()
    official = adapters.read_official(to)
    registration, model = registration_of(official, default), adapt(official, default, name=to)
    source = default if stored.model == default.name else load_model(stored.model)
    identity, expression, error = _fit_coefficients(stored, source, model)
    vertices = np.asarray(shape(model, jnp.asarray(identity), jnp.asarray(expression)))
    textures, layout = _textures(stored), _layout(official, registration, model)
    size = size or len(textures["albedo"])
    sets = [resample(textures, model, vertices, sheet, size) for sheet in layout]
    data = {
        "format": "jaxface-transfer-1",
        "result": str(result),
        "model": to,
        "median_distance_mm": error,
        "identity": dict(zip(model.identity_names, identity.tolist(), strict=True)),
        "expression": dict(zip(model.expression_names, expression.tolist(), strict=True)),
    }
    with whole_folder(output) as folder:
        for sheet, images in zip(layout, sets, strict=True):
            for kind, image in images.items():
                write_png(folder / f"{kind}.{sheet.name}.png", _encoded_image(kind, image))
        mtl = [encode_mtl(f"albedo.{one.name}.png", stem=f"skin.{one.name}") for one in layout]
        (folder / "face.mtl").write_text("".join(mtl))
        points = _official_vertices(official, registration, model, identity, expression)
        points = np.concatenate([points, vertices[len(registration.skin) :]])
        faces = _faces(official, registration, model, layout)
        (folder / "face.obj").write_text(_obj(points, faces))
        albedos = [images["albedo"] for images in sets]
        write_png(folder / "preview.png", _preview(model, vertices, layout, albedos))
        (folder / PARAMETERS).write_text(json.dumps(data, indent=1) + "\n")


def _fit_coefficients(
    stored: StoredResult, source: FaceModel, model: FaceModel
) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns identity and expression of the other model fitted to a face, and the median distance
    of corresponding vertices, millimetres."""
    parameters = stored.parameters
    neutral = shape(source, parameters.identity, jnp.zeros_like(parameters.expression))
    posed = shape(source, parameters.identity, parameters.expression)
    texels = texel_map(source, _MAP_SIZE)
    uv = np.zeros((len(model.mean), 2), np.float32)
    uv[np.asarray(model.triangles)] = np.asarray(model.uvs)[np.asarray(model.uv_triangles)]
    column, row = np.clip((uv * [1, -1] + [0, 1]) * _MAP_SIZE, 0, _MAP_SIZE - 1).astype(int).T
    corners, weights = texels.vertex_ids[row, column], texels.barycentrics[row, column]
    target, posed_target = (
        np.einsum("vk,vkc->vc", weights, vertices[corners]) for vertices in (neutral, posed)
    )
    face = np.asarray(texels.mask)[row, column]
    face &= np.isin(
        np.asarray(model.vertex_region), [model.region_names.index(name) for name in _FACE]
    )
    basis, fitted = np.asarray(model.identity_basis)[:, face], np.asarray(model.mean)[face]
    target, posed_target = target[face], posed_target[face]
    for _ in range(_ROUNDS):  # models differ in pose
        rotation, _, shift = similarity(target, fitted, scale=False)
        target, posed_target = target @ rotation.T + shift, posed_target @ rotation.T + shift
        offset = target - np.asarray(model.mean)[face]
        zero = np.zeros(len(basis))
        identity = follow(basis, offset, mean=zero, sigma=1.0, bounds=(-3.0, 3.0))
        fitted = np.asarray(model.mean)[face] + np.tensordot(identity, basis, 1)
    by_name = dict(zip(source.expression_names, parameters.expression.tolist(), strict=True))
    basis = np.asarray(model.expression_basis)
    prior_mean = np.array([by_name.get(name, 0.0) for name in model.expression_names])
    prior_mean = prior_mean * basis.any((1, 2))
    offset = posed_target - target
    expression = follow(basis[:, face], offset, mean=prior_mean, sigma=0.25, bounds=(0.0, 1.0))
    fitted = np.asarray(shape(model, jnp.asarray(identity), jnp.asarray(expression)))[face]
    error = np.linalg.norm(fitted - posed_target, axis=1)
    return identity, expression, round(1e3 * float(np.median(error)), 3)


def _textures(stored: StoredResult) -> dict[str, np.ndarray]:
    """Returns a result's textures by name, linear."""
    surface = stored.surface
    return {
        "albedo": np.asarray(stored.texture_linear),
        "normal": np.asarray(surface.normal),
        "roughness": np.asarray(surface.roughness)[..., None],
        "specular": np.asarray(surface.specular)[..., None],
    }


def _encoded_image(kind: str, image: np.ndarray) -> np.ndarray:
    """Returns a texture as it is written, 0..1: albedo in sRGB, normals around 0.5."""
    if kind == "albedo":
        return np.asarray(linear_to_srgb(jnp.asarray(image)))
    return 0.5 + 0.5 * image if kind == "normal" else image[..., 0]


def _layout(official: OfficialModel, registration: Registration, model: FaceModel) -> list[Sheet]:
    """Returns the tiles of the official layout, and one with canonical UVs for the appended parts;
    or a canonical one for all."""
    canonical = np.asarray(model.uvs)[np.asarray(model.uv_quads)]
    every = np.arange(len(canonical))
    if official.uvs is None or official.uv_quads is None:
        return [Sheet("canonical", every, canonical)]
    skin = len(registration.kept)
    fitted = official.uvs[official.uv_quads[registration.kept]]
    return [*sheets(every[:skin], fitted), Sheet("interior", every[skin:], canonical[skin:])]


def _official_vertices(
    official: OfficialModel,
    registration: Registration,
    model: FaceModel,
    identity: np.ndarray,
    expression: np.ndarray,
) -> np.ndarray:
    """Returns all vertices of the official model, metres, those outside the skin included."""
    named = dict(zip(model.expression_names, expression, strict=True))
    fitted = np.array([named[name] for name in official.expression_names], np.float32)
    offset = np.tensordot(identity, official.identity, 1)
    if len(fitted):
        offset = offset + np.tensordot(fitted, official.expression, 1)
    return registration.vertices + offset @ registration.rotation.T


def _faces(
    official: OfficialModel, registration: Registration, model: FaceModel, layout: list[Sheet]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns polygons `[M, 4]` and UVs `[M, 4, 2]` by material; vertices are the official ones,
    then what is appended.

    If the model has UVs, its largest connected component is complete, inside of mouth and nose
    included."""
    skin, count = registration.skin, len(official.vertices)
    number = np.concatenate([skin, count + np.arange(len(model.mean) - len(skin))])
    quads = np.asarray(model.quads)
    faces = {sheet.name: (number[quads[sheet.quads]], sheet.uvs) for sheet in layout}
    if official.uvs is not None and official.uv_quads is not None:
        part = largest_part(official.quads)
        fitted = sheets(part, official.uvs[official.uv_quads[part]])
        faces |= {sheet.name: (official.quads[sheet.quads], sheet.uvs) for sheet in fitted}
    return faces


def _obj(points: np.ndarray, faces: dict[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """Returns the text of an OBJ of polygons with UVs, by material."""
    lines = ["mtllib face.mtl", "o face"]
    lines += ["v {:.7f} {:.7f} {:.7f}".format(*row) for row in points.tolist()]
    first = 1
    for name, (polygons, corners) in faces.items():
        uvs, order = np.unique(corners.reshape(-1, 2), axis=0, return_inverse=True)
        lines += ["vt {:.7f} {:.7f}".format(*row) for row in uvs.tolist()]
        lines.append(f"usemtl skin.{name}")
        numbers = (order.reshape(-1, 4) + first).tolist()
        for polygon, uv in zip((polygons + 1).tolist(), numbers, strict=True):
            size = 4 if polygon[2] != polygon[3] else 3
            pairs = zip(polygon[:size], uv[:size], strict=True)
            lines.append("f " + " ".join(f"{v}/{t}" for v, t in pairs))
        first += len(uvs)
    return "\n".join(lines) + "\n"


def _preview(
    model: FaceModel, vertices: np.ndarray, layout: list[Sheet], albedos: list[np.ndarray]
) -> np.ndarray:
    """Returns three views of the face in its new textures, `[S, 3 S, 3]` sRGB."""
    side = math.ceil(math.sqrt(len(layout)))
    size = len(albedos[0])
    atlas = np.zeros((side * size, side * size, 3), np.float32)
    uvs = np.zeros((len(model.quads), 4, 2), np.float32)
    for index, (sheet, albedo) in enumerate(zip(layout, albedos, strict=True)):
        row, column = divmod(index, side)
        atlas[row * size : (row + 1) * size, column * size : (column + 1) * size] = albedo
        uvs[sheet.quads] = (sheet.uvs + np.array([column, side - 1 - row])) / side
    _, fitted = Sheet("atlas", np.arange(len(uvs)), uvs).lay(model)
    fitted = fitted.replace(uv_quads=jnp.arange(4 * len(uvs)).reshape(-1, 4))
    head, texture = fine_head(fitted, vertices), jnp.asarray(atlas)
    return np.concatenate([studio_view(head, texture, None, yaw) for yaw in _VIEWS], 1)
