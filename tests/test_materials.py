"""Relief, roughness and reflectance: slopes against closed forms, flat stays flat, gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fast import FAST

from jaxface.materials import (
    MaterialsConfig,
    height_of_luminance,
    materials,
    normals_of_height,
    texel_sizes,
)
from jaxface.morphable.texels import texel_map
from jaxface.unwrapping.eyes import angle_of_texels

SIZE = 128


@pytest.fixture(scope="module")
def texels(model):
    return texel_map(model, SIZE)


def part(model, texels, name: str) -> np.ndarray:
    index = model.region_names.index(name)
    return np.asarray((texels.region_ids == index) & texels.mask)


def flat(value: float = 0.4):
    return jnp.full((SIZE, SIZE, 3), value)


def nothing():
    return jnp.full((SIZE, SIZE), 128, jnp.uint8)


def test_even_skin_is_flat(model, texels) -> None:
    made = materials(flat(), jnp.ones((SIZE, SIZE)), nothing(), model, texels)
    skin = ~part(model, texels, "eyes")
    np.testing.assert_allclose(np.asarray(made.height)[skin], 0, atol=1e-6)
    np.testing.assert_allclose(np.asarray(made.normal)[skin] - [0, 0, 1], 0, atol=1e-6)


def test_corneas_are_rounder_than_eyeballs(model) -> None:
    """Their normals lean outwards, at the limbus about as far again as the eyeball's own."""
    texels = texel_map(model, 512)
    made = materials(
        jnp.full((512, 512, 3), 0.4), jnp.ones((512, 512)),
        jnp.full((512, 512), 128, jnp.uint8), model, texels,
    )  # fmt: skip
    angle = np.asarray(angle_of_texels(model, texels))
    normal = np.asarray(made.normal)
    lean = np.degrees(np.arccos(normal[..., 2].clip(-1, 1)))
    assert lean[angle < 2].max() < 6
    assert 10 < np.median(lean[(angle > 11) & (angle < 14)]) < 20
    assert np.median(lean[(angle > 28) & (angle < 40)]) < 1
    right = (angle < 16) & (angle > 8)
    rows, columns = np.nonzero(right & (np.arange(512)[None] < 256))
    outwards = columns - columns.mean(), -(rows - rows.mean())
    turned = normal[rows, columns, 0] * outwards[0] + normal[rows, columns, 1] * outwards[1]
    assert (turned > 0).mean() > 0.97


def test_texels_have_their_size_on_the_face(model, texels) -> None:
    """Against the distance of neighbouring texels' places."""
    along_u, along_v = (np.asarray(x) for x in texel_sizes(model, texels))
    place = 1e3 * np.einsum("tuk,tukc->tuc", texels.barycentrics, model.mean[texels.vertex_ids])
    inside = part(model, texels, "nose") | part(model, texels, "skin")
    for size, axis in ((along_u, 1), (along_v, 0)):
        step = np.linalg.norm(np.roll(place, -1, axis) - place, axis=-1)
        both = inside & np.roll(inside, -1, axis)
        assert abs(np.median(size[both] / step[both]) - 1) < 0.05


def test_a_slope_has_the_right_normal(model, texels) -> None:
    """A height that grows by 0.2 mm a millimetre along u leans the normal against u."""
    along_u, _ = texel_sizes(model, texels)
    ramp = jnp.cumsum(0.2 * along_u, axis=1)
    normal = np.asarray(normals_of_height(ramp, model, texels))
    cheek = part(model, texels, "skin")
    expected = np.array([-0.2, 0.0]) / np.sqrt(1.04)
    np.testing.assert_allclose(np.median(normal[cheek][:, 0]), expected[0], atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1, atol=1e-5)


def test_dark_dots_are_deep_where_the_photo_shows_them(model, texels) -> None:
    row, column = 70, 85
    assert part(model, texels, "skin")[row, column]
    dotted = flat().at[row, column].set(0.2)
    seen = materials(dotted, jnp.ones((SIZE, SIZE)), nothing(), model, texels)
    assert float(seen.height[row, column]) < -0.02
    assert float(seen.roughness[row, column]) > float(seen.roughness[row, column + 9])
    assert float(seen.specular[row, column]) < float(seen.specular[row, column + 9])
    unseen = materials(dotted, jnp.zeros((SIZE, SIZE)), nothing(), model, texels)
    assert abs(float(unseen.height[row, column])) < 1e-6


def test_folds_that_are_the_lights_are_deep(model, texels) -> None:
    row, column = 70, 85
    shading = flat(1.0).at[row, column].set(0.5)
    ones = jnp.ones((SIZE, SIZE))
    made = materials(flat(), ones, nothing(), model, texels, shading=shading)
    painted = materials(flat() * shading, ones, nothing(), model, texels)
    assert float(made.height[row, column]) < -0.02
    np.testing.assert_allclose(made.height, painted.height, atol=1e-6)


def test_unseen_skin_has_the_relief_of_the_database_face(model, texels) -> None:
    relief = nothing().at[70, 85].set(168)  # 40 levels are 0.1 mm
    made = materials(flat(), jnp.zeros((SIZE, SIZE)), relief, model, texels)
    expected = 0.1 * MaterialsConfig().relief
    assert abs(float(made.height[70, 85]) - expected) < 0.02
    eyes = part(model, texels, "eyes")
    bare = materials(flat(), jnp.zeros((SIZE, SIZE)), nothing(), model, texels)
    np.testing.assert_allclose(np.asarray(made.height)[eyes], np.asarray(bare.height)[eyes])
    assert np.asarray(made.roughness)[eyes].max() < 0.15


def test_gradients_agree_with_finite_differences(model, texels) -> None:
    with jax.enable_x64():
        double = jax.tree.map(
            lambda x: jnp.asarray(x, jnp.float64) if x.dtype == jnp.float32 else x, (model, texels)
        )
        rng = np.random.default_rng(1)
        texture = jnp.asarray(rng.uniform(0.2, 0.6, (SIZE, SIZE, 3)))
        direction = jnp.asarray(rng.normal(size=texture.shape))
        probe = jnp.asarray(rng.normal(size=(SIZE, SIZE, 3)))

        def value(x):
            height = height_of_luminance(x, *double)
            return jnp.sum(probe * normals_of_height(height, *double))

        slope = jnp.vdot(jax.jit(jax.grad(value), compiler_options=FAST)(texture), direction)
        step = 1e-6
        difference = (value(texture + step * direction) - value(texture - step * direction)) / (
            2 * step
        )
        np.testing.assert_allclose(float(slope), float(difference), rtol=1e-5)
