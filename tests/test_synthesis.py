"""Composition and synthesis on small textures: what is kept, what is inferred, what stays."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fast import FAST

from jaxface.database import load_database
from jaxface.features.correlations import (
    PAPER,
    CorrelationConfig,
    correlate,
    correlation_distance,
    resize,
)
from jaxface.features.vgg import layer_stride
from jaxface.features.weights import load_vgg
from jaxface.filters import blur
from jaxface.rendering.color import linear_to_srgb, srgb_to_linear
from jaxface.synthesis import (
    CompositionConfig,
    QuiltConfig,
    SynthesisConfig,
    blended_correlations,
    choose_patches,
    compose,
    quilt,
    soft_mask,
    synthesize,
)
from jaxface.synthesis.objective import precondition

SIZE = 64
KEY = jax.random.key(0)
CORRELATION = CorrelationConfig(layers=("relu1_1", "relu2_1"))
CONFIG = SynthesisConfig(levels=((0.5, 4), (1.0, 8)), alpha=1.0)
COMPOSITION = CompositionConfig(tone_sigma=24.0, octaves=2)  # of a 512 x 512 texture: 3 texels here
GIVEN = {"correlation": CORRELATION, "composition": COMPOSITION, "config": CONFIG}


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
    return synthesize(KEY, *problem, vgg, **GIVEN, stepwise=True)


def test_the_seen_is_kept(problem, result):
    _, shown, mask, _, _ = problem
    known = np.asarray(soft_mask(mask, COMPOSITION.feather_sigma * SIZE / 512)) > 0.999
    assert known.mean() > 0.5
    np.testing.assert_allclose(result.texture[known], shown[known], atol=1e-3)


def test_what_only_the_mirror_image_shows_is_taken_from_it(problem):
    low, shown, mask, textures, weights = problem
    found = compose(KEY, low, shown, mask, textures, weights, config=COMPOSITION)
    texture, seen = found.texture, found.photo_weight
    column = SIZE - 8  # hidden; its mirror image is well inside the seen half
    assert seen[0, column] == 0
    there = np.log(texture[:, column, 0] / low[:, column, 0])
    expected = np.log(shown[:, 7, 0] / low[:, 7, 0])
    assert np.corrcoef(there, expected)[0, 1] > 0.95


def test_what_neither_half_shows_has_the_nearest_faces_detail(problem):
    low, shown, mask, textures, _ = problem
    hidden = jnp.zeros_like(mask)
    for face in range(3):
        weights = jax.nn.one_hot(face, 3)
        texture = compose(KEY, low, shown, hidden, textures, weights, config=COMPOSITION).texture
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
    """Alpha is high: at 64 texels twelve steps hardly move against the content term."""
    known, bare = upper
    composition = replace(COMPOSITION, grain_sigma=24.0)
    composed = compose(KEY, *known, bare_skin=bare, config=composition, completions=3)
    faces, weights = 255 * linear_to_srgb(composed.completions), composed.face_weights
    target = blended_correlations(faces, weights, vgg, CORRELATION, side=SIZE, faces=len(weights))
    result = synthesize(
        *(KEY, *known, vgg),
        bare_skin=bare,
        correlation=CORRELATION,
        composition=composition,
        config=replace(CONFIG, alpha=100.0),
        stepwise=True,
    )

    def distance(texture):
        found = correlate(linear_to_srgb(texture), jnp.ones((SIZE, SIZE)), vgg, CORRELATION)
        return float(correlation_distance(found, target))

    assert distance(result.texture) < 0.7 * distance(composed.texture)


def test_a_completion_has_the_fine_detail_of_its_own_face(upper):
    known, bare = upper
    textures, weights = (np.asarray(x, float) for x in known[3:])
    config = replace(COMPOSITION, grain_sigma=24.0)
    found = compose(KEY, *known, bare_skin=bare, config=config, completions=3)
    order = np.argsort(-weights)
    np.testing.assert_allclose(found.face_weights, weights[order], atol=1e-6)
    np.testing.assert_array_equal(found.texture, found.completions[0])
    alone = compose(KEY, *known, bare_skin=bare, config=config)
    assert alone.completions.shape[0] == 1
    np.testing.assert_allclose(alone.texture, found.texture, atol=1e-6)

    def apart(images: np.ndarray) -> np.ndarray:
        values = np.log(images)[:, SIZE // 2 + 8 :].mean(-1).reshape(len(images), -1)
        return values - values.mean(0)

    alike = np.corrcoef(apart(found.completions), apart(textures[order]))[:3, 3:]
    assert (alike.argmax(1) == range(3)).all() and (np.diag(alike) > 0.5).all()


def test_settings_are_numbers_that_can_be_mapped_and_differentiated(upper):
    """A program serves every value; a value of a batch gives what it gives alone."""
    known, bare = upper
    compiled = []

    def total(config):
        compiled.append(config)
        return jnp.std(compose(KEY, *known, bare_skin=bare, config=config).texture[-8:])

    config = jax.tree.map(jnp.float32, replace(COMPOSITION, grain_sigma=24.0))
    call, gains = jax.jit(total), jnp.asarray([0.5, 1.5])
    alone = [call(config.replace(mean_detail_gain=gain)) for gain in gains]
    call(config.replace(tone_sigma=jnp.float32(20.0), quilt=config.quilt.replace(patches=16)))
    assert len(compiled) == 1

    def slope(gain):
        return jax.jvp(lambda x: total(config.replace(mean_detail_gain=x)), (gain,), (gain,))

    values, slopes = jax.jit(jax.vmap(slope))(gains)
    np.testing.assert_allclose(values, jnp.stack(alone), rtol=1e-5)
    assert abs(alone[0] - alone[1]) > 1e-4 and np.abs(slopes).min() > 0


@pytest.mark.thorough
def test_the_composition_has_a_derivative_by_every_number(upper):
    known, bare = upper

    def total(config):
        return jnp.std(compose(KEY, *known, bare_skin=bare, config=config).texture[-8:])

    config = jax.tree.map(jnp.float32, replace(COMPOSITION, grain_sigma=24.0))
    slopes = jax.grad(total)(config)
    assert all(np.isfinite(slope).all() for slope in jax.tree.leaves(slopes))
    assert slopes.mean_detail_gain != 0 and slopes.duplicate_detail_fraction != 0


def laid(detail: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What a quilt of the known detail puts where nothing is known."""
    arrays = jnp.asarray(detail), jnp.asarray(known)
    offsets, found = choose_patches(KEY, *arrays, 1 - arrays[1])
    assert found == 1
    return np.asarray(quilt(arrays[0], offsets))


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


def sources(offsets: jax.Array, size: int) -> np.ndarray:
    """Where (texels) the patches come from that lie in the right half."""
    corners = np.stack(np.mgrid[:31, :31], -1) * (size // 32)
    return (corners + np.asarray(offsets))[:, 16:].reshape(-1, 2)


def test_no_fold_is_laid_again():
    rng, known = np.random.default_rng(7), half_known()
    row, column = np.mgrid[:128, :128]
    folds = np.sqrt(2) * np.sin((row - column) / 1.5)  # as strong as the skin below them
    detail = np.where(row < 64, folds, rng.standard_normal((128, 128)))[..., None]
    detail = jnp.asarray(detail * known[..., None], jnp.float32)

    def folded(config: QuiltConfig) -> float:
        where = jnp.asarray(known)
        offsets, _ = choose_patches(KEY, detail, where, 1 - where, config)
        # Patches of 8, all in the upper half.
        return float(np.mean(sources(offsets, 128)[:, 0] < 56))

    assert folded(QuiltConfig()) < 0.02
    assert folded(QuiltConfig(anisotropy_scale=1e9)) > 0.3


def test_no_place_is_laid_much_more_than_others():
    rng = np.random.default_rng(9)
    known = jnp.broadcast_to(jnp.arange(128) < 32, (128, 128)).astype(jnp.float32)
    detail = jnp.asarray(rng.standard_normal((128, 128, 1)), jnp.float32)

    def most(config: QuiltConfig) -> float:
        """How often the commonest place is laid, over the mean."""
        offsets, _ = choose_patches(KEY, detail, known, 1 - known, config)
        times = np.unique(sources(offsets, 128), axis=0, return_counts=True)[1]
        return times.max() / times.mean()

    usual = most(QuiltConfig())
    assert usual < 4 and most(QuiltConfig(reuse_penalty=0.0)) > 1.5 * usual


def test_another_key_lays_other_patches():
    rng, known = np.random.default_rng(3), jnp.asarray(half_known())
    detail = jnp.asarray(rng.standard_normal((128, 128, 1)), jnp.float32)
    first, second = (
        choose_patches(jax.random.key(seed), detail, known, 1 - known)[0] for seed in (0, 1)
    )
    assert np.mean(np.any(np.asarray(first != second), -1)) > 0.5


def test_where_nothing_is_known_there_is_no_quilt():
    detail = jnp.ones((64, 64, 3))
    offsets, found = choose_patches(KEY, detail, jnp.zeros((64, 64)), jnp.ones((64, 64)))
    assert found == 0 and np.isfinite(quilt(detail, offsets)).all()


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
    texture = compose(KEY, low, shown, mask, faces, jnp.asarray([0.6, 0.4])).texture
    unobserved = np.log(np.asarray(texture)[8:-8, 104:152, 0] / 0.3)  # neither seen nor mirrored
    assert unobserved.std() == pytest.approx(0.05, rel=0.2)


def test_tone_does_not_drift(problem, result):
    start = compose(KEY, *problem, config=COMPOSITION).texture
    sigma = COMPOSITION.tone_sigma * SIZE / 512
    ratio = np.asarray(blur(result.texture, 2 * sigma) / blur(start, 2 * sigma))
    assert np.abs(ratio - 1).max() < 0.04


def test_what_hides_the_skin_does_not_colour_what_is_hidden(problem):
    """The green rim of an occluder, taken for skin at the border of the seen."""
    low, shown, mask, *faces = problem
    border = int(mask[0].sum())
    green = jnp.asarray([0.1, 0.5, 0.2])
    rim = shown.at[20:30, border - 4 : border].multiply(green)
    clean, coloured = (
        compose(KEY, low, part, mask, *faces, config=COMPOSITION).texture for part in (shown, rim)
    )
    change = jnp.abs(jnp.log(coloured + 1e-3) - jnp.log(clean + 1e-3))
    assert float(change[24, border - 3].max()) > 1.5
    assert float(change[:, border + 2 :].max()) < 0.3


def test_the_loss_never_rises_within_a_level(result):
    assert result.losses.shape == (4 + 8,)
    assert np.isfinite(result.losses).all()
    assert (np.diff(result.losses[4:]) <= 0).all() and result.losses[-1] < result.losses[4]


@pytest.mark.parametrize("side", [16, 15])
def test_the_preconditioner_damps_a_wave_by_its_frequency(side):
    at = np.arange(side) / side
    wave = np.cos(2 * np.pi * (3 * at[:, None] + 4 * at + 0.1))[..., None].repeat(3, -1)
    found = precondition(jnp.asarray(wave, jnp.float32), 1.25)
    np.testing.assert_allclose(found, wave * (1 + 25) ** -0.625, atol=1e-6)
    flat = precondition(jnp.ones((side, side, 3)), 1.25)
    np.testing.assert_allclose(flat, 1.0, atol=1e-6)


def test_from_far_the_preconditioner_spares_steps(vgg):
    """One face of the database is to get another's correlations."""
    one, other = (
        resize(face / 255.0, SIZE) for face in load_database(size=128).textures[jnp.array([0, 5])]
    )
    deep = CorrelationConfig(layers=("relu1_1", "relu2_1", "relu3_1"))
    everywhere, low = jnp.ones((SIZE, SIZE)), srgb_to_linear(one)

    def least(smooth: float | None) -> float:
        config = replace(CONFIG, levels=((1.0, 8),), smooth=smooth)
        found = synthesize(
            *(KEY, low, low, 0 * everywhere, 255 * one[None], jnp.ones(1), vgg),
            correlation=deep,
            composition=replace(COMPOSITION, tone_sigma=96.0),
            config=config,
            target=lambda side: correlate(other, everywhere, vgg, deep),
            stepwise=True,
        )
        return float(found.losses[-1])

    assert least(1.25) < 0.9 * least(None)


def test_same_inputs_same_bits(problem, result, vgg):
    again = synthesize(KEY, *problem, vgg, **GIVEN, stepwise=True)
    np.testing.assert_array_equal(result.texture, again.texture)


def test_a_loop_of_the_host_is_the_same_as_one_of_the_device(problem, result, vgg):
    """Up to rounding, in a batch."""
    axes = (None, 0, 0, None, None, None)
    two = [jnp.stack([x, x[::-1]]) for x in problem[:2]]
    many = jax.jit(jax.vmap(lambda *given: synthesize(*given, vgg, **GIVEN), axes))
    rows = many(KEY, *two, *problem[2:])
    np.testing.assert_allclose(rows.losses[0], result.losses, rtol=1e-3)
    np.testing.assert_allclose(rows.texture[0], result.texture, atol=2e-3)
    assert np.abs(rows.texture[1] - rows.texture[0]).max() > 0.01


def test_progress_reaches_one(problem, vgg):
    reports = []
    config = SynthesisConfig(levels=((0.5, 2), (1.0, 2)))
    result = synthesize(
        *(KEY, *problem, vgg),
        correlation=CORRELATION,
        config=config,
        stepwise=True,
        callback=lambda loss, done: reports.append((float(loss), done)),
    )
    losses, fractions = zip(*reports, strict=True)
    np.testing.assert_array_equal(losses, result.losses)
    np.testing.assert_allclose(fractions, [0.1, 0.2, 0.6, 1.0])


def test_the_papers_form_changes_seen_texels_too(problem, vgg):
    config = SynthesisConfig(levels=((1.0, 4),), method="paper", content_layer="relu3_1")
    found = synthesize(*(KEY, *problem, vgg), correlation=CORRELATION, config=config, stepwise=True)
    change = np.abs(found.texture - problem[0]).max((0, 2))
    assert (change > 0).mean() > 0.9


@pytest.mark.parametrize("method", ["default", "paper"])
@pytest.mark.parametrize("quality", ["draft", "standard", "high"])
@pytest.mark.parametrize("size", [256, 512, 1024, 2048])
def test_every_quality_has_levels_at_every_size(quality, size, method, vgg):
    """Traced, not run: the smallest level is correlated as `correlate` takes it."""
    config = SynthesisConfig.for_quality(quality, size=size, method=method)
    correlation = PAPER if method == "paper" else CorrelationConfig()
    sides = [int(size * fraction) for fraction, _ in config.levels]
    assert sides == sorted(set(sides)) and sides[-1] == size
    shapes = jax.ShapeDtypeStruct((sides[0],) * 2 + (3,), jnp.float32)
    mask = jax.ShapeDtypeStruct((sides[0],) * 2, jnp.float32)
    found = jax.eval_shape(lambda x, m: correlate(x, m, vgg, correlation), shapes, mask)
    assert len(found.values) == len(correlation.layers)


def test_levels_that_do_not_suit_the_cells_are_left_out():
    levels = [SynthesisConfig.for_quality("high", size=size).levels for size in (256, 512)]
    assert [fraction for fraction, _ in levels[0]] == [0.25, 0.5, 1.0]
    assert [fraction for fraction, _ in levels[1]] == [0.125, 0.25, 0.5, 1.0]
    assert 0.125 * 256 % (8 * layer_stride("relu4_1"))  # what `correlate` refuses


@pytest.mark.thorough
def test_gradients_reach_the_photo_and_the_weights(problem, vgg):
    low, shown, mask, textures, weights = problem

    def slopes(unroll):
        def total(shown, weights):
            config = SynthesisConfig(levels=((1.0, 3),), memory=2, unroll=unroll)
            found = synthesize(
                *(KEY, low, shown, mask, textures, weights, vgg),
                correlation=CorrelationConfig(layers=("relu1_1",)),
                config=config,
            )
            return jnp.sum(found.texture[:, -4:])

        return jax.jit(jax.grad(total, (0, 1)), compiler_options=FAST)(shown, weights)

    whole, both, last = map(slopes, (None, 3, 1))
    for gradient in (*whole, *last):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    for same, other, cut in zip(whole, both, last, strict=True):
        np.testing.assert_array_equal(same, other)
        assert np.abs(same - cut).max() > 0


def test_the_inferred_is_as_strong_as_the_photo_and_meets_it(problem):
    """No step of tone remains, and what the mirror image shows has the photo's contrast."""
    low, _shown, _mask, _textures, _ = problem
    mask = jnp.asarray(np.broadcast_to(np.arange(SIZE) < 0.4 * SIZE, (SIZE, SIZE)), jnp.float32)
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(SIZE, SIZE, 1))
    photo = low * np.exp(0.2 + 0.02 * noise)  # lighter than the low-frequency albedo on the whole
    face = np.clip(128 * np.exp(0.03 * rng.normal(size=(SIZE, SIZE, 1))), 0, 255)
    faces = jnp.asarray(np.broadcast_to(face, (SIZE, SIZE, 3)), jnp.uint8)[None]
    found = compose(KEY, low, photo, mask, faces, jnp.ones(1), config=COMPOSITION)
    texture, seen = np.asarray(found.texture), np.asarray(found.photo_weight)
    log = np.log(texture / low)[..., 0]
    unobserved = seen + seen[:, ::-1] == 0  # by the photo and by its mirror image
    assert unobserved.mean() > 0.15
    assert abs(log[unobserved].mean() - 0.2) < 0.03
    known, hidden = seen > 0.99, seen == 0
    assert abs(log[hidden].mean() - log[known].mean()) < 0.02
    mirrored = hidden & (seen[:, ::-1] > 0.99)
    assert mirrored.mean() > 0.3
    assert 0.6 < log[mirrored].std() / log[known].std() < 1.4


def test_octaves_that_the_photo_lacks_are_filled(problem):
    """Two texels a pixel of the photo: a smooth photo gets the face's finest detail."""
    low, _, mask, textures, weights = problem
    known = np.asarray(soft_mask(mask, COMPOSITION.feather_sigma * SIZE / 512)) > 0.999
    given = KEY, low, low * 1.0, mask, textures, weights
    plain = compose(*given, config=COMPOSITION).texture

    def detail(pixels_per_texel):
        width = jnp.full_like(mask, pixels_per_texel)
        texture = compose(*given, pixels_per_texel=width, config=COMPOSITION).texture
        return float(jnp.abs(jnp.log(texture / plain))[known].mean())

    assert detail(2.0) < 1e-4
    assert 0.01 < detail(0.15) < COMPOSITION.max_added_detail
