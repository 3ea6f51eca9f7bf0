"""The canonical UV: no flips, no overlap, mirror symmetry, density, stretch; its texel map."""

from __future__ import annotations

import numpy as np
import pytest

from building.canonical_uv import build
from building.parametrization import (
    anisotropy,
    border_loops,
    cut_seam,
    signed_areas,
    solve_map,
    superellipse,
)
from jaxface import assets
from jaxface.morphable.texels import texel_map


@pytest.fixture(scope="module")
def geometry() -> dict[str, np.ndarray]:
    return assets.load_npz("face_model.npz")


@pytest.fixture(scope="module")
def uv() -> dict[str, np.ndarray]:
    return assets.load_npz("canonical_uv.npz")


def _region(geometry: dict[str, np.ndarray], *names: str) -> np.ndarray:
    """Returns the triangles whose corners all lie in the regions."""
    wanted = [list(geometry["region_names"]).index(name) for name in names]
    return np.isin(geometry["vertex_region"][geometry["triangles"]], wanted).all(1)


def test_every_triangle_has_a_place_and_none_is_flipped(geometry, uv) -> None:
    corners = uv["uvs"][uv["uv_triangles"]].astype(np.float64)
    assert uv["uv_triangles"].shape == geometry["triangles"].shape
    assert (corners > 0).all() and (corners < 1).all()
    assert (signed_areas(corners) > 0).all()


def test_quads_are_their_two_triangles(geometry, uv) -> None:
    quads, triangles = uv["uv_quads"], uv["uv_triangles"]
    # A corner shared by two charts would need two names; only triangles of one quad may share.
    for half in range(2):
        for corner in range(3):
            vertex = geometry["triangles"][half::2, corner]
            at = (geometry["quads"] == vertex[:, None]).argmax(1)
            same = quads[np.arange(len(quads)), at] == triangles[half::2, corner]
            eyes = (uv["triangle_chart"] == list(uv["chart_names"]).index("eyes"))[half::2]
            assert same[~eyes].all()  # an eyeball's back pole is split by triangle


def test_mirrored_triangles_have_mirrored_places(geometry, uv) -> None:
    key = np.sort(geometry["triangles"], axis=1)
    mirrored = np.sort(geometry["mirror"][geometry["triangles"]], axis=1)
    order, other = np.lexsort(key.T), np.lexsort(mirrored.T)
    np.testing.assert_array_equal(key[order], mirrored[other])
    centres = uv["uvs"][uv["uv_triangles"]].mean(1)
    np.testing.assert_allclose(centres[order], centres[other] * [-1, 1] + [1, 0], atol=1e-5)


def test_charts_do_not_overlap(model, uv) -> None:
    texels = texel_map(model, 256)
    covered = float(np.asarray(texels.mask).mean())
    areas = signed_areas(uv["uvs"][uv["uv_triangles"]].astype(np.float64))
    assert covered == pytest.approx(areas.sum(), abs=2e-3)


def test_face_fills_the_square_within_bounded_stretch(geometry, uv) -> None:
    mean, triangles = geometry["mean"].astype(np.float64), geometry["triangles"]
    corners = uv["uvs"][uv["uv_triangles"]].astype(np.float64)
    face = _region(geometry, "skin", "lips", "brows", "lids", "nose")
    face &= mean[triangles].mean(1)[:, 2] > -0.06
    own = geometry["makehuman_uvs"][geometry["makehuman_uv_triangles"]].astype(np.float64)
    share = signed_areas(corners[face]).sum()
    assert share > 0.4
    assert share > 8 * np.abs(signed_areas(own[face])).sum()
    edges = np.cross(
        mean[triangles[:, 1]] - mean[triangles[:, 0]], mean[triangles[:, 2]] - mean[triangles[:, 0]]
    )
    area = np.linalg.norm(edges, axis=1) / 2
    stretch = anisotropy(mean[triangles], corners)
    assert np.average(stretch[face], weights=area[face]) < 1.8
    assert np.quantile(stretch[face], 0.99) < 6
    density = np.sqrt(signed_areas(corners) / area)[face]
    low, high = np.quantile(density, [0.02, 0.98])
    assert high / low < 4


def test_seam_lies_behind_the_head(geometry, uv) -> None:
    main = uv["triangle_chart"] == list(uv["chart_names"]).index("main")
    corners = uv["uv_triangles"][main]
    vertex = geometry["triangles"][main]
    places = np.unique(np.stack([vertex.ravel(), corners.ravel()], 1), axis=0)
    names, counts = np.unique(places[:, 0], return_counts=True)
    split = geometry["mean"][names[counts > 1]]
    assert len(split) > 5
    assert (np.abs(split[:, 0]) < 1e-6).all() and (split[:, 2] < -0.06).all()


def test_texel_map_returns_the_surface_point_of_each_texel(model) -> None:
    texels = texel_map(model, 64)
    mask = np.asarray(texels.mask)
    corners = np.asarray(model.uvs)[np.asarray(model.uv_triangles)]
    triangle = np.asarray(texels.triangle_ids)[mask]
    weights = np.asarray(texels.barycentrics)[mask]
    row, column = np.nonzero(mask)
    got = np.einsum("nk,nkc->nc", weights, corners[triangle])
    want = np.stack([(column + 0.5) / 64, 1 - (row + 0.5) / 64], axis=1)
    np.testing.assert_allclose(got, want, atol=5e-5)
    assert (weights > -1e-4).all()
    vertices = np.asarray(texels.vertex_ids)[mask]
    np.testing.assert_array_equal(vertices, np.asarray(model.triangles)[triangle])
    place = np.einsum("nk,nkc->nc", weights, np.asarray(model.mean)[vertices])
    left = want[:, 0] > 0.5
    main = row < 56
    assert (np.sign(place[main, 0]) == np.where(left[main], 1, -1)).mean() > 0.98


def test_convex_combination_map_of_a_warped_grid_never_flips(rng) -> None:
    side = 12
    x, y = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side), indexing="ij")
    height = 0.5 * rng.normal(size=x.shape)
    points = np.stack([x, y, height], -1).reshape(-1, 3)
    index = np.arange(side * side).reshape(side, side)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    triangles = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    (border,) = border_loops(triangles)
    angles = 2 * np.pi * np.arange(len(border)) / len(border)
    density = np.exp(0.5 * rng.normal(size=len(points)))
    flat = solve_map(triangles, points, border, superellipse(angles), density, iterations=10)
    assert (signed_areas(flat[triangles]) > 0).all()


def test_cut_seam_doubles_all_but_the_tip() -> None:
    points = np.array([[0, 1, 0], [0, 0, 0], [0, -1, 0], [1, 0, 0], [-1, 0, 0]], float)
    triangles = np.array([[0, 1, 3], [1, 2, 3], [1, 0, 4], [2, 1, 4]])
    cut, origin = cut_seam(triangles, np.array([0, 1, 2]), points)
    np.testing.assert_array_equal(origin[cut], triangles)
    assert len(np.unique(cut)) == len(points) + 2
    assert set(cut[2:].ravel()).isdisjoint(set(cut[:2].ravel()) - {0})


def test_build_is_deterministic(geometry, uv) -> None:
    again = build(geometry)
    np.testing.assert_allclose(again["uvs"], uv["uvs"], atol=1e-4)
    np.testing.assert_array_equal(again["uv_triangles"], uv["uv_triangles"])
