"""Gloss: white light is taken off skin, pigment stays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.unwrapping.highlights import remove_highlights

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
    shown = jnp.asarray(albedo * grain + gloss[..., None])
    plain, mask = remove_highlights(shown, jnp.asarray(albedo), jnp.ones((SIZE, SIZE)))
    found = jnp.mean(shown - plain, -1)
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
        shown = jnp.asarray(albedo * factor)
        plain, mask = remove_highlights(shown, jnp.asarray(albedo), jnp.ones((SIZE, SIZE)))
        assert float(jnp.abs(shown - plain).max()) < 0.02 * albedo.mean()
        assert float(mask.min()) > 0.9


def test_a_burnt_out_highlight_leaves_nothing_grey():
    """Clipped, a highlight is less white than it was: of what stays, too much would be grey."""
    albedo = np.broadcast_to(np.array(SKINS["pale"]), (SIZE, SIZE, 3))
    burnt = np.minimum(albedo + 0.5 * np.clip(2 * spot(3.0), 0, 1)[..., None], 0.8)
    plain, _ = remove_highlights(jnp.asarray(burnt), jnp.asarray(albedo), jnp.ones((SIZE, SIZE)))

    def hue(x):
        return np.log(x[..., 0] / x[..., 2])

    assert (hue(albedo) - hue(burnt)).max() > 0.4
    assert (hue(albedo) - hue(np.asarray(plain))).max() < 0.15


def test_nothing_outside_the_mask_and_finite_gradients():
    albedo, nothing = jnp.full((SIZE, SIZE, 3), 0.3), jnp.zeros((SIZE, SIZE))
    bright = jnp.ones((SIZE, SIZE, 3))
    np.testing.assert_array_equal(remove_highlights(bright, albedo, nothing)[0], bright)
    for unlit, low in ((bright, albedo), (bright * 0, albedo), (bright, albedo * 0)):
        gradient = jax.grad(lambda x, low=low: jnp.sum(remove_highlights(x, low, nothing + 1)[0]))(
            unlit
        )
        assert bool(jnp.isfinite(gradient).all())
