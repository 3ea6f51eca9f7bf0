"""Pictures and gradients of `render` beside those of Mitsuba 3, a maintained path tracer.

`data/make_renderer_references.py` made them: surfaces that glow with a texture's colours, 130,000
samples a pixel, silhouettes included. Their Monte Carlo error is a thousandth of what is compared.
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fast import FAST

from jaxface.rendering.lighting import uniform
from jaxface.rendering.render import render
from jaxface.types import Camera, FaceModel

FILE = Path(__file__).parent / "data" / "renderer_mitsuba.npz"
SCENES = ["textured", "silhouette"]


def as_model(vertices: np.ndarray, triangles: np.ndarray, uvs: np.ndarray) -> FaceModel:
    """Returns a mesh with a UV for each vertex as a face model without modes or regions."""
    count, none = len(vertices), jnp.zeros((0, 4), jnp.int32)
    return FaceModel(
        mean=jnp.asarray(vertices),
        identity_basis=jnp.zeros((0, count, 3)),
        expression_basis=jnp.zeros((0, count, 3)),
        triangles=jnp.asarray(triangles),
        quads=none,
        uvs=jnp.asarray(uvs),
        uv_triangles=jnp.asarray(triangles),
        uv_quads=none,
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


def stored(name: str) -> dict[str, np.ndarray]:
    with np.load(FILE) as file:
        found = {key.split("/")[1]: file[key] for key in file if key.startswith(f"{name}/")}
        found["focal"] = file["focal"]
    return {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in found.items()}


@partial(jax.jit, compiler_options=FAST)
def pictures(model, vertices, texture, focal, weights):
    """Returns the picture with hard edges, the smooth one, and the gradients of the smooth one's
    sum under the weights."""
    height, width = weights.shape[:2]
    # The camera is where the world is: x right, y down, z forward.
    zero, middle = jnp.zeros(3), jnp.array([width / 2.0, height / 2.0])
    camera = Camera(rotation=zero, translation=zero, focal=focal, principal=middle)

    def picture(vertices: jax.Array, texture: jax.Array, smooth: bool) -> jax.Array:
        # White light from everywhere: a surface is as bright as its texture.
        light = uniform()
        return render(model, vertices, texture, camera, light, height, width, smooth=smooth)[0]

    def loss(vertices: jax.Array, texture: jax.Array) -> tuple[jax.Array, jax.Array]:
        smooth = picture(vertices, texture, True)
        return jnp.sum(smooth * weights), smooth

    slopes, smooth = jax.grad(loss, (0, 1), has_aux=True)(vertices, texture)
    return picture(vertices, texture, False), smooth, *slopes


@cache
def scene(name: str) -> SimpleNamespace:
    """Returns what Mitsuba has of a scene (`known`), and what jaxface has."""
    known = stored(name)
    vertices, triangles, uvs = known["vertices"], known["triangles"], known["uvs"]
    texture, count = known["texture"], len(known["vertices"])
    if name == "silhouette":  # in the shapes of the other one, so that one program draws both
        like = stored("textured")
        missing = len(like["vertices"]) - count, len(like["triangles"]) - len(triangles)
        vertices, uvs = (np.pad(x, ((0, missing[0]), (0, 0)), "edge") for x in (vertices, uvs))
        triangles = np.pad(triangles, ((0, missing[1]), (0, 0)))
        texture = np.ones_like(like["texture"])
    model = as_model(vertices, triangles, uvs)
    sharp, smooth, by_vertex, by_texel = map(
        np.asarray, pictures(model, vertices, texture, known["focal"], known["weights"])
    )
    return SimpleNamespace(
        known=known, sharp=sharp, smooth=smooth, by_vertex=by_vertex[:count], by_texel=by_texel
    )


def distance(found: np.ndarray, known: np.ndarray) -> float:
    """Returns the length of the difference over that of what is known: 1 of nothing or of twice,
    2 of the opposite."""
    return float(np.linalg.norm(found - known) / np.linalg.norm(known))


@pytest.mark.parametrize("name", SCENES)
def test_stored_gradients_are_converged(name: str) -> None:
    known = stored(name)
    for key in ("vertex_gradient", "texture_gradient"):
        assert np.linalg.norm(known[f"{key}_error"]) < 2e-3 * np.linalg.norm(known[key])


@pytest.mark.parametrize("name", SCENES)
def test_picture(name: str) -> None:
    """Also in the pixels that silhouettes cut, which the picture with hard edges has wrong."""
    case = scene(name)
    known = case.known["picture"]
    error = np.abs(case.smooth - known)
    assert error.mean() < 1e-3
    cut = np.abs(case.sharp - known).max(-1) > 0.05
    assert cut.sum() > 50
    assert error[cut].mean() < 0.02 < 5 * np.abs(case.sharp - known)[cut].mean()
    assert error[~cut].max() < 0.06


def test_gradient_by_the_texture() -> None:
    case = scene("textured")
    known, found = case.known["texture_gradient"], case.by_texel
    assert distance(found, known) < 0.02
    np.testing.assert_allclose(found.sum((0, 1)), known.sum((0, 1)), rtol=0.02)


@pytest.mark.parametrize("name", SCENES)
def test_gradient_by_every_vertex(name: str) -> None:
    """All of a silhouette alone; inside, that of what a texture shows is added to it."""
    case = scene(name)
    known, found = case.known["vertex_gradient"], case.by_vertex
    assert distance(found, known) < 0.07
    for axis in range(3):
        assert distance(found[:, axis], known[:, axis]) < 0.2, "xyz"[axis]
    if name == "textured":
        for part in (slice(None, -4), slice(-4, None)):  # the ball, the square behind it
            assert distance(found[part], known[part]) < 0.1


@pytest.mark.parametrize("name", SCENES)
def test_gradient_by_a_common_translation(name: str) -> None:
    case = scene(name)
    known, found = case.known["vertex_gradient"].sum(0), case.by_vertex.sum(0)
    assert distance(found, known) < 0.03
