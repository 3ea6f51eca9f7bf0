"""Gloss: white light is taken off skin, pigment stays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.unwrapping.highlights import highlights

SIZE = 128
SKINS = {"pale": (0.62, 0.42, 0.33), "brown": (0.35, 0.19, 0.12), "dark": (0.09, 0.045, 0.03)}


def spot(radius: float) -> np.ndarray:
    at = np.arange(SIZE) - SIZE / 2
    return np.exp(-0.5 * (at[:, None] ** 2 + at**2) / radius**2)


@pytest.mark.parametrize("skin", SKINS)
def test_gloss_is_found(skin):
    albedo = np.broadcast_to(np.array(SKINS[skin]), (SIZE, SIZE, 3))
    grain = np.exp(0.05 * np.random.default_rng(0).standard_normal((SIZE, SIZE, 1)))
    gloss = 0.5 * albedo.mean() * spot(8.0)
    found, mask = highlights(
        jnp.asarray(albedo * grain + gloss[..., None]), jnp.asarray(albedo), jnp.ones((SIZE, SIZE))
    )
    middle = SIZE // 2
    assert 0.4 < float(found[middle, middle]) / gloss.max() < 1.0
    assert float(found[:20].max()) < 0.05 * gloss.max()
    assert float(mask[middle, middle]) < 0.7 < float(mask[:20].min())


@pytest.mark.parametrize("skin", SKINS)
def test_pigment_is_no_gloss(skin):
    albedo = np.broadcast_to(np.array(SKINS[skin]), (SIZE, SIZE, 3))
    freckles = np.exp(-0.5 * spot(3.0)[..., None] * np.array([0.5, 1.0, 1.4]))
    beard = (1 - 0.5 * spot(20.0))[..., None]  # darker and greyer
    lighter = np.exp(0.3 * spot(8.0))[..., None]  # a better lit place of the same colour
    for factor in (freckles, beard, lighter):
        found, mask = highlights(
            jnp.asarray(albedo * factor), jnp.asarray(albedo), jnp.ones((SIZE, SIZE))
        )
        assert float(found.max()) < 0.02 * albedo.mean()
        assert float(mask.min()) > 0.9


def test_nothing_outside_the_mask_and_finite_gradients():
    albedo, nothing = jnp.full((SIZE, SIZE, 3), 0.3), jnp.zeros((SIZE, SIZE))
    bright = jnp.ones((SIZE, SIZE, 3))
    assert float(highlights(bright, albedo, nothing)[0].max()) == 0.0
    for unlit, low in ((bright, albedo), (bright * 0, albedo), (bright, albedo * 0)):
        gradient = jax.grad(lambda x, low=low: jnp.sum(highlights(x, low, nothing + 1)[0]))(unlit)
        assert bool(jnp.isfinite(gradient).all())
