"""The skin's colour: change of log linear RGB by melanin, haemoglobin and what lies on them."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import ndimage

from building.albedo_model import HAEMOGLOBIN, MELANIN
from building.synthetic.canvas import Canvas, scatter, smooth_noise, splat
from building.synthetic.parameters import SkinParameters

_FADE = np.array([0.30, 0.38, 0.40])  # log RGB by which a scar is paler


def tone(canvas: Canvas, face: SkinParameters) -> np.ndarray:
    """Returns the change of tone by region, `[T, T, 3]`."""
    skin, lips = canvas.skin, canvas.parts["lips"]
    melanin = face.melanin * skin
    blood = face.haemoglobin * skin + 0.9 * face.lips * lips
    blood += face.haemoglobin * 0.5 * (canvas.bump(45, -42, 16) + canvas.bump(0, -38, 14))
    under = canvas.bump(30, -15, 13, 6) * (1 - canvas.parts["nose"])
    melanin += 0.45 * face.shadow * under * skin
    blood += 0.5 * face.shadow * under * skin
    log = melanin[..., None] * MELANIN + blood[..., None] * HAEMOGLOBIN
    log -= 0.15 * max(face.lips, 0.0) * lips[..., None]
    if face.make_up:
        rouge = canvas.bump(48, -36, 14, 10) * canvas.parts["cheeks"]
        lid = canvas.bump(32, 9, 13, 6) * canvas.parts["lids"]
        log += face.make_up * rouge[..., None] * 1.6 * HAEMOGLOBIN
        log += face.make_up * lid[..., None] * np.array([-0.5, -0.6, -0.55])
        log += face.make_up * lips[..., None] * np.array([-0.12, -0.75, -0.6])
    return log


def mottling(canvas: Canvas, face: SkinParameters, rng: np.random.Generator) -> np.ndarray:
    """Returns the unevenness of both pigments over 2 to 30 millimetres, `[T, T, 3]`."""
    blood, melanin = np.zeros(canvas.x.shape), np.zeros(canvas.x.shape)
    for width, amount in ((0.6, 0.05), (2, 0.06), (9, 0.12)):
        blood += amount * smooth_noise(canvas, rng, width)
    for width, amount in ((0.8, 0.02), (1.6, 0.03), (3, 0.02), (6, 0.03)):
        melanin += amount * smooth_noise(canvas, rng, width)
    # Capillaries lie where the blood does: on cheeks, nose and chin.
    blood *= 0.6 + canvas.parts["cheeks"] + canvas.parts["nose"] + canvas.parts["chin"]
    log = blood[..., None] * HAEMOGLOBIN + melanin[..., None] * MELANIN
    return face.mottling * log * canvas.skin[..., None]


def spots(canvas: Canvas, face: SkinParameters, rng: np.random.Generator) -> np.ndarray:
    """Returns freckles, age spots, moles and small red spots, `[T, T, 3]`."""
    sun = (
        canvas.bump(26, -26, 22, 14)
        + 0.5 * canvas.bump(0, -25, 12)
        + 0.25 * canvas.bump(0, 45, 40, 16)
    )
    sun *= np.clip(1 + 0.8 * smooth_noise(canvas, rng, 8.0), 0, 2.5)
    melanin = _dots(canvas, rng, 0.16 * face.freckles * sun, (0.35, 0.4), (0.35, 0.45))
    # The neck's texels are large: a spot there would be a blot.
    bare = canvas.skin * (1 - canvas.parts["neck"]) * (1 - canvas.parts["scalp"])
    everywhere = 0.0004 * bare
    melanin += _dots(canvas, rng, 6 * face.age * everywhere, (0.9, 0.4), (0.25, 0.4))
    melanin += _dots(canvas, rng, 3 * everywhere, (0.3, 0.3), (0.4, 0.4))
    blood = _dots(canvas, rng, 5 * everywhere, (0.6, 0.4), (0.5, 0.5))
    log = (
        np.clip(melanin, 0, 1.6)[..., None] * MELANIN
        + np.clip(blood, 0, 1.2)[..., None] * HAEMOGLOBIN
    )
    face_area = 30000.0  # square millimetres, for the number of moles
    moles = _dots(canvas, rng, face.moles / face_area * bare, (0.65, 0.4), (1.5, 0.3))
    log += np.clip(moles, 0, 2.2)[..., None] * MELANIN
    return log * (canvas.skin * (1 - 0.8 * canvas.parts["lips"]))[..., None]


def _dots(
    canvas: Canvas,
    rng: np.random.Generator,
    density: np.ndarray,
    radius: tuple[float, float],
    strength: tuple[float, float],
) -> np.ndarray:
    """Returns soft round spots; radius in millimetres and strength with their log deviations."""
    rows, columns = scatter(canvas, rng, density)
    size = radius[0] * rng.lognormal(0, radius[1], len(rows))
    value = strength[0] * rng.lognormal(0, strength[1], len(rows))
    total = np.zeros(canvas.x.shape)
    edges = radius[0] * np.exp(radius[1] * np.array([-9, -0.7, 0, 0.7, 9]))
    for low, high in itertools.pairwise(edges):
        chosen = (size >= low) & (size < high)
        if not chosen.any():
            continue
        middle = np.median(size[chosen])
        sigma = max(0.8 * middle / 0.3 * canvas.scale, 0.6)
        dots = splat(canvas, rows[chosen], columns[chosen], value[chosen] * 2 * np.pi * sigma**2)
        total += ndimage.gaussian_filter(dots, sigma)
    # Uneven rims: no spot is a disc.
    return total * np.clip(1 + 0.2 * smooth_noise(canvas, rng, 0.5), 0.4, 1.6)


def scars_colour(scars: np.ndarray) -> np.ndarray:
    """Returns how scars change the colour: paler, without pigment, `[T, T, 3]`."""
    return 0.5 * np.clip(scars, 0, 1)[..., None] * _FADE
