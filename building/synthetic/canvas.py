"""What each texel stands for, in millimetres, and the fields that the layers are drawn with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from jaxface.skins.makehuman import Layout
from jaxface.skins.statistics import blur_on_charts

_SKIN = ("skin", "nose", "neck", "ears", "scalp", "lids", "lips", "brows")
_MOUTH, _EYE = (0.0, -73.0), (32.0, 0.0)


@dataclass(frozen=True)
class Canvas:
    """The canonical UV, `[T, T]` each.

    Attributes:
        layout: regions, places, charts.
        x: millimetres to the subject's left.
        y: millimetres up from the eyes.
        z: millimetres out of the face.
        texel: size of a texel on the mean face, millimetres.
        skin: 1 on skin, soft.
        flow: angle of the skin's lines against the u axis, radians, modulo pi.
        parts: soft masks by name.
    """

    layout: Layout
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    texel: np.ndarray
    skin: np.ndarray
    flow: np.ndarray
    parts: dict[str, np.ndarray]

    @property
    def size(self) -> int:
        """T."""
        return self.x.shape[0]

    @property
    def scale(self) -> float:
        """T over 1024, the size for which widths in texels are given."""
        return self.size / 1024

    def bump(self, x: float, y: float, width: float, height: float | None = None) -> np.ndarray:
        """Returns a Gaussian on both halves of the face's front; millimetres."""
        off = ((np.abs(self.x) - x) / width) ** 2 + ((self.y - y) / (height or width)) ** 2
        return np.exp(-0.5 * off) * (self.z > -60)


def make_canvas(layout: Layout) -> Canvas:
    """Returns the canvas of a layout."""
    x, y, z = np.moveaxis(layout.place * 1e3, -1, 0)
    steps = [np.linalg.norm(np.gradient(layout.place * 1e3, axis=axis), axis=-1) for axis in (0, 1)]
    texel = ndimage.median_filter(np.sqrt(steps[0] * steps[1]), 5)
    size = x.shape[0]

    def soft(mask: np.ndarray, width: float) -> np.ndarray:
        return blur_on_charts(mask.astype(float)[..., None], layout, width * size / 1024)[..., 0]

    skin = layout.part(*_SKIN)
    front = z > -55
    side = np.abs(x)
    jaw = (y < -52 + 0.45 * np.maximum(side - 30, 0)) & (y > -135) & front
    beard = layout.part("skin") & jaw & ~((side < 9) & (y > -60))
    parts = {name: soft(layout.part(name), 5) for name in _SKIN}
    parts |= {
        "beard": soft(beard, 14) * layout.part("skin", "neck"),
        "forehead": soft(layout.part("skin") & (y > 28), 8),
        "cheeks": soft(layout.part("skin") & (y < 0) & (y > -62) & (side > 20) & front, 10),
        "chin": soft(layout.part("skin") & (y < -88) & (side < 22), 8),
        "scalp": soft(layout.part("scalp"), 10) * layout.part("scalp", "skin"),
    }
    return Canvas(
        layout=layout,
        x=x,
        y=y,
        z=z,
        texel=np.clip(texel, 0.05, 2.0),
        skin=soft(skin, 3) * skin,
        flow=_flow(x, y),
        parts=parts,
    )


def _flow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the direction of relaxed skin tension: rings around eyes and mouth (Langer 1861),
    level on the forehead."""
    double = np.zeros(x.shape, complex)
    for cx, cy, reach in ((_EYE[0], _EYE[1], 22.0), (-_EYE[0], _EYE[1], 22.0), (*_MOUTH, 34.0)):
        dx, dy = x - cx, y - cy
        along = np.arctan2(dy, dx) + np.pi / 2
        double += np.exp(2j * along) * np.exp(-(dx**2 + dy**2) / (2 * reach**2))
    # Cheeks run down and outwards from the nose; the forehead lies level.
    cheek = np.where(x > 0, -1.0, 1.0) * 1.05
    double += 0.25 * np.exp(2j * cheek) * (y < 0)
    double += 0.5 * (y > 15)
    return 0.5 * np.angle(double)


def smooth_noise(canvas: Canvas, rng: np.random.Generator, width: float) -> np.ndarray:
    """Returns Gaussian noise of unit variance, blurred by `width` millimetres of the face."""
    sigma = width / 0.3 * canvas.scale
    coarse = max(1, int(sigma // 3))
    small = rng.standard_normal([-(-canvas.size // coarse) + 3] * 2)
    small = ndimage.gaussian_filter(small, sigma / coarse)
    noise = ndimage.zoom(small, coarse, order=1)[: canvas.size, : canvas.size]
    return noise / noise.std()


def oriented_noise(
    canvas: Canvas, rng: np.random.Generator, wavelength: float, stretch: float, turns: int = 6
) -> np.ndarray:
    """Returns band-passed noise of unit variance that runs along the skin's lines.

    A sum of responses to oriented filters, weighted by how near each is to the flow.

    Args:
        canvas: whose flow it follows.
        rng: random numbers.
        wavelength: millimetres of the face.
        stretch: 0 for the same in all directions; 1 is clearly directed.
        turns: number of filters.
    """
    size = canvas.size
    fy, fx = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    radius = np.hypot(fx, fy) + 1e-9
    centre = 0.3 / canvas.scale / wavelength  # cycles a texel, where a texel is 0.3 mm
    band = np.exp(-0.5 * (np.log(radius / centre) / 0.45) ** 2)
    angle = np.arctan2(-fy, fx)  # rows run down, v up
    white = np.fft.rfft2(rng.standard_normal((size, size))) * band
    total = np.zeros((size, size))
    norm = np.zeros((size, size))
    for turn in range(turns):
        along = np.pi * turn / turns
        # Lines along a direction have their frequencies across it.
        window = np.exp(stretch * 4 * (np.cos(2 * (angle - along - np.pi / 2)) - 1))
        response = np.fft.irfft2(white * window, s=(size, size))
        weight = np.exp(4 * (np.cos(2 * (canvas.flow - along)) - 1))
        total += weight * response / (response.std() + 1e-12)
        norm += weight**2
    return total / np.sqrt(norm)


def scatter(
    canvas: Canvas, rng: np.random.Generator, density: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows and columns (in texels) of random points.

    Args:
        canvas: gives the texels' area.
        rng: random numbers.
        density: points a square millimetre, `[T, T]`.
    """
    expected = density * canvas.texel**2 * canvas.layout.mask
    count = rng.poisson(expected)
    rows, columns = np.nonzero(count)
    times = count[rows, columns]
    rows, columns = np.repeat(rows, times), np.repeat(columns, times)
    return rows + rng.uniform(size=len(rows)), columns + rng.uniform(size=len(columns))


def splat(canvas: Canvas, rows: np.ndarray, columns: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Returns points added to the texels around them, bilinear; positions in texels."""
    size = canvas.size
    row, column = rows - 0.5, columns - 0.5
    r0, c0 = np.floor(row).astype(int), np.floor(column).astype(int)
    fr, fc = row - r0, column - c0
    total = np.zeros(size * size)
    for dr, dc, share in (
        (0, 0, (1 - fr) * (1 - fc)), (0, 1, (1 - fr) * fc), (1, 0, fr * (1 - fc)), (1, 1, fr * fc),
    ):  # fmt: skip
        r, c = np.clip(r0 + dr, 0, size - 1), np.clip(c0 + dc, 0, size - 1)
        total += np.bincount(r * size + c, mass * share, size * size)
    return total.reshape(size, size)
