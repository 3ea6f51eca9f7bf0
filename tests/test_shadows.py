"""Cast shadows are found under a sun, and not under soft light."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.morphable.texels import texel_map
from jaxface.rendering.camera import rotation_matrix
from jaxface.rendering.lighting import shade
from jaxface.types import Lighting
from jaxface.unwrapping.shadows import cast_shadows, self_shadow_mask
from jaxface.unwrapping.visible import project_texels

if importlib.util.find_spec("embreex") is None:
    pytest.skip("rays need embreex (the evaluation extra)", allow_module_level=True)

from jaxface.evaluation import light, scene, sources, truth

SIZE = 128
SUN = light.Sun(np.array([-0.62, -0.45, -0.64]), np.array([0.75, 0.71, 0.65]))
SOFT = 0.4 * light.random_lighting(np.random.default_rng(0))


@pytest.fixture(scope="module")
def lit(model):
    """What a sun from the right adds to a grey face, shadows and all, as the texels see it."""
    texels = texel_map(model, SIZE)
    face = sources.on_model(model, "grey", np.full((256, 256, 3), 0.4))
    made = truth.photograph(face, truth.Condition(yaw=0, height=64), model, texels)
    world = scene.Scene(
        vertices=face.vertices,
        triangles=np.asarray(model.triangles),
        uvs=np.asarray(model.uvs, float),
        uv_triangles=np.asarray(model.uv_triangles),
        texture_linear=face.texture_linear,
        rotation=np.asarray(rotation_matrix(made.fit.parameters.camera.rotation), float),
        translation=np.asarray(made.fit.parameters.camera.translation, float),
        focal=float(made.fit.parameters.camera.focal),
        principal=(80.0, 80.0),
    )
    camera = made.fit.parameters.camera
    view = project_texels(made.fit.vertices, camera, model, texels, window=256, tolerance=2e-3)
    return texels, made, world, view


def found(model, lit, sun) -> tuple[np.ndarray, np.ndarray]:
    """Returns how sure a shadow is, and where the sun's light truly does not arrive."""
    texels, made, world, view = lit
    _, shading = truth.texel_truth(world, texels, 160, SOFT, sun)
    known = SOFT + (light.project_sun(sun) if sun else 0)
    parameters = replace(made.fit.parameters, lighting=Lighting(jnp.asarray(known, jnp.float32)))
    fit = replace(made.fit, parameters=parameters)
    made_of = np.asarray(shade(view.normals, parameters.lighting)).mean(-1)
    seen = made.classes["seen"] & (np.asarray(view.facing) > 0.4)
    ratio = np.log(np.where(seen, shading, 1) + 1e-3) - np.log(np.where(seen, made_of, 1) + 1e-3)
    sure = cast_shadows(
        jnp.asarray(ratio),
        jnp.asarray(1.0 * seen),
        self_shadow_mask(fit, model, texels),
        view.normals,
        parameters.lighting,
    )
    normals = np.asarray(view.normals, float)
    cosine = normals @ (sun.direction / np.linalg.norm(sun.direction)) if sun else 0 * ratio
    soft = light.irradiance(normals.reshape(-1, 3), SOFT).mean(1).reshape(SIZE, SIZE)
    hidden = seen & (cosine > 0.3) & (shading < soft + 0.3 * cosine * SUN.colour.mean())
    return np.asarray(sure) * seen, hidden


def test_shadows_of_a_sun_are_found(model, lit):
    sure, hidden = found(model, lit, SUN)
    assert hidden.sum() > 30
    assert sure[hidden].mean() > 0.5
    assert sure.sum() < 3 * hidden.sum()


def test_soft_light_casts_none(model, lit):
    sure, _ = found(model, lit, None)
    assert sure.max() == 0


def test_no_gradient_passes_and_all_is_finite(model, lit):
    texels, made, _, view = lit

    def total(coefficients):
        parameters = replace(made.fit.parameters, lighting=Lighting(coefficients))
        fit = replace(made.fit, parameters=parameters)
        level = jnp.zeros((SIZE, SIZE))
        hidden = self_shadow_mask(fit, model, texels)
        given = level, jnp.ones_like(level), hidden, view.normals, parameters.lighting
        return jnp.sum(cast_shadows(*given))

    for coefficients in (jnp.zeros((9, 3)), jnp.ones((9, 3))):
        value, gradient = jax.value_and_grad(total)(coefficients)
        assert np.isfinite(float(value)) and not np.asarray(gradient).any()
