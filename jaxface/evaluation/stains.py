"""Stains of an albedo: blotches of another hue, and halves of the face that differ.

A band-pass keeps what is about as large as a stain, so that neither tone nor pores count. What is
left on real skin (moles, redness of the cheeks, make-up) is the ruler.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from jaxface.filters import LOG_OFFSET

DIAMETERS = (5, 10, 20, 40)
"""Diameters of stains in millimetres, one a band."""
_SIDES = ("luminance", "chroma")
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
_LEAST = 0.05  # of the mask's texels, whose mirror image it holds; below it no halves are compared
_TAIL = 0.05  # fraction of texels at either end that do not count
_TAIL_SIGMAS = 1.6449  # of the normal distribution


def stains(
    texture_linear: Float[np.ndarray, "T T 3"],
    mask: Bool[np.ndarray, "T T"],
    texel_mm: float,
) -> dict[str, float]:
    """Returns the spread of each band-passed quantity on the mask, natural logarithms times 100.

    `chroma D mm`: root mean square over log(r/g) and log(b/g) of their `spread` in the band of
    stains of D millimetres. `left-right luminance D mm` and `left-right chroma D mm`: the same of
    texture minus mirrored texture, where the mask holds both. NaN where the mask is empty.

    Args:
        texture_linear: albedo in the canonical UV, which is mirror-symmetric in u.
        mask: texels that are judged.
        texel_mm: width of a texel, millimetres.
    """
    logs = np.log(np.asarray(texture_linear, float) + LOG_OFFSET)
    luminance = np.log(texture_linear @ _LUMINANCE + LOG_OFFSET)
    chroma = logs[..., [0, 2]] - logs[..., 1:2]
    both = mask & mask[:, ::-1]
    both &= both.sum() > _LEAST * mask.sum()
    halves = np.concatenate([luminance[..., None], chroma], axis=-1)
    halves = halves - halves[:, ::-1]
    found: dict[str, dict[str, float]] = {"chroma": {}, **{f"left-right {x}": {} for x in _SIDES}}
    for diameter in DIAMETERS:
        sigmas = diameter / 4 / texel_mm, diameter / 2 / texel_mm
        hues = spread(band_pass(chroma, mask, *sigmas)[mask])
        sides = spread(band_pass(halves, both, *sigmas)[both])
        for values, spreads in zip(found.values(), (hues, sides[:1], sides[1:]), strict=True):
            values[f"{diameter} mm"] = 100 * float(np.sqrt(np.mean(np.square(spreads))))
    return {f"{kind} {band}": x for kind, values in found.items() for band, x in values.items()}


def band_pass(
    image: Float[np.ndarray, "T T C"], mask: Bool[np.ndarray, "T T"], fine: float, coarse: float
) -> Float[np.ndarray, "T T C"]:
    """Returns the difference of two Gaussian means over the mask, sigmas in texels.

    G(mask image) / G(mask) at `fine` minus the same at `coarse`; with coarse = 2 fine it answers
    most to discs of a diameter of 4 fine. Right on the mask alone.
    """
    weight = mask.astype(float)

    def mean(sigma: float) -> np.ndarray:
        total = ndimage.gaussian_filter(image * weight[..., None], (sigma, sigma, 0))
        return total / np.maximum(ndimage.gaussian_filter(weight, sigma), 1e-6)[..., None]

    return mean(fine) - mean(coarse)


def spread(values: Float[np.ndarray, "N C"]) -> Float[np.ndarray, " C"]:
    """Returns a robust standard deviation of each column: (q95 - q5) / (2 * 1.645).

    Equal to the standard deviation of normal values. The outermost 5 per cent at either end, moles
    and errors of the mask, do not count; a stain on a tenth of the face does. NaN of nothing.
    """
    if not len(values):
        return np.full(values.shape[1], np.nan)
    low, high = np.quantile(values, (_TAIL, 1 - _TAIL), axis=0)
    return (high - low) / (2 * _TAIL_SIGMAS)
