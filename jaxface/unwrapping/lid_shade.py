"""The shade of the lids on the eyes: eyeballs lie behind lids and lashes, in light that came by
red skin."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.landmarks.schemes import IBUG68, LEFT_LIDS, RIGHT_LIDS
from jaxface.morphable.model import landmark_points
from jaxface.types import FaceModel, TexelMap
from jaxface.unwrapping.membrane import vertices_to_texels

DISTANCES = (0.0, 1.0, 2.0, 3.0, 4.5, 6.0)
"""Millimetres from a lid's margin, seen from the front."""
UPPER = (
    (0.13, 0.06, 0.05),
    (0.24, 0.13, 0.11),
    (0.45, 0.33, 0.31),
    (0.65, 0.51, 0.46),
    (0.82, 0.74, 0.71),
    (1.0, 1.0, 1.0),
)
LOWER = (
    (0.60, 0.27, 0.20),
    (0.66, 0.34, 0.27),
    (0.79, 0.51, 0.42),
    (0.83, 0.62, 0.52),
    (0.91, 0.80, 0.75),
    (1.0, 1.0, 1.0),
)
"""Linear RGB of the white of the eye at `DISTANCES` of the upper and the lower lid, over that at
6 mm of both. Fitted to the logarithm of radiance over the skin's shading (L1, a sum of both
distances' functions) on the 71 eyes of the odd ones of 72 portraits."""
WHITE_OF_EYE = (0.55, 0.61, 0.63)
"""Albedo of the white of the eye at 6 mm of both lids, by the same fit, linear RGB."""
OPEN_MM = 6.0
"""Least opening of the lids that is shaded for, millimetres: eyes closed in the photo open."""


def lid_shade(
    vertices: Float[Array, "V 3"], model: FaceModel, texels: TexelMap
) -> Float[Array, "T T 3"]:
    """Returns the fraction of light that reaches the eyes between the lids, by texel, linear RGB.

    shade = UPPER(u) LOWER(l), with u and l the distances to the lids' margins up and down, seen
    from the front, piecewise linear; behind a lid it is that of its margin. Differentiable.

    Args:
        vertices: of the face, metres.
        model: the face model.
        texels: of the model, T x T.
    """
    x, y = jnp.moveaxis(vertices_to_texels(1e3 * vertices[:, :2], texels), -1, 0)
    points = 1e3 * landmark_points(model, vertices)

    def distances(lids: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[Array, Array]:
        middle = jnp.mean(points[jnp.array(_indices(lids[0], len(points)))], 0)[0]
        opening = _height(middle, points, lids[0]) - _height(middle, points, lids[1])
        closed = 0.5 * jnp.maximum(OPEN_MM - opening, 0.0)
        upper, lower = (_height(x, points, lid) for lid in lids)
        return upper + closed - y, y - lower + closed

    right, left = distances(RIGHT_LIDS), distances(LEFT_LIDS)
    upper, lower = (jnp.where(x < 0.0, *sides) for sides in zip(right, left, strict=True))
    return _look_up(upper, UPPER) * _look_up(lower, LOWER)


def _look_up(
    distance: Float[Array, "T T"], table: tuple[tuple[float, ...], ...]
) -> Float[Array, "T T 3"]:
    """Returns a table's colours at distances, piecewise linear; its ends beyond them."""
    place = jnp.interp(distance, jnp.array(DISTANCES), jnp.arange(len(DISTANCES)))
    below = jnp.clip(jnp.floor(place).astype(jnp.int32), 0, len(DISTANCES) - 2)
    share, colours = (place - below)[..., None], jnp.array(table)
    return (1.0 - share) * colours[below] + share * colours[below + 1]


def _indices(lid: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Returns a lid's landmarks, of the 478 points, in a set of `count`."""
    return tuple(IBUG68.index(n) for n in lid if n in IBUG68) if count == len(IBUG68) else lid


def _height(
    x: Float[Array, "*N"], points: Float[Array, "L 3"], lid: tuple[int, ...]
) -> Float[Array, "*N"]:
    """Returns y of a lid's margin at x."""
    margin = points[jnp.array(_indices(lid, len(points)))]
    margin = margin[jnp.argsort(margin[:, 0])]
    return jnp.interp(x, margin[:, 0], margin[:, 1])
