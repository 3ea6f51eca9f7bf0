"""What files show of a face: padded textures, subdivided and displaced heads."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.config import ReconstructConfig
from jaxface.database import load_database
from jaxface.errors import InputError
from jaxface.export.detail import expressive_head, posed_head
from jaxface.export.mesh import normals, smooth
from jaxface.export.textures import across_seams, level_mips, pad
from jaxface.morphable.texels import texel_map
from jaxface.rendering.texture import halve, sample_texture
from jaxface.types import FaceModel

CONTINUOUS = ("skin", "scalp", "neck")


def seam_steps(model: FaceModel, texture: np.ndarray, levels: int) -> np.ndarray:
    """The mean difference of a texture's two sides of the seams of skin, by mip level."""
    sides: dict[tuple, set] = {}
    corners = np.stack([np.asarray(model.triangles), np.asarray(model.uv_triangles)], -1)
    for triangle in corners.tolist():
        for first, second in zip(triangle, triangle[1:] + triangle[:1], strict=True):
            (a, p), (b, q) = sorted([first, second])
            sides.setdefault((a, b), set()).add((p, q))
    regions = [model.region_names.index(name) for name in CONTINUOUS]
    skin = np.isin(np.asarray(model.vertex_region), regions)
    pairs = np.array(
        [[*uv] for edge, uv in sides.items() if len(uv) == 2 and skin[list(edge)].all()]
    )
    assert len(pairs) > 40
    uvs, at = np.asarray(model.uvs)[pairs], np.linspace(0.05, 0.95, 7)[:, None]
    points = uvs[:, :, :1] * (1 - at) + uvs[:, :, 1:] * at  # [edges, sides, points, 2]
    steps, image = [], jnp.asarray(texture)
    for _ in range(levels):
        one, other = (sample_texture(image, jnp.asarray(points[:, side])) for side in (0, 1))
        steps.append(float(jnp.mean(jnp.abs(one - other))))
        image = halve(image)
    return np.array(steps)


def test_padding_keeps_charts_and_continues_them() -> None:
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:4], mask[6, 7] = True, True
    values = np.arange(64.0).reshape(8, 8)
    colours, same = pad((values[..., None].repeat(3, -1), values), mask)
    np.testing.assert_array_equal(same[mask], values[mask])
    assert same[0, 0] == values[2, 2] and same[3, 6] == values[3, 3] and same[7, 7] == values[6, 7]
    np.testing.assert_array_equal(colours, same[..., None].repeat(3, -1))


def test_padding_halves_the_seams_of_mip_levels(model) -> None:
    """A database's face whose gaps are blue."""
    size = 512
    face = np.asarray(load_database(size=size).textures[0], np.float32) / 255
    mask = np.asarray(texel_map(model, size).mask)
    blue = np.where(mask[..., None], face, np.array([0.0, 0.0, 1.0], np.float32))
    before, after = (seam_steps(model, image, 5) for image in (blue, pad(blue, mask)))
    assert all(padded < 0.55 * raw for padded, raw in zip(after, before, strict=True))


def test_both_sides_of_a_seam_are_filtered_alike(model) -> None:
    """A database's face: steps with the other side's texels beyond the seam, and without."""
    size = 512
    mask = np.asarray(texel_map(model, size).mask)
    texture = np.asarray(load_database(size=size).textures[0], np.float32) / 255
    nearest = np.asarray(pad(texture, mask))
    continued = across_seams(nearest, mask, model)
    np.testing.assert_array_equal(continued[mask], texture[mask])
    before, after = (seam_steps(model, image, 5) for image in (nearest, continued))
    assert (after[:4] < 0.55 * before[:4]).all() and after[4] < 0.65 * before[4]
    assert after[4] < 2 * before[0]  # mip level 4, beside level 0 of what was there


@pytest.mark.parametrize(("size", "ratio"), [(256, 2.2), (512, 2)])
def test_mip_levels_agree_at_the_seams(model, size: int, ratio: float) -> None:
    """Faces of a database: the step of level 4 is at most twice that of level 0, charts and level 0
    stay as they are, and a face of one colour is left alone."""
    mask = np.asarray(texel_map(model, size).mask)
    for texture in np.asarray(load_database(size=size).textures[:3], np.float32) / 255:
        continued = across_seams(np.asarray(pad(texture, mask)), mask, model)
        levelled = level_mips(continued, mask, model)
        np.testing.assert_array_equal(levelled[mask], texture[mask])
        before, after = (seam_steps(model, image, 5) for image in (continued, levelled))
        assert after[0] < 1.02 * before[0]
        assert (after < ratio * after[0]).all() and after[4] < 0.6 * before[4]
    plain = np.full((size, size, 3), 0.3, np.float32)
    np.testing.assert_allclose(level_mips(plain, mask, model), plain, atol=1e-5)


def test_a_subdivided_head_has_the_same_expressions(model) -> None:
    neutral, jaw = np.asarray(model.mean), model.expression_names.index("jawOpen")
    assert expressive_head(model, neutral, "none") == (model, neutral)
    finer, rest = expressive_head(model, neutral, "smooth")
    assert len(finer.triangles) > 3.9 * len(model.triangles)
    _, opened = smooth(model, neutral + np.asarray(model.expression_basis[jaw]))
    np.testing.assert_allclose(rest + finer.expression_basis[jaw], opened, atol=1e-6)


def test_the_crowns_outline_is_rounder(model) -> None:
    """The angles in which its triangles meet."""
    neutral = np.asarray(model.mean)
    kinks = [
        crown_angles(*posed_head(model, neutral, np.zeros((4, 4)), d)) for d in ("none", "smooth")
    ]
    assert np.quantile(kinks[1], 0.95) < 0.65 * np.quantile(kinks[0], 0.95)


def crown_angles(model: FaceModel, vertices: np.ndarray) -> np.ndarray:
    import trimesh

    mesh = trimesh.Trimesh(vertices, np.asarray(model.triangles), process=False)
    scalp = np.asarray(model.vertex_region) == model.region_names.index("scalp")
    pairs = mesh.face_adjacency_edges
    return np.degrees(mesh.face_adjacency_angles[scalp[pairs].all(1)])


def test_relief_moves_the_surface_out(model) -> None:
    """A millimetre everywhere is one along the normals; a bump stays where its texel is."""
    neutral = np.asarray(model.mean)
    flat_model, flat = posed_head(model, neutral, np.zeros((64, 64)), "relief")
    _, raised = posed_head(model, neutral, np.ones((64, 64)), "relief")
    assert len(flat_model.triangles) > 15 * len(model.triangles)
    np.testing.assert_allclose(raised - flat, 1e-3 * normals(flat_model, flat), atol=1e-7)
    bump = np.zeros((64, 64))
    bump[30:34, 30:34] = 1  # the middle of the texture is the nose's
    _, bumped = posed_head(model, neutral, bump, "relief")
    moved = np.linalg.norm(bumped - flat, axis=1) > 1e-4
    assert 0 < moved.mean() < 0.05
    assert set(np.asarray(flat_model.vertex_region)[moved]) <= {
        model.region_names.index(name) for name in ("skin", "nose", "lips")
    }


def test_an_unknown_detail_is_one_sentence() -> None:
    assert ReconstructConfig.for_quality("draft", detail="relief").detail == "relief"
    with pytest.raises(InputError, match="--detail is none, smooth or relief"):
        ReconstructConfig.for_quality("draft", detail="much")
