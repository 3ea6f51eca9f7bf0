"""What the derivatives are measured on: small functions of every stage, made under x64.

Each returns a scalar function and its arguments by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import trimesh
from jaxtyping import Array

from jaxface.blending import blend, project_simplex, solve_simplex, weighted_sum
from jaxface.config import ReconstructConfig
from jaxface.features.correlations import CorrelationConfig
from jaxface.features.weights import load_vgg
from jaxface.fitting import FitConfig, fit, fit_faces
from jaxface.fitting.files import load_noise
from jaxface.fitting.photometric import REGIONS
from jaxface.fitting.schemes import with_landmarks68
from jaxface.fitting.solver import SolverConfig
from jaxface.hair.config import HairConfig
from jaxface.hair.dress import dress
from jaxface.hair.files import load_styles
from jaxface.images import read_photo
from jaxface.landmarks.mesh import SIZE as MESH_SIZE
from jaxface.landmarks.mesh import face_mesh
from jaxface.landmarks.networks import load_networks
from jaxface.loading import bare_skin_mask, painted_mask
from jaxface.morphable.albedo import albedo_texture
from jaxface.morphable.files import load_model
from jaxface.morphable.model import landmark_points, shape
from jaxface.morphable.texels import texel_map
from jaxface.observe import pixel_classes
from jaxface.parsing.files import load_parser
from jaxface.parsing.parse import parse
from jaxface.reconstruct import reconstruct_face
from jaxface.rendering.camera import look_at, project
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.crop import pyramid, sample
from jaxface.rendering.lighting import studio
from jaxface.rendering.render import render
from jaxface.synthesis import CompositionConfig, SynthesisConfig, seam_pairs, synthesize
from jaxface.synthesis.objective import Level, attach_implicit_derivative, loss
from jaxface.types import (
    Assets,
    Correlations,
    Crop,
    Database,
    FaceCrop,
    FaceModel,
    FaceParameters,
    FitResult,
    HairMesh,
)
from jaxface.unwrapping import UnwrapConfig
from jaxface.unwrapping.membrane import membrane
from jaxface.unwrapping.skin_mask import skin_mask

unwrapping = import_module("jaxface.unwrapping.unwrap")
PHOTO = Path(__file__).resolve().parents[1] / "examples" / "photos" / "astronaut.jpg"
_SAMPLES = 512  # of the surface, a quarter of what `fit` takes

Problem = tuple[Callable[..., jax.Array], dict[str, Any]]


def doubled(tree: Any) -> Any:
    """Returns the pytree with its floating-point leaves in float64, under x64."""

    def double(x: jax.Array) -> jax.Array:
        return x.astype(float) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(double, tree)


def two_balls() -> FaceModel:
    """A ball and a smaller one in front of it, the texture projected along z."""
    big = trimesh.creation.icosphere(subdivisions=2, radius=0.1)
    small = trimesh.creation.icosphere(subdivisions=1, radius=0.04)
    small.apply_translation([0.07, 0.03, 0.12])
    mesh = trimesh.util.concatenate([big, small])
    count, triangles = len(mesh.vertices), jnp.array(mesh.faces)
    quads = jnp.zeros((0, 4), jnp.int32)
    return FaceModel(
        mean=jnp.array(mesh.vertices, jnp.float32),
        identity_basis=jnp.zeros((0, count, 3)),
        expression_basis=jnp.zeros((0, count, 3)),
        triangles=triangles,
        quads=quads,
        uvs=jnp.array(mesh.vertices[:, :2] * 4 + 0.5, jnp.float32),
        uv_triangles=triangles,
        uv_quads=quads,
        mirror=jnp.arange(count),
        vertex_region=jnp.zeros(count, jnp.int32),
        landmark_triangles=jnp.zeros(0, jnp.int32),
        landmark_barycentrics=jnp.zeros((0, 3)),
        albedo_mean=jnp.zeros((2, 2, 3)),
        albedo_basis=jnp.zeros((0, 2, 2, 3)),
        region_names=("skin",),
        expression_names=(),
        identity_names=(),
        albedo_names=(),
    )


def rendering(size: int = 32) -> Problem:
    """A picture in which 256 x 256 texels are looked up at less than one pixel each."""
    rng = np.random.default_rng(0)
    weight = jnp.asarray(rng.normal(size=(size, size, 4)))
    model = doubled(two_balls())

    def total(vertices, camera, texture, lighting):
        picture, coverage = render(
            *(model, vertices, texture, camera, lighting, size, size), smooth=True, specular=0.5
        )
        return jnp.sum(weight * jnp.concatenate([picture, coverage[..., None]], -1))

    arguments = {
        "vertices": model.mean,
        "camera": doubled(look_at(0.3, 0.2, size, size, extent=0.3)),
        "texture": jnp.asarray(rng.uniform(0.2, 0.8, (256, 256, 3))),
        "lighting": doubled(studio()),
    }
    return total, arguments


def hair(size: int = 256) -> Problem:
    """A picture of a head with the hair that a noisy photo of a dark disk gives it."""
    rng = np.random.default_rng(0)
    model, styles = doubled(load_model()), doubled(load_styles(load_model()))
    camera = doubled(look_at(0.1, 0.0, size, size, target=(0.0, -0.02, -0.05), extent=0.5))
    names, still = model.expression_names, jnp.zeros(())
    row, column = (np.arange(size) - 0.45 * size)[:, None], np.arange(size) - 0.5 * size
    disk = 1.0 * (row**2 + column**2 < (0.33 * size) ** 2)
    skin = 1.0 * (np.hypot(row - 0.14 * size, column) < 0.2 * size)
    classes = jnp.zeros((size, size, 4)).at[..., 0].set(disk * skin)
    classes = classes.at[..., 1].set(disk * (1 - skin)).at[..., 3].set(1 - disk)
    weight = jnp.asarray(rng.normal(size=(48, 48, 3)))

    def total(photo, lighting):
        zeros = (jnp.zeros(len(each)) for each in (model.identity_names, names))
        parameters = FaceParameters(
            *zeros, jnp.zeros(len(model.albedo_names)), camera=camera, lighting=lighting
        )
        fitted = FitResult(parameters, model.mean, *[still] * 5)
        config = HairConfig(style="short02")
        found = dress(photo, classes, fitted, model, styles, config=config)
        one = jax.tree.map(lambda leaf: leaf[1], styles)
        texture = jnp.full((4, 4, 2), 1.0) * found.contrast
        mesh = HairMesh(found.vertices, one.triangles, one.uvs, found.colours, texture)
        share = 48 / size
        close = camera.replace(focal=camera.focal * share, principal=camera.principal * share)
        plain = jnp.full((8, 8, 3), 0.5)
        scene = model, model.mean, plain, close, lighting, 48, 48
        return jnp.sum(weight * render(*scene, hair=(mesh,))[0])

    photo = jnp.asarray(rng.uniform(0.2, 0.6, (size, size, 3)))
    return total, {"photo": photo, "lighting": doubled(studio())}


def projection() -> Problem:
    point = jnp.asarray([0.9, 0.4, -1.0, 0.3])
    return lambda x: jnp.vdot(jnp.arange(4.0) ** 2, project_simplex(x)), {"point": point}


def blending() -> Problem:
    """Faces whose masked and complete correlations differ, two of them without weight."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(2, 6, 3, 20, 5))
    masked, complete = jnp.asarray(np.einsum("nkrpc,nkrpd->nkrcd", features, features))
    names, support = ("relu1_1",), (jnp.ones((6, 3)),)
    faces = Correlations((masked,), support, names)
    whole = Correlations((complete,), support, names)
    photo = weighted_sum(jnp.asarray([0.4, 0.0, 0.3, 0.1, 0.2, 0.0]), faces)

    def total(photo, masked, complete):
        result = blend(photo, faces.replace(values=(masked,)), whole.replace(values=(complete,)))
        total = jnp.vdot(jnp.arange(6.0), result.weights)
        return total + jnp.sum(result.correlations.values[0][:, 0] ** 2)

    return total, {"photo's correlations": photo, "masked": masked, "complete": complete}


def small_model() -> FaceModel:
    """The embedded model with 68 landmarks and a few modes of each kind."""
    return with_landmarks68(_few_modes())


def _few_modes() -> FaceModel:
    model = load_model()
    return model.replace(
        identity_basis=model.identity_basis[:5],
        identity_names=model.identity_names[:5],
        expression_basis=model.expression_basis[:3],
        expression_names=model.expression_names[:3],
        albedo_basis=model.albedo_basis[:2],
        albedo_names=model.albedo_names[:2],
    )


def portrait(model: FaceModel, size: int = 96) -> tuple[jax.Array, jax.Array]:
    """Returns a picture of a known face, sRGB, and its landmarks."""
    camera = doubled(look_at(0.15, 0.05, size, size))
    vertices = shape(model, jnp.array([0.8, -0.5, 0.3, 0.6, -0.4]), jnp.array([0.3, 0.4, 0.2]))
    albedo = albedo_texture(model, jnp.array([0.5, -0.5]), 128)
    picture, _ = render(
        *(model, vertices, albedo, camera, studio(), size, size), smooth=True, background=0.3
    )
    return linear_to_srgb(picture), project(landmark_points(model, vertices), camera)[0]


_UNROLLED = FitConfig(
    solver=SolverConfig(max_iterations=30, rtol=1e-12),
    pixel_solver=SolverConfig(max_iterations=12, rtol=1e-12),
    derivative="unrolled",
)


@contextmanager
def _to_the_end() -> Iterator[None]:
    """An unrolled fit whose finest level is repeated, so that the start no longer counts."""
    changes = {"BLURS": (2.0, *(1.0,) * 4), "SAMPLES": _SAMPLES}
    with patch.multiple("jaxface.fitting.photometric", **changes):
        yield


def _front(model: FaceModel) -> FaceModel:
    """The model without the quads after those of the face's front that are sampled."""
    front = np.isin(model.vertex_region, [model.region_names.index(name) for name in REGIONS])
    quads = np.asarray(model.quads)
    inside = front[quads].all(1) & (np.asarray(model.mean)[quads].mean(1)[:, 2] > -0.07)
    last = np.flatnonzero(inside)[_SAMPLES - 1] + 1
    return model.replace(quads=model.quads[:last], uv_quads=model.uv_quads[:last])


def real_photo(name: str) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns a square around an example photo's face, its landmarks and blendshapes."""
    with np.load(PHOTO.parents[2] / "tests" / "data" / "landmarks.npz") as data:
        points, shapes = data[name].astype(float), jnp.asarray(data[f"{name}/blendshapes"], float)
    photo = read_photo(PHOTO.with_stem(name)).srgb
    low, high = points.min(0), points.max(0)
    side = int(1.5 * (high - low).max())
    left, top = np.maximum((low + high - side) / 2, 0).astype(int)
    square = jnp.asarray(photo[top : top + side, left : left + side], float)
    return square, jnp.asarray(points - [left, top]), shapes


def _numbers(results: list[FitResult]) -> jax.Array:
    """Returns a sum with fixed weights of all that can be differentiated in fits."""
    weight = jnp.asarray(np.random.default_rng(0).normal(size=results[0].vertices.shape))
    total = jnp.zeros(())
    for result in results:
        leaves = jax.tree.leaves((result.parameters, result.landmarks))
        numbers = jnp.concatenate([x.ravel() for x in leaves])
        total += jnp.vdot(weight, result.vertices) + numbers @ jnp.cos(jnp.arange(len(numbers)))
    return total


def fitting() -> Problem:
    """A real photo's fit as it runs by default."""
    model = doubled(_few_modes())
    photo, landmarks, shapes = real_photo("astronaut")

    def total(landmarks, identity_basis, focal, photo, mask):
        given = model.replace(identity_basis=identity_basis / 1000)  # a smaller step: mm
        known = {"blendshapes": shapes, "noise": doubled(load_noise())}
        return _numbers([fit(photo, landmarks, given, focal=focal, face_mask=mask, **known)])

    return total, {
        "landmarks": landmarks,
        "identity basis": 1000 * model.identity_basis,
        "focal length": jnp.asarray(1.5 * len(photo)),
        "photo": photo,
        "face's mask": jnp.linspace(1.0, 0.9, photo.shape[0])[:, None] * jnp.ones(photo.shape[:2]),
    }


def unrolled_fit() -> Problem:
    """A rendered face's fit through the solver's steps."""
    model = doubled(small_model())
    photo, landmarks = portrait(model)
    model = _front(model)

    def total(landmarks, identity_basis, focal, photo, mask):
        given = model.replace(identity_basis=identity_basis)
        with _to_the_end():
            result = fit(photo, landmarks, given, focal=focal, face_mask=mask, config=_UNROLLED)
        return _numbers([result])

    return total, {
        "landmarks": landmarks,
        "identity basis": model.identity_basis,
        "focal length": jnp.asarray(320.0),
        "photo": photo,
        "face's mask": jnp.linspace(1.0, 0.9, 96)[:, None] * jnp.ones((96, 96)),
    }


def _two_photos(config: FitConfig, held: Callable[[], AbstractContextManager]) -> Problem:
    """Two pictures of a rendered face, the second one moved a little and darker."""
    model = doubled(small_model())
    photo, landmarks = portrait(model)
    model = _front(model)

    def total(landmarks, identity_basis, photos):
        given = model.replace(identity_basis=identity_basis)
        with held():
            return _numbers(
                fit_faces(photos, landmarks, given, focals=[320.0, 320.0], config=config)
            )

    return total, {
        "landmarks": jnp.stack([landmarks, landmarks + jnp.array([2.0, 1.0])]),
        "identity basis": model.identity_basis,
        "photos": jnp.stack([photo, jnp.roll(0.9 * photo, (1, 2), (0, 1))]),
    }


def person() -> Problem:
    """As it runs by default."""
    return _two_photos(FitConfig(), nullcontext)


def unrolled_person() -> Problem:
    """Through the solver's steps."""
    return _two_photos(_UNROLLED, _to_the_end)


def landmarks() -> Problem:
    """The face mesh of a photo in a given region: where to look has no derivative."""
    networks = load_networks()
    photo = read_photo(PHOTO).srgb[:256, 96:352]
    region = doubled(
        Crop(jnp.array([125.0, 125.0]), jnp.array(190.0), jnp.array(0.1), size=MESH_SIZE)
    )
    weight = jnp.asarray(np.random.default_rng(0).normal(size=(478, 3)))

    def total(photo, weights):
        given = networks.replace(mesh=networks.mesh.replace(weights=weights))
        image = sample(pyramid(photo), jnp.array([256.0, 256.0]), region)
        return jnp.vdot(weight, face_mesh(image, region, given)[0])

    return total, {
        "photo": jnp.asarray(photo, float),
        "network's weights": doubled(networks.mesh.weights),
    }


def synthesis() -> Problem:
    """A few steps on 32 x 32 texels of which the photo shows the left 60 %."""
    size, rng = 32, np.random.default_rng(2)
    names = ("conv1_1", "conv1_2", "conv2_1")
    vgg = doubled({name: load_vgg()[name] for name in names})
    correlation = CorrelationConfig(layers=("relu1_1", "relu2_1"), cells=2)
    settings = SynthesisConfig(
        levels=((0.5, 2), (1.0, 3)), content_layer="relu2_1", memory=2, alpha=3.0
    )
    composition = CompositionConfig(tone_sigma=24.0)
    mask = jnp.asarray(np.broadcast_to(np.arange(size) < 0.6 * size, (size, size)), float)
    faces = jnp.asarray(rng.integers(90, 200, (3, size, size, 3)), jnp.uint8)
    low = jnp.asarray(rng.uniform(0.3, 0.4, (size, size, 3)))
    # Of mean zero: the network's slope is small, and a large sum would round it away.
    weight = jnp.asarray(np.random.default_rng(3).normal(size=(size, size, 3)))

    def total(low, shown, weights, vgg):
        found = synthesize(
            *(jax.random.key(0), low, shown, mask, faces, weights, vgg),
            correlation=correlation, composition=composition, config=settings,
        )  # fmt: skip
        return jnp.vdot(weight, found.texture)

    arguments = {
        "low-frequency albedo": low,
        "photo's texels": low * jnp.asarray(np.exp(0.1 * rng.normal(size=(size, size, 1)))),
        "simplex weights": jnp.asarray([0.2, 0.7, 0.1]),
        "VGG's weights": vgg,
    }
    return total, arguments


def optimum() -> Problem:
    """The texture of least loss, found by Newton's method, for a network without kinks."""
    size, rng = 16, np.random.default_rng(2)
    vgg = doubled({"conv1_1": load_vgg()["conv1_1"]})
    correlation = CorrelationConfig(layers=("relu1_1",), cells=2)
    settings = SynthesisConfig(
        levels=((1.0, 60),), content_layer="relu1_1", memory=20, derivative="implicit"
    )
    composition = CompositionConfig(tone_sigma=48.0)
    mask = jnp.asarray(np.broadcast_to(np.arange(size) < 0.6 * size, (size, size)), float)
    low = jnp.asarray(rng.uniform(0.3, 0.4, (size, size, 3)))

    def at_the_optimum(x: Array, level: Level, vgg: Any, *settings: Any) -> Array:
        found = _newton(x, level, vgg, *settings)
        return attach_implicit_derivative(found, level, vgg, *settings)

    def total(low, shown, weights, textures, alpha, vgg):
        with (
            patch("jaxface.features.vgg.nn.relu", jax.nn.softplus),
            patch("jaxface.synthesis.optimize.attach_implicit_derivative", at_the_optimum),
            patch.multiple("jaxface.synthesis.objective", _CG_STEPS=400, _DAMPING=0.0),
        ):
            found = synthesize(
                *(jax.random.key(0), low, shown, mask, textures, weights, vgg),
                correlation=correlation, composition=composition,
                config=settings.replace(alpha=alpha),
            )  # fmt: skip
        return jnp.sum(found.texture**2)

    return total, {
        "low-frequency albedo": low,
        "photo's texels": low * jnp.asarray(np.exp(0.1 * rng.normal(size=(size, size, 1)))),
        "simplex weights": jnp.asarray([0.2, 0.7, 0.1]),
        "database's textures": jnp.asarray(rng.uniform(90, 200, (3, size, size, 3))),
        "alpha": jnp.asarray(0.3),
        "VGG's weights": vgg,
    }


@jax.jit
def _newton(x: Array, level: Level, vgg: Any, correlation: Any, config: Any) -> Array:
    x, *given = jax.lax.stop_gradient((x, level, vgg, correlation, config))
    slope = jax.grad(lambda x: loss(x, *given))

    def step(x: Array, _: None) -> tuple[Array, None]:
        right, curvature = jax.linearize(slope, x)
        move, _ = jax.scipy.sparse.linalg.cg(curvature, right, tol=1e-13, maxiter=400)
        return x - move, None

    return jax.lax.scan(step, x, None, length=6)[0]


def _looped(step: Callable, carry: Any, length: int) -> tuple[Any, Any]:
    """`jax.lax.scan` round by round, so that each round's skin mask is a value of its own."""
    made = []
    for _ in range(length):
        carry, out = step(carry, None)
        made.append(out)
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *made)


def _whole_membrane(*given: Any, **settings: Any) -> Array:
    return membrane(*given, **(settings | {"steps": 600}))


@dataclass
class _HeldUnwrap:
    """`unwrap` with a step of light added to the fit's, its skin masks as the first run found them
    (they change with the photo, and the derivative takes them as constant), and its membranes
    solved to the end."""

    light: Any
    masks: list[Array]

    def __call__(self, photo: Any, fit: Any, *rest: Any, **options: Any) -> Any:
        before = fit.parameters.lighting
        lighting = before.replace(coefficients=before.coefficients + self.light)
        fit = fit.replace(parameters=fit.parameters.replace(lighting=lighting))
        held = list(self.masks)

        def unwrapped(photo: Any, fit: Any) -> Any:
            found: list[Array] = []

            def decided(*given: Any) -> Array:
                found.append(held[len(found)] if held else skin_mask(*given))
                return found[-1]

            with ExitStack() as patches:
                for name, change in {
                    "unwrap.skin_mask": decided,
                    "visible.denoise": lambda photo, _: (photo, jnp.zeros(())),
                    "delight.membrane": _whole_membrane,
                    "tone.membrane": _whole_membrane,
                    "scalp.membrane": _whole_membrane,
                }.items():
                    module, _, attribute = f"jaxface.unwrapping.{name}".rpartition(".")
                    patches.enter_context(patch.object(import_module(module), attribute, change))
                patches.enter_context(patch("jax.lax.scan", _looped))
                return unwrapping.unwrap.__wrapped__(photo, fit, *rest, **options), found

        result, found = jax.jit(unwrapped)(photo, fit)
        if not held:
            self.masks.extend(found)
        return result


def parsing() -> Problem:
    """A random mean of the classes' probabilities in a small photo."""
    photo, landmarks = portrait(with_landmarks68(doubled(_few_modes())))
    weight = jnp.asarray(np.random.default_rng(0).normal(size=(*photo.shape[:2], 4)))

    def total(photo, vgg, parser):
        return jnp.vdot(weight, parse(photo, landmarks, vgg, parser))

    return total, {
        "photo": photo,
        "VGG's weights": doubled(load_vgg()),
        "parser's weights": doubled(load_parser()),
    }


def chain(size: int = 64) -> Problem:
    """From the photo to the texture; a step of light is added to what the fit found, and the
    parser's classes are constant."""
    model = doubled(_few_modes())
    photo, landmarks = portrait(with_landmarks68(model))
    model = _front(model)
    rng = np.random.default_rng(0)
    vgg = doubled(load_vgg())
    textures = jnp.asarray(rng.uniform(90, 200, (3, size, size, 3)))
    texels = doubled(texel_map(model, size))
    assets = Assets(
        model=model,
        texels=texels,
        database=Database(
            textures, jnp.full((3, size, size), 128, jnp.uint8), jnp.arange(len(textures))
        ),
        networks=doubled(load_networks()),
        vgg=vgg,
        parser=doubled(load_parser()),
        noise=None,
        seams=jnp.asarray(seam_pairs(model)),
        painted=doubled(painted_mask(model, texels)),
        bare_skin=doubled(bare_skin_mask(model, texels)),
    )
    config = ReconstructConfig(
        size=size,
        unwrap=UnwrapConfig(window=128),
        correlation=CorrelationConfig(layers=("relu1_1", "relu2_1"), cells=2, blend_side=size),
    )
    face = FaceCrop(
        srgb=photo,
        crop=Crop(jnp.full(2, 48.0), jnp.asarray(96.0), size=96),
        landmarks=landmarks,
        blendshapes=jnp.zeros(52),
        focal=jnp.asarray(320.0),
        principal=jnp.full(2, 48.0),
        photo_side=jnp.asarray(96.0),
    )
    weight = jnp.asarray(rng.normal(size=(size, size, 3)))
    masks: list[Array] = []
    classes = pixel_classes(face, vgg, assets.parser)

    def total(photo, landmarks, light, basis, textures, gain, vgg):
        changed = assets.replace(
            model=model.replace(identity_basis=basis / 1000),  # a smaller step: mm
            database=assets.database.replace(textures=textures),
            vgg=vgg,
        )
        composition = config.composition.replace(duplicate_detail_fraction=gain)
        seen = face.replace(srgb=photo, landmarks=landmarks)
        certain = partial(solve_simplex, tolerance=1e-15, max_iterations=20000)
        with (
            patch.object(import_module("jaxface.observe"), "pixel_classes", lambda *_: classes),
            patch.object(import_module("jaxface.observe"), "unwrap", _HeldUnwrap(light, masks)),
            patch("jaxface.blending.solve_simplex", certain),
        ):
            result = reconstruct_face(seen, changed, config.replace(composition=composition))
        return jnp.vdot(weight, result.synthesis.texture)

    arguments = {
        "photo": photo,
        "landmarks": landmarks,
        "light": jnp.zeros((9, 3)),
        "identity basis": 1000 * model.identity_basis,
        "database's textures": textures,
        "a number of the config": jnp.asarray(0.5),
        "VGG's weights": vgg,
    }
    total(*arguments.values())
    return total, arguments
