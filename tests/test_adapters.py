"""Other face models: official files, registration to the default model, use in its place."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from jaxface.errors import InputError
from jaxface.export.mesh import smooth
from jaxface.fitting.fit import expression_order
from jaxface.fitting.photometric import SAMPLES, make_samples
from jaxface.fitting.schemes import with_landmarks68
from jaxface.morphable import adapters
from jaxface.morphable.adapters import ict
from jaxface.morphable.adapters.adapt import registration_of
from jaxface.morphable.adapters.registration import Registration
from jaxface.morphable.files import load_model
from jaxface.morphable.model import landmark_points, shape
from jaxface.morphable.subdivision import subdivide
from jaxface.morphable.texels import texel_map
from jaxface.types import FaceModel
from jaxface.unwrapping.eyes import axis_angle_of_eyes


@pytest.fixture(scope="module")
def official(shared: Path) -> adapters.OfficialModel:
    return adapters.read_official(f"ict:{shared / 'ict_facekit'}")


@pytest.fixture(scope="module")
def registration(official: adapters.OfficialModel, model: FaceModel) -> Registration:
    return registration_of(official, model)


@pytest.fixture(scope="module")
def adapted(shared: Path) -> FaceModel:
    return load_model(f"ict:{shared / 'ict_facekit'}")


def test_ict_coefficients_give_the_sample_meshes(
    shared: Path, official: adapters.OfficialModel
) -> None:
    """Neutral plus one coefficient is the published OBJ, to half-precision's rounding."""
    names = {name: official.identity[index] for index, name in enumerate(official.identity_names)}
    names |= dict(zip(official.expression_names, official.expression, strict=True))
    files = sorted((shared / "ict_facekit" / "sample").glob("*.obj.gz"))
    assert len(files) == 4
    for file in files:
        vertices, *_ = ict.read_obj(file, file.name)
        offset = names.get(file.name.removesuffix(".obj.gz"), 0)
        np.testing.assert_allclose(
            official.vertices + offset, vertices[: len(official.vertices)] * 0.01, atol=2e-5
        )


def test_ict_folder_of_objs_is_read_as_the_arrays_are(
    shared: Path, official: adapters.OfficialModel, tmp_path: Path
) -> None:
    for file in (shared / "ict_facekit" / "sample").glob("*.obj.gz"):
        (tmp_path / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    shutil.copy(shared / "ict_facekit" / "vertex_indices.json", tmp_path)
    read = adapters.read_official(f"ict:{tmp_path}")
    assert read.identity_names == ("identity000", "identity001")
    assert read.expression_names == ("jawOpen",)
    np.testing.assert_allclose(read.vertices, official.vertices, atol=1e-6)
    np.testing.assert_allclose(read.identity, official.identity[:2], atol=2e-5)
    np.testing.assert_array_equal(read.landmarks68, official.landmarks68)
    assert {frozenset(q) for q in read.quads.tolist()} == {
        frozenset(q) for q in official.quads.tolist()
    }
    assert read.uvs is not None and official.uvs is not None
    places = []
    for one in (read, official):  # the same UV of the same vertices
        places.append(np.zeros((len(one.vertices), 2)))
        places[-1][one.quads] = one.uvs[one.uv_quads]
    assert np.median(abs(places[0] - places[1])) < 1e-6


def test_missing_and_wrong_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose default, ict:PATH"):
        load_model("mine")
    with pytest.raises(InputError, match="does not exist"):
        load_model(f"ict:{tmp_path / 'nothing'}")
    with pytest.raises(InputError, match=r"lacks generic_neutral_mesh\.obj"):
        load_model(f"ict:{tmp_path}")
    np.savez(tmp_path / "face_and_head.npz", neutral=np.zeros((10, 3)))
    with pytest.raises(InputError, match="lacks identity"):
        load_model(f"ict:{tmp_path}")


def region(model: FaceModel, *names: str) -> np.ndarray:
    return np.isin(
        np.asarray(model.vertex_region), [model.region_names.index(name) for name in names]
    )


def test_landmarks_of_the_default_lie_where_ict_has_its_own(
    official: adapters.OfficialModel, registration: Registration, adapted: FaceModel
) -> None:
    """Corners, that is; along brows, bridge and lips the schemes space points as they like."""
    assert official.landmarks68 is not None
    points = np.asarray(landmark_points(with_landmarks68(adapted), adapted.mean))
    off = np.linalg.norm(points - registration.vertices[official.landmarks68], axis=1)
    corners = [30, 31, 33, 35, 36, 39, 42, 45, 48, 51, 54, 57]
    assert np.median(off[corners]) < 0.0025 and off[corners].max() < 0.005, off[corners]


def test_adapted_model_has_the_default_model_around_it(
    model: FaceModel, registration: Registration, adapted: FaceModel
) -> None:
    """A texel is the same place on both: nose on nose, ear on ear, eye on eye."""
    size = 128
    theirs, ours = texel_map(adapted, size), texel_map(model, size)
    both = np.asarray(theirs.mask & ours.mask)
    assert both.sum() > 0.96 * np.asarray(ours.mask).sum()
    there = np.einsum(
        "xyk,xykc->xyc", theirs.barycentrics, np.asarray(adapted.mean)[theirs.vertex_ids]
    )
    here = np.einsum("xyk,xykc->xyc", ours.barycentrics, registration.fitted[ours.vertex_ids])
    off = np.linalg.norm(there - here, axis=2)
    front = both & (here[..., 2] > -0.05)
    assert np.median(off[front]) < 0.0015 and np.quantile(off[front], 0.95) < 0.005
    assert np.median(off[both]) < 0.002
    same = np.asarray(theirs.region_ids == ours.region_ids)[both]
    assert same.mean() > 0.95


def test_no_triangle_of_an_adapted_model_spans_a_seam(model: FaceModel, adapted: FaceModel) -> None:
    """The widest of the default's own lie at the upper end of the cut, on the crown."""
    widest = []
    for one in (model, adapted):
        corners = np.asarray(one.uvs)[np.asarray(one.uv_triangles)]
        assert (corners >= 0).all() and (corners <= 1).all()
        back = np.asarray(one.mean)[np.asarray(one.triangles)][..., 2].max(1) < -0.115
        width = np.ptp(corners, axis=1).max(1)
        widest.append((width[back].max(), np.quantile(width, 0.999)))
    assert (np.array(widest[1]) < 1.5 * np.array(widest[0])).all(), widest


def test_mirror_map_of_an_adapted_model(adapted: FaceModel) -> None:
    mean, mirror = np.asarray(adapted.mean), np.asarray(adapted.mirror)
    off = np.linalg.norm(mean[mirror] * [-1, 1, 1] - mean, axis=1)
    assert np.quantile(off, 0.99) < 0.001
    assert (mirror[mirror] == np.arange(len(mean))).mean() > 0.99


def expression(model: FaceModel, **values: float) -> np.ndarray:
    weights = np.zeros(len(model.expression_names), np.float32)
    for name, value in values.items():
        weights[model.expression_names.index(name)] = value
    identity = jnp.zeros(len(model.identity_names))
    return np.asarray(shape(model, identity, jnp.asarray(weights)))


def test_expressions_of_an_adapted_model(model: FaceModel, adapted: FaceModel) -> None:
    assert adapted.expression_names[:52] == model.expression_names
    assert expression_order(adapted.expression_names)[:52] == expression_order(
        model.expression_names
    )
    rest = np.asarray(adapted.mean)
    jaw = expression(adapted, jawOpen=1.0) - rest
    teeth = jaw[region(adapted, "teeth")][:, 1]
    assert teeth.min() < -0.015 and (abs(teeth) < 1e-3).sum() == len(teeth) / 2
    assert jaw[region(adapted, "inner_mouth")][:, 1].min() < -0.01
    assert np.ptp(jaw[region(adapted, "inner_mouth")][:, 1]) > 0.01
    assert not (expression(adapted, tongueOut=1.0) - rest).any()
    eyes = region(adapted, "eyes")
    left = (expression(adapted, eyeLookOutLeft=1.0) - rest)[eyes]
    assert left[0, 0] > 0.003 and not left[len(left) // 2 :].any()


def test_eyes_of_an_adapted_model_look_ahead(model: FaceModel, adapted: FaceModel) -> None:
    """The iris is painted around the eyeball's axis, which is z."""
    angles = [
        np.asarray(axis_angle_of_eyes(one.mean, jnp.asarray(region(one, "eyes"))))[
            region(one, "eyes")
        ]
        for one in (model, adapted)
    ]
    np.testing.assert_allclose(angles[1], angles[0], atol=0.1)


def test_lids_of_an_adapted_model_close_over_its_eyes(adapted: FaceModel) -> None:
    closed = expression(adapted, eyeBlinkLeft=1.0)
    mesh = trimesh.Trimesh(closed, np.asarray(adapted.triangles), process=False)
    eyes = region(adapted, "eyes")
    first = np.flatnonzero(eyes)
    for vertex, visible in ((first[0], False), (first[len(first) // 2], True)):
        ray = mesh.ray.intersects_first([[*closed[vertex][:2], 1.0]], [[0, 0, -1.0]])
        assert eyes[mesh.faces[ray[0]]].all() == visible


def test_subdivision_of_triangles_is_catmull_and_clarks() -> None:
    """Of a tetrahedron: face points are centroids, each triangle makes three quads."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], float)
    triangles = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    fine = subdivide(triangles[:, [0, 1, 2, 2]], triangles[:, [0, 1, 2, 2]])
    assert fine.quads.shape == (12, 4) and fine.matrix.shape == (14, 4)
    points = fine.matrix @ corners
    centres = corners[triangles].mean(1)
    np.testing.assert_allclose(points[10:], centres)
    edges = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])
    around = [[f for f in range(4) if set(e) <= set(triangles[f])] for e in edges.tolist()]
    expected = (corners[edges].sum(1) + centres[around].sum(1)) / 4
    np.testing.assert_allclose(points[4:10], expected)
    np.testing.assert_allclose(points[0], (centres[:3].mean(0) + 2 * corners[[1, 2, 3]].mean(0) / 2
                                           + corners[0]) / 3)  # fmt: skip
    np.testing.assert_allclose((fine.uv_matrix @ corners)[10:], centres)
    mesh = trimesh.Trimesh(points, trimesh.geometry.triangulate_quads(fine.quads), process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent


def test_previews_of_an_adapted_model_are_subdivided(adapted: FaceModel) -> None:
    finer, vertices = smooth(adapted, np.asarray(adapted.mean))
    moved = np.linalg.norm(np.asarray(vertices)[: len(adapted.mean)] - adapted.mean, axis=1)
    assert len(finer.quads) > 3 * len(adapted.quads) and np.quantile(moved, 0.99) < 0.002


def test_samples_of_a_dense_mesh_cover_the_face(adapted: FaceModel) -> None:
    """There are more quads than samples: as many on the left as on the right, high as low."""
    samples = make_samples(adapted, adapted.identity_basis[:1])
    place, weight = np.asarray(samples.geometry_mean)[:, :3], np.asarray(samples.weight)
    assert (weight > 0).mean() > 0.99 and len(np.unique(place, axis=0)) == SAMPLES
    assert abs(weight @ place[:, 0]) < 0.003 and np.ptp(place[:, 1]) > 0.15
