"""Light from photographs of whole surroundings: 18 high-dynamic-range panoramas of Poly Haven.

Source: npm `@pmndrs/assets` 1.7.0, `hdri/*.exr.js`, resized by its authors to 512 x 256; CC0, both
Poly Haven's originals and the package.

Map space is right-handed with y up, as model space is: with the `head_rotation(0)` of
`jaxface.evaluation.scene` the camera looks along -z at the middle column, and columns run to its
right. Texel `[row, col]` of a map of H rows and W columns shows the direction

    (sin l cos p, sin p, -cos l cos p),  l = 2 pi ((col + 0.5) / W - 0.5),
                                         p = pi (0.5 - (row + 0.5) / H)

and covers the solid angle 2 pi^2 cos p / (W H). Radiance is linear RGB in each map's own unit; its
mean over all directions is `to_sh(...)[0] / sqrt(4 pi)`. A `rotation` `[3, 3]` takes map space to
camera space (OpenCV: x right, y down, z forward).
"""

from __future__ import annotations

import base64
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage, signal

from jaxface.errors import AssetError
from jaxface.evaluation.light import harmonics

NAMES = (
    *("apartment", "bridge", "city", "dawn", "esplanade", "forest", "hall", "lab", "lobby"),
    *("night", "park", "sky", "studio", "sunrise", "sunset", "venice", "warehouse", "workshop"),
)
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_LOST = 30.0  # times the map's mean: so bright is the blue around texels that lost red and green
_LEAST_LOST = 9  # texels; fewer are but black
_CORE = 0.03  # of the brightest texel's luminance: what belongs to the same light
_REACH = np.radians(8.0)  # from the brightest texel, which a light does not exceed
_DOMINANT = 0.2  # of all light: from here on a spot casts shadows that one sees


@dataclass(frozen=True)
class Spot:
    """The one bright light of a map.

    Attributes:
        direction: `[3]` towards it, map space, unit.
        flux: `[3]` radiance times solid angle: the irradiance of a surface that faces it. Over pi
            and turned to camera space it makes a `jaxface.evaluation.light.Sun`.
        radius: radians, of a disc of the same solid angle.
        rest: `[H, W, 3]` the map without it, so that it is not counted twice.
    """

    direction: np.ndarray
    flux: np.ndarray
    radius: float
    rest: np.ndarray


def load_maps(package: str | Path) -> dict[str, np.ndarray]:
    """Returns the 18 maps by name: linear radiance, float32 `[256, 512, 3]`, not negative.

    Args:
        package: unpacked npm package `@pmndrs/assets` 1.7.0.

    Raises:
        AssetError: if a map is missing.
    """
    maps = {}
    for name in NAMES:
        file = Path(package) / "hdri" / f"{name}.exr.js"
        if not file.is_file():
            raise AssetError(f"{file} is missing; unpack npm @pmndrs/assets 1.7.0 in {package}.")
        code = file.read_text().partition("base64,")[2].rstrip("\n;'\"")
        maps[name] = mend(_decode(base64.b64decode(code)))
    return maps


def _decode(exr: bytes) -> np.ndarray:
    """Returns the pixels `[H, W, 3]` of an EXR file (these are DWAB, which few libraries read)."""
    import OpenEXR  # of the extra `build`

    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(exr)
        file.flush()
        return np.asarray(OpenEXR.File(file.name).channels()["RGB"].pixels, np.float32)


def mend(radiance: np.ndarray) -> np.ndarray:
    """Returns a map without what resizing did to the sun.

    Around small lights it rings, down to negative radiance, which becomes 0. Where red and green
    overflowed they are 0 (`park` and `sunrise`): those texels get the mean of the blue that
    survived, in the colour of the light around them.
    """
    fixed = np.maximum(radiance, 0)
    blue = ndimage.maximum_filter(radiance[..., 2], 5) > _LOST * fixed.mean()
    lost = blue & (abs(radiance[..., :2]).max(-1) < 1e-3)
    if lost.sum() >= _LEAST_LOST:
        around = ndimage.binary_dilation(lost, iterations=3) & ~lost & (radiance.min(-1) > 0)
        tint = np.median(radiance[around] / radiance[around][:, 2:], axis=0)
        fixed[lost] = radiance[lost][:, 2].mean() * tint
    return fixed


def directions(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the texels' directions `[H, W, 3]` and solid angles `[H, 1]` (steradians)."""
    longitude = 2 * np.pi * ((np.arange(width) + 0.5) / width - 0.5)
    latitude = np.pi * (0.5 - (np.arange(height) + 0.5) / height)[:, None]
    flat = np.cos(latitude)
    parts = (np.sin(longitude) * flat, np.sin(latitude) + 0 * longitude, -np.cos(longitude) * flat)
    return np.stack(parts, -1), 2 * np.pi**2 * flat / (height * width)


def to_sh(radiance: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Returns the spherical harmonics `[9, 3]` of a map's radiance in camera space.

    Order and sign are those of `jaxface.evaluation.light.irradiance`: L00, L1-1, L10, L11, L2-2 ...
    L22 of Ramamoorthi and Hanrahan 2001, equations 2 and 3. A map of radiance 1 lights a white
    surface to 1.

    Args:
        radiance: `[H, W, 3]`, linear.
        rotation: `[3, 3]`, map space to camera space.
    """
    towards, solid_angle = directions(*radiance.shape[:2])
    basis = harmonics(towards @ np.asarray(rotation).T)
    return np.einsum("khw,hwc->kc", basis * solid_angle, radiance, optimize=True)


def backdrop(
    radiance: np.ndarray,
    rotation: np.ndarray,
    focal: float,
    principal: tuple[float, float],
    height: int,
    width: int,
    blur: float = 0.0,
) -> np.ndarray:
    """Returns what a camera sees of a map, linear `[height, width, 3]`.

    A texel is 0.7 degrees: a portrait lens sees 30 to 60 of them across, always out of focus.

    Args:
        radiance: `[H, W, 3]`, linear.
        rotation: `[3, 3]`, map space to camera space.
        focal: pixels.
        principal: `(x, y)`, pixels.
        height: of the picture, pixels.
        width: of the picture, pixels.
        blur: radius of the lens's circle of confusion, pixels.
    """
    margin = int(np.ceil(blur))
    x = np.arange(-margin, width + margin) + 0.5 - principal[0]
    y = np.arange(-margin, height + margin)[:, None] + 0.5 - principal[1]
    rays = np.stack([x + 0 * y, y + 0 * x, np.full((len(y), len(x)), focal)], -1)
    seen = _lookup(radiance, rays @ np.asarray(rotation))
    if not margin:
        return seen
    offset = np.arange(-margin, margin + 1)
    disc = np.clip(blur + 0.5 - np.hypot(offset, offset[:, None]), 0, 1)[..., None]
    sharp = signal.oaconvolve(seen, disc / disc.sum(), mode="valid", axes=(0, 1))
    return np.maximum(sharp, 0)


def _lookup(radiance: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Returns bilinear samples of a map in directions `[..., 3]` of any length."""
    height, width = radiance.shape[:2]
    longitude = np.arctan2(towards[..., 0], -towards[..., 2])
    latitude = np.arctan2(towards[..., 1], np.hypot(towards[..., 0], towards[..., 2]))
    col = (longitude / (2 * np.pi) + 0.5) * width + 0.5  # + 1 for the column that wraps around
    row = (0.5 - latitude / np.pi) * height - 0.5
    wrapped = np.pad(radiance, ((0, 0), (1, 1), (0, 0)), mode="wrap")
    planes = [
        ndimage.map_coordinates(wrapped[..., c], [row, col], order=1, mode="nearest")
        for c in range(3)
    ]
    return np.stack(planes, -1)


def sun(radiance: np.ndarray) -> Spot | None:
    """Returns the brightest spot of a map if it gives a fifth of all its light, or None.

    Args:
        radiance: `[H, W, 3]`, linear, not negative.
    """
    towards, solid_angle = directions(*radiance.shape[:2])
    luminance = radiance @ _LUMINANCE
    peak = np.unravel_index(luminance.argmax(), luminance.shape)
    angle = np.arccos(np.clip(towards @ towards[peak], -1, 1))
    spot = (luminance > _CORE * luminance[peak]) & (angle < _REACH)
    spot = ndimage.binary_dilation(spot, iterations=1)
    ring = (angle < 1.5 * _REACH) & ~spot
    rest = radiance.copy()
    rest[spot] = np.minimum(radiance[spot], np.median(radiance[ring], axis=0))
    excess = (radiance - rest) * solid_angle[..., None]
    flux = excess.sum((0, 1))
    if flux @ _LUMINANCE < _DOMINANT * (luminance * solid_angle).sum():
        return None
    weight = excess @ _LUMINANCE
    direction = np.einsum("hw,hwc->c", weight, towards)
    # The solid angle of an even disc of the same flux and the same mean square of radiance.
    even = weight.sum() ** 2 / (weight**2 / solid_angle).sum()
    return Spot(direction / np.linalg.norm(direction), flux, float(np.sqrt(even / np.pi)), rest)
