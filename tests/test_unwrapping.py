"""Unwrapping against known truth (rendered heads), ray casting, SciPy and dense algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import trimesh
from fast import FAST

from jaxface.filters import blur, weighted_median
from jaxface.fitting.schemes import with_landmarks68
from jaxface.morphable.albedo import albedo_texture
from jaxface.morphable.files import load_model
from jaxface.morphable.model import shape, vertex_uvs
from jaxface.morphable.texels import texel_map
from jaxface.rendering.camera import look_at, project, rotation_matrix
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.lighting import directional
from jaxface.rendering.render import render
from jaxface.types import FaceParameters, FitResult, Lighting
from jaxface.unwrapping import (
    UnwrapConfig,
    balance_light,
    estimate_albedo_coefficients,
    unwrap,
)
from jaxface.unwrapping.eyes import angle_of_texels, paint_eyes
from jaxface.unwrapping.facial_hair import believed_brows, hue_of_hair
from jaxface.unwrapping.folds import fold_shading, fold_weight, log_compression
from jaxface.unwrapping.lid_shade import WHITE_OF_EYE, lid_shade
from jaxface.unwrapping.membrane import membrane, vertices_to_texels
from jaxface.unwrapping.scalp import colour_scalp
from jaxface.unwrapping.skin_limits import (
    SIDE,
    asymmetry_excess,
    no_bluer_than_grey,
    skin_excess,
)
from jaxface.unwrapping.teeth import whiten_teeth
from jaxface.unwrapping.visible import project_texels, see

SIZE, PHOTO = 256, 320
CONFIG = UnwrapConfig(window=400)
SKIN = ("skin", "nose", "lids")
PAINT = jax.jit(paint_eyes)
FAIR_SKIN = jnp.asarray(-0.8)  # mean log albedo
LIT = jnp.ones((SIZE, SIZE, 3))  # no lids over the eyes


def fit_of(model, camera, lighting) -> FitResult:
    parameters = FaceParameters(
        identity=jnp.zeros(model.identity_basis.shape[0]),
        expression=jnp.zeros(model.expression_basis.shape[0]),
        albedo=jnp.zeros(model.albedo_basis.shape[0]),
        camera=camera,
        lighting=lighting,
    )
    nothing = jnp.zeros(())
    return FitResult(
        parameters=parameters,
        vertices=model.mean,
        landmarks=jnp.zeros((478, 2)),
        landmark_error=nothing,
        photometric_error=nothing,
        converged=jnp.array(True),
        iterations=jnp.array(1),
    )


@pytest.fixture(scope="module")
def scene():
    """The mean head, turned, lit from one side, redder than the model thinks, with a fringe."""
    model = load_model()
    texels = texel_map(model, SIZE)
    generator = np.random.default_rng(0)
    detail = blur(jnp.array(generator.normal(size=(SIZE, SIZE, 1)), jnp.float32), 1.0)
    tint = jnp.array([1.1, 0.95, 0.85])
    truth = albedo_texture(model, jnp.zeros(model.albedo_basis.shape[0]), SIZE)
    truth = jnp.clip(truth * tint * jnp.exp(0.2 * detail), 0.0, 1.0)
    camera = look_at(0.45, 0.05, PHOTO, PHOTO, extent=0.36)
    light = directional(jnp.array([-0.9, -0.3, -0.6]), jnp.array([0.5, 0.48, 0.45]), ambient=0.4)
    sky = jnp.array([0.1, 0.25, 0.5])
    picture, alpha = render(
        model, model.mean, truth, camera, light, PHOTO, PHOTO, supersample=2, background=sky
    )
    hairline, _ = project(jnp.array([[0.0, 0.055, 0.04]]), camera)
    row, column = np.mgrid[:PHOTO, :PHOTO]
    fringe = (row < hairline[0, 1] + 5 * np.sin(column / 4)) & (row > hairline[0, 1] - 60)
    fringe &= np.abs(column - hairline[0, 0]) < 50
    strands = 0.02 + 0.03 * np.abs(np.sin(column / 1.3 + row / 15))
    picture = jnp.where(fringe[..., None], strands[..., None] * jnp.array([1, 0.8, 0.6]), picture)
    photo = jnp.clip(linear_to_srgb(picture), 0, 1)
    return model, texels, truth, camera, light, photo, fringe, np.asarray(alpha)


def classes_of(scene):
    """What a perfect parser says of the picture."""
    fringe, alpha = scene[6:]
    hair = 1.0 * fringe
    face = alpha * (1 - hair)
    return jnp.array(np.stack([face, hair, 0 * face, 1 - face - hair, 0 * face], -1), jnp.float32)


@pytest.fixture(scope="module")
def result(scene):
    model, texels, _, camera, light, photo, *_ = scene
    wrong = Lighting(coefficients=light.coefficients.at[1:].multiply(0.8))
    given = photo, fit_of(model, camera, wrong), model, texels
    return unwrap(*given, classes=classes_of(scene), known_light=True, config=CONFIG)[0]


@pytest.mark.thorough
def test_two_rounds_are_one_round_twice(scene):
    model, texels, _, camera, light, photo, *_ = scene
    texels = texel_map(model, 64)
    fit = fit_of(model, camera, light)

    def compiled(rounds, known_light):
        config = CONFIG.replace(rounds=rounds, window=160)

        def stage(fit):
            return unwrap(photo, fit, model, texels, known_light=known_light, config=config)

        return jax.jit(stage, compiler_options=FAST)

    two, explained = compiled(2, False)(fit)
    once = compiled(1, True)
    for _ in range(2):
        fit = balance_light(fit, model)
        one, _ = once(fit)
        fit = estimate_albedo_coefficients(fit, one, model)
    for got, want in zip(
        jax.tree.leaves((two, explained)), jax.tree.leaves((one, fit)), strict=True
    ):
        np.testing.assert_allclose(got, want, atol=2e-4, rtol=2e-4)


def test_numbers_of_the_settings_are_leaves_and_steer_the_result(scene, result):
    """One program serves all of them."""
    config = UnwrapConfig()
    assert all(isinstance(leaf, float) for leaf in jax.tree.leaves(config))
    structure = jax.tree.structure(config)
    assert structure == jax.tree.structure(config.replace(depth_tolerance=1.0))
    assert structure != jax.tree.structure(config.replace(rounds=1))
    model, texels, _, camera, light, photo, *_ = scene
    wrong = Lighting(coefficients=light.coefficients.at[1:].multiply(0.8))
    strict = CONFIG.replace(facing=(0.5, 0.7), burnt=(0.05, 0.1))
    given = photo, fit_of(model, camera, wrong), model, texels
    other, _ = unwrap(*given, classes=classes_of(scene), known_light=True, config=strict)
    assert float(other.visibility.sum()) < 0.9 * float(result.visibility.sum())
    inner = np.asarray(other.visibility) > 0.9
    assert other.skin_mask[inner].sum() < 0.9 * result.skin_mask[inner].sum()


def regions(model, texels, names):
    index = [model.region_names.index(name) for name in names]
    return np.isin(texels.region_ids, index) & (np.asarray(texels.triangle_ids) >= 0)


def at_texels(scene, image):
    """The nearest pixel of an image at each texel that the mean head shows."""
    model, texels, _, camera, *_ = scene
    corners = model.mean[texels.vertex_ids]
    point = jnp.einsum("tuk,tukc->tuc", texels.barycentrics, corners).reshape(-1, 3)
    xy = np.asarray(project(point, camera)[0]).astype(int).clip(0, PHOTO - 1)
    return image[xy[:, 1], xy[:, 0]].reshape(SIZE, SIZE)


def test_the_fringe_and_the_background_stay_out(scene, result):
    fringe = at_texels(scene, scene[6]) & (np.asarray(result.visibility) > 0)
    assert fringe.sum() > 200
    assert (np.asarray(result.skin_mask)[fringe] > 0.5).mean() < 0.01
    outside = at_texels(scene, scene[7]) < 0.5
    assert (np.asarray(result.skin_mask)[outside] > 0.1).sum() == 0


@pytest.mark.parametrize("face", [0.7, 0.95])
def test_colour_decides_where_the_parser_is_in_doubt(scene, result, face):
    """A parser that sees the face in the fringe, and no more in the forehead's lower half: what it
    doubts is skin by its colour or is not; what it is sure of is not asked."""
    model, texels, _, camera, light, photo, fringe, alpha = scene
    row = np.mgrid[:PHOTO, :PHOTO][0]
    doubted = fringe | (row > PHOTO / 2)
    seen = np.where(doubted, face, 1.0) * np.maximum(alpha, fringe)
    classes = jnp.asarray(np.stack([seen, 1 - seen, *3 * [0 * seen]], -1), jnp.float32)
    given = photo, fit_of(model, camera, light), model, texels
    mask = np.asarray(unwrap(*given, classes=classes, known_light=True, config=CONFIG)[0].skin_mask)
    visible = np.asarray(result.visibility) > 0.9
    in_fringe = regions(model, texels, SKIN) & at_texels(scene, fringe) & visible
    skin = regions(model, texels, ("skin",)) & at_texels(scene, row > PHOTO / 2 + 4) & visible
    skin &= np.asarray(result.skin_mask) > 0.9
    assert in_fringe.sum() > 100 and skin.sum() > 1000
    assert (mask[skin] > 0.5).mean() > 0.95
    kept = (mask[in_fringe] > 0.5).mean()  # the darkest strands are too dark to be used
    assert kept > 0.7 if face > 0.9 else kept < 0.01


def test_most_of_the_visible_face_is_kept(scene, result):
    model, texels = scene[:2]
    face = regions(model, texels, SKIN) & (np.asarray(result.visibility) > 0.9)
    face &= ~scipy.ndimage.binary_dilation(at_texels(scene, scene[6]), iterations=8)
    assert (np.asarray(result.skin_mask)[face] > 0.5).mean() > 0.8


def test_partial_albedo_is_the_truth_although_the_light_is_wrong(scene, result):
    seen = (np.asarray(result.skin_mask) > 0.9) & regions(*scene[:2], SKIN)
    error = np.log(np.asarray(result.partial)[seen]) - np.log(np.asarray(scene[2])[seen])
    assert np.abs(error.mean(0)).max() < 0.06
    assert error.std() < 0.12


def test_a_beard_is_neither_taken_for_shadow_nor_for_gloss(scene):
    """Half black, half white hair on the lower face; the parser knows where, or does not."""
    model, texels, truth, camera, light, *_ = scene
    place = np.asarray(vertices_to_texels(model.mean, texels))
    lower = regions(model, texels, ("skin",)) & (place[..., 1] < -0.055) & (place[..., 2] > 0.0)
    strands = np.random.default_rng(1).choice([0.02, 0.5], (SIZE, SIZE))
    strands[:, : SIZE // 2] = 0.02
    bearded = jnp.where(lower[..., None], jnp.asarray(strands, jnp.float32)[..., None], truth)

    def drawn(texture):
        return render(model, model.mean, texture, camera, light, PHOTO, PHOTO, supersample=2)

    picture, alpha = drawn(bearded)
    where = drawn(jnp.repeat(1.0 * lower[..., None], 3, -1))[0][..., 0] > 0.05
    face = alpha * jnp.ones((PHOTO, PHOTO))
    photo = jnp.clip(linear_to_srgb(picture), 0, 1)
    found = {}
    for name, beard in (("known", where * face), ("unknown", 0 * face)):
        classes = jnp.stack([face, 0 * face, 0 * face, 1 - face, beard, 0 * face], -1)
        given = photo, fit_of(model, camera, light), model, texels
        one = unwrap(*given, classes=classes, known_light=True, config=CONFIG)[0]
        inner = scipy.ndimage.binary_erosion(lower, iterations=4)
        inner &= np.asarray(one.visibility) > 0.9
        blurred = blur(jnp.log(one.partial + 0.01) - jnp.log(bearded + 0.01), 2.0)
        found[name] = (
            float(np.median(np.abs(np.asarray(blurred)[inner]))),
            float((np.asarray(one.skin_mask)[inner] > 0.5).mean()),
        )
    assert found["known"][0] < 0.1 < 0.5 < found["unknown"][0], found
    assert found["known"][1] > found["unknown"][1] + 0.1, found


def test_a_beard_on_one_side_alone_or_at_the_rim_is_a_shadow(scene):
    model, texels, _, camera, light, *_ = scene
    place = np.asarray(vertices_to_texels(model.mean, texels))
    jaw = regions(model, texels, ("skin",)) & (place[..., 1] < -0.03) & (place[..., 2] > 0.0)
    jaw &= np.abs(place[..., 0]) > 0.015
    one_side = jaw & (place[..., 0] > 0)
    found = {}
    facing = np.asarray(
        project_texels(model.mean, camera, model, texels, window=512, tolerance=1e-3).facing
    )
    for name, where in (("both", jaw), ("one", one_side), ("rim", jaw & (facing < 0.6))):
        marks = jnp.repeat(1.0 * where[..., None], 3, -1)
        beard = render(model, model.mean, marks, camera, light, PHOTO, PHOTO)[0][..., 0] > 0.05
        face = jnp.ones((PHOTO, PHOTO))
        classes = jnp.stack([face, 0 * face, 0 * face, 0 * face, 1.0 * beard, 0 * face], -1)
        photo = jnp.full((PHOTO, PHOTO, 3), 0.5)
        seen = see(photo, fit_of(model, camera, light), model, texels, classes, CONFIG)
        inner = scipy.ndimage.binary_erosion(where, iterations=6)
        sides = (seen.visibility > 0.9) & (seen.visibility[:, ::-1] > 0.9)
        sides = inner & np.asarray(sides) if name != "rim" else where
        found[name] = float(np.asarray(seen.beard)[sides].mean())
    assert found["both"] > 0.9 and found["one"] < 0.1 and found["rim"] < 0.1, found


def test_a_moustache_belongs_to_a_beard_that_is_believed(scene):
    """What is darker around the lips counts if there is a beard around the mouth; not without, and
    not with one on the sides of the jaw alone."""
    model, texels, _, camera, light, *_ = scene
    place = np.asarray(vertices_to_texels(model.mean, texels))
    skin = regions(model, texels, ("skin",))
    beside_lips = scipy.ndimage.binary_dilation(regions(model, texels, ("lips",)), iterations=6)
    moustache = skin & beside_lips & (place[..., 1] > -0.06)
    jaw = skin & (place[..., 1] < -0.06) & (place[..., 2] > 0.0) & ~beside_lips
    dark = jnp.where((moustache | jaw)[..., None], 0.1, 0.5) * jnp.ones(3)
    picture, _ = render(model, model.mean, dark, camera, light, PHOTO, PHOTO)
    face = jnp.ones((PHOTO, PHOTO))
    found = []
    for where in (jaw, jaw & (np.abs(place[..., 0]) > 0.04), 0 * jaw > 0):
        marks = jnp.repeat(1.0 * where[..., None], 3, -1)
        beard = render(model, model.mean, marks, camera, light, PHOTO, PHOTO)[0][..., 0] > 0.05
        beard = 1.0 * beard
        classes = jnp.stack([face, 0 * face, 0 * face, 0 * face, beard, 0 * face], -1)
        given = linear_to_srgb(picture), fit_of(model, camera, light), model, texels
        seen = see(*given, classes, CONFIG)
        inner = scipy.ndimage.binary_erosion(moustache, iterations=1)
        inner &= np.asarray(seen.visibility) > 0.9
        found.append([float((part * np.asarray(seen.beard)).sum()) for part in (inner, where)])
        found[-1] /= np.array([inner.sum(), max(where.sum(), 1)])
    assert found[0][0] > 0.8 and found[2][0] == 0, found
    assert found[1][0] < 0.1 < 0.3 < found[1][1], found


def test_lids_shade_the_eyes_at_any_opening():
    """Dark and red at the lids, the more so above; eyes closed in the photo are painted open; the
    iBUG landmarks tell the same; what is behind is not brighter."""
    model = load_model()
    texels = texel_map(model, SIZE)
    angle = np.asarray(angle_of_texels(model, texels))
    eyes, names = angle < 180, list(model.expression_names)
    shade = np.asarray(lid_shade(model.mean, model, texels))
    height = np.asarray(vertices_to_texels(model.mean, texels))[..., 1]
    front = eyes & (angle < 35)
    middle, top, bottom = (
        shade[front & (np.abs(height - y) < 1e-3)].mean(0) for y in (-0.001, 0.0055, -0.0055)
    )
    assert (top < bottom).all() and (bottom < middle)[1:].all()
    assert (np.diff(top) < 0).all() and (np.diff(bottom) < 0).all()  # red, green, blue
    blinks = jnp.zeros(len(names)).at[names.index("eyeBlinkLeft")].set(1.0)
    closed = shape(model, jnp.zeros(len(model.identity_names)), blinks)
    left = front & (np.asarray(vertices_to_texels(model.mean, texels))[..., 0] > 0)
    blinking = np.asarray(lid_shade(closed, model, texels))
    assert 0.3 < blinking[left, 0].max() < shade[left, 0].max()
    few = lid_shade(model.mean, with_landmarks68(model), texels)
    assert np.abs(np.asarray(few) - shade)[front].mean() < 0.05

    def total(vertices):
        return (lid_shade(vertices, model, texels) * front[..., None]).sum()

    slope = jax.grad(total)(model.mean)
    assert np.isfinite(slope).all() and float(jnp.abs(slope).sum()) > 0


def test_brows_are_where_brows_are_and_darker_than_the_skin_around(scene):
    """The same probability everywhere tells of brows at the model's alone; gloss is none."""
    model, texels, *_ = scene
    brows = regions(model, texels, ("brows",))
    inner = scipy.ndimage.binary_erosion(brows, iterations=2)
    far = regions(model, texels, ("skin",)) & ~scipy.ndimage.binary_dilation(brows, iterations=30)
    gloss = inner & (np.arange(SIZE)[:, None] % 3 == 0)
    assert gloss.sum() > 50
    grey = jnp.where(gloss, 0.8, jnp.where(brows, 0.1, 0.5))
    radiance = jnp.repeat(grey[..., None], 3, -1)
    ones = jnp.ones((SIZE, SIZE))
    found = np.asarray(believed_brows(0.2 * ones, radiance, ones, model, texels))
    assert found[inner & ~gloss].mean() > 0.95
    assert found[gloss].max() < 0.01 and found[far].max() < 0.01


def test_hair_has_one_hue(rng):
    """Noise of the hue, and a blue half, leave hair; what changes with its level stays."""
    skin_colour, hair_colour = np.log([0.4, 0.25, 0.18]), np.log([0.05, 0.03, 0.02])
    row = np.arange(128)[:, None]
    hair = 1.0 * (np.abs(row - 64) < 5) * np.ones((1, 128))
    cover = hair * rng.uniform(0.3, 1.0, (128, 128))
    truth = skin_colour + cover[..., None] * (hair_colour - skin_colour)
    noise = rng.normal(0, 0.15, (128, 128, 3))
    noise -= noise.mean(-1, keepdims=True)
    noisy = truth + hair[..., None] * noise + 0.1 * (hair * (row > 64))[..., None] * [-1, 0, 1]
    given = jnp.asarray(noisy), jnp.asarray(1 - hair), jnp.asarray(hair)
    found = np.asarray(hue_of_hair(*given))
    where = hair > 0
    assert np.abs(found - truth)[where].mean() < 0.3 * np.abs(noisy - truth)[where].mean()
    np.testing.assert_allclose(found.mean(-1), noisy.mean(-1), atol=1e-4)
    np.testing.assert_array_equal(found[~where], noisy.astype(np.float32)[~where])
    far = hue_of_hair(given[0], jnp.zeros_like(given[1]), given[2])
    np.testing.assert_array_equal(far, given[0])  # no skin tells what is around


def test_low_frequency_albedo_agrees_with_the_seen_and_takes_its_tone_elsewhere(scene, result):
    model, texels, truth = scene[:3]
    face = regions(model, texels, SKIN)
    seen = face & (np.asarray(result.skin_mask) > 0.9)
    hidden = face & (np.asarray(result.visibility) < 0.01)
    error = np.log(np.asarray(result.low_frequency)) - np.log(np.asarray(truth) + 1e-3)
    assert np.abs(error[seen].mean(0)).max() < 0.06
    assert np.abs(error[hidden].mean(0)).max() < 0.08
    assert np.isfinite(result.low_frequency).all()


def test_eyes_never_take_the_colour_of_skin(scene, result):
    model, texels = scene[:2]
    eyes = regions(model, texels, ("eyes",))
    angle = np.asarray(angle_of_texels(model, texels))
    own = albedo_texture(model, jnp.zeros(model.albedo_basis.shape[0]), SIZE)
    veins = np.asarray(own) / np.median(np.asarray(own)[(angle > 28) & (angle < 56)], 0)
    white = veins * WHITE_OF_EYE * np.asarray(lid_shade(model.mean, model, texels))
    outer = eyes & (angle > 25)  # all but the painted irises
    np.testing.assert_allclose(np.asarray(result.low_frequency)[outer], white[outer], rtol=0.02)
    assert np.asarray(result.skin_mask)[eyes].max() == 0


def eyes_of(scene, colour, window=0.0, shade=1.0):
    """What a photo shows of eyes of a colour: dark pupils, whites, reflections, in some shade."""
    angle = angle_of_texels(*scene[:2])
    pupil, iris = (angle < 7)[..., None], (angle < 20.5)[..., None]
    shown = jnp.where(
        iris, jnp.where(pupil, 0.003, jnp.asarray(colour)), jnp.array([0.5, 0.45, 0.4])
    )
    column = jnp.arange(SIZE)[None, :, None]
    shown = shade * (shown + window * iris * (column % 4 == 0) * jnp.array([0.8, 0.9, 1.0]))
    return shown, (angle < 60).astype(jnp.float32), angle


@pytest.mark.parametrize("shade", [0.3, 1.0])
@pytest.mark.parametrize("window", [0.0, 0.5])
def test_irises_have_the_colour_of_the_photos(scene, window, shade):
    """Brown stays brown though windows shine in it, blue stays blue in shade; none leaves the line
    on which eyes lie."""
    own = albedo_texture(scene[0], jnp.zeros(len(scene[0].albedo_names)), SIZE)
    ring = np.asarray((angle_of_texels(*scene[:2]) > 11) & (angle_of_texels(*scene[:2]) < 15))
    for colour in ((0.03, 0.014, 0.009), (0.09, 0.045, 0.022), (0.17, 0.24, 0.33)):
        shown, seen, angle = eyes_of(scene, colour, window, shade)
        painted = PAINT(own, LIT, shown, seen, jnp.ones(()), angle, FAIR_SKIN)
        found = np.median(np.asarray(painted)[ring], 0)
        assert np.abs(np.log(found / colour)).max() < 0.45, (colour, found)
        assert (found[0] > found[2]) == (colour[0] > colour[2])


def test_doubtful_irises_are_brown_in_dark_skin(scene):
    own = albedo_texture(scene[0], jnp.zeros(len(scene[0].albedo_names)), SIZE)
    ring = np.asarray((angle_of_texels(*scene[:2]) > 11) & (angle_of_texels(*scene[:2]) < 15))
    shown, seen, angle = eyes_of(scene, (0.12, 0.10, 0.08))
    few, many = jnp.asarray(0.05), jnp.asarray(1.0)  # pixels a texel

    def warmth(width: jnp.ndarray, skin: float) -> float:
        painted = PAINT(own, LIT, shown, seen, width, angle, jnp.asarray(skin))
        red, _, blue = np.asarray(painted)[ring].T
        return float(np.median(np.log(red / blue)))

    for width in (few, many):
        assert warmth(width, -2.1) > warmth(width, -1.4) + 0.05
        assert warmth(width, -1.4) == pytest.approx(warmth(width, -0.5))
    shown, seen, angle = eyes_of(scene, (0.17, 0.24, 0.33))
    assert warmth(many, -1.7) < 0  # what is clearly blue stays so


def test_irises_that_are_not_seen_are_probable_and_differentiable(scene):
    own = albedo_texture(scene[0], jnp.zeros(len(scene[0].albedo_names)), SIZE)
    shown, seen, angle = eyes_of(scene, (0.17, 0.24, 0.33))
    painted = np.asarray(PAINT(own, LIT, shown, 0 * seen, jnp.ones(()), angle, FAIR_SKIN))
    ring = np.asarray((angle > 11) & (angle < 15))
    assert (painted[ring][:, 0] > painted[ring][:, 2]).all()  # most eyes are brown

    def total(shown, weight):
        return paint_eyes(own, LIT, shown, weight * seen, jnp.ones(()), angle, FAIR_SKIN).sum()

    slope = jax.jit(jax.grad(total))
    for weight in (0.0, 1.0):
        assert np.isfinite(slope(shown, weight)).all()
    assert float(jnp.abs(slope(shown, 1.0)).sum()) > 0


def scalp_of(scene, colour, low=-1.0, high=1.0):
    """The scalp after a photo that shows a colour on it between two heights (metres)."""
    model, texels = scene[:2]
    place = vertices_to_texels(model.mean, texels)
    shown = (place[..., 2] > 0) * (place[..., 1] > low) * (place[..., 1] < high) * texels.mask
    albedo = jnp.full((SIZE, SIZE, 3), 0.3) * jnp.array([1.0, 0.7, 0.5])
    seen = jnp.broadcast_to(jnp.asarray(colour), albedo.shape)
    return albedo, colour_scalp(albedo, seen, 1.0 * shown, model, texels)


def test_the_scalp_has_the_colour_of_what_the_photo_shows_on_it(scene):
    """Also on its back, which no photo of a face shows; the face keeps its own."""
    model, texels = scene[:2]
    hair = (0.02, 0.015, 0.012)
    albedo, made = scalp_of(scene, hair)
    inner = scipy.ndimage.binary_erosion(regions(model, texels, ("scalp",)), iterations=12)
    np.testing.assert_allclose(np.asarray(made)[inner], np.tile(hair, (inner.sum(), 1)), rtol=0.25)
    face = scipy.ndimage.binary_erosion(regions(model, texels, SKIN), iterations=16)
    np.testing.assert_allclose(np.asarray(made)[face], np.asarray(albedo)[face], rtol=0.02)


def test_a_blue_hat_leaves_no_blue_and_a_hidden_scalp_is_the_models(scene):
    inner = scipy.ndimage.binary_erosion(regions(*scene[:2], ("scalp",)), iterations=12)
    _, made = scalp_of(scene, (0.05, 0.1, 0.5))
    red, green, blue = np.asarray(made)[inner].T
    assert (green <= red * 1.01).all() and (blue <= green * 1.01).all()
    albedo, made = scalp_of(scene, (0.02, 0.015, 0.012), high=-1.0)
    np.testing.assert_allclose(made, albedo, rtol=1e-4)


@pytest.mark.parametrize("shade", [0.6, 1.1])
def test_teeth_turn_white_if_the_photos_are_and_never_red(scene, shade):
    """Gums keep their red; a mouth in red light or a closed one changes nothing."""
    model, texels = scene[:2]
    own = albedo_texture(model, jnp.zeros(len(model.albedo_names)), SIZE)
    teeth = jnp.asarray(regions(model, texels, ("teeth",)), jnp.float32)
    crowns = np.asarray(teeth * (own[..., 1] > 0.8 * own[..., 0])) > 0

    def made(colour, visibility=1.0):
        seen = jnp.broadcast_to(shade * jnp.asarray(colour), own.shape)
        return np.asarray(whiten_teeth(own, seen, visibility * teeth, jnp.ones(()), teeth))

    white = made((0.8, 0.8, 0.8))
    yellow = np.asarray(own)[crowns][:, 0] / np.asarray(own)[crowns][:, 2]
    assert np.median(white[crowns][:, 0] / white[crowns][:, 2]) < 0.85 * np.median(yellow)
    assert (white[crowns][:, 2] <= white[crowns][:, 0]).mean() > 0.95  # not blue
    gums = np.asarray(teeth * (own[..., 1] < 0.55 * own[..., 0])) > 0
    np.testing.assert_allclose(white[gums], np.asarray(own)[gums], rtol=1e-5)
    for other in (made((0.5, 0.2, 0.15)), made((0.8, 0.8, 0.8), 0.0)):
        np.testing.assert_allclose(other[crowns], np.asarray(own)[crowns], rtol=0.13)
        ratio = other[crowns] / np.asarray(own)[crowns]
        np.testing.assert_allclose(ratio[:, 0], ratio[:, 2], rtol=1e-4)

    @jax.jit
    @jax.grad
    def slope(seen, weight):
        return whiten_teeth(own, seen, weight * teeth, jnp.ones(()), teeth).sum()

    for weight in (0.0, 1.0):
        assert np.isfinite(slope(jnp.full(own.shape, 0.7), weight)).all()


def test_balance_puts_the_light_at_a_plausible_level(scene):
    model, _, _, camera, light, *_ = scene
    white = 3.54  # the first coefficient of radiance 1 from everywhere
    for gain in (1.0, jnp.array([0.2, 0.3, 0.4])):
        fit = fit_of(model, camera, Lighting(coefficients=light.coefficients * gain))
        level = balance_light(fit, model).parameters.lighting.coefficients[0]
        assert 0.5 * white < float(level.mean()) < 1.5 * white
        assert float(level.max() / level.min()) < 1.7


def test_light_from_one_side_does_not_darken_the_skin(scene):
    """Half the face in shadow: the lit half tells the level, as a camera exposes for it."""
    model, _, _, camera, light, *_ = scene
    ahead = jnp.zeros_like(light.coefficients).at[0].set(1.2 / 0.282 / 1.33)

    def level(side):
        one = ahead.at[3].set(side * ahead[0])  # the first-order term across
        fit = balance_light(fit_of(model, camera, Lighting(coefficients=one)), model)
        return float(fit.parameters.lighting.coefficients[0].mean())

    assert abs(np.log(level(1.2) / level(0.0))) < 0.15


def test_albedo_is_explained_by_what_is_seen_alone(scene, result):
    model, texels, _, camera, light, *_ = scene
    names = list(model.albedo_names)
    wanted = jnp.zeros(len(names)).at[names.index("melanin")].set(1.5)
    wanted = wanted.at[names.index("lips")].set(1.0)
    # What is not skin shows black: a fringe that must not darken the forehead.
    shown = albedo_texture(model, wanted, SIZE) * (result.skin_mask > 0.5)[..., None]
    seen = result.replace(partial=shown)
    fitted = estimate_albedo_coefficients(fit_of(model, camera, light), seen, model)
    found = fitted.parameters.albedo
    texture, truth = albedo_texture(model, found, SIZE), albedo_texture(model, wanted, SIZE)
    error = np.abs(np.log(np.asarray(texture) / np.asarray(truth))).mean(-1)
    face = regions(model, texels, SKIN)
    assert error[face].mean() < 0.05 and float(jnp.abs(found).max()) < 2
    untouched = albedo_texture(model, jnp.zeros(len(names)), SIZE)
    assert np.abs(np.log(np.asarray(untouched / truth))).mean(-1)[face].mean() > 0.3


def test_visibility_equals_rays(scene):
    model, texels, _, camera, *_ = scene
    view = project_texels(model.mean, camera, model, texels, window=512, tolerance=2e-3)
    rotation = np.asarray(rotation_matrix(camera.rotation))
    eye = -rotation.T @ np.asarray(camera.translation)
    corners = np.asarray(model.mean[texels.vertex_ids])
    points = np.einsum("tuk,tukc->tuc", texels.barycentrics, corners)[::4, ::4]
    chart = (np.asarray(texels.triangle_ids) >= 0)[::4, ::4]
    points = points[chart]
    mesh = trimesh.Trimesh(np.asarray(model.mean), np.asarray(model.triangles), process=False)
    where = mesh.ray.intersects_location(
        np.tile(eye, (len(points), 1)), points - eye, multiple_hits=False
    )
    reach = np.full(len(points), np.inf)
    reach[where[1]] = np.linalg.norm(where[0] - eye, axis=1)
    clear = reach > np.linalg.norm(points - eye, axis=1) - 2e-3
    facing = np.asarray(view.facing)[::4, ::4][chart]
    seen = np.asarray(view.unoccluded)[::4, ::4][chart]
    judged = facing > 0.2
    assert judged.sum() > 500
    assert (seen == clear)[judged].mean() > 0.98


def test_membrane_equals_a_dense_solution():
    mesh = trimesh.creation.icosphere(subdivisions=2)
    generator = np.random.default_rng(1)
    count = len(mesh.vertices)
    values = generator.normal(size=(count, 2))
    weights = generator.random(count) * (generator.random(count) < 0.4)
    laplacian = np.zeros((count, count))
    for a, b in mesh.edges_unique:
        laplacian[[a, b], [a, b]] += 1
        laplacian[[a, b], [b, a]] -= 1
    matrix = np.diag(weights + 1e-3) + 4.0 * laplacian
    want = np.linalg.solve(matrix, weights[:, None] * values)
    arrays = jnp.array(values), jnp.array(weights), jnp.array(mesh.faces)
    got = membrane(*arrays, reach=2.0, tikhonov=1e-3, steps=120)
    np.testing.assert_allclose(got, want, atol=1e-3)


def test_filters_equal_scipy_and_numpy():
    generator = np.random.default_rng(2)
    image = generator.random((24, 30, 2)).astype(np.float32)
    # Renormalised at the border: the blur of the image over that of ones, with zeros outside.
    both = np.stack([image, np.ones_like(image)])
    both = scipy.ndimage.gaussian_filter(both, (0, 2, 2, 0), mode="constant", radius=(0, 30, 30, 0))
    np.testing.assert_allclose(blur(jnp.array(image), 2.0), both[0] / both[1], atol=1e-5)
    values = generator.normal(size=(31, 31)).astype(np.float32)
    median = weighted_median(jnp.array(values), jnp.ones((31, 31)), 3)
    assert float(median) == pytest.approx(np.median(values[::3, ::3]))
    weights = generator.random((31, 31)).astype(np.float32) * (values > -0.5)
    order = np.argsort(values.ravel())
    total = np.cumsum(weights.ravel()[order], dtype=np.float64)
    want = values.ravel()[order][np.searchsorted(total, 0.5 * total[-1])]
    assert float(weighted_median(jnp.array(values), jnp.array(weights))) == want
    slope = jax.grad(weighted_median)(jnp.array(values), jnp.array(weights))
    np.testing.assert_array_equal(slope, values == want)
    assert float(weighted_median(jnp.array(values), jnp.zeros((31, 31)))) == 0.0


@pytest.mark.thorough
def test_gradients_are_finite(scene):
    model, _, _, camera, light, *_ = scene
    texels = texel_map(model, 64)
    fit = fit_of(model, camera, light)
    config = UnwrapConfig(window=128)

    def total(photo, fit):
        result, _ = unwrap(photo, fit, model, texels, config=config)
        return result.low_frequency.sum() + result.partial.sum()

    slopes = jax.jit(jax.grad(total, (0, 1), allow_int=True), compiler_options=FAST)
    gradients = slopes(scene[5][::2, ::2], fit)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        if leaf.dtype == jnp.float32:
            assert np.isfinite(leaf).all(), path
    assert float(jnp.abs(gradients[0]).sum()) > 0


def test_what_skin_can_have_stays_and_what_it_cannot_is_lights(scene):
    """Faint hues and pores stay; strong hues, dark patches, folds and gloss are drawn together."""
    model, texels = scene[:2]
    face = regions(model, texels, ("skin", "nose", "lids", "brows"))
    ones = jnp.ones((SIZE, SIZE))
    row, column = np.mgrid[:SIZE, :SIZE] / SIZE
    mm = np.hypot(row - 0.5, column - 0.33) * SIDE  # from the middle of one cheek
    here = mm < 3

    def spot(width, colour):
        return jnp.asarray(np.exp(-0.5 * (mm / width) ** 2)[..., None] * np.asarray(colour))

    def excess(pattern, where=ones):
        return np.asarray(skin_excess(pattern, ones, where, model, texels))

    yellow, grey = np.array([0.3, 0.0, -0.3]), np.ones(3)
    assert np.abs(excess(spot(5.0, 0.01 * yellow))).max() < 0.1 * 0.003
    left = spot(5.0, yellow) - excess(spot(5.0, yellow))
    assert np.abs(left[here]).max() < 0.5 * 0.3
    for sign in (-0.6, 0.6):  # a shadow, gloss
        patch = spot(7.0, sign * grey)
        assert np.abs((patch - excess(patch))[here]).mean() < 0.6 * 0.6
    mole = spot(1.0, -0.6 * grey)
    assert np.abs(excess(mole).mean(-1)).max() < 0.1 * 0.6
    lines = jnp.asarray(np.where(mm < 40, -0.3 * np.cos(2 * np.pi * column * SIDE / 8), 0.0))
    folded = lines[..., None] * grey  # unlike a mole not alone
    assert np.abs((folded - excess(folded))[here]).mean() < 0.5 * np.abs(folded[here]).mean()
    assert np.abs(excess(patch)[~face]).max() == 0
    assert np.abs(excess(patch, 0 * ones)).max() == 0

    def total(size):
        return jnp.sum(skin_excess(size * patch, ones, ones, model, texels) ** 2)

    for size in (0.0, 1.0):
        assert np.isfinite(jax.grad(total)(size))


def test_halves_that_differ_more_than_skin_are_lights_and_moles_are_not(scene):
    """A dark patch of 20 mm on one cheek goes to the light, from the half that is in doubt; a mole
    of 4 mm stays, and so does what is alike on both sides."""
    model, texels = scene[:2]
    face = regions(model, texels, ("skin", "nose"))
    row, column = np.mgrid[:SIZE, :SIZE] / SIZE
    mm = np.hypot(row - 0.5, column - 0.33) * SIDE  # from the middle of one cheek
    assert face[mm < 10].all()
    ones = jnp.ones((SIZE, SIZE))
    left = jnp.asarray(np.where(column < 0.5, 3.0, 1.0))

    def excess(pattern, doubt=ones):
        return np.asarray(asymmetry_excess(jnp.asarray(pattern), ones, doubt, model, texels))

    patch, mole = -0.3 * np.exp(-0.5 * (mm / 7) ** 2), -0.5 * np.exp(-0.5 * (mm / 1.4) ** 2)
    here = mm < 3
    assert excess(patch)[here].mean() < 0.2 * patch[here].mean()  # of the half that is odd
    np.testing.assert_allclose(excess(patch)[:, ::-1], -excess(patch), atol=1e-6)
    assert excess(patch, left)[here].mean() < 1.7 * excess(patch)[here].mean()
    assert (
        np.abs(excess(patch, left)[:, ::-1][here]).max() < 0.3 * np.abs(excess(patch)[here]).max()
    )
    assert np.abs(excess(mole)).max() < 0.1 * 0.5
    assert np.abs(excess(patch + patch[:, ::-1])).max() < 1e-5
    assert np.abs(excess(patch)[~face]).max() == 0

    def total(size):
        return jnp.sum(asymmetry_excess(size * jnp.asarray(patch), ones, 0 * ones, model, texels))

    for size in (0.0, 1.0):
        assert np.isfinite(jax.grad(total)(size))


def test_nothing_is_bluer_than_grey() -> None:
    blue, skin = jnp.array([0.02, 0.03, 0.05]), jnp.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(no_bluer_than_grey(blue), [0.02, 0.02, 0.02])
    np.testing.assert_array_equal(no_bluer_than_grey(skin), skin)


def test_folds_of_a_smile_are_light_and_pigment_is_not(model) -> None:
    size = 256
    texels = texel_map(model, size)
    smile = jnp.zeros(len(model.expression_names))
    for name in ("mouthSmileLeft", "mouthSmileRight", "cheekSquintLeft", "cheekSquintRight"):
        smile = smile.at[model.expression_names.index(name)].set(1.0)
    uv = np.asarray(vertex_uvs(model)) * [1, -1] + [0, 1]
    stretched = np.asarray(log_compression(_fitted(model, smile), model))
    skin = np.asarray(model.vertex_region) == model.region_names.index("skin")
    cheek = skin & (np.asarray(model.mean)[:, 0] > 0.02) & (stretched < -0.15)
    assert cheek.any()
    column, row = (size * uv[cheek].mean(0)).astype(int)

    def dark(width: float) -> jax.Array:
        x = np.abs(np.arange(size) - column)
        return jnp.asarray(np.tile(np.where(x <= width / 2, -0.5, 0.0), (size, 1)), jnp.float32)

    smiling, resting = (fold_weight(_fitted(model, x * smile), model, texels) for x in (1, 0))
    seen = jnp.ones((size, size))
    line, patch = dark(3), dark(12)
    found = np.asarray(fold_shading(line, seen, smiling))
    assert found[row, column] < -0.2
    flank = np.asarray(fold_shading(-line, seen, smiling))
    np.testing.assert_allclose(flank, -found, atol=1e-5)  # a fold's lit side
    wide = np.asarray(fold_shading(patch, seen, smiling))
    assert abs(wide[row, column]) < 0.05  # a moustache, a patch of beard
    neutral = fold_shading(line, seen, resting)
    np.testing.assert_allclose(neutral, 0.0, atol=1e-6)
    hidden = fold_shading(line, 0 * seen, smiling)
    np.testing.assert_allclose(hidden, 0.0, atol=1e-6)


def test_compression_is_the_smaller_stretch(model) -> None:
    fit = _fitted(model, jnp.zeros(len(model.expression_names)))
    skin = np.asarray(model.vertex_region) == model.region_names.index("skin")
    np.testing.assert_allclose(np.asarray(log_compression(fit, model))[skin], 0.0, atol=2e-3)
    half = fit.replace(vertices=fit.vertices * 0.5)
    np.testing.assert_allclose(
        np.asarray(log_compression(half, model))[skin], np.log(0.5), atol=5e-3
    )


def _fitted(model, expression):
    fit = fit_of(
        model, look_at(0.0, 0.0, 64, 64), directional(jnp.array([0.0, 0.0, -1.0]), jnp.ones(3))
    )
    parameters = fit.parameters.replace(expression=expression)
    vertices = shape(model, parameters.identity, expression)
    return fit.replace(parameters=parameters, vertices=vertices)
