"""Hair as locks: ribbons with single hairs drawn on them, of whole heads, fringes and beards.

Model space, metres. A texture's columns are hairs and its rows go from root to tip; a lock takes
some neighbouring columns. Between hairs, and beyond a hair's own tip, it is transparent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from building.people.parts import BEARD, HAIR, Part, hair_colour

_STEPS = 18  # points along a lock
_HAIRS, _ROWS = 512, 48  # of the texture
_MIDDLE = np.array([0.0, 0.0, -0.085])  # of the cranium


@dataclass(frozen=True)
class Cut:
    """How a head's hair falls. Angles in radians, 0 before the nose or at the parting.

    Attributes:
        front, side, back: how far hair reaches from the parting before it hangs.
        opening: angles to both sides of the nose where the front ends and the side begins.
        hang: how far it hangs down at the sides and behind, metres.
        swirl: how far it is combed to one side, radians a radian.
        volume: how far it stands off, as a share of the head's radius.
    """

    front: float
    side: float
    back: float
    opening: tuple[float, float]
    hang: float
    swirl: float
    volume: float


def random_cut(rng: np.random.Generator) -> Cut:
    """Returns a cut: short or long, with or without a fringe."""
    fringe = rng.random() < 0.6
    opening = rng.uniform(0.45, 1.1)
    long = rng.random() < 0.5
    return Cut(
        front=np.deg2rad(rng.uniform(52, 82) if fringe else rng.uniform(34, 50)),
        side=np.deg2rad(rng.uniform(82, 105) if long else rng.uniform(65, 115)),
        back=np.deg2rad(rng.uniform(110, 140)),
        opening=(opening, opening + rng.uniform(0.1, 0.6)),
        hang=rng.uniform(0.02, 0.2) if long else 0.0,
        swirl=rng.normal(0, 0.5),
        volume=np.exp(rng.uniform(np.log(0.03), np.log(0.3))),
    )


def strand_texture(
    colour: np.ndarray, rng: np.random.Generator, *, grey: float | None = None, gaps: float = 0.3
) -> np.ndarray:
    """Returns hairs side by side, linear RGB and opacity `[rows, hairs, 4]`: darker and lighter
    ones, highlights or grey ones among them, a band of gloss across them all.

    Args:
        colour: linear RGB of most.
        rng: chooses.
        grey: share of white hairs; None is by chance, often none.
        gaps: share of the width that no hair covers.
    """
    fine = rng.standard_normal(_HAIRS)
    wide = ndimage.gaussian_filter(rng.standard_normal(_HAIRS), rng.uniform(2, 8), mode="wrap")
    tone = rng.uniform(0.1, 0.5) * fine + rng.uniform(0.1, 0.5) * wide / wide.std()
    rgb = colour * np.exp(tone)[:, None]
    if grey is None:
        grey = rng.uniform(0.05, 0.8) if rng.random() < 0.25 else 0.0
    white = rng.uniform(0.3, 0.75) * np.array([1.0, 0.98, 0.94])
    rgb = np.where((rng.random(_HAIRS) < grey)[:, None], white * np.exp(0.3 * tone)[:, None], rgb)
    if rng.random() < 0.35:  # highlights
        other = np.maximum(hair_colour(rng), colour * rng.uniform(1, 3))
        streaks = ndimage.gaussian_filter(rng.standard_normal(_HAIRS), rng.uniform(1, 5))
        share = np.clip(streaks / streaks.std() - rng.uniform(-0.5, 1), 0, 1)
        rgb = rgb + (other - rgb) * share[:, None]
    along = np.linspace(0, 1, _ROWS)
    place = rng.uniform(0.1, 0.9) + 0.05 * ndimage.gaussian_filter(fine, 2)
    gloss = np.exp(-(((along[:, None] - place) / rng.uniform(0.05, 0.25)) ** 2))
    dark = 1 - rng.uniform(0, 0.5) * np.exp(-along / rng.uniform(0.05, 0.3))  # roots
    shade = dark[:, None] * (1 + rng.uniform(0, 2.0) * gloss)
    rgb = rgb * shade[..., None] + rng.uniform(0, 0.12) * gloss[..., None]
    tip = 1 - rng.uniform(0, 0.5) * rng.random(_HAIRS)
    shown = (rng.random(_HAIRS) > gaps) & (along[:, None] <= tip)
    return np.concatenate([np.clip(rgb, 0.003, 0.95), shown[..., None]], -1)


def ribbons(
    paths: np.ndarray,
    normals: np.ndarray,
    width: np.ndarray,
    hairs: int,
    texture: np.ndarray,
    kind: int,
    rng: np.random.Generator,
) -> Part:
    """Returns locks as one part.

    Args:
        paths: `[C, N, 3]` from root to tip.
        normals: `[C, N, 3]` off the head.
        width: `[C, N]`, metres.
        hairs: columns of the texture on a lock.
        texture: of `strand_texture`.
        kind: their class.
        rng: chooses the columns.
    """
    count, steps = paths.shape[:2]
    across = np.cross(np.gradient(paths, axis=1), normals)
    across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    half = 0.5 * width[..., None] * across
    vertices = np.stack([paths - half, paths + half], 2).reshape(-1, 3)
    first = rng.integers(0, _HAIRS - hairs, (count, 1, 1))
    u = (first + np.array([0, hairs])) / _HAIRS
    v = np.linspace(1, 0, steps)[None, :, None]
    uvs = np.stack(np.broadcast_arrays(u, v), -1).reshape(-1, 2)
    at = 2 * (np.arange(count)[:, None] * steps + np.arange(steps - 1)).reshape(-1, 1)
    triangles = np.concatenate([at + np.array([0, 1, 2]), at + np.array([1, 3, 2])])
    return Part(
        kind, vertices, triangles, rgba=texture, uvs=uvs, uv_triangles=triangles,
        round_normals=_MIDDLE if kind == HAIR else None,
    )  # fmt: skip


def combed(
    vertices: np.ndarray,
    cut: Cut,
    rng: np.random.Generator,
    texture: np.ndarray,
    *,
    count: int,
    front: float = np.pi,
) -> Part:
    """Returns hair combed from a parting on the crown over the head.

    Args:
        vertices: `[V, 3]` of the head's outer skin.
        cut: how it falls.
        rng: chooses.
        texture: of `strand_texture`.
        count: of locks.
        front: only what lies so near the middle of the front, radians.
    """
    parting = np.array([rng.normal(0, 0.25), 1.0, rng.uniform(-0.4, 0.35)])
    parting /= np.linalg.norm(parting)
    ahead = np.array([0.0, 0.0, 1.0]) - parting[2] * parting
    ahead /= np.linalg.norm(ahead)
    beside = np.cross(parting, ahead)
    turn = rng.uniform(-front, front, (count, 1))
    away = np.clip((np.abs(turn) - cut.opening[0]) / (cut.opening[1] - cut.opening[0]), 0, 1)
    behind = np.clip((np.abs(turn) - 1.8) / 0.8, 0, 1)
    end = cut.front + away * (cut.side - cut.front) + behind * (cut.back - cut.side)
    end = end * np.exp(rng.normal(0, rng.uniform(0.01, 0.12), (count, 1)))
    hang = away * cut.hang * np.exp(rng.normal(0, 0.2, (count, 1)))
    start = rng.uniform(0, 0.6, (count, 1)) * end * (rng.random((count, 1)) < 0.6)
    share = np.linspace(0, 1, _STEPS)[None]
    length = end - start + hang / 0.09
    angle = start + share * length
    down = 0.09 * np.maximum(angle - end, 0)[..., None]
    angle = np.minimum(angle, end)
    waves = rng.normal(0, rng.uniform(0.01, 0.08), (count, 1))
    heading = turn + cut.swirl * angle + waves * np.sin(share * rng.uniform(2, 9) + 3 * turn)
    flat = np.cos(heading)[..., None] * ahead + np.sin(heading)[..., None] * beside
    direction = np.cos(angle)[..., None] * parting + np.sin(angle)[..., None] * flat
    relative = vertices - _MIDDLE
    radius = np.linalg.norm(relative, axis=1)
    near = cKDTree(relative / radius[:, None]).query(direction, 4)[1]
    off = rng.random((count, 1)) * cut.volume * np.sin(np.pi * np.clip(share, 0.05, 0.9))
    reach = radius[near].max(-1) * (1 + off) + rng.uniform(0.002, 0.006)
    curl = rng.uniform(0, 0.006) * np.sin(6 * share + 6 * turn)[..., None] * [1, 0, 1]
    paths = _MIDDLE + reach[..., None] * direction + curl * share[..., None]
    paths = paths - down * [0.0, 1.0, 0.0]
    wide = np.exp(rng.uniform(np.log(0.002), np.log(0.009), (count, 1)))
    width = wide * (1 - rng.uniform(0.3, 0.9) * share**2)
    return ribbons(paths, direction, width, int(rng.integers(10, 30)), texture, HAIR, rng)


def head_of_hair(vertices: np.ndarray, colour: np.ndarray, rng: np.random.Generator) -> Part:
    """Returns a whole head of hair; arguments as `combed`'s and `strand_texture`'s."""
    texture = strand_texture(colour, rng, gaps=rng.uniform(0.05, 0.35))
    return combed(vertices, random_cut(rng), rng, texture, count=int(rng.integers(700, 1600)))


def fringe(vertices: np.ndarray, colour: np.ndarray, rng: np.random.Generator) -> Part:
    """Returns 3 to 300 locks over forehead, temples and sometimes cheeks, thin or dense."""
    cut = random_cut(rng)
    opening = rng.uniform(0.2, 1.0)
    cut = Cut(
        front=np.deg2rad(rng.uniform(45, 85)),
        side=np.deg2rad(rng.uniform(60, 100)),
        back=cut.back,
        opening=(opening, opening + 0.4),
        hang=rng.choice([0.0, rng.uniform(0.01, 0.1)], p=[0.6, 0.4]),
        swirl=rng.normal(0, 0.7),
        volume=np.exp(rng.uniform(np.log(0.01), np.log(0.15))),
    )
    texture = strand_texture(colour, rng, gaps=rng.uniform(0.2, 0.85))
    count = int(np.exp(rng.uniform(np.log(3), np.log(300))))
    return combed(vertices, cut, rng, texture, count=count, front=rng.uniform(0.5, 1.5))


def beard_hair(
    vertices: np.ndarray,
    normals: np.ndarray,
    triangles: np.ndarray,
    share: np.ndarray,
    length: float,
    texture: np.ndarray,
    rng: np.random.Generator,
) -> Part:
    """Returns hairs of a beard, which belong to the face.

    Args:
        vertices: `[V, 3]` of the head.
        normals: `[V, 3]`.
        triangles: of its outer skin.
        share: `[V]` how dense the beard is, 0..1.
        length: metres.
        texture: of `strand_texture`.
        rng: chooses.
    """
    corners = vertices[triangles]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    dense = area * np.clip(share[triangles].mean(1), 0, 1)
    count = int(rng.uniform(400, 2500))
    chosen = rng.choice(len(triangles), count, p=dense / dense.sum())
    weights = rng.dirichlet([1, 1, 1], count)
    root = np.einsum("nk,nkc->nc", weights, corners[chosen])
    out = np.einsum("nk,nkc->nc", weights, normals[triangles[chosen]])
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
    down = np.array([0.0, -1.0, 0.1]) + rng.normal(0, 0.35, (count, 3))
    down[:, 0] += 5 * root[:, 0]  # away from the middle
    down -= (down * out).sum(1, keepdims=True) * out
    own = length * np.exp(rng.normal(0, 0.3, (count, 1, 1)))
    along = np.linspace(0, 1, 8)[None, :, None]
    curl = rng.normal(0, 0.15, (count, 1, 3)) * np.sin(rng.uniform(3, 8) * along)
    rise = rng.uniform(0.1, 0.35) * along * (1.3 - along)
    paths = root[:, None] + own * (along * down[:, None] + rise * out[:, None] + curl * along)
    paths = paths + 3e-4 * out[:, None]
    width = np.broadcast_to(rng.uniform(4e-4, 2e-3) * (1 - 0.6 * along[..., 0]), (count, 8))
    steady = np.broadcast_to(out[:, None], paths.shape)
    return ribbons(paths, steady, width, int(rng.integers(2, 8)), texture, BEARD, rng)
