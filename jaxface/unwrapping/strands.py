"""Thin dark things before the face: strands of hair, the rims of glasses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxface.unwrapping.skin import blur, blur_within, flood, grow, shrink

_LENGTH = 1 / 10  # of the texture's side: how far a line runs straight, at least
_POINTS = 9  # along that length, where it must be dark
_DIRECTIONS = 12
_WIDTH = 1 / 64  # of the texture's side: no wider
_DEPTH = 0.28  # log ratio to the skin on both sides
_GREY = 0.92  # of green's depth that red's has: 0.6 to 0.75 in folds of skin, 1 before hair


def dark_lines(
    log_ratio: Float[Array, "T T 3"],
    usable: Float[Array, "T T"],
    open_skin: Float[Array, "T T"],
    room: Float[Array, "T T"],
) -> Float[Array, "T T"]:
    """Returns 1 on lines that are too dark, long and grey for the skin's own, and close beside.

    The black top hat (closing less value) is how much darker a texel is than what lies on both
    sides of it; a line is where it stays high along a segment in one of twelve directions. Folds
    and wrinkles are such lines as well, but light that bounces in skin is red: there red darkens
    less than green. Before hair and frames both darken alike. Lines are found on open skin and
    followed from there across brows and lids. No gradient passes.

    Args:
        log_ratio: logarithm of the photo over what the fit makes of it.
        usable: weight of the texels that the photo shows.
        open_skin: 1 on skin away from brows, lids and lips, which have dark lines of their own.
        room: 1 where a line may go on.
    """
    size = log_ratio.shape[0]
    shown = (usable > 0.3)[..., None] * 1.0
    around = blur_within(log_ratio, shown[..., 0], size / 40)
    level = jnp.moveaxis(jnp.where(shown > 0, log_ratio, around), -1, 0)
    radius = max(1, round(_WIDTH * size / 2))
    red, green, blue = (
        jax.vmap(lambda c: shrink(grow(c, radius), radius) - c)(level) * shown[..., 0]
    )
    depth = (red + green + blue) / 3
    near = grow(depth, max(1, round(size / 256)))  # lines bend
    lines = jnp.max(jax.lax.map(lambda turn: _along(near, turn), _segments(size)), 0)
    lines = (jnp.minimum(lines, depth) > _DEPTH) * open_skin
    red, green = jnp.moveaxis(
        blur(jnp.stack([red, green], -1) * lines[..., None], size / 64), -1, 0
    )
    seeds = lines * (red > _GREY * green)
    found = flood(seeds, (depth > 0.4 * _DEPTH) * room, size // 8)
    return grow(found, max(1, round(size / 128)))


def _segments(size: int) -> Int[Array, "D P 2"]:
    """Returns the points of a segment in each direction, rows and columns off its middle."""
    angles = np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS
    along = np.linspace(-0.5, 0.5, _POINTS) * _LENGTH * size
    places = along[None, :, None] * np.stack([np.sin(angles), np.cos(angles)], -1)[:, None]
    return jnp.asarray(np.round(places), jnp.int32)


def _along(depth: Float[Array, "T T"], segment: Int[Array, "P 2"]) -> Float[Array, "T T"]:
    """Returns the opening by a segment: the depth that all of some segment through a texel has."""

    def shifted(image, offset):
        return jnp.roll(image, offset, (0, 1))

    least = jnp.full_like(depth, jnp.inf)
    least = jax.lax.fori_loop(
        0, _POINTS, lambda k, m: jnp.minimum(m, shifted(depth, segment[k])), least
    )
    most = jnp.zeros_like(depth)
    return jax.lax.fori_loop(
        0, _POINTS, lambda k, m: jnp.maximum(m, shifted(least, -segment[k])), most
    )
