"""The parser of pixels: its filter, its network, and a photo."""

from __future__ import annotations

from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import PHOTOS
from fast import FAST

from jaxface.crops import crop_face
from jaxface.features.weights import load_vgg
from jaxface.images import read_photo
from jaxface.landmarks.schemes import IBUG68
from jaxface.observe import pixel_classes
from jaxface.parsing.classes import BACKGROUND, BEARD, BROWS, CLASSES, FACE, HAIR
from jaxface.parsing.crop import SIZE, parsing_crop
from jaxface.parsing.files import load_parser
from jaxface.parsing.network import class_logits
from jaxface.parsing.parse import WIDER, parse, parse_square
from jaxface.parsing.refine import guided_filter


@pytest.fixture(scope="module")
def weights():
    return load_parser()


def test_the_filter_moves_a_border_to_the_pictures():
    """A step five pixels beside the picture's own, and blurred."""
    picture = jnp.where(jnp.arange(64)[None, :, None] < 30, 0.2, 0.8) * jnp.ones((64, 64, 3))
    ramp = jax.nn.sigmoid((35.0 - jnp.arange(64)) / 4.0)
    coarse = jnp.broadcast_to(jnp.stack([ramp, 1 - ramp], -1), (64, 64, 2))
    fine = guided_filter(coarse, picture, sigma=6.0, epsilon=1e-3)
    step = jnp.diff(fine[32, :, 0])
    assert int(jnp.argmin(step)) == 29
    assert float(-step.min()) > 3 * float(-jnp.diff(ramp).min())
    np.testing.assert_allclose(fine.sum(-1), 1, atol=1e-3)


def test_a_constant_picture_blurs_and_has_finite_slopes():
    picture, rng = jnp.full((32, 32, 3), 0.5), np.random.default_rng(0)
    coarse = jax.nn.softmax(jnp.asarray(rng.normal(size=(32, 32, 4))))

    def total(picture, coarse):
        fine = guided_filter(coarse, picture, sigma=2.0, epsilon=1e-3)
        return jnp.sum(fine**2), fine

    slopes, fine = jax.grad(total, (0, 1), has_aux=True)(picture, coarse)
    assert fine.std() < 0.5 * coarse.std()
    assert all(np.isfinite(slope).all() for slope in slopes)


def test_logits_move_with_the_features(weights):
    """All layers are convolutions: away from the border a shift of the input shifts the output."""
    rng = np.random.default_rng(1)
    coarse = jnp.asarray(rng.normal(size=(48, 48, len(weights.coarse.offset))), jnp.float32)
    fine = jnp.asarray(rng.normal(size=(96, 96, len(weights.fine.offset))), jnp.float32)
    logits = class_logits(coarse, fine, weights)[:2]
    rolled = jnp.roll(coarse, (3, 5), (0, 1)), jnp.roll(fine, (6, 10), (0, 1))
    for times, here, moved in zip((1, 2), logits, class_logits(*rolled, weights)[:2], strict=True):
        assert here.shape == (48 * times, 48 * times, len(CLASSES))
        row, column = (slice((24 - k) * times, (26 - k) * times) for k in (3, 5))
        inner = slice(24 * times, 26 * times)
        np.testing.assert_allclose(moved[inner, inner], here[row, column], atol=2e-3)


def test_the_fine_stage_adds_to_the_coarse_one(weights):
    """With nothing learnt it is the coarse one, enlarged; its features reach no farther than 7."""
    rng = np.random.default_rng(2)
    coarse = jnp.asarray(rng.normal(size=(32, 32, len(weights.coarse.offset))), jnp.float32)
    fine = jnp.asarray(rng.normal(size=(64, 64, len(weights.fine.offset))), jnp.float32)
    silent = weights.fine.replace(
        classes_kernel=jnp.zeros_like(weights.fine.classes_kernel),
        classes_bias=jnp.zeros_like(weights.fine.classes_bias),
    )
    first, last, _ = class_logits(coarse, fine, weights.replace(fine=silent))
    np.testing.assert_allclose(last, jax.image.resize(first, last.shape, "linear"), atol=1e-5)
    same, change, _ = class_logits(coarse, fine.at[32, 32].add(1.0), weights)
    np.testing.assert_array_equal(same, first)
    row, column = np.nonzero(np.abs(change - class_logits(coarse, fine, weights)[1]).max(-1) > 1e-5)
    assert len(row) > 1 and max(np.abs(row - 32).max(), np.abs(column - 32).max()) <= 7


@pytest.fixture(scope="module")
def portrait(networks):
    """A photo, its landmarks, and the classes that were found."""
    from jaxface.landmarks.detector import detect

    photo = read_photo(PHOTOS / "astronaut.jpg").srgb[:320]
    points = detect(photo, networks).landmarks[0]
    return photo, points


def test_the_crop_is_level_with_the_eyes_whatever_the_landmarks():
    """68 points are those of the 478 that mean the same; where an eye is missing it is upright."""
    rng = np.random.default_rng(4)
    points = jnp.asarray(rng.uniform(100, 300, (478, 2)), jnp.float32)
    dense, sparse = parsing_crop(points), parsing_crop(points[jnp.asarray(IBUG68)])
    right, left = points[33], points[263]
    level = dense.points_to_crop(left) - dense.points_to_crop(right)
    assert abs(float(level[1])) < 1e-2 and float(level[0]) > 0
    np.testing.assert_allclose(sparse.angle, dense.angle, atol=1e-6)
    assert float(parsing_crop(points.at[33].set(jnp.nan)).angle) == 0


def test_a_portrait_is_parsed(portrait, weights):
    photo, points = portrait
    found = np.asarray(parse(photo, points, load_vgg(), weights))
    assert found.shape == (*photo.shape[:2], BROWS + 1)
    np.testing.assert_allclose(found[..., :BEARD].sum(-1), 1, atol=1e-3)
    xy = np.asarray(points)[:, :2]
    # Nose, cheeks, between the brows, chin; the middle of the forehead lies under the fringe.
    inner = xy[[1, 4, 5, 50, 280, 9, 199, 205, 425]].astype(int)
    assert (found[inner[:, 1], inner[:, 0], FACE] > 0.8).all()
    assert found[inner[:, 1], inner[:, 0], BEARD].max() < 0.3
    assert (found[..., BEARD:].max(-1) <= found[..., FACE]).all()
    # One brow lies under the fringe.
    brow, skin = (
        found[..., BROWS][xy[k, 1].astype(int), xy[k, 0].astype(int)]
        for k in ([105, 334], [50, 280])
    )
    assert brow.max() > 0.2 and skin.max() < 0.01, (brow, skin)
    crown = np.array([xy[10, 0], xy[10, 1] - 0.25 * np.ptp(xy[:, 1])]).astype(int)
    assert found[crown[1], crown[0], HAIR] > 0.5
    # Beyond the wide square nothing is known; between the two the hair goes on.
    crop = parsing_crop(jnp.asarray(points))
    crop = crop.replace(side=WIDER * crop.side)
    row, column = np.mgrid[: photo.shape[0], : photo.shape[1]] + 0.5
    at = np.asarray(crop.points_to_crop(jnp.stack([column, row], -1)))
    outside = ((at < -1) | (at > SIZE + 1)).any(-1)
    assert outside.any() and (found[outside, BACKGROUND] == 1).all()


def test_the_wide_square_goes_on_where_the_near_one_ends(monkeypatch, weights):
    """Hair everywhere in both squares is hair as far as the wide one reaches, without a seam."""

    def all_hair(image, vgg, weights):
        return jnp.broadcast_to(jnp.eye(BROWS + 1)[HAIR], (SIZE, SIZE, BROWS + 1))

    monkeypatch.setattr(import_module("jaxface.parsing.parse"), "parse_square", all_hair)
    points = jnp.asarray(np.random.default_rng(0).uniform((180, 180), (220, 220), (478, 2)))
    crop = parsing_crop(points)
    found = parse.__wrapped__(jnp.full((400, 400, 3), 0.5), points, {}, weights)
    y, x = np.mgrid[:400, :400] + 0.5
    at = np.asarray(crop.points_to_crop(jnp.asarray(np.stack([x, y], -1)))) - SIZE / 2
    reach = np.abs(at).max(-1) / (SIZE / 2)  # 1 at the near square's border
    hair = np.asarray(found)[..., HAIR]
    np.testing.assert_allclose(hair[reach < 0.85 * WIDER], 1, atol=1e-3)
    assert (hair[reach > WIDER + 0.02] == 0).all() and (reach > WIDER + 0.02).any()
    np.testing.assert_allclose(np.asarray(found)[..., :BEARD].sum(-1), 1, atol=1e-3)


def test_outside_the_photo_nothing_is_seen(monkeypatch, weights):
    """A face at the photo's left edge: the crop repeats its first column, the classes end there."""
    everywhere = jnp.full((512, 512, BROWS + 1), 0.25)
    monkeypatch.setattr(import_module("jaxface.observe"), "parse", lambda *given: everywhere)
    points = np.random.default_rng(0).uniform((0, 100), (100, 200), (478, 2))
    crop = crop_face(np.full((300, 400, 3), 0.5), points)
    y, x = np.mgrid[:512, :512] + 0.5
    xy = np.asarray(crop.crop.points_to_photo(jnp.asarray(np.stack([x, y], -1))))
    inside = ((xy > 0) & (xy < (400, 300))).all(-1)
    found = np.asarray(pixel_classes.__wrapped__(crop, {}, weights)).sum(-1)
    assert 0.2 < inside.mean() < 0.8
    np.testing.assert_array_equal(found > 0, inside)


@pytest.mark.thorough
def test_photos_are_mapped_and_differentiated(weights):
    """Two squares together as alone; finite slopes, of a black picture too."""
    vgg, rng = load_vgg(), np.random.default_rng(2)
    squares = jnp.stack([jnp.zeros((64, 64, 3)), jnp.asarray(rng.random((64, 64, 3)))])

    def face(square):
        return parse_square(square, vgg, weights)

    together = jax.jit(jax.vmap(face))(squares)
    np.testing.assert_allclose(together[1], jax.jit(face)(squares[1]), atol=1e-4)
    slope = jax.jit(jax.grad(lambda s: jax.vmap(face)(s)[..., FACE].sum()), compiler_options=FAST)
    assert np.isfinite(slope(squares)).all() and np.abs(slope(squares)).max() > 0
