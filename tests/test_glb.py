"""The GLB's vertices, morph targets and size."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from gltf import Glb

from jaxface.export.buffer import Buffer
from jaxface.export.glb import encode_glb
from jaxface.export.mesh import normals
from jaxface.export.textures import occlusion_map
from jaxface.export.visemes import VISEMES, visemes_of
from jaxface.hair.lashes import lash_basis, lash_mesh
from jaxface.morphable.model import shape
from jaxface.morphable.texels import texel_map
from jaxface.rendering.occlusion import sky_seen
from jaxface.types import FaceModel, Materials
from jaxface.unwrapping.membrane import vertices_to_texels

_SIDE = 32


def encode(
    model: FaceModel,
    neutral: np.ndarray,
    lashes: bool = True,
    occlusion: np.ndarray | None = None,
) -> bytes:
    flat = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0]), (_SIDE, _SIDE, 3))
    half = jnp.full((_SIDE, _SIDE), 0.5)
    skin = np.broadcast_to([0.8, 0.6, 0.5], (_SIDE, _SIDE, 3))
    mesh = lash_mesh(model, neutral) if lashes else None
    return encode_glb(
        *(model, neutral, np.zeros(len(model.expression_names)), skin),
        Materials(half, flat, half, half),
        lashes=None if mesh is None else (mesh, lash_basis(model)),
        occlusion=occlusion,
    )


@pytest.fixture(scope="module")
def neutral(model) -> np.ndarray:
    coefficients = np.random.default_rng(1).standard_normal(len(model.identity_names))
    identity = jnp.asarray(0.7 * coefficients, jnp.float32)
    return np.asarray(shape(model, identity, jnp.zeros(len(model.expression_names))))


@pytest.fixture(scope="module")
def content(model, neutral) -> bytes:
    return encode(model, neutral)


@pytest.fixture(scope="module")
def glb(content) -> Glb:
    return Glb(content)


def parts(glb: Glb) -> list[dict]:
    return glb.mesh("face")["primitives"]


def sources(glb: Glb, part: dict, neutral: np.ndarray) -> np.ndarray:
    """The model's vertex of each vertex of a primitive, by its position."""
    positions = glb.array(part["attributes"]["POSITION"])
    distance = np.abs(positions[:, None] - neutral[None]).max(-1)
    assert distance.min(1).max() == 0
    return distance.argmin(1)


def test_each_primitive_has_vertices_of_its_own_and_uses_them_all(glb) -> None:
    seen: set[int] = set()
    for part in parts(glb):
        accessors = set(part["attributes"].values())
        assert not accessors & seen
        seen |= accessors
        count = len(glb.array(part["attributes"]["POSITION"]))
        np.testing.assert_array_equal(np.unique(glb.array(part["indices"])), np.arange(count))


def test_names_are_arkits_then_oculus(glb, model) -> None:
    names = [*model.expression_names, *VISEMES]
    assert len(VISEMES) == 15 and len(set(names)) == len(names)
    for mesh in glb.document["meshes"]:
        assert mesh["extras"]["targetNames"] == names
        assert len(mesh["weights"]) == len(names)
        for part in mesh["primitives"]:
            assert len(part["targets"]) == len(names)
            assert all(set(target) == {"POSITION", "NORMAL"} for target in part["targets"])


def test_targets_are_the_expressions_and_their_combinations(glb, model, neutral) -> None:
    basis = np.asarray(model.expression_basis)
    expected = np.concatenate(
        [basis, np.tensordot(visemes_of(model.expression_names)[1], basis, 1)]
    )
    for part in parts(glb):
        source = sources(glb, part, neutral)
        found = np.stack([glb.array(target["POSITION"]) for target in part["targets"]])
        np.testing.assert_allclose(found, expected[:, source], atol=1e-7)


def test_normals_follow_every_full_expression(glb, model, neutral) -> None:
    """Against the normals of the deformed mesh: within 5 degrees for 95 in 100 vertices."""
    basis = np.asarray(model.expression_basis)
    matrix = np.concatenate([np.eye(len(basis)), visemes_of(model.expression_names)[1]])
    moves = np.tensordot(matrix, basis, 1).astype(np.float32)
    truths = [normals(model, neutral + move) for move in moves]
    for part in parts(glb):
        source, rest = sources(glb, part, neutral), glb.array(part["attributes"]["NORMAL"])
        for target, truth in zip(part["targets"], truths, strict=True):
            found = rest + glb.array(target["NORMAL"])
            found /= np.linalg.norm(found, axis=1, keepdims=True)
            angle = np.degrees(np.arccos(np.clip((found * truth[source]).sum(1), -1, 1)))
            assert np.quantile(angle, 0.95) < 0.2 and angle.max() < 5


def test_a_closed_eye_turns_its_lashes(glb, model) -> None:
    part = glb.mesh("lashes")["primitives"][0]
    target = part["targets"][model.expression_names.index("eyeBlinkLeft")]
    left = glb.array(part["attributes"]["POSITION"])[:, 0] > 0
    turns = np.abs(glb.array(target["NORMAL"])).max(1)
    assert turns[left].max() > 0.05 and turns[~left].max() == 0


def test_the_occlusion_map_darkens_hollows_and_is_beside_the_roughness(model, neutral) -> None:
    occlusion = occlusion_map(model, sky_seen(jnp.asarray(neutral), model.triangles), _SIDE * 8)
    texels = texel_map(model, _SIDE * 8)
    place = np.asarray(vertices_to_texels(jnp.asarray(neutral), texels))
    names = np.array(model.region_names)[np.asarray(texels.region_ids)]
    forehead = (names == "skin") & (place[..., 1] > 0.04) & (place[..., 2] > 0.0)
    hollows = np.quantile(occlusion[np.isin(names, ["ears", "nose"])], 0.05)
    assert occlusion[forehead].mean() > 0.8 > 0.5 > hollows
    assert (occlusion[np.isin(names, ["eyes", "teeth"]) & np.asarray(texels.mask)] > 0.99).all()
    small = np.linspace(0, 1, _SIDE**2).reshape(_SIDE, _SIDE)
    glb = Glb(encode(model, neutral, occlusion=small))
    for material in [
        m for m in glb.document["materials"] if m["name"] in ("skin", "eyes", "mouth")
    ]:
        image = glb.document["textures"][material["occlusionTexture"]["index"]]["source"]
        assert glb.document["images"][image]["name"] == "roughness"
    red, green, _ = np.moveaxis(glb.image("roughness"), -1, 0)
    np.testing.assert_allclose(red / 255, small, atol=0.01)
    np.testing.assert_allclose(green / 255, 0.5, atol=0.01)


def test_displacements_take_the_smaller_form() -> None:
    buffer, few, all_of_them = Buffer(), np.zeros((1000, 3)), np.ones((1000, 3))
    few[[3, 700]] = [[1, 2, 3], [-4, 5, 6]]
    sparse, dense = (buffer.displacement(each, bounds=True) for each in (few, all_of_them))
    zeros = [buffer.displacement(np.zeros((1000, 3))) for _ in range(2)]
    assert "sparse" in buffer.accessors[sparse] and "bufferView" not in buffer.accessors[sparse]
    assert "sparse" not in buffer.accessors[dense]
    assert buffer.accessors[sparse]["min"] == [-4, 0, 0]
    assert zeros[0] == zeros[1] and len(buffer.data) < 12 * 1000 + 100


def test_the_file_is_smaller_than_dense_targets(content, model) -> None:
    corners = sum(len(Glb(content).array(p["attributes"]["POSITION"])) for p in parts(Glb(content)))
    targets = len(model.expression_names) + len(VISEMES)
    assert len(content) < 0.4 * corners * targets * 24


def test_visemes_use_arkits_names_within_bounds(model) -> None:
    matrix = visemes_of(model.expression_names)[1]
    assert matrix.shape == (15, 52) and matrix.min() >= 0 and matrix.max() <= 1
    names = [name for weights in VISEMES.values() for name in weights]
    sided = [n for n in names if n not in model.expression_names]
    for row, weights in zip(matrix, VISEMES.values(), strict=True):
        both = sum(2 if name in sided else 1 for name in weights)
        assert np.count_nonzero(row) == both
    names_of_other, none = visemes_of(["jawOpen", "mouthPressLeft"])
    assert names_of_other == () and none.shape == (0, 2)


def test_visemes_open_and_round_the_mouth(model) -> None:
    """The gap between the inner lips and the mouth's width, by the landmarks 13, 14, 61 and 291 of
    the face mesh, millimetres more than at rest."""
    names = list(model.expression_names)
    moves = np.tensordot(visemes_of(names)[1], np.asarray(model.expression_basis), 1)
    chosen = [13, 14, 61, 291]
    corners = np.asarray(model.triangles)[np.asarray(model.landmark_triangles)[chosen]]
    weights = np.asarray(model.landmark_barycentrics)[chosen]
    upper, lower, right, left = 1e3 * np.einsum("lk,elkc->lec", weights, moves[:, corners])
    gap = dict(zip(VISEMES, (upper - lower)[:, 1], strict=True))
    width = dict(zip(VISEMES, (left - right)[:, 0], strict=True))
    assert gap["viseme_sil"] == 0 and gap["viseme_PP"] < 1
    assert gap["viseme_aa"] == max(gap.values()) > 15
    assert gap["viseme_U"] < gap["viseme_O"]
    assert width["viseme_U"] < width["viseme_O"] < -5 and width["viseme_I"] > 1
