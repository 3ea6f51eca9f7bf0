"""Builds `canonical_uv.npz`: one mirror-symmetric UV for every face model.

python -m building.canonical_uv

The outer skin of head and neck, cut open behind the head, is one chart: a convex combination map
(Tutte 1963, Floater 1997) into a superellipse. All weights are positive and the border is convex,
so no triangle can flip; the weights are then adapted (Yoshizawa, Belyaev and Seidel 2004) until
the texel density follows a wish: high on the face, low on scalp and neck. Ears, eye sockets, inner
mouth, eyeballs, teeth and tongue have charts of their own in a strip below.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from building.parametrization import (
    anisotropy,
    arc_length,
    areas,
    border_loops,
    cut_seam,
    signed_areas,
    solve_map,
    superellipse,
)
from jaxface.skins.mouth_colours import LOWER_TEETH, TEETH_ROWS, UPPER_TEETH

STRIP = 0.125  # share of the height that the small charts take
OUTER = ("skin", "lips", "brows", "lids", "nose", "scalp", "neck")
CHARTS = ("main", "ears", "sockets", "inner_mouth", "eyes", "teeth", "tongue")
FACE = ("skin", "lips", "brows", "lids", "nose")


class _Builder:
    """Collects charts: UV vertices and, per triangle corner, which of them it uses."""

    def __init__(self, model: dict[str, np.ndarray]) -> None:
        self.mean, self.triangles = model["mean"].astype(float), model["triangles"]
        self.mirror, region = model["mirror"], model["vertex_region"]
        self.quads = model["quads"]
        self.names = [str(x) for x in model["region_names"]]
        self.region = region
        self.uvs: list[np.ndarray] = []
        self.uv_triangles = np.full_like(self.triangles, -1)
        self.chart = np.full(len(self.triangles), -1, np.int32)
        quad_region = region[model["quads"]]
        # Triangles 2q and 2q + 1 are quad q.
        inner = {x: (quad_region == self.names.index(x)).any(1) for x in CHARTS[1:]}
        main = np.isin(quad_region, [self.names.index(x) for x in OUTER]).all(1)
        self.parts = {"main": main} | inner
        self.parts = {k: np.repeat(v, 2) for k, v in self.parts.items()}

    def add(self, which: np.ndarray, triangles: np.ndarray, uv: np.ndarray, chart: str) -> None:
        """Adds triangles (a mask over all) whose corners are numbered in `uv [N, 2]`."""
        offset = sum(map(len, self.uvs))
        used, index = np.unique(triangles, return_inverse=True)
        self.uvs.append(uv[used])
        self.uv_triangles[which] = offset + index.reshape(triangles.shape)
        self.chart[which] = CHARTS.index(chart)

    def main_chart(self) -> None:
        which = self.parts["main"]
        triangles = self.triangles[which]
        p = self.mean
        middle = np.flatnonzero(self.mirror == np.arange(len(p)))
        middle = np.intersect1d(middle, triangles)
        crown = middle[np.argmax(p[middle, 1])]
        # From the crown down the back: the midline behind it, in order.
        back = middle[(p[middle, 2] < p[crown, 2]) & (p[middle, 2] < -0.07)]
        back = back[np.argsort(-np.unwrap(_back_angle(p[back])))]
        seam = np.concatenate([[crown], back[back != crown]])
        cut, origin = cut_seam(triangles, seam, p)
        points = p[origin]
        (border,) = (x for x in border_loops(cut) if crown in x)
        border = np.roll(border, -int(np.flatnonzero(border == crown)[0]))
        arc = arc_length(points[border])
        # The tip is on top; the loop runs counter-clockwise. The neck gets the lower third.
        neck = self.region[origin[border]] == self.names.index("neck")
        loop = neck & (points[border, 1] < -0.14)
        angle = np.pi / 2 + 2 * np.pi * _stretch_share(arc, loop)
        edge = superellipse(angle)
        density = self._density(points)
        uv = solve_map(cut, points, border, edge, density)
        uv = uv * [0.497, 0.5 * (1 - STRIP) - 0.003] + [0.5, STRIP + 0.5 * (1 - STRIP)]
        mirrored = np.arange(len(origin))
        mirrored[: len(p)] = self.mirror
        copies = np.arange(len(p), len(origin))
        mirrored[seam[1:]], mirrored[copies] = copies, seam[1:]
        flipped = uv[mirrored] * [-1, 1] + [1, 0]
        self.add(which, cut, (uv + flipped) / 2, "main")

    def _density(self, points: np.ndarray) -> np.ndarray:
        """Returns the wished texel density: 1 on the face, falling towards its back and neck."""
        azimuth = np.degrees(np.arctan2(np.abs(points[:, 0]), points[:, 2] + 0.075))
        side = 1 / (1 + np.exp((azimuth - 100) / 9))
        up = 1 / (1 + np.exp((points[:, 1] - 0.085) / 0.008))
        low = 1 / (1 + np.exp((-0.125 - points[:, 1]) / 0.008))
        front = side * up * low
        features = np.exp(-(np.linalg.norm(points - [0, -0.035, 0.03], axis=1) ** 2) / 0.05**2)
        return 0.36 + 0.64 * front + 0.25 * features

    def disc(self, part: str, side: int, cell: tuple[float, float, float, float]) -> None:
        """Maps a disc-shaped part into the ellipse of a cell `(u0, v0, u1, v1)`."""
        which = self.parts[part].copy()
        if side:
            which &= np.sign(self.mean[self.triangles].mean(1)[:, 0]) == side
        triangles = self.triangles[which]
        (border,) = border_loops(triangles)
        points = self.mean
        middle = points[border] - points[border].mean(0)
        # Start where the loop is highest (on the midline for symmetric parts).
        start = np.argmax(middle[:, 1] - 1e3 * np.abs(middle[:, 0]) * (side == 0))
        border = np.roll(border, -int(start))
        angle = np.pi / 2 + 2 * np.pi * arc_length(points[border])
        density = np.ones(len(points))
        uv = solve_map(triangles, points, border, superellipse(angle, 2.5), density)
        low, high = np.array(cell[:2]), np.array(cell[2:])
        uv = low + (uv + 1) / 2 * (high - low)
        if side == 0:
            uv = (uv + uv[self.mirror] * [-1, 1] + [1, 0]) / 2
        self.add(which, triangles, uv, part)
        if side > 0:  # the other side is its mirror image
            other = self._mirrored(which)
            self.add(other, self.triangles[other], uv[self.mirror] * [-1, 1] + [1, 0], part)

    def teeth(self, upper: bool, cell: tuple[float, float, float, float]) -> None:
        """Maps the teeth of one jaw, a grid of quads, into a cell: u runs along the arch."""
        teeth = np.unique(self.triangles[self.parts["teeth"]])  # the lower jaw's come first
        which = self.parts["teeth"] & ((self.triangles[:, 0] >= teeth[len(teeth) // 2]) == upper)
        rows = _teeth_rows(self.quads[which[::2]], self.mean)
        uv = np.zeros((len(self.mean), 2))
        for row, height in zip(rows, TEETH_ROWS, strict=True):
            uv[row, 0] = _along(self.mean[rows[2]])
            uv[row, 1] = 1 - height if upper else height
        uv = (uv + uv[self.mirror] * [-1, 1] + [1, 0]) / 2
        uv = uv * (np.array(cell[2:]) - cell[:2]) + cell[:2]
        self.add(which, self.triangles[which], uv, "teeth")

    def _mirrored(self, which: np.ndarray) -> np.ndarray:
        keys = {tuple(sorted(t)): i for i, t in enumerate(self.triangles.tolist())}
        result = np.zeros_like(which)
        for triangle in self.mirror[self.triangles[which]].tolist():
            result[keys[tuple(sorted(triangle))]] = True
        return result

    def sphere(self, cell: tuple[float, float, float, float]) -> None:
        """Maps an eyeball by the angle from its front pole; the back pole is split by triangle."""
        which = self.parts["eyes"] & (self.mean[self.triangles].mean(1)[:, 0] > 0)
        triangles = self.triangles[which].copy()
        used = np.unique(triangles)
        center = (self.mean[used].max(0) + self.mean[used].min(0)) / 2
        ray = self.mean - center
        ray /= np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 1e-12)
        angle = np.degrees(np.arccos(np.clip(ray[:, 2], -1, 1)))
        # The iris (within 20.5 degrees) and the white around it get most of the disc.
        radius = np.interp(angle, [0, 20.5, 60, 180], [0, 0.42, 0.82, 1])
        direction = np.arctan2(ray[:, 1], ray[:, 0])
        uv = radius[:, None] * np.stack([np.cos(direction), np.sin(direction)], axis=1)
        pole = np.flatnonzero((radius > 0.999) & np.isin(np.arange(len(radius)), used))
        extra: list[np.ndarray] = []
        for t, k in zip(*np.nonzero(np.isin(triangles, pole)), strict=True):
            around = uv[np.delete(triangles[t], k)].sum(0)
            triangles[t, k] = len(uv) + len(extra)
            extra.append(around / np.linalg.norm(around))
        # Next to the back pole, triangles of one ring turn over: fold their middle corner inwards.
        for t in np.flatnonzero((triangles < len(uv)).all(1)):
            corners = uv[triangles[t]]
            if signed_areas(corners[None])[0] <= 0:
                k = int(np.argmax((corners @ corners.T).sum(1)))
                triangles[t, k] = len(uv) + len(extra)
                extra.append(0.97 * np.delete(corners, k, axis=0).mean(0))
        uv = np.concatenate([uv, np.array(extra).reshape(-1, 2)])
        low, high = np.array(cell[:2]), np.array(cell[2:])
        uv = low + (uv + 1) / 2 * (high - low)
        self.add(which, triangles, uv, "eyes")
        other = self._mirrored(which)
        keys = {tuple(sorted(t)): i for i, t in enumerate(self.triangles[other].tolist())}
        here = self.triangles[which]
        mirrored = np.zeros_like(triangles)
        for source, corners in zip(here, triangles, strict=True):
            image = self.mirror[source]
            target = self.triangles[other][keys[tuple(sorted(image.tolist()))]]
            place = keys[tuple(sorted(image.tolist()))]
            for v, c in zip(image, corners, strict=True):
                mirrored[place, int(np.flatnonzero(target == v)[0])] = c
        self.add(other, mirrored, uv * [-1, 1] + [1, 0], "eyes")

    def tongue(self, model: dict[str, np.ndarray], cell: tuple) -> None:
        """Scales MakeHuman's own map of the tongue, which is symmetric, into a cell.

        Its underside comes first; the tip and the upper side, which are seen, get most of it.
        """
        which = self.parts["tongue"]
        corners = model["makehuman_uv_triangles"][which]
        uv = model["makehuman_uvs"].astype(float)
        low, high = uv[corners].min((0, 1)), uv[corners].max((0, 1))
        uv = (uv - low) / (high - low)
        uv[:, 1] = np.interp(uv[:, 1], (0, 0.35, 0.6, 1), (0, 0.15, 0.3, 1))
        uv = uv * (np.array(cell[2:]) - cell[:2]) + cell[:2]
        self.add(which, corners, uv, "tongue")


def _teeth_rows(quads: np.ndarray, mean: np.ndarray) -> list[np.ndarray]:
    """Returns the rows of one jaw's grid from the gums to the back, each from right to left."""
    sides = np.stack([quads, np.roll(quads, -1, axis=1)], -1).reshape(-1, 2)
    edges = np.unique(np.sort(sides, axis=1), axis=0)
    ends = {int(v) for v in quads.ravel() if (quads == v).sum() == 1}
    edge_uses = Counter(map(tuple, np.sort(sides, axis=1).tolist()))
    neighbours: dict[int, set[int]] = defaultdict(set)
    border: dict[int, set[int]] = defaultdict(set)
    for a, b in edges.tolist():
        for links in (neighbours, border) if edge_uses[a, b] == 1 else (neighbours,):
            links[a].add(b)
            links[b].add(a)

    def walk(first: int, second: int) -> list[int]:
        path = [first, second]
        while path[-1] not in ends:
            (after,) = border[path[-1]] - {path[-2]}
            path.append(after)
        return path

    paths = [walk(end, second) for end in sorted(ends) for second in sorted(border[end])]
    longest = max(map(len, paths))
    whole = [path for path in paths if len(path) == longest and mean[path[0], 0] < 0]
    rows = [max(whole, key=lambda path: mean[path, 2].mean())]  # gums are in front of the back
    seen = set(rows[0])
    while len(seen) < len(np.unique(quads)):
        rows.append([(neighbours[v] - seen).pop() for v in rows[-1]])
        seen |= set(rows[-1])
    return [np.array(row) for row in rows]


def _along(points: np.ndarray) -> np.ndarray:
    """Returns the share of the length of a path at each of its points."""
    step = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return np.concatenate([[0], np.cumsum(step)]) / step.sum()


def _back_angle(points: np.ndarray) -> np.ndarray:
    """Angle around the head's centre, from the crown backwards and down."""
    return np.arctan2(points[:, 1] + 0.02, points[:, 2] + 0.06) % (2 * np.pi) * -1


def _stretch_share(arc: np.ndarray, loop: np.ndarray) -> np.ndarray:
    """Returns arc shares in which the flagged part of the border takes 30 per cent, centred."""
    step = np.diff(np.append(arc, 1.0))
    weight = np.where(loop & np.roll(loop, -1), 1.0, 0.0)
    inside = (step * weight).sum()
    step = np.where(weight > 0, step / inside * 0.30, step / (1 - inside) * 0.70)
    return np.concatenate([[0], np.cumsum(step)])[:-1]


def build(model: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns `uvs`, `uv_triangles`, `uv_quads`, `triangle_chart` and `chart_names`."""
    builder = _Builder(model)
    builder.main_chart()
    s = STRIP
    builder.disc("ears", 1, (1 - s, 0.002, 0.998, s - 0.004))
    builder.sphere((1 - 2 * s, 0.002, 1 - s - 0.004, s - 0.004))
    builder.disc("sockets", 1, (1 - 2.9 * s, 0.01, 1 - 2 * s - 0.006, s - 0.012))
    builder.disc("inner_mouth", 0, (0.37, 0.0815, 0.63, s - 0.004))
    builder.teeth(True, UPPER_TEETH)
    builder.teeth(False, LOWER_TEETH)
    builder.tongue(model, (0.43, 0.0297, 0.57, 0.0523))
    triangles = builder.uv_triangles
    quads, vertex = model["quads"], model["triangles"]
    uv_quads = np.full_like(quads, -1)
    for t in range(2):
        for k in range(3):
            hit = quads == vertex[t::2, k : k + 1]
            uv_quads[hit] = np.broadcast_to(triangles[t::2, k : k + 1], quads.shape)[hit]
    return {
        "uvs": np.concatenate(builder.uvs).astype(np.float32),
        "uv_triangles": triangles.astype(np.int32),
        "uv_quads": uv_quads.astype(np.int32),
        "triangle_chart": builder.chart,
        "chart_names": np.array(CHARTS),
    }


def report(model: dict[str, np.ndarray], uv: dict[str, np.ndarray], size: int = 1024) -> str:
    """Returns a Markdown table: share of the square, texels a millimetre and stretch by region."""
    mean, triangles = model["mean"].astype(float), model["triangles"]
    names = [str(x) for x in model["region_names"]]
    region = model["vertex_region"][triangles]
    groups = {"face": np.isin(region, [names.index(x) for x in FACE]).all(1)}
    groups["face"] &= mean[triangles].mean(1)[:, 2] > -0.06
    groups |= {name: (region == i).all(1) for i, name in enumerate(names)}
    lines = ["| region | ours: share % | texels/mm | stretch | MakeHuman: share % | texels/mm |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    area3 = areas(mean[triangles])
    own = model["makehuman_uvs"][model["makehuman_uv_triangles"]]
    here = uv["uvs"][uv["uv_triangles"]].astype(float)
    stretch = anisotropy(mean[triangles], here)
    for name, which in groups.items():
        cells = [name]
        for corners in (here, own):
            area = np.abs(signed_areas(corners[which])).sum()
            density = np.sqrt(area * size**2 / area3[which].sum()) / 1000
            cells += [f"{100 * area:.1f}", f"{density:.2f}"]
        cells.insert(3, f"{np.average(stretch[which], weights=area3[which]):.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pretrained", type=Path, default=Path("pretrained"))
    args = parser.parse_args()
    with np.load(args.pretrained / "face_model.npz") as data:
        model = {key: data[key] for key in data.files}
    uv = build(model)
    np.savez_compressed(args.pretrained / "canonical_uv.npz", **uv)
    print(report(model, uv))


if __name__ == "__main__":
    main()
