"""Rendered people: rays through transparent surfaces, classes, what is held out."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial

pytest.importorskip("embreex")

from building.people import locks, props
from building.people.brows import with_brows
from building.people.parts import (
    BACKGROUND,
    BEARD,
    BROW,
    FACE,
    HAIR,
    OTHER,
    Part,
    cloth,
    hair_colour,
    plain,
)
from building.people.picture import View, World, developed, render
from building.synthetic.canvas import make_canvas
from jaxface.skins.makehuman import layout

SIZE = 32


def wall(z: float, kind: int, colour: tuple[float, float, float], **more) -> Part:
    """A square of 20 cm that faces the camera, z metres towards it."""
    corners = np.array([[-0.1, -0.1, z], [0.1, -0.1, z], [0.1, 0.1, z], [-0.1, 0.1, z]])
    return Part(kind, corners, np.array([[0, 1, 2], [0, 2, 3]]), plain(colour), **more)


VIEW = View(np.diag([1.0, -1.0, -1.0]), np.array([0, 0, 1.0]), 100.0, (SIZE / 2, SIZE / 2), SIZE)
EVEN = np.zeros((9, 3))
EVEN[0] = np.sqrt(4 * np.pi)  # radiance 1 from everywhere


def shown(*parts: Part) -> tuple[np.ndarray, np.ndarray]:
    return render(parts, VIEW, EVEN, np.full((SIZE, SIZE, 3), 0.1), np.random.default_rng(0))


def test_what_is_nearer_hides_what_is_behind_unless_it_is_transparent():
    skin, hair = wall(0.0, FACE, (0.4, 0.3, 0.2)), wall(0.02, HAIR, (0.1, 0.1, 0.1))
    left = wall(0.02, HAIR, (0.1, 0.1, 0.1), outline=lambda p: (p[:, 0] < 0) * 1.0)
    for parts, right in (((skin, hair), HAIR), ((skin, left), FACE)):
        linear, classes = shown(*parts)
        assert classes[16, 10, HAIR] == 1 and classes[16, 22, right] == 1
        assert classes[1, 1, BACKGROUND] == 1
    np.testing.assert_allclose(linear[16, 22], (0.4, 0.3, 0.2), rtol=1e-3)
    np.testing.assert_allclose(linear[1, 1], 0.1)


def test_half_opaque_hides_half_of_the_rays():
    skin = wall(0.0, FACE, (0.4, 0.4, 0.4))
    glass = wall(0.02, OTHER, (0.0, 0.0, 0.0), outline=lambda p: np.full(len(p), 0.5))
    _, classes = shown(skin, glass)
    assert classes[8:24, 8:24, OTHER].mean() == pytest.approx(0.5, abs=0.05)


def test_texels_may_have_classes_of_their_own():
    skin = wall(0.0, FACE, (0, 0, 0))
    rgba, kinds = np.ones((4, 4, 4)), np.full((4, 4), FACE)
    kinds[:2] = HAIR  # the upper half: v above one half
    uvs = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    part = Part(FACE, skin.vertices, skin.triangles, rgba=rgba, uvs=uvs,
                uv_triangles=skin.triangles, kinds=kinds)  # fmt: skip
    _, classes = shown(part)
    assert classes[9, 16, HAIR] == 1 and classes[23, 16, FACE] == 1


def test_brows_are_the_face_as_well():
    skin = wall(0.0, BROW, (0.1, 0.1, 0.1))
    _, classes = shown(skin)
    assert classes[16, 16, FACE] == classes[16, 16, BROW] == 1
    assert classes[1, 1, FACE] == classes[1, 1, BROW] == 0


@pytest.mark.parametrize("seed", range(3))
def test_brows_are_drawn_above_the_eyes_in_the_colour_of_hair(model, seed: int):
    canvas = make_canvas(layout(model, 256))
    skin = np.full((256, 256, 3), 0.5)
    hair = np.array([0.03, 0.02, 0.01])
    albedo, brow = with_brows(canvas, skin, hair, np.random.default_rng(seed))
    assert 50 < brow.sum() < 0.03 * brow.size
    assert (np.abs(canvas.x[brow]) < 65).all()
    assert (canvas.y[brow] > 0).all() and (canvas.y[brow] < 45).all()
    assert albedo[brow].mean() < 0.42 and albedo.max() <= 0.5 + 1e-6
    np.testing.assert_allclose(albedo[canvas.y < -20], 0.5)
    both = brow & brow[:, ::-1]
    assert both.sum() > 0.5 * brow.sum()


def test_rays_meet_surfaces_where_they_are():
    world = World([wall(0.03, FACE, (1, 1, 1))])
    origin = np.array([[0.01, 0.02, 1.0]])
    hits = world.cast(origin, np.array([[0.0, 0.0, -1.0]]), np.zeros(1))
    np.testing.assert_allclose(hits.points[0], [0.01, 0.02, 0.03], atol=1e-6)
    assert abs(hits.normals[0, 2]) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(4))
def test_props_are_meshes_with_colours(seed: int):
    rng = np.random.default_rng(seed)
    skin = np.array([0.4, 0.3, 0.2])
    chest = [part for part in props.clothes(rng, skin) if part.kind == FACE]
    assert len(chest) <= 1
    parts = [*props.glasses(rng), *props.microphone(rng), *props.hand(rng, skin)]
    parts += [part for part in props.clothes(rng, skin) if part.kind == OTHER]
    for part in parts:
        assert part.kind == OTHER and part.triangles.max() < len(part.vertices)
        assert part.pattern is not None
        colours = part.pattern(part.vertices)
        assert np.isfinite(colours).all() and (colours >= 0).all() and (colours <= 1).all()


@pytest.mark.parametrize("seed", range(4))
def test_wisps_and_jewellery_lie_close_before_the_head(model, seed: int):
    rng = np.random.default_rng(seed)
    head = np.asarray(model.mean, float)
    ears = head[np.asarray(model.vertex_region) == model.region_names.index("ears")]
    hair = props.wisps(head, rng, plain((0.1, 0.1, 0.1)))
    worn = props.jewellery(head, ears, rng)
    assert {part.kind for part in hair} == {HAIR} and {part.kind for part in worn} == {OTHER}
    tree = scipy.spatial.KDTree(head)
    for part in (hair[0], worn[0]):  # they may hang down beside the head
        away = tree.query(part.vertices)[0]
        assert np.median(away) < 0.03 and away.max() < 0.08
        assert part.pattern is not None and np.isfinite(part.pattern(part.vertices)).all()
    assert hair[0].vertices[:, 1].min() > -0.15 and hair[0].vertices[:, 2].min() > -0.1
    assert worn[0].vertices[:, 1].max() < 0.02  # ears' lobes and below


@pytest.mark.parametrize("seed", range(4))
def test_locks_lie_on_the_head_and_beards_below_the_nose(model, seed: int):
    rng = np.random.default_rng(seed)
    head, triangles = np.asarray(model.mean, float), np.asarray(model.triangles)
    colour = np.array([0.2, 0.1, 0.05])
    mane, fringe = locks.head_of_hair(head, colour, rng), locks.fringe(head, colour, rng)
    chin = (head[:, 1] < -0.09) & (head[:, 2] > 0)
    texture = locks.strand_texture(colour, rng, grey=1.0)
    outwards = head / np.linalg.norm(head, axis=1, keepdims=True)
    beard = locks.beard_hair(head, outwards, triangles, chin * 1.0, 0.01, texture, rng)
    assert (mane.kind, fringe.kind, beard.kind) == (HAIR, HAIR, BEARD)
    tree = scipy.spatial.KDTree(head)
    for part in (mane, fringe, beard):
        assert part.rgba is not None and part.uvs is not None and part.uv_triangles is not None
        assert part.triangles.max() < len(part.vertices) == len(part.uvs)
        assert (part.rgba >= 0).all() and (part.rgba <= 1).all()
        assert (part.uvs >= 0).all() and (part.uvs <= 1).all()
        assert np.median(tree.query(part.vertices)[0]) < 0.06
    assert beard.vertices[:, 1].max() < -0.05 and mane.vertices[:, 1].max() > 0.08


def test_white_hairs_make_a_lock_lighter():
    dark = np.array([0.03, 0.02, 0.01])
    young, old = (
        locks.strand_texture(dark, np.random.default_rng(1), grey=grey) for grey in (0.0, 0.9)
    )
    assert np.median(old[..., :3]) > 3 * np.median(young[..., :3])


def test_a_hat_covers_the_crown_and_no_hair_is_under_it(model):
    vertices, triangles = np.asarray(model.mean, float), np.asarray(model.triangles)
    parts, free = props.hat(vertices, triangles, np.random.default_rng(0))
    crown, chin = np.array([[0.0, 0.12, -0.05]]), np.array([[0.0, -0.11, 0.02]])
    assert parts[0].outline is not None
    assert parts[0].outline(crown) == 1 and parts[0].outline(chin) == 0
    assert free(crown) == 0 and free(chin) == 1


def test_colours_of_hair_and_cloth_can_be():
    rng = np.random.default_rng(3)
    hair = np.stack([hair_colour(rng) for _ in range(200)])
    assert (hair > 0).all() and (hair <= 0.95).all()
    assert np.quantile(hair.mean(1), 0.1) < 0.05 and np.quantile(hair.mean(1), 0.9) > 0.2
    points = rng.normal(size=(50, 3))
    assert all((cloth(rng)(points) > 0).all() for _ in range(20))


def test_a_photo_is_exposed_for_the_face():
    linear = np.full((SIZE, SIZE, 3), 5.0)
    linear[8:24, 8:24] = 0.02
    face = np.zeros((SIZE, SIZE), bool)
    face[8:24, 8:24] = True
    photos = [developed(linear, face, np.random.default_rng(k)) for k in range(12)]
    levels = [photo[face].mean() for photo in photos]
    assert photos[0].dtype == np.uint8 and photos[0].shape == (SIZE, SIZE, 3)
    assert 60 < np.median(levels) < 200


def test_one_picture_in_ten_is_held_out():
    from building.people.dataset import is_held_out

    assert [number for number in range(30) if is_held_out(number)] == [9, 19, 29]


def test_more_of_what_is_before_a_face_is_learnt_than_is_there():
    from building.parser import cautious

    share = np.array([[[0.7, 0.2, 0.1, 0.0], [0.1, 0.6, 0.3, 0.0], [0.0, 0.0, 0.2, 0.8]]])
    learnt = cautious(share)
    np.testing.assert_allclose(learnt.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(learnt[0, 0], (0.4, 0.4, 0.2, 0.0), atol=1e-6)
    np.testing.assert_allclose(learnt[0, 1], (0.0, 0.6 / 0.9, 0.3 / 0.9, 0.0), atol=1e-6)
    np.testing.assert_allclose(learnt[0, 2], share[0, 2])
