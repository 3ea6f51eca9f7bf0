"""The face model and its subdivision."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from scipy.spatial.distance import pdist

from jaxface import assets
from jaxface.errors import InputError
from jaxface.morphable.files import load_model
from jaxface.morphable.model import landmark_points, shape
from jaxface.morphable.subdivision import subdivide
from jaxface.types import FaceModel

ARKIT = 52


def region(model: FaceModel, *names: str) -> np.ndarray:
    wanted = [model.region_names.index(name) for name in names]
    return np.isin(np.asarray(model.vertex_region), wanted)


def expression(model: FaceModel, **values: float) -> np.ndarray:
    weights = jnp.zeros(ARKIT)
    for name, value in values.items():
        weights = weights.at[model.expression_names.index(name)].set(value)
    return np.asarray(shape(model, jnp.zeros(len(model.identity_names)), weights))


def random_heads(model: FaceModel, count: int) -> list[np.ndarray]:
    """Returns heads without expression, their coefficients within two standard deviations."""
    key, rest = np.random.default_rng(0), jnp.zeros(ARKIT)
    draws = np.clip(key.standard_normal((count, len(model.identity_names))), -2, 2)
    return [np.asarray(shape(model, jnp.asarray(draw, jnp.float32), rest)) for draw in draws]


def test_mean_is_symmetric_and_to_scale(model: FaceModel) -> None:
    mirror, mean = np.asarray(model.mirror), np.asarray(model.mean)
    assert (mirror[mirror] == np.arange(len(mean))).all()
    assert (mean[mirror] * [-1, 1, 1] == mean).all()
    eyes = mean[region(model, "eyes")].reshape(2, -1, 3)
    pupils = eyes[:, 0]
    np.testing.assert_allclose(pupils[0] - pupils[1], [0.063, 0, 0], atol=1e-5)
    np.testing.assert_allclose((eyes.min(1) + eyes.max(1)).mean(0)[:2] / 2, 0, atol=1e-4)
    face = mean[region(model, "skin", "nose", "lips")]
    assert 0.12 < np.ptp(face[:, 0]) < 0.17
    assert face[:, 2].argmax() in np.flatnonzero(abs(face[:, 0]) < 1e-4)


def test_faces_are_mirror_images(model: FaceModel) -> None:
    mirror, triangles = np.asarray(model.mirror), np.asarray(model.triangles)
    known = {frozenset(t) for t in triangles.tolist()}
    assert known == {frozenset(t) for t in mirror[triangles].tolist()}
    quads = np.asarray(model.quads)
    halves = np.sort(triangles.reshape(-1, 6), axis=1)
    assert all(set(h) == set(q) for h, q in zip(halves.tolist(), quads.tolist(), strict=True))


def test_mesh_is_manifold_with_one_open_border(model: FaceModel) -> None:
    triangles, mean = np.asarray(model.triangles), np.asarray(model.mean)
    mesh = trimesh.Trimesh(mean, triangles, process=False)
    assert mesh.is_winding_consistent
    assert (mesh.area_faces > 1e-9).all()
    _, uses = np.unique(np.sort(mesh.edges, axis=1), axis=0, return_counts=True)
    assert uses.max() == 2
    edges = mesh.edges[trimesh.grouping.group_rows(mesh.edges_sorted, require_count=1)]
    collar = region(model, "neck")[edges].all(1)
    assert collar.sum() == 42
    assert region(model, "teeth", "tongue")[edges[~collar]].all()
    outward = mesh.vertex_normals[region(model, "skin", "eyes") & (mean[:, 2] > 0)]
    assert (outward[:, 2] > 0).mean() > 0.95


def test_identity_is_finite_and_moderate(model: FaceModel) -> None:
    """The standard deviation of a face vertex over people is a few millimetres."""
    basis = np.asarray(model.identity_basis)
    assert np.isfinite(basis).all()
    deviation = np.sqrt((basis**2).sum((0, 2)))
    assert 0.002 < deviation[region(model, "skin", "nose", "lips")].mean() < 0.007
    assert len(model.identity_names) == len(basis) == len(set(model.identity_names))


def test_identity_modes_are_symmetric_or_antisymmetric(model: FaceModel) -> None:
    basis, mirror = np.asarray(model.identity_basis), np.asarray(model.mirror)
    image = basis[:, mirror] * [-1, 1, 1]
    size = np.linalg.norm(basis.reshape(len(basis), -1), axis=1)
    even = np.linalg.norm((basis - image).reshape(len(basis), -1), axis=1)
    odd = np.linalg.norm((basis + image).reshape(len(basis), -1), axis=1)
    assert (np.minimum(even, odd) < 0.02 * size).all()
    assert (even < odd).sum() > (odd < even).sum() > 0


def test_random_heads_keep_their_eyes_in_the_sockets(model: FaceModel) -> None:
    key = np.random.default_rng(0)
    lids = region(model, "lids") & (np.asarray(model.mean)[:, 0] > 0)
    gaps = []
    for _ in range(20):
        identity = jnp.asarray(key.standard_normal(len(model.identity_names)), jnp.float32)
        vertices = np.asarray(shape(model, identity, jnp.zeros(ARKIT)))
        ball = vertices[region(model, "eyes")].reshape(2, -1, 3)[0]
        center = (ball.min(0) + ball.max(0)) / 2
        radius = np.linalg.norm(ball - center, axis=1).mean()
        assert 0.013 < radius < 0.021
        gaps.append(np.linalg.norm(vertices[lids] - center, axis=1).min() - radius)
    assert min(gaps) > -0.003 and max(gaps) < 0.003


def test_blink_closes_the_lids(model: FaceModel) -> None:
    """Seen from the front, the eye's pupil is behind the lids, and only on the side that blinks."""
    closed = expression(model, eyeBlinkLeft=1.0)
    mesh = trimesh.Trimesh(closed, np.asarray(model.triangles), process=False)
    eyes = region(model, "eyes")
    for first, visible in ((0, False), (338, True)):
        pupil = closed[eyes][first]
        ray = mesh.ray.intersects_first([[*pupil[:2], 1.0]], [[0, 0, -1.0]])
        assert eyes[mesh.faces[ray[0]]].all() == visible


def test_jaw_opens_with_teeth_and_tongue(model: FaceModel) -> None:
    moved = expression(model, jawOpen=1.0) - np.asarray(model.mean)
    teeth = moved[region(model, "teeth")][:, 1]
    assert teeth.min() < -0.02
    assert np.isclose(teeth, 0, atol=1e-4).sum() == len(teeth) / 2  # the upper teeth stay
    assert moved[region(model, "tongue")][:, 1].min() < -0.015
    assert abs(moved[region(model, "eyes", "scalp")]).max() < 0.001


def test_teeth_and_tongue_are_rigid(model: FaceModel) -> None:
    teeth, tongue = (np.flatnonzero(region(model, name)) for name in ("teeth", "tongue"))
    lower, upper = np.split(teeth, 2)
    basis = dict(zip(model.expression_names, np.asarray(model.expression_basis), strict=True))
    jaw = {name for name in basis if name.startswith("jaw")}
    assert len(jaw) == 4
    for name, moved in basis.items():
        assert not moved[upper].any()
        assert moved[lower].any() == (name in jaw)
        assert moved[tongue].any() == (name in jaw or name == "tongueOut")
        if name in jaw:
            carried = np.asarray(model.mean)[np.concatenate([lower, tongue])]
            lengths = pdist(carried + moved[np.concatenate([lower, tongue])])
            np.testing.assert_allclose(lengths, pdist(carried), atol=1e-4)


def test_everybodys_teeth_have_the_same_shape(model: FaceModel) -> None:
    mouth = region(model, "teeth", "tongue")
    mean = pdist(np.asarray(model.mean)[mouth])
    for vertices in random_heads(model, 5):
        growth = pdist(vertices[mouth])[mean > 0.005] / mean[mean > 0.005]
        assert np.std(growth) < 0.03 and 0.7 < growth.mean() < 1.4


EXPRESSIONS_OF_THE_MOUTH = (
    ("mouthSmileLeft", "mouthSmileRight"),
    ("mouthSmileLeft", "mouthSmileRight", "mouthUpperUpLeft", "mouthUpperUpRight"),
    ("mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight"),
    *(("mouthFunnel",), ("mouthPucker",), ("mouthRollLower", "mouthRollUpper"), ("jawOpen",)),
    *(("jawForward",), ("jawLeft",), ("mouthClose", "jawOpen"), ("mouthShrugLower",)),
    ("mouthFrownLeft", "mouthFrownRight", "mouthStretchLeft", "mouthStretchRight"),
)


def test_teeth_stay_behind_the_lips(model: FaceModel) -> None:
    """No point of teeth or tongue lies in front of skin or lips, seen from the front."""
    triangles = np.asarray(model.triangles)
    own, inner = region(model, "teeth", "tongue"), region(model, "inner_mouth")
    body = triangles[~(own | region(model, "eyes"))[triangles].all(1)]
    outside = ~inner[body].any(1)
    inside = triangles[own[triangles].all(1)]
    basis = np.asarray(model.expression_basis)
    deepest = 0.0
    for head in [np.asarray(model.mean), *random_heads(model, 5)]:
        for names in EXPRESSIONS_OF_THE_MOUTH:
            shown = basis[[model.expression_names.index(name) for name in names]].sum(0)
            vertices = 1000 * (head + shown).astype(float)
            mesh = trimesh.Trimesh(vertices, body, process=False)
            points = np.concatenate([vertices[own], vertices[inside].mean(1)])
            back = np.tile([0.0, 0.0, -1.0], (len(points), 1))
            exposed = ~mesh.ray.intersects_any(points, -back)
            hits, ray, face = mesh.ray.intersects_location(points, back, multiple_hits=False)
            through = exposed[ray] & outside[face] & (mesh.face_normals[face, 2] > 0.2)
            deepest = max([deepest, *(points[ray, 2] - hits[:, 2])[through]])
    assert deepest < 0.3  # millimetres


def test_gaze_turns_the_eyeball_about_its_centre(model: FaceModel) -> None:
    eyes = region(model, "eyes")
    moved = (expression(model, eyeLookOutLeft=1.0) - np.asarray(model.mean))[eyes]
    assert moved[0, 0] > 0.003  # the left pupil to the left
    assert abs(moved[0] + moved[337])[0] / 2 < 0.2 * moved[0, 0]  # the back pole goes right
    assert abs(moved[338:]).max() == 0


def test_left_and_right_expressions_are_mirror_images(model: FaceModel) -> None:
    left = expression(model, mouthSmileLeft=1.0)
    right = expression(model, mouthSmileRight=1.0)
    np.testing.assert_allclose(left[np.asarray(model.mirror)] * [-1, 1, 1], right, atol=2e-5)
    assert (left - np.asarray(model.mean))[np.asarray(model.mean)[:, 0] > 0.03].max() > 0.003


def test_arkit_names(model: FaceModel) -> None:
    assert len(model.expression_names) == ARKIT
    assert model.expression_names[0] == "browDownLeft"
    assert {"jawOpen", "eyeBlinkLeft", "tongueOut", "mouthClose"} < set(model.expression_names)
    assert list(model.expression_names[:51]) == sorted(model.expression_names[:51])


def test_landmarks_are_on_their_triangles(model: FaceModel) -> None:
    points = np.asarray(landmark_points(model, model.mean))
    triangles = np.asarray(model.triangles)[np.asarray(model.landmark_triangles)]
    expected = trimesh.triangles.barycentric_to_points(
        np.asarray(model.mean)[triangles], np.asarray(model.landmark_barycentrics)
    )
    np.testing.assert_allclose(points, expected, atol=1e-6)


def test_unknown_model() -> None:
    with pytest.raises(InputError, match="'flame'"):
        load_model("flame")


def test_subdivision_of_a_cube_is_catmull_and_clarks() -> None:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = np.array(
        [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    )
    fine = subdivide(quads, quads)
    points = fine.matrix @ corners
    np.testing.assert_allclose(abs(points[:8]), 5 / 9)
    np.testing.assert_allclose(np.sort(abs(points[8:20]), axis=1), [[0, 0.75, 0.75]] * 12)
    np.testing.assert_allclose(np.sort(abs(points[20:]), axis=1), [[0, 0, 1]] * 6)


def test_subdivision_of_a_flat_grid_stays_flat_and_keeps_its_uvs() -> None:
    index = np.arange(20).reshape(4, 5)
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1)
    quads = quads.reshape(-1, 4)
    grid = np.stack([*np.meshgrid(np.arange(5.0), np.arange(4.0)), np.zeros((4, 5))], -1)
    fine = subdivide(quads, quads, levels=2)
    points = fine.matrix @ grid.reshape(-1, 3)
    inner = [6, 7, 8, 11, 12, 13]
    np.testing.assert_allclose(points[inner], grid.reshape(-1, 3)[inner], atol=1e-12)
    np.testing.assert_allclose(points[:, 2], 0)
    np.testing.assert_allclose((fine.uv_matrix @ grid.reshape(-1, 3))[:20], grid.reshape(-1, 3))
    mesh = trimesh.Trimesh(points, trimesh.geometry.triangulate_quads(fine.quads), process=False)
    assert mesh.is_winding_consistent and 10 < mesh.area < 12


def test_subdivision_of_the_head_is_smooth(model: FaceModel) -> None:
    fine = subdivide(np.asarray(model.quads), np.asarray(model.uv_quads))
    assert len(fine.quads) == 4 * len(model.quads) == len(fine.uv_quads)
    np.testing.assert_allclose(np.asarray(fine.matrix.sum(1)), 1)
    coarse = np.asarray(model.mean)
    moved = np.linalg.norm((fine.matrix @ coarse)[: len(coarse)] - coarse, axis=1)
    assert moved[region(model, "skin")].max() < 0.002


def test_asset_arrays_are_compact() -> None:
    file = assets.path("face_model.npz")
    assert file.stat().st_size < 12e6
