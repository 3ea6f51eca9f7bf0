"""Composition and synthesis on small textures: what is kept, what is inferred, what stays."""

from __future__ import annotations

import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.database import load_database
from jaxface.features.correlations import (
    CorrelationConfig,
    correlate,
    correlation_distance,
    resize,
)
from jaxface.features.weights import load_vgg
from jaxface.rendering.color import linear_to_srgb, srgb_to_linear
from jaxface.synthesis import (
    SynthesisConfig,
    blended_correlations,
    blur,
    choose_patches,
    compose,
    quilt,
    soft_mask,
    synthesize,
)
from jaxface.synthesis.objective import smoothed

SIZE = 64
CORRELATION = CorrelationConfig(layers=("relu1_1", "relu2_1", "relu3_1"))
CONFIG = SynthesisConfig(levels=((0.5, 4), (1.0, 8)), alpha=1.0, tone=24.0)


@pytest.fixture(scope="module")
def vgg():
    return load_vgg()


@pytest.fixture(scope="module")
def textures() -> jax.Array:
    """Three database faces of one tone with detail of three scales, sRGB 0..255."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((3, SIZE, SIZE, 1))
    faces = [
        np.asarray(blur(jnp.asarray(n), s)) for n, s in zip(noise, (0.5, 1.0, 2.0), strict=True)
    ]
    faces = [150 + 20 * face / face.std() for face in faces]
    return jnp.asarray(np.clip(np.stack(faces), 0, 255).repeat(3, -1), jnp.uint8)


@pytest.fixture(scope="module")
def problem(textures) -> tuple:
    """Low-frequency albedo, what the photo shows (with detail), and its mask: the left 60 %."""
    ramp = np.linspace(0.3, 0.4, SIZE)[:, None, None]
    low = jnp.asarray(np.broadcast_to(ramp, (SIZE, SIZE, 3)), jnp.float32)
    detail = np.random.default_rng(2).standard_normal((SIZE, SIZE, 1))
    mask = jnp.asarray(np.broadcast_to(np.arange(SIZE) < 0.6 * SIZE, (SIZE, SIZE)), jnp.float32)
    shown = low * jnp.asarray(np.exp(0.1 * detail), jnp.float32) * mask[..., None]
    return low, shown, mask, textures, jnp.asarray([0.2, 0.7, 0.1])


@pytest.fixture(scope="module")
def result(problem, vgg):
    return synthesize(*problem, vgg, correlation=CORRELATION, config=CONFIG)


def test_the_seen_is_kept(problem, result):
    _, shown, mask, _, _ = problem
    known = np.asarray(soft_mask(mask, CONFIG.feather * SIZE / 512)) > 0.999
    assert known.mean() > 0.5
    np.testing.assert_allclose(result.texture[known], shown[known], atol=1e-3)


def test_what_only_the_mirror_image_shows_is_taken_from_it(problem):
    low, shown, mask, textures, weights = problem
    found = compose(low, shown, mask, textures, weights, CONFIG)
    texture, seen = found.start, found.seen
    column = SIZE - 8  # hidden; its mirror image is well inside the seen half
    assert seen[0, column] == 0
    there = np.log(texture[:, column, 0] / low[:, column, 0])
    expected = np.log(shown[:, 7, 0] / low[:, 7, 0])
    assert np.corrcoef(there, expected)[0, 1] > 0.95


def test_what_neither_half_shows_has_the_nearest_faces_detail(problem):
    low, shown, mask, textures, _ = problem
    hidden = jnp.zeros_like(mask)
    for face in range(3):
        texture = compose(low, shown, hidden, textures, jax.nn.one_hot(face, 3), CONFIG).start
        found = np.log(texture / low)[..., 0].ravel()
        match = [np.corrcoef(found, np.asarray(t[..., 0], float).ravel())[0, 1] for t in textures]
        assert int(np.argmax(match)) == face and match[face] > 0.8


@pytest.fixture(scope="module")
def upper(problem) -> tuple:
    """The same photo when it shows the upper half alone, and a face without bare skin."""
    low, shown, mask, textures, weights = problem
    mask = mask * (jnp.arange(SIZE) < SIZE // 2)[:, None]
    return (low, shown, mask, textures, weights), jnp.zeros_like(mask)


def test_optimisation_brings_correlations_nearer_to_the_blend(upper, vgg):
    known, bare = upper
    config = replace(CONFIG, alpha=100.0, grain=24.0)
    result = synthesize(*known, vgg, skin=bare, correlation=CORRELATION, config=config)
    composed = compose(*known, config, skin=bare)
    faces, shares = 255 * linear_to_srgb(composed.completions), composed.shares
    target = blended_correlations(faces, shares, vgg, CORRELATION, SIZE, len(shares))

    def distance(texture):
        found = correlate(linear_to_srgb(texture), jnp.ones((SIZE, SIZE)), vgg, CORRELATION)
        return float(correlation_distance(found, target))

    assert distance(result.texture) < 0.7 * distance(composed.start)


def test_a_completion_has_the_fine_detail_of_its_own_face(upper):
    known, bare = upper
    textures, weights = (np.asarray(x, float) for x in known[3:])
    found = compose(*known, replace(CONFIG, grain=24.0), skin=bare)
    order = np.argsort(-weights)
    np.testing.assert_allclose(found.shares, weights[order], atol=1e-6)
    np.testing.assert_array_equal(found.start, found.completions[0])

    def apart(images: np.ndarray) -> np.ndarray:
        values = np.log(images)[:, SIZE // 2 + 8 :].mean(-1).reshape(len(images), -1)
        return values - values.mean(0)

    alike = np.corrcoef(apart(found.completions), apart(textures[order]))[:3, 3:]
    assert (alike.argmax(1) == range(3)).all() and (np.diag(alike) > 0.5).all()


def laid(detail: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What a quilt of the known detail puts where nothing is known."""
    arrays = jnp.asarray(detail), jnp.asarray(known)
    moved, found = choose_patches(*arrays, 1 - arrays[1])
    assert found == 1
    return np.asarray(quilt(arrays[0], moved))


def half_known() -> np.ndarray:
    return np.broadcast_to(np.arange(128) < 64, (128, 128)).astype(np.float32)


def test_a_quilt_is_as_strong_as_what_it_is_made_of():
    rng, known = np.random.default_rng(3), half_known()
    detail = rng.standard_normal((128, 128, 1)).astype(np.float32)
    unknown = detail * known[..., None] + 1e3 * (1 - known[..., None])  # must not be used
    found = laid(unknown, known)
    assert np.abs(found).max() < 10
    inner = found[8:-8, 64:-8]
    assert inner.std() == pytest.approx(1.0, abs=0.05)
    # No two neighbouring patches are the same: nothing repeats at the distance of patches.
    for step in (4, 8, 16):
        assert abs(np.mean(inner[:, step:] * inner[:, :-step])) < 0.2


def test_no_patch_of_a_quilt_is_from_a_wrinkle():
    rng, known = np.random.default_rng(5), half_known()
    detail = rng.standard_normal((128, 128, 1)).astype(np.float32)
    detail[40:56, 8:56] *= 8.0
    assert laid(detail * known[..., None], known)[8:-8, 64:-8].std() < 1.5  # 2.6 in the known half


def sources(moved: jax.Array, size: int) -> np.ndarray:
    """Where (texels) the patches come from that lie in the right half."""
    corners = np.stack(np.mgrid[:31, :31], -1) * (size // 32)
    return (corners + np.asarray(moved))[:, 16:].reshape(-1, 2)


def test_no_fold_is_laid_again(monkeypatch):
    rng, known = np.random.default_rng(7), half_known()
    row, column = np.mgrid[:128, :128]
    folds = np.sqrt(2) * np.sin((row - column) / 1.5)  # as strong as the skin below them
    detail = np.where(row < 64, folds, rng.standard_normal((128, 128)))[..., None]
    detail = jnp.asarray(detail * known[..., None], jnp.float32)

    def folded() -> float:
        moved, _ = choose_patches(detail, jnp.asarray(known), 1 - jnp.asarray(known))
        return float(np.mean(sources(moved, 128)[:, 0] < 56))  # patches of 8, all in the upper half

    assert folded() < 0.02
    monkeypatch.setattr(sys.modules["jaxface.synthesis.quilt"], "_DIRECTED", 1e9)
    assert folded() > 0.3


def test_no_place_is_laid_much_more_than_others(monkeypatch):
    rng = np.random.default_rng(9)
    known = jnp.broadcast_to(jnp.arange(128) < 32, (128, 128)).astype(jnp.float32)
    detail = jnp.asarray(rng.standard_normal((128, 128, 1)), jnp.float32)

    def most() -> float:
        """How often the commonest place is laid, over the mean."""
        moved, _ = choose_patches(detail, known, 1 - known)
        times = np.unique(sources(moved, 128), axis=0, return_counts=True)[1]
        return times.max() / times.mean()

    laid = most()
    monkeypatch.setattr(sys.modules["jaxface.synthesis.quilt"], "_AGAIN", 0.0)
    assert laid < 4 and most() > 1.5 * laid


def test_where_nothing_is_known_there_is_no_quilt():
    detail = jnp.ones((64, 64, 3))
    moved, found = choose_patches(detail, jnp.zeros((64, 64)), jnp.ones((64, 64)))
    assert found == 0 and np.isfinite(quilt(detail, moved)).all()


def test_unseen_skin_has_the_persons_own_grain(textures):
    """The photo's grain is three times the database's and of another kind."""
    size = 256
    rng = np.random.default_rng(4)
    low = jnp.full((size, size, 3), 0.3)
    grain = 0.05 * rng.standard_normal((size, size, 1))
    mask = jnp.asarray(np.broadcast_to(np.arange(size) < 96, (size, size)), jnp.float32)
    shown = low * jnp.asarray(np.exp(grain), jnp.float32) * mask[..., None]
    faces = jnp.asarray(
        np.clip(150 + 3 * rng.standard_normal((2, size, size, 3)), 0, 255), jnp.uint8
    )
    texture = compose(low, shown, mask, faces, jnp.asarray([0.6, 0.4])).start
    dark = np.log(np.asarray(texture)[8:-8, 104:152, 0] / 0.3)  # neither seen nor mirrored
    assert dark.std() == pytest.approx(0.05, rel=0.2)


def test_tone_does_not_drift(problem, result):
    start = compose(*problem, CONFIG).start
    sigma = CONFIG.tone * SIZE / 512
    ratio = np.asarray(blur(result.texture, 2 * sigma) / blur(start, 2 * sigma))
    assert np.abs(ratio - 1).max() < 0.04


def test_what_hides_the_skin_does_not_colour_what_is_hidden(problem):
    """The green rim of an occluder, taken for skin at the border of the seen."""
    low, shown, mask, *faces = problem
    border = int(mask[0].sum())
    green = jnp.asarray([0.1, 0.5, 0.2])
    rim = shown.at[20:30, border - 4 : border].multiply(green)
    clean, coloured = (compose(low, part, mask, *faces, CONFIG).start for part in (shown, rim))
    change = jnp.abs(jnp.log(coloured + 1e-3) - jnp.log(clean + 1e-3))
    assert float(change[24, border - 3].max()) > 1.5
    assert float(change[:, border + 2 :].max()) < 0.3


def test_the_loss_never_rises_within_a_level(result):
    steps = -(-8 // CONFIG.chunk)
    assert np.isfinite(result.losses).all()
    assert (np.diff(result.losses[-steps:]) <= 0).all()


@pytest.mark.parametrize("side", [16, 15])
def test_the_preconditioner_damps_a_wave_by_its_frequency(side):
    at = np.arange(side) / side
    wave = np.cos(2 * np.pi * (3 * at[:, None] + 4 * at + 0.1))[..., None].repeat(3, -1)
    found = smoothed(jnp.asarray(wave, jnp.float32), 1.25)
    np.testing.assert_allclose(found, wave * (1 + 25) ** -0.625, atol=1e-6)
    flat = smoothed(jnp.ones((side, side, 3)), 1.25)
    np.testing.assert_allclose(flat, 1.0, atol=1e-6)


def test_from_far_the_preconditioner_spares_steps(vgg):
    """One face of the database is to get another's correlations."""
    one, other = (
        resize(face / 255.0, SIZE) for face in load_database(size=128).textures[jnp.array([0, 5])]
    )
    everywhere, low = jnp.ones((SIZE, SIZE)), srgb_to_linear(one)

    def least(smooth: float) -> float:
        config = replace(CONFIG, levels=((1.0, 8),), smooth=smooth, tone=96.0)
        found = synthesize(
            *(low, low, 0 * everywhere, 255 * one[None], jnp.ones(1), vgg),
            correlation=CORRELATION,
            config=config,
            target=lambda side: correlate(other, everywhere, vgg, CORRELATION),
        )
        return float(found.losses[-1])

    assert least(1.25) < 0.9 * least(0.0)


def test_same_inputs_same_bits(problem, result, vgg):
    again = synthesize(*problem, vgg, correlation=CORRELATION, config=CONFIG)
    np.testing.assert_array_equal(result.texture, again.texture)


def test_progress_reaches_one(problem, vgg):
    reports = []
    config = SynthesisConfig(levels=((0.5, 4), (1.0, 4)))
    synthesize(
        *problem,
        vgg,
        correlation=CORRELATION,
        config=config,
        callback=lambda loss, done: reports.append((loss, done)),
    )
    shares = [done for _, done in reports]
    assert len(reports) == 2 and shares[0] < shares[1] == pytest.approx(1.0)


def test_the_papers_form_changes_seen_texels_too(problem, vgg):
    config = SynthesisConfig(levels=((1.0, 4),), method="paper", content_layer="relu3_1")
    found = synthesize(*problem, vgg, correlation=CORRELATION, config=config)
    change = np.abs(found.texture - problem[0]).max((0, 2))
    assert (change > 0).mean() > 0.9


@pytest.mark.thorough
def test_gradients_reach_the_photo_and_the_weights(problem, vgg):
    low, shown, mask, textures, weights = problem

    def total(shown, weights, unroll):
        config = SynthesisConfig(levels=((1.0, 3),), chunk=2, memory=2, unroll=unroll)
        found = synthesize(
            *(low, shown, mask, textures, weights, vgg),
            correlation=CORRELATION,
            config=config,
        )
        return jnp.sum(found.texture[:, -4:])

    whole, both, last = (jax.grad(total, (0, 1))(shown, weights, n) for n in (None, 3, 1))
    for gradient in (*whole, *last):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    for same, other, cut in zip(whole, both, last, strict=True):
        np.testing.assert_array_equal(same, other)
        assert np.abs(same - cut).max() > 0


def test_the_inferred_is_as_strong_as_the_photo_and_meets_it(problem):
    """A face of twice the contrast gives detail of the photo's, and no step of tone remains."""
    low, _shown, mask, _textures, _ = problem
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(SIZE, SIZE, 1))
    photo = low * np.exp(0.2 + 0.02 * noise)  # lighter than the low-frequency albedo on the whole
    face = np.clip(128 * np.exp(0.03 * rng.normal(size=(SIZE, SIZE, 1))), 0, 255)
    faces = jnp.asarray(np.broadcast_to(face, (SIZE, SIZE, 3)), jnp.uint8)[None]
    found = compose(low, photo, mask, faces, jnp.ones(1), CONFIG)
    texture, seen = found.start, found.seen
    log = np.log(np.asarray(texture / low))[..., 0]
    dark = np.asarray(seen + seen[:, ::-1]) == 0
    known = np.asarray(seen) > 0.99
    if dark.any():
        assert abs(log[dark].mean() - 0.2) < 0.03
    hidden = np.asarray(seen) == 0
    assert abs(log[hidden].mean() - log[known].mean()) < 0.02
    assert 0.6 < log[hidden].std() / log[known].std() < 1.4


def test_octaves_that_the_photo_lacks_are_filled(problem):
    """Two texels a pixel of the photo: a smooth photo gets the face's finest detail."""
    low, _, mask, textures, weights = problem
    smooth = low * 1.0
    plain = compose(low, smooth, mask, textures, weights, CONFIG).start
    fine = jnp.full_like(mask, 2.0)
    coarse = jnp.full_like(mask, 0.15)
    known = np.asarray(soft_mask(mask, CONFIG.feather * SIZE / 512)) > 0.999

    def detail(pixels_per_texel):
        texture = compose(
            low, smooth, mask, textures, weights, CONFIG, None, pixels_per_texel
        ).start
        return float(jnp.abs(jnp.log(texture / plain))[known].mean())

    assert detail(fine) < 1e-4
    assert 0.01 < detail(coarse) < CONFIG.finest
