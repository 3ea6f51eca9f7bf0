"""Cuts the head out of MakeHuman's body, adds eyeballs, and names the regions.

Vertex numbers are those of MakeHuman's base mesh hm08, which never change. Every edge loop is
given by two neighbouring vertices of it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from building.makehuman import Base

REGIONS = (
    *("skin", "lips", "brows", "lids", "nose", "ears", "scalp", "neck"),
    *("inner_mouth", "sockets", "eyes", "teeth", "tongue"),
)
_COLLAR = 1491  # on the midline of the back; its loop runs over the trapezius to the throat
_JAW_LINE = 787  # on the midline under the chin; its loop is the lowest that misses the chin
_LIP_BORDER, _LIP_INSIDE, _MOUTH_BACK = 455, 520, 707
_LIP_RINGS = {
    468: 0.4,
    474: 0.8,
    520: 1.0,
    537: 1.0,
    554: 0.5,
    571: 0.25,
}  # top vertex: share
_LID_BORDER, _SOCKET_BORDER = 6893, 7773  # rings around the eye on the left
_SOCKET_BACK = 8025  # the innermost ring of the left socket
_EAR_BORDER, _EAR_INSIDE = 12344, 12121  # rings around the left ear and its canal
_MERIDIANS = 24
_RING_ANGLES = (
    5.0,
    11.0,
    16.0,
    20.5,
    24.0,
    30.0,
    38.0,
    48.0,
    60.0,
    75.0,
    92.0,
    112.0,
    135.0,
    158.0,
)
_HAIRLINE_Z = (-9.0, -0.2, 0.3, 0.62, 0.75, 0.85, 0.95, 1.2, 1.45)
_HAIRLINE_Y = (6.72, 6.75, 6.9, 7.05, 7.2, 7.45, 7.75, 7.93, 7.97)


@dataclass(frozen=True)
class Topology:
    """The head's faces; `sources [V]` are base vertices, or -1 for the eyeballs at the end."""

    sources: np.ndarray
    quads: np.ndarray
    uvs: np.ndarray
    uv_quads: np.ndarray
    mirror: np.ndarray
    regions: np.ndarray


class _Mesh:
    """Adjacency of a quad mesh, for walking edge loops and flood filling."""

    def __init__(self, quads: np.ndarray) -> None:
        self.neighbours: dict[int, set[int]] = defaultdict(set)
        self.faces: dict[frozenset[int], set[int]] = defaultdict(set)
        for index, quad in enumerate(quads.tolist()):
            for a, b in zip(quad, quad[1:] + quad[:1], strict=True):
                self.neighbours[a].add(b)
                self.neighbours[b].add(a)
                self.faces[frozenset((a, b))].add(index)

    def loop(self, first: int, second: int) -> list[int]:
        """Returns the closed edge loop that starts along the edge first, second."""
        path = [first, second]
        while path[-1] != first:
            before, here = path[-2:]
            if len(self.neighbours[here]) != 4:
                raise ValueError(f"the edge loop from {first} ends at {here}")
            side = self.faces[frozenset((before, here))]
            (after,) = (
                n for n in self.neighbours[here] if not self.faces[frozenset((here, n))] & side
            )
            path.append(after)
        return path[:-1]

    def loop_through(self, vertex: int, length: int) -> set[int]:
        """Returns the closed edge loop of `length` vertices through `vertex`."""
        for second in sorted(self.neighbours[vertex]):
            try:
                path = self.loop(vertex, second)
            except ValueError:
                continue
            if len(path) == length:
                return set(path)
        raise ValueError(f"no edge loop of {length} vertices through {vertex}")

    def fill(self, seed: int, border: set[int]) -> set[int]:
        """Returns the vertices that are reached from `seed` without crossing `border`."""
        found, front = {seed}, [seed]
        while front:
            for n in self.neighbours[front.pop()]:
                if n not in found and n not in border:
                    found.add(n)
                    front.append(n)
        return found


def close_lips(base: Base, mirror: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Returns the mean with the lips touching: the data leaves a gap of up to 1.5 mm.

    The gap is measured between the rings' upper and lower vertices on the ring where it is
    narrowest, and closed there by equal shares, less so on the rings in front and behind.
    """
    body = _Mesh(base.quads["body"])
    closed = mean.copy()
    narrowest = _half_ring(body, mean, _LIP_INSIDE)
    gap = mean[narrowest[:10], 1] - mean[narrowest[:9:-1], 1]
    for ring, share in _LIP_RINGS.items():
        half = _half_ring(body, mean, ring)
        closed[half[:10], 1] -= share * gap / 2
        closed[half[:9:-1], 1] += share * gap / 2
        # The midline is its own mirror image; the rest is copied to the other side.
        closed[mirror[half]] = closed[half] * [-1, 1, 1]
    return closed


def _half_ring(body: _Mesh, mean: np.ndarray, top: int) -> np.ndarray:
    """Returns the left half of a lip ring, from the upper midline to the lower."""
    for second in sorted(n for n in body.neighbours[top] if mean[n, 0] > 1e-6):
        try:
            path = body.loop(top, second)
        except ValueError:
            continue
        if len(path) == 38:
            return np.array(path[:20])
    raise ValueError(f"no lip ring through {top}")


def eyeball(center: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns a sphere as quads: vertices `[N, 3]`, quads `[Q, 4]`, UVs `[N, 2]`.

    Vertex 0 is the pupil (towards +z), the last one the back pole. Rings lie closer together
    around the iris (its border is the ring of 20.5 degrees). The UVs are azimuthal equidistant:
    the pupil is in the centre of the square, the back pole is its inscribed circle.
    """
    polar = np.deg2rad(_RING_ANGLES)[:, None]
    # Half a step off the axes, so that the mirror image of a meridian is a meridian.
    azimuth = (np.arange(_MERIDIANS) + 0.5)[None] * 2 * np.pi / _MERIDIANS
    ring = [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth)]
    sphere = np.stack([*ring, np.cos(polar) + 0 * azimuth], -1).reshape(-1, 3)
    sphere = np.concatenate([[[0, 0, 1.0]], sphere, [[0, 0, -1.0]]])
    angle = np.concatenate([[0], np.repeat(np.deg2rad(_RING_ANGLES), _MERIDIANS), [np.pi]])
    around = np.concatenate([[0], np.tile(azimuth[0], len(_RING_ANGLES)), [0]])
    disc = np.stack([np.cos(around), np.sin(around)], -1) * (angle / (2 * np.pi))[:, None]

    last = len(sphere) - 1
    here = np.arange(_MERIDIANS)
    after = (here + 1) % _MERIDIANS
    starts = 1 + _MERIDIANS * np.arange(len(_RING_ANGLES) - 1)[:, None]
    bands = np.stack(
        [
            starts + here,
            starts + here + _MERIDIANS,
            starts + after + _MERIDIANS,
            starts + after,
        ],
        -1,
    ).reshape(-1, 4)
    even = np.arange(0, _MERIDIANS, 2)
    front = np.stack([0 * even, 1 + even, 1 + (even + 1), 1 + (even + 2) % _MERIDIANS], -1)
    low = last - _MERIDIANS
    back = np.stack(
        [0 * even + last, low + (even + 2) % _MERIDIANS, low + even + 1, low + even], -1
    )
    return sphere * radius + center, np.concatenate([front, bands, back]), 0.5 + disc


def eye_mirror() -> np.ndarray:
    """Returns the index in one eyeball of the mirror image of each vertex of the other."""
    meridian = (_MERIDIANS // 2 - 1 - np.arange(_MERIDIANS)) % _MERIDIANS
    rings = 1 + _MERIDIANS * np.arange(len(_RING_ANGLES))[:, None] + meridian
    return np.concatenate([[0], rings.ravel(), [rings.size + 1]])


def build(base: Base, mirror: np.ndarray, mean: np.ndarray) -> Topology:
    """Returns the head's topology.

    Args:
        base: MakeHuman's base mesh.
        mirror: `[V]` its mirror table.
        mean: `[V, 3]` the symmetric mean in decimetres, which decides brows and hairline.
    """
    body = _Mesh(base.quads["body"])
    collar = body.loop_through(_COLLAR, 42)
    head = body.fill(_MOUTH_BACK, collar) | collar
    parts = {"body": head}
    for name in ("upper-teeth", "lower-teeth", "tongue"):
        parts[f"helper-{name}"] = set(base.quads[f"helper-{name}"].ravel().tolist())
    kept = np.array(sorted(set().union(*parts.values())), np.int32)
    number = np.full(len(base.vertices), -1, np.int32)
    number[kept] = np.arange(len(kept))

    quads, uv_quads = [], []
    for name, vertices in parts.items():
        inside = np.isin(base.quads[name], list(vertices)).all(1)
        quads.append(number[base.quads[name][inside]])
        uv_quads.append(base.uv_quads[name][inside])
    used, compact = np.unique(np.concatenate(uv_quads), return_inverse=True)
    uvs, uv_quads = base.uvs[used], [compact.reshape(-1, 4)]

    _, ball, disc = eyeball(np.zeros(3), 1.0)
    flip = eye_mirror()
    count, eye = len(kept), len(disc)
    quads += [count + ball, count + eye + flip[ball][:, ::-1]]
    mirrored_disc = disc * [-1, 1] + [1, 0]
    uv_quads += [len(uvs) + ball, len(uvs) + eye + flip[ball][:, ::-1]]
    uvs = np.concatenate([uvs, disc, mirrored_disc[flip]])

    regions = np.concatenate(
        [
            _regions(body, head, mirror, mean)[kept],
            np.full(2 * eye, REGIONS.index("eyes")),
        ]
    )
    order = np.arange(eye)
    pairs = [number[mirror[kept]], count + eye + flip[order], count + flip[order]]
    return Topology(
        sources=np.concatenate([kept, np.full(2 * eye, -1)]).astype(np.int32),
        quads=np.concatenate(quads).astype(np.int32),
        uvs=uvs.astype(np.float32),
        uv_quads=np.concatenate(uv_quads).astype(np.int32),
        mirror=np.concatenate(pairs).astype(np.int32),
        regions=regions.astype(np.int32),
    )


def _regions(body: _Mesh, head: set[int], mirror: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Returns the region of each base vertex (0 where it is not on the head)."""
    x, y, z = abs(mean[:, 0]), mean[:, 1], mean[:, 2]
    region = np.zeros(len(mean), np.int32)

    def paint(name: str, vertices: set[int] | np.ndarray) -> None:
        index = (
            np.array(sorted(vertices)) if isinstance(vertices, set) else np.flatnonzero(vertices)
        )
        region[index] = region[mirror[index]] = REGIONS.index(name)

    on_head = np.isin(np.arange(len(mean)), list(head))
    paint("scalp", on_head & (y > np.interp(z, _HAIRLINE_Z, _HAIRLINE_Y)))
    brow = 7.545 - 0.9 * np.clip(x - 0.40, 0, None)
    paint("brows", on_head & (abs(y - brow) < 0.055) & (x > 0.08) & (x < 0.52) & (z > 1.0))
    wing = 0.06 + 0.19 * np.clip((7.45 - y) / 0.45, 0, 1)
    paint("nose", on_head & (y < 7.45) & (y > 6.85) & (x < wing) & (z > 1.2))
    ears = body.loop_through(_EAR_BORDER, 24)
    paint("ears", body.fill(_EAR_INSIDE, ears) | ears)
    under_jaw = body.loop_through(_JAW_LINE, 42)
    paint("neck", (head - body.fill(_MOUTH_BACK, under_jaw)) | under_jaw)
    lids = body.loop_through(_LID_BORDER, 28)
    paint("lids", body.fill(_SOCKET_BACK, lids) | lids)
    sockets = body.loop_through(_SOCKET_BORDER, 28)
    paint("sockets", body.fill(_SOCKET_BACK, sockets) | sockets)
    lips = body.loop_through(_LIP_BORDER, 38)
    paint("lips", body.fill(_MOUTH_BACK, lips) | lips)
    inside = body.loop_through(_LIP_INSIDE, 38)
    paint("inner_mouth", body.fill(_MOUTH_BACK, inside) | inside)
    for name, first, last in (("teeth", 14992, 15127), ("tongue", 13380, 13605)):
        region[first : last + 1] = REGIONS.index(name)
    return region
