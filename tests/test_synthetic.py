"""The layers of synthetic faces: what they hold, where they lie, that a seed repeats them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from building.synthetic import hairs, pigment, relief
from building.synthetic.canvas import (
    Canvas,
    make_canvas,
    oriented_noise,
    scatter,
    smooth_noise,
    splat,
)
from building.synthetic.parameters import SkinParameters, draw
from jaxface.skins import makehuman


@pytest.fixture(scope="module")
def canvas(model) -> Canvas:
    return make_canvas(makehuman.layout(model, 256))


@pytest.fixture(scope="module")
def face() -> SkinParameters:
    return draw(3, "base", dark=False, man=True, brows=9)


def with_(face: SkinParameters, **changes) -> SkinParameters:
    return dataclasses.replace(face, **changes)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_parameters_repeat_and_vary_independently() -> None:
    assert draw(7, "a", dark=False, man=False, brows=9) == draw(
        7, "a", dark=False, man=False, brows=9
    )
    many = [draw(seed, "a", dark=False, man=True, brows=9) for seed in range(300)]
    table = np.array([[f.age, f.melanin, f.stubble, f.relief, f.shadow, f.lips] for f in many])
    off = np.corrcoef(table.T) - np.eye(table.shape[1])
    assert np.abs(off).max() < 0.2
    assert all(draw(s, "a", dark=False, man=False, brows=9).stubble == 0 for s in range(9))


def test_oriented_noise_runs_along_the_flow(canvas) -> None:
    """On the forehead the lines lie level: neighbours along u are alike, along v less."""
    noise = oriented_noise(canvas, rng(), 4.0, 1.0)
    forehead = canvas.parts["forehead"] > 0.9
    level = (noise * np.roll(noise, 2, 1))[forehead].mean()
    upright = (noise * np.roll(noise, 2, 0))[forehead].mean()
    assert level > upright + 0.2
    assert abs(smooth_noise(canvas, rng(), 3.0).std() - 1) < 1e-6


def test_points_have_the_density_of_the_surface(canvas) -> None:
    cheeks = canvas.parts["cheeks"] > 0.5
    density = np.where(cheeks, 0.5, 0.0)
    rows, columns = scatter(canvas, rng(), density)
    area = (canvas.texel**2)[cheeks & canvas.layout.mask].sum()
    assert abs(len(rows) / (0.5 * area) - 1) < 0.05
    assert cheeks[rows.astype(int), columns.astype(int)].all()
    total = splat(canvas, rows, columns, np.ones(len(rows)))
    np.testing.assert_allclose(total.sum(), len(rows))
    one = splat(canvas, np.array([10.5]), np.array([20.5]), np.array([2.0]))
    assert one[10, 20] == 2.0 and one.sum() == 2.0


def test_pores_are_deepest_on_the_nose(canvas) -> None:
    height = relief.pores(canvas, rng())
    nose, neck = canvas.parts["nose"] > 0.9, canvas.parts["neck"] > 0.9
    assert height.max() <= 1e-9
    assert height[nose].std() > 3 * height[canvas.parts["forehead"] > 0.9].std()
    assert np.abs(height[neck]).max() < 2e-3


def test_lines_deepen_with_age(canvas, face) -> None:
    young, _ = relief.lines(canvas, with_(face, age=0.0), rng())
    old, scars = relief.lines(canvas, with_(face, age=1.0, scars=3), rng())
    assert young.min() > -0.06 and old.min() < 3 * young.min()
    assert scars.max() > 0.5
    assert relief.lines(canvas, with_(face, scars=0), rng())[1].max() == 0


def test_pigment_moves_along_the_real_locus(canvas, face) -> None:
    """More melanin is darker, most in the blue; freckles are melanin and lie on cheeks and nose."""
    plain = with_(face, melanin=0.0, haemoglobin=0.0, shadow=0.0, lips=0.0, make_up=0.0)
    np.testing.assert_allclose(pigment.tone(canvas, plain), 0, atol=1e-9)
    darker = pigment.tone(canvas, with_(plain, melanin=1.0))[canvas.parts["cheeks"] > 0.9].mean(0)
    assert darker[0] < -0.2 and darker[2] < darker[1] < darker[0]
    bare = with_(plain, freckles=0.0, moles=0, age=0.0)
    few = pigment.spots(canvas, bare, rng()).mean(-1)
    many = pigment.spots(canvas, with_(bare, freckles=1.0), rng()).mean(-1)
    cheeks, chin = canvas.bump(26, -26, 15) > 0.8, canvas.parts["chin"] > 0.9
    assert many[cheeks].mean() < few[cheeks].mean() - 0.01
    assert abs(many[chin].mean() - few[chin].mean()) < 0.005


def test_stubble_grows_in_the_beard(canvas, face) -> None:
    none = hairs.stubble(canvas, with_(face, stubble=0.0), rng())
    some = hairs.stubble(canvas, with_(face, stubble=0.8), rng())
    assert none.max() == 0
    chin, forehead = canvas.parts["chin"] > 0.9, canvas.parts["forehead"] > 0.9
    assert some[chin].mean() > 0.02 and some[forehead].mean() < 1e-3
    assert some.min() >= 0 and some.max() < 1


def test_a_seed_repeats_every_layer(canvas, face) -> None:
    for layer in (relief.relief, pigment.mottling, pigment.spots, hairs.scalp):
        np.testing.assert_array_equal(layer(canvas, face, rng()), layer(canvas, face, rng()))
