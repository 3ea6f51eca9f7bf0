"""One synthetic face: albedo, height and specular from a real skin's low frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from building.synthetic import hairs, pigment, relief
from building.synthetic.canvas import Canvas, smooth_noise
from building.synthetic.parameters import SkinParameters
from jaxface.skins import makehuman, mouth_colours
from jaxface.skins.statistics import blur_on_charts, density

# Log deviation of luminance in octaves of the finest detail (blurs of 0, 1, 2 and 4 texels of a
# 1024 x 1024 texture) on the cheeks of light skin, measured on photographs of skin.
_OCTAVES = (0.0038, 0.0060, 0.0075)
_FINE_LIGHT, _FINE_DARK = np.array([0.45, 1.0, 1.5]), np.array([0.65, 1.0, 1.35])
_CAVITY = 1.0  # log luminance lost by a millimetre of depth, before the octaves are set


@dataclass(frozen=True)
class SyntheticFace:
    """sRGB albedo `[T, T, 3]`, height in millimetres `[T, T]`, specular strength `[T, T]`, 0..1."""

    albedo: np.ndarray
    height: np.ndarray
    specular: np.ndarray


def make_face(
    package: Path, skin: makehuman.Skin, face: SkinParameters, canvas: Canvas
) -> SyntheticFace:
    """Returns the face of some parameters.

    Args:
        package: MakeHuman's data, for brows and irises.
        skin: the base that the parameters name.
        face: what the face is like.
        canvas: of the texture's size.
    """
    rng = np.random.default_rng(face.seed + 1_000_000)
    layout = canvas.layout
    log = _base(skin, face, canvas, rng)
    log = log + pigment.tone(canvas, face) + pigment.mottling(canvas, face, rng)
    height = relief.relief(canvas, face, rng)
    log += _fine(canvas, face, height, log)
    lines, scars = relief.lines(canvas, face, rng)
    log += pigment.spots(canvas, face, rng) + pigment.scars_colour(scars)
    # Light does not leave a fold: its floor looks darker and redder.
    log += np.minimum(lines, 0.02)[..., None] * np.array([0.8, 1.15, 1.2])
    linear = np.exp(log)

    hair = np.array(face.hair)
    brow = makehuman.brow_density(package, makehuman.BROWS[face.brow], layout)
    brow = np.clip(brow * face.brow_density, 0, 0.95)
    beard = hairs.stubble(canvas, face, rng)
    cover = 1 - (1 - brow) * (1 - beard) * (1 - hairs.scalp(canvas, face, rng))
    linear = linear * (1 - cover[..., None]) + np.minimum(hair, 0.5 * linear) * cover[..., None]

    linear = mouth_colours.lay_over(linear, layout)
    albedo = np.where(linear < 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    eyes = layout.part("eyes")
    albedo[eyes] = makehuman.paint_eyes(package, face.eye, layout)[eyes]
    height = height + lines + 0.05 * cover + 0.04 * scars
    return SyntheticFace(
        albedo=makehuman.dilate(np.clip(albedo, 0, 1).astype(np.float32), layout),
        height=makehuman.dilate(height * canvas.skin, layout),
        specular=makehuman.dilate(_specular(canvas, height, cover), layout),
    )


def _base(
    skin: makehuman.Skin, face: SkinParameters, canvas: Canvas, rng: np.random.Generator
) -> np.ndarray:
    """Returns the log linear RGB of the real skin, gently warped so that no two faces share it."""
    layout = canvas.layout
    texture = makehuman.resample(skin, layout)
    if face.mirrored:
        texture = texture[:, ::-1]
    log = density(makehuman.dilate(texture, layout))
    # Reflections that the photographs have on the upper lids are no albedo.
    lids = canvas.parts["lids"][..., None]
    smooth = blur_on_charts(log, layout, 7 * canvas.scale)
    log = log - lids * np.maximum(log - smooth, 0)
    keep = np.clip(1.5 * ndimage.gaussian_filter(canvas.parts["skin"], 4) - 0.5, 0, 1)
    keep = keep * (1 - np.clip(2 * canvas.bump(0, -73, 22, 12), 0, 1))
    amount = 5 * canvas.scale * keep
    rows, columns = np.indices(canvas.x.shape).astype(float)
    rows += amount * smooth_noise(canvas, rng, 16.0)
    columns += amount * smooth_noise(canvas, rng, 16.0)
    return np.stack(
        [ndimage.map_coordinates(log[..., c], [rows, columns], order=1, mode="nearest")
         for c in range(3)], -1,
    )  # fmt: skip


def _fine(canvas: Canvas, face: SkinParameters, height: np.ndarray, log: np.ndarray) -> np.ndarray:
    """Returns the relief's colour: cavities are dark, each octave as strong as skin's."""
    level, total = _CAVITY * height, np.zeros(canvas.x.shape)
    cheeks = (canvas.parts["cheeks"] > 0.6) & (canvas.parts["nose"] < 0.1)
    luminance = log.mean(-1)[cheeks].mean()
    dark = float(np.clip((-0.9 - luminance) / 1.4, 0, 1))
    widths = [0.0, *(w * canvas.scale for w in (1, 2, 4))]
    blurs = [ndimage.gaussian_filter(level, w) if w else level for w in widths]
    for finer, coarser, target in zip(blurs[:-1], blurs[1:], _OCTAVES, strict=True):
        band = finer - coarser
        total += target / max(band[cheeks].std(), 1e-9) * band
    direction = (1 - dark) * _FINE_LIGHT + dark * _FINE_DARK
    strength = face.relief * (1 + dark)
    limited = 0.08 * np.tanh(strength * total / 0.08)
    return limited[..., None] * direction / direction.mean()


def _specular(canvas: Canvas, height: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Returns how strongly the skin reflects, 0..1 (0.5 is an index of 1.4): oily on nose and
    forehead, wet on lips, dull in cavities and under hair (Weyrich et al. 2006)."""
    oily = (
        0.5 * canvas.parts["nose"] + 0.25 * canvas.bump(0, 45, 30, 16) + 0.4 * canvas.parts["lips"]
    )
    cavity = np.clip(1 + 6 * np.minimum(height, 0), 0.4, 1)
    return np.clip((0.45 + 0.3 * oily) * cavity * (1 - 0.6 * cover), 0, 1)
