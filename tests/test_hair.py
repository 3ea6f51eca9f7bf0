"""Hair: styles, their place on heads, what a photo makes of them, drawing, files."""

from __future__ import annotations

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from jaxface.export.glb import Animation, encode_glb
from jaxface.export.hair import read_hair
from jaxface.export.obj import encode_obj
from jaxface.hair.colours import natural
from jaxface.hair.config import HAIR_STYLES, HairConfig
from jaxface.hair.dress import dress
from jaxface.hair.files import load_styles
from jaxface.hair.lashes import lash_basis, lash_mesh
from jaxface.hair.mesh import compact, hair_mesh
from jaxface.hair.outline import follow
from jaxface.hair.scalp import paint_scalp
from jaxface.hair.seen import coiliness, hair_of_head, hair_or_skin
from jaxface.morphable.model import shape
from jaxface.morphable.texels import texel_map
from jaxface.parsing.classes import BACKGROUND, BEARD, FACE, HAIR, OTHER
from jaxface.rendering.camera import look_at, project
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.lighting import directional, uniform
from jaxface.rendering.rasterize import rasterize, rasterize_layers
from jaxface.rendering.render import render
from jaxface.types import FaceParameters, FitResult, Hair, HairMesh, Materials

SIDE = 512
BROWN = (0.12, 0.06, 0.03)  # linear RGB
SKIN = (0.4, 0.25, 0.18)


@pytest.fixture(scope="module")
def styles(model):
    return load_styles(model)


def a_fit(model, yaw: float = 0.0, identity=None) -> FitResult:
    """A head without expression in even light, camera in pixels of the crop."""
    parameters = FaceParameters(
        identity=jnp.zeros(len(model.identity_names)) if identity is None else identity,
        expression=jnp.zeros(len(model.expression_names)),
        albedo=jnp.zeros(len(model.albedo_names)),
        camera=look_at(yaw, 0.0, SIDE, SIDE, target=(0.0, -0.02, -0.05), extent=0.5),
        lighting=uniform(),
    )
    vertices = shape(model, parameters.identity, parameters.expression)
    zero = jnp.zeros(())
    return FitResult(
        *(parameters, vertices, jnp.zeros((478, 2)), zero, zero, jnp.array(True), jnp.array(1))
    )


def a_photo(model, styles, fit: FitResult, name: str, swell: float = 0.0):
    """A picture of the head with a style in brown, swollen by so many metres, and its classes."""
    style = jax.tree.map(lambda leaf: leaf[HAIR_STYLES.index(name)], styles)
    vertices = follow(style, model, fit.vertices)
    away = vertices - jnp.array([0.0, 0.01, -0.085])
    away = away / jnp.linalg.norm(away, axis=1, keepdims=True)
    colours = jnp.broadcast_to(jnp.array([*BROWN, 1.0]), (len(vertices), 4))
    mesh = HairMesh(
        vertices + swell * style.freedom[:, None] * away,
        *(style.triangles, style.uvs, colours, jnp.ones((4, 4, 2))),
    )
    skin = jnp.broadcast_to(jnp.asarray(SKIN), (8, 8, 3))
    scene = model, fit.vertices, skin, fit.parameters.camera, fit.parameters.lighting, SIDE, SIDE
    linear, cover = render(*scene, hair=(mesh,), background=jnp.array([0.1, 0.3, 0.5]))
    hairy = jnp.abs(linear - jnp.asarray(BROWN)).max(-1) < 0.01
    covered = cover > 0.5
    classes = jnp.zeros((SIDE, SIDE, BEARD + 1))
    classes = classes.at[..., HAIR].set(hairy).at[..., FACE].set(covered & ~hairy)
    return linear_to_srgb(linear), classes.at[..., BACKGROUND].set(~covered)


def the_mesh(hair: Hair, model) -> HairMesh:
    mesh = hair_mesh(hair)
    assert mesh is not None
    return mesh


@pytest.fixture(scope="module")
def dressed(model, styles):
    """Fit, photo, classes and hair of a head with short02, swollen by a centimetre."""
    fit = a_fit(model)
    photo, classes = a_photo(model, styles, fit, "short02", swell=0.01)
    return fit, photo, classes, dress(photo, classes, fit, model, styles)


def test_styles_are_those_of_the_settings_and_sit_on_the_head(model, styles) -> None:
    assert styles.names == HAIR_STYLES == tuple(HAIR_STYLES)
    assert len(HairConfig().prior) == len(HAIR_STYLES)
    used = np.asarray(styles.used)
    np.testing.assert_allclose(np.asarray(styles.weights).sum(-1)[used], 1, rtol=1e-5)
    assert np.asarray(styles.triangles).max() < used.sum(1).max()
    for index in range(len(styles.names)):
        own = np.asarray(styles.triangles[index])
        own = own[own[:, 0] != own[:, 1]]
        assert used[index][own].all()
    distance = np.linalg.norm(np.asarray(styles.vertices)[used], axis=1)
    assert 0.05 < np.median(distance) < 0.3  # metres around the origin between the eyes


def test_long_hair_is_long_although_clothes_hide_its_ends(model, styles) -> None:
    """Shoulders cover all that hangs a few centimetres below the chin; a bob ends there."""
    fit = a_fit(model)
    names = {}
    for name in ("long01", "bob02"):
        photo, classes = a_photo(model, styles, fit, name)
        chin = project(jnp.array([[0.0, -0.119, 0.0]]), fit.parameters.camera)[0][0, 1]
        hidden = (jnp.arange(SIDE) > chin + 0.1 * SIDE)[:, None, None]
        classes = jnp.where(hidden, jax.nn.one_hot(OTHER, BEARD + 1), classes)
        names[name] = HAIR_STYLES[int(dress(photo, classes, fit, model, styles).style)]
    assert names == {"long01": "long01", "bob02": "bob02"}


def test_hair_follows_the_head_linearly_and_rigidly(model, styles) -> None:
    style = jax.tree.map(lambda leaf: leaf[0], styles)
    used = np.asarray(style.used)
    np.testing.assert_allclose(follow(style, model, model.mean), style.vertices, atol=1e-7)
    shift = jnp.array([0.01, -0.02, 0.03])
    moved = follow(style, model, model.mean + shift) - style.vertices
    np.testing.assert_allclose(np.asarray(moved)[used], np.tile(shift, (used.sum(), 1)), atol=1e-6)
    one, two = (follow(style, model, model.mean + s * model.identity_basis[0]) for s in (1.0, 2.0))
    np.testing.assert_allclose(two - style.vertices, 2 * (one - style.vertices), atol=1e-5)


def test_the_layers_of_a_pixel_are_all_its_surfaces_from_front_to_back() -> None:
    key = np.random.default_rng(0)
    count, side = 12, 32
    xy = jnp.asarray(key.uniform(-4, side + 4, (3 * count, 2)), jnp.float32)
    depth = jnp.repeat(jnp.asarray(key.permutation(count) + 1.0, jnp.float32), 3)
    triangles = jnp.arange(3 * count).reshape(-1, 3)
    layers = np.asarray(rasterize_layers(xy, depth, triangles, side, side, count))
    alone = [
        np.asarray(rasterize(xy, depth, triangles[k : k + 1], side, side)[0][..., 3]) > 0
        for k in range(count)
    ]
    order = np.argsort(np.asarray(depth)[::3])
    for row, column in key.integers(0, side, (60, 2)):
        expected = [k + 1 for k in order if alone[k][row, column]]
        got = layers[:, row, column, 3].astype(int)
        assert got[got > 0].tolist() == expected
        assert (got[len(expected) :] == 0).all()
    first, _ = rasterize(xy, depth, triangles, side, side)
    np.testing.assert_allclose(layers[0], first, rtol=1e-5)


def test_a_photo_of_a_style_gives_hair_of_its_outline_and_colour(model, styles, dressed) -> None:
    fit, _, classes, hair = dressed
    assert int(hair.style) == HAIR_STYLES.index("short02") and float(hair.overlap) > 0.9
    solid = np.asarray(hair.colours)[np.asarray(hair.colours)[:, 3] > 0.9, :3]
    np.testing.assert_allclose(np.median(solid, 0), BROWN, rtol=0.15)
    mesh, skin = the_mesh(hair, model), jnp.full((8, 8, 3), 0.5)
    scene = model, fit.vertices, skin, fit.parameters.camera, fit.parameters.lighting, SIDE, SIDE
    bare, drawn = render(*scene)[0], render(*scene, hair=(mesh,))[0]
    changed = np.asarray(jnp.abs(drawn - bare).max(-1) > 0.02)
    seen, face = np.asarray(classes[..., HAIR] > 0.5), np.asarray(classes[..., FACE] > 0.5)
    assert (changed & seen).sum() / (changed | seen).sum() > 0.8
    assert changed[face].mean() < 0.03  # what the photo shows as skin stays skin


def test_the_outline_is_drawn_to_the_photos(model, styles) -> None:
    fit = a_fit(model)
    config = HairConfig(style="short01")
    slim, full = (
        dress(*a_photo(model, styles, fit, "short01", swell), fit, model, styles, config=config)
        for swell in (0.0, 0.02)
    )
    rise = np.asarray(full.vertices - slim.vertices)[np.asarray(styles.used[0])]
    top = np.asarray(slim.vertices)[np.asarray(styles.used[0])][:, 1] > 0.1
    assert rise[top, 1].mean() > 0.012  # of the twenty millimetres


def test_the_bald_stay_bald_and_hats_are_no_hair(model, styles) -> None:
    fit = a_fit(model)
    photo, classes = a_photo(model, styles, fit, "short01")
    hair = classes[..., HAIR]
    for other in (FACE, 2):
        without = classes.at[..., HAIR].set(0.0).at[..., other].add(hair)
        found = dress(photo, without, fit, model, styles)
        assert int(found.style) == -1
        assert hair_mesh(found) is None
    asked = dress(photo, without, fit, model, styles, config=HairConfig(style="long01"))
    assert int(asked.style) == HAIR_STYLES.index("long01")


def test_a_flag_behind_the_head_is_not_its_hair(model, styles) -> None:
    fit = a_fit(model)
    _, classes = a_photo(model, styles, fit, "short01")
    small = classes.reshape(256, 2, 256, 2, -1).mean((1, 3))
    linear = jnp.full((256, 256, 3), 0.02)
    red = np.zeros((256, 256), bool)
    red[60:200, 190:250] = True
    free = red & np.asarray(small[..., FACE] + small[..., HAIR] < 0.01)
    linear = jnp.where(free[..., None], jnp.array([0.4, 0.02, 0.03]), linear)
    flagged = small.at[..., HAIR].add(free).at[..., BACKGROUND].add(-1.0 * free)
    head, _ = rasterize(*project(fit.vertices, fit.parameters.camera), model.triangles, SIDE, SIDE)
    before = head[::2, ::2, 3] > 0
    cleaned = hair_of_head(flagged, linear, before)
    assert float(cleaned[..., HAIR][free].max()) < 0.01
    kept = np.asarray(small[..., HAIR]) > 0.9
    assert float(cleaned[..., HAIR][kept].mean()) > 0.98
    np.testing.assert_allclose(cleaned.sum(-1), flagged.sum(-1), atol=1e-5)


def test_a_spike_of_background_does_not_draw_the_outline(model, styles, dressed) -> None:
    """A shadow above the crown, ten degrees wide as seen from the cranium's middle."""
    fit, photo, classes, hair = dressed
    middle = np.asarray(project(jnp.array([[0.0, 0.01, -0.085]]), fit.parameters.camera)[0][0])
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    spike = (np.abs(x - middle[0]) < 0.09 * (middle[1] - y)) & (y > 20)
    spike &= np.asarray(classes[..., BACKGROUND]) > 0.5
    spiked = jnp.where(spike[..., None], jax.nn.one_hot(HAIR, BEARD + 1), classes)
    dark = jnp.where(spike[..., None], linear_to_srgb(jnp.asarray(BROWN)), photo)
    config = HairConfig(style="short02")
    found = dress(dark, spiked, fit, model, styles, config=config)
    used = np.asarray(styles.used[int(hair.style)])
    moved = np.linalg.norm(np.asarray(found.vertices - hair.vertices)[used], axis=1)
    assert moved.max() < 0.004  # metres


def test_hair_is_not_pale_where_the_light_is_not_known(model, styles) -> None:
    """Nine harmonics of light from one side are negative on the other."""
    even = a_fit(model)
    light = directional(jnp.array([1.0, 0.0, -0.5]), jnp.full(3, 2.0), ambient=-0.5)
    lit = even.replace(parameters=even.parameters.replace(lighting=light))
    photo, classes = (
        a_photo(model, styles, lit, "long01")[0],
        a_photo(model, styles, even, "long01")[1],
    )
    hair = dress(photo, classes, lit, model, styles, config=HairConfig(style="long01"))
    colours = np.asarray(hair.colours)
    albedo = np.median(colours[colours[:, 3] > 0.9, :3], 0)
    assert (albedo < 1.5 * np.asarray(BROWN)).all() and (albedo > 0.2 * np.asarray(BROWN)).all()


def test_colour_tells_hair_from_scalp_where_the_parser_does_not() -> None:
    side = 96
    classes = np.zeros((side, side, BEARD + 1), np.float32)
    linear = np.zeros((side, side, 3), np.float32)
    parts = {  # rows: probability of hair, colour
        "skin": (slice(48, 96), 0.0, SKIN),
        "hair": (slice(0, 16), 0.9, (0.01, 0.008, 0.006)),
        "shining": (slice(16, 32), 0.6, (0.8, 0.65, 0.5)),
        "doubtful": (slice(32, 48), 0.3, (0.012, 0.01, 0.008)),
    }
    for rows, hair, colour in parts.values():
        classes[rows, :, HAIR], classes[rows, :, FACE] = hair, 1.0 - hair
        linear[rows] = colour
    head = jnp.ones((side, side), bool)
    scalp = jnp.arange(side)[:, None] < 48
    judge = partial(hair_or_skin, jnp.asarray(classes), head=head, scalp=scalp & head, ears=~head)

    def share(found, name: str) -> float:
        rows = parts[name][0]
        return float(found[rows.start + 6 : rows.stop - 6, :, HAIR].mean())

    short = judge(jnp.asarray(linear), long=jnp.array(0.0))
    np.testing.assert_allclose(short.sum(-1), 1.0, atol=1e-5)
    assert share(short, "hair") > 0.99 and share(short, "doubtful") > 0.9
    assert share(short, "shining") < 0.1 and share(short, "skin") == 0
    sure = jnp.asarray(classes).at[16:32, :, HAIR].set(0.99).at[16:32, :, FACE].set(0.01)
    gloss = hair_or_skin(sure, jnp.asarray(linear), head, scalp & head, ~head, jnp.array(0.0))
    assert share(gloss, "shining") > 0.5
    long = judge(jnp.asarray(linear), long=jnp.array(1.0))
    assert share(long, "shining") > 0.9 and share(long, "skin") == 0
    one_colour = judge(jnp.full_like(linear, 0.5), long=jnp.array(0.0))
    np.testing.assert_allclose(one_colour, classes, atol=0.02)


def test_a_horseshoe_of_hair_leaves_the_crown_bald(model, styles) -> None:
    fit = a_fit(model)
    photo, classes = a_photo(model, styles, fit, "short01")
    crown = project(jnp.array([[0.0, 0.07, 0.0]]), fit.parameters.camera)[0][0, 1]
    top = (jnp.arange(SIDE) < crown)[:, None] & (classes[..., HAIR] > 0.5)
    photo = jnp.where(top[..., None], linear_to_srgb(jnp.asarray(SKIN)), photo)
    classes = jnp.where(top[..., None], jax.nn.one_hot(FACE, BEARD + 1), classes)
    hair = dress(photo, classes, fit, model, styles)
    assert int(hair.style) >= 0
    opacity, vertices = np.asarray(hair.colours[:, 3]), np.asarray(hair.vertices)
    used = np.asarray(styles.used[int(hair.style)])
    front = used & (vertices[:, 2] > -0.05)
    assert opacity[front & (vertices[:, 1] > 0.09)].mean() < 0.2
    assert opacity[used & (np.abs(vertices[:, 0]) > 0.07) & (vertices[:, 1] < 0.05)].mean() > 0.6


def test_hues_are_those_of_hair() -> None:
    """Grey under a tinted light is grey; brown, blond, red and dyed hair keep their hue."""

    def hue(red: float, yellow: float) -> np.ndarray:
        log = np.asarray(natural(jnp.array([[red - 1.0, -1.0, -1.0 - yellow]])))[0]
        np.testing.assert_allclose(log.mean(), (red - yellow) / 3 - 1.0, atol=1e-5)
        return np.array([log[0] - log[1], log[1] - log[2]])

    for tinted in ((-0.16, 0.25), (-0.31, -0.29), (0.1, 0.0), (0.0, 0.1)):
        assert np.abs(hue(*tinted)).max() < 0.1
    for coloured in ((0.64, 0.47), (0.44, 0.71), (0.4, 0.8)):
        np.testing.assert_allclose(hue(*coloured), coloured, atol=1e-5)
    assert hue(0.9, -0.6)[0] > 0.5  # magenta


def test_coils_have_no_direction() -> None:
    key = np.random.default_rng(0)
    strands = np.repeat(key.uniform(0, 1, (1, 256)), 256, 0)[..., None].repeat(3, -1)
    coils = key.uniform(0, 1, (256, 256, 1)).repeat(3, -1)
    everywhere = jnp.ones((256, 256))
    assert float(coiliness(jnp.asarray(strands, jnp.float32), everywhere)) == 0
    assert float(coiliness(jnp.asarray(coils, jnp.float32), everywhere)) == 1


def test_hair_is_the_same_in_a_batch(model, styles, dressed) -> None:
    fit, photo, classes, hair = dressed
    many = jax.vmap(partial(dress, model=model, styles=styles), (0, 0, None))
    pair = many(jnp.stack([photo, photo[:, ::-1]]), jnp.stack([classes, classes[:, ::-1]]), fit)
    assert int(pair.style[0]) == int(hair.style)
    np.testing.assert_allclose(pair.vertices[0], hair.vertices, atol=2e-4)
    np.testing.assert_allclose(pair.colours[0], hair.colours, atol=5e-3)


def test_the_photo_and_the_head_have_gradients(model, styles, dressed) -> None:
    fit, photo, classes, _ = dressed
    config = HairConfig(style="short02")

    def level(photo, identity):
        parameters = fit.parameters.replace(identity=identity)
        hair = dress(
            *(photo, classes, fit.replace(parameters=parameters), model, styles), config=config
        )
        return jnp.mean(jnp.log(hair.colours[:, :3])), jnp.mean(hair.vertices[:, 1])

    identity = fit.parameters.identity
    by_photo = jax.grad(lambda p: level(p, identity)[0])(photo)
    hair = np.asarray(classes[..., HAIR]) > 0.5
    assert np.isfinite(by_photo).all() and float(by_photo[hair].sum()) > 0
    by_identity = jax.grad(lambda i: level(photo, i)[1])(identity)
    assert np.isfinite(by_identity).all() and float(jnp.abs(by_identity).max()) > 0


def test_hair_hides_the_head_and_the_head_hides_hair(model, dressed) -> None:
    fit, _, _, hair = dressed
    mesh, skin = the_mesh(hair, model), jnp.full((8, 8, 3), 0.5)
    camera = look_at(0.0, 0.0, 96, 96, target=(0.0, -0.02, -0.05), extent=0.4)
    scene = model, fit.vertices, skin, camera, fit.parameters.lighting, 96, 96
    bare, cover = render(*scene)
    drawn, more = render(*scene, hair=(mesh,))
    assert float(jnp.min(more - cover)) >= -1e-6 and float(jnp.max(more)) <= 1 + 1e-5
    crown, chin = np.abs(np.asarray(drawn - bare)).max(-1)[[24, 70], 48]
    assert crown > 0.1 and chin < 1e-6
    behind = mesh.replace(vertices=mesh.vertices + jnp.array([0.0, -0.1, -0.3]))
    hidden = render(*scene, hair=(behind,))[0]
    np.testing.assert_allclose(hidden[48, 48], bare[48, 48], atol=1e-6)
    clear = mesh.replace(colours=mesh.colours.at[:, 3].set(0.0))
    np.testing.assert_allclose(render(*scene, hair=(clear,))[0], bare, atol=1e-6)


def test_roots_are_painted_under_hair_and_nowhere_else(model, styles, dressed) -> None:
    *_, hair = dressed
    texels = texel_map(model, 128)
    texture, seen = jnp.full((128, 128, 3), 0.5), jnp.zeros((128, 128))
    painted = paint_scalp(texture, seen, hair, model, texels, styles)
    scalp = np.asarray(texels.mask & (texels.region_ids == model.region_names.index("scalp")))
    lips = np.asarray(texels.region_ids == model.region_names.index("lips"))
    assert np.asarray(painted)[scalp].mean() < 0.3
    np.testing.assert_array_equal(np.asarray(painted)[lips & ~scalp], 0.5)
    for other in (
        paint_scalp(texture, jnp.ones((128, 128)), hair, model, texels, styles),
        paint_scalp(*(texture, seen, hair.replace(style=jnp.array(-1)), model, texels, styles)),
    ):
        np.testing.assert_allclose(other, texture)


def test_files_hold_the_hair(model, dressed, tmp_path) -> None:
    fit, *_, hair = dressed
    mesh = compact(the_mesh(hair, model))
    flat = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0]), (4, 4, 3))
    surface = Materials(jnp.zeros((4, 4)), flat, jnp.ones((4, 4)), jnp.ones((4, 4)))
    expression, texture = np.zeros(len(model.expression_names)), np.full((4, 4, 3), 0.5)
    neutral = np.asarray(fit.vertices)
    glb = encode_glb(model, neutral, expression, texture, surface, hair=mesh)
    assert read_hair(encode_glb(model, neutral, expression, texture, surface)) is None
    back = read_hair(glb)
    assert back is not None
    for name, tolerance in (("vertices", 1e-7), ("uvs", 1e-6), ("colours", 1e-6)):
        np.testing.assert_allclose(getattr(back, name), getattr(mesh, name), atol=tolerance)
    np.testing.assert_array_equal(back.triangles, mesh.triangles)
    bright = np.asarray(mesh.texture[..., 0]) < 2.4
    np.testing.assert_allclose(
        np.asarray(back.texture)[bright], np.asarray(mesh.texture)[bright], atol=0.03
    )
    document = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])
    nodes = document["nodes"]
    assert [nodes[child]["name"] for child in nodes[0]["children"]] == ["hair"]
    modes = [
        document["materials"][p["material"]]["alphaMode"]
        for p in document["meshes"][1]["primitives"]
    ]
    assert modes == ["MASK", "BLEND"]
    (tmp_path / "face.glb").write_bytes(glb)
    scene = trimesh.load(tmp_path / "face.glb")
    assert any(name.startswith("hair") for name in scene.geometry)
    obj = encode_obj(model, neutral, hair={"hair": mesh})
    groups = obj.split("\no ")[1:]
    assert [group.split("\n", 1)[0] for group in groups] == ["face", "hair"]
    vertices = sum(line.startswith("v ") for line in obj.splitlines())
    largest = max(
        int(corner.split("/")[0])
        for line in obj.splitlines()
        if line.startswith("f ")
        for corner in line.split()[1:]
    )
    assert largest <= vertices == len(neutral) + len(mesh.vertices)


def test_lashes_blink_with_the_lids_and_darken_the_hairs_colour(model, dressed) -> None:
    lashes = lash_mesh(model, model.mean)
    assert lashes is not None and lash_mesh(model.replace(name="other"), model.mean) is None
    basis = lash_basis(model)
    names = model.expression_names
    blink = basis[names.index("eyeBlinkLeft")]
    left = np.asarray(lashes.vertices)[:, 0] > 0
    assert blink[left, 1].min() < -3e-3 and np.abs(blink[~left]).max() < 1e-3  # metres
    assert not basis[names.index("jawOpen")].any()
    closed = model.mean + model.expression_basis[names.index("eyeBlinkLeft")]
    moved = lash_mesh(model, closed)
    assert moved is not None
    np.testing.assert_allclose(moved.vertices - lashes.vertices, blink, atol=1e-6)
    *_, hair = dressed
    brown = lash_mesh(model, model.mean, the_mesh(hair, model))
    assert brown is not None
    assert 0 < float(brown.colours[0, 0]) < 0.5 * BROWN[0]


def test_lashes_have_the_faces_expressions_in_the_file(model) -> None:
    flat = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0]), (4, 4, 3))
    surface = Materials(jnp.zeros((4, 4)), flat, jnp.ones((4, 4)), jnp.ones((4, 4)))
    count, neutral = len(model.expression_names), np.asarray(model.mean)
    lashes = lash_mesh(model, neutral)
    assert lashes is not None
    still = Animation(
        np.arange(2.0), np.zeros((2, count)), np.tile([0.0, 0, 0, 1], (2, 1)), np.zeros((2, 3))
    )
    glb = encode_glb(
        *(model, neutral, np.zeros(count), np.full((4, 4, 3), 0.5), surface, still),
        lashes=(lashes, lash_basis(model)),
    )
    document = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])
    face, own = document["meshes"]
    assert own["name"] == "lashes" and own["extras"] == face["extras"]
    assert len(own["primitives"][0]["targets"]) == len(own["weights"]) == count + 15
    channels = document["animations"][0]["channels"]
    driven = {(channel["target"]["node"], channel["target"]["path"]) for channel in channels}
    assert {(0, "weights"), (1, "weights")} <= driven
