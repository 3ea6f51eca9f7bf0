"""Strands of hair and rims of glasses are found; folds, moles and brows are the face's own."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.unwrapping.strands import strand_mask

SIZE = 128
ROW, COLUMN = np.mgrid[:SIZE, :SIZE]
GREY, FOLD = (-0.6, -0.6, -0.6), (-0.4, -0.6, -0.8)
CURVE = np.abs(COLUMN - (64 + 6 * np.sin(ROW / 30))) < 1.0
CURVE &= (ROW > 20) & (ROW < 100)


def lines(line, colour, open_skin=None):
    """Returns what is found where a line darkens plain skin."""
    ratio = 0.02 * np.random.default_rng(0).normal(size=(SIZE, SIZE, 3))
    ratio = jnp.asarray(ratio + line[..., None] * np.array(colour), jnp.float32)
    ones = jnp.ones((SIZE, SIZE))
    open_skin = ones if open_skin is None else jnp.asarray(open_skin, jnp.float32)
    return np.asarray(strand_mask(ratio, ones, open_skin, ones)) > 0


def test_a_grey_line_is_found_and_no_more_than_it():
    found = lines(CURVE, GREY)
    assert found[CURVE].mean() > 0.95
    beside = np.abs(COLUMN - (64 + 6 * np.sin(ROW / 30))) > 6
    assert not found[beside].any()


@pytest.mark.parametrize("angle", [0.0, 0.4, 0.8, 1.2])
def test_lines_are_found_in_every_direction(angle):
    off = (COLUMN - 64) * np.cos(angle) + (ROW - 64) * np.sin(angle)
    assert lines(np.abs(off) < 1.0, GREY)[np.abs(off) < 1.0].mean() > 0.9


def test_what_is_the_skins_own_stays():
    mole = (ROW - 64) ** 2 + (COLUMN - 64) ** 2 < 9
    shade = 1 / (1 + np.exp(-(COLUMN - 64) / 12.0))  # broad darkness
    for line, colour in ((CURVE, FOLD), (mole, GREY), (shade, GREY), (0 * shade, GREY)):
        assert not lines(line, colour).any()


def test_brows_alone_are_no_lines_but_a_rim_is_followed_across_them():
    brow = (ROW > 50) & (ROW < 70)
    inside = CURVE & brow
    assert not lines(inside, GREY, ~brow).any()
    assert lines(CURVE, GREY, ~brow)[inside].mean() > 0.95
