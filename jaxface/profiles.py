"""Colours of a picture's file to sRGB: ICC profiles, and the codes of HDR and wide-gamut files.

ICC profiles are LittleCMS's business. AVIF, HEIF and PNG may instead name primaries and transfer
function by ITU-T H.273's numbers ("CICP", "nclx"), for which there is `from_codes`. Host code.
"""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

LINEAR, PQ, HLG = 8, 16, 18
"""Transfer functions of H.273, table 3: linear, SMPTE ST 2084, ARIB STD-B67."""
WHITE_NITS, HLG_PEAK_NITS = 203.0, 1000.0
"""Luminance of HDR's reference white, which becomes sRGB's white, and of HLG's nominal display
(ITU-R BT.2408)."""
_WHITE = (0.3127, 0.3290)  # D65
_SRGB = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
_PRIMARIES = {  # H.273, table 2; the other numbers are within a hair's breadth of sRGB
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
_GAMMAS = {4: 2.2, 5: 2.8, LINEAR: 1.0}


class Codes(NamedTuple):
    """Colour primaries and transfer function, numbered as in ITU-T H.273.

    `power` is in place of the latter where a file says that linear values are powers of its own.
    """

    primaries: int
    transfer: int
    power: float | None = None


def to_srgb(
    image: Image.Image, icc: bytes | None = None, codes: Codes | None = None
) -> Image.Image:
    """Returns a picture of any mode without transparency as sRGB of 8 bits, mode RGB.

    Codes of HDR come before an ICC profile, the profile before other codes. A profile that is
    damaged, or of another kind of colours than the picture, counts as none.

    Args:
        image: 8 bits a channel.
        icc: the embedded profile.
        codes: of the file.
    """
    if codes is not None and (codes.transfer in (PQ, HLG) or not icc):
        return from_codes(image.convert("RGB"), codes)
    if image.mode == "LAB" and not icc:
        icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    if icc:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(icc))
            mode = _profile_mode(image.mode, source.profile.xcolor_space.strip())
            if mode is not None:
                # Perceptual where the profile has that, else relative to white.
                converted = ImageCms.profileToProfile(
                    image.convert(mode), source, ImageCms.createProfile("sRGB"), outputMode="RGB"
                )
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError):
            pass
    return image.convert("RGB")


def _profile_mode(mode: str, space: str) -> str | None:
    """Returns the mode that a picture has to have for a profile of a colour space, or None."""
    if space == "RGB" and mode != "LAB":
        return "RGB"
    if space == "GRAY" and mode in ("1", "L"):
        return "L"
    return mode if (mode, space) in (("CMYK", "CMYK"), ("LAB", "Lab")) else None


def from_codes(image: Image.Image, codes: Codes) -> Image.Image:
    """Returns an RGB picture that H.273's numbers describe as sRGB.

    HDR's reference white of 203 nits becomes white; what is brighter, and what lies outside of
    sRGB's gamut, is clipped.

    Source: SMPTE ST 2084, ITU-R BT.2100-2 tables 4 and 5, BT.2408.

    Args:
        image: mode RGB.
        codes: of the file.
    """
    known = codes.power or codes.transfer in (PQ, HLG, *_GAMMAS)
    if not known and codes.primaries not in _PRIMARIES:
        return image
    levels = np.arange(256) / 255
    coded = levels**codes.power if codes.power else _linear(levels, codes.transfer)
    linear = coded.astype(np.float32)[np.asarray(image)]
    matrix = np.eye(3)
    primaries = _PRIMARIES.get(codes.primaries, _SRGB)
    if codes.transfer == HLG:
        # The display's gamma of 1.2 works on luminance: of (R, G, B) Y^0.2 (R, G, B).
        luminance = linear @ _to_xyz(primaries)[1].astype(np.float32)
        linear *= HLG_PEAK_NITS / WHITE_NITS * np.maximum(luminance, 1e-9)[..., None] ** 0.2
    if primaries is not _SRGB:
        matrix = np.linalg.solve(_to_xyz(_SRGB), _to_xyz(primaries))
    linear = np.clip(linear @ matrix.T.astype(np.float32), 0, 1)
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, curve)
    return Image.fromarray(np.uint8(255 * srgb + 0.5))


def _linear(values: np.ndarray, transfer: int) -> np.ndarray:
    """Returns linear values of coded ones, 0..1: white is 1, of HLG relative scene light."""
    if transfer == PQ:
        root = values ** (32 / 2523)
        nits = 1e4 * (np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)) ** (
            8192 / 1305
        )
        return nits / WHITE_NITS
    if transfer == HLG:
        a = 0.17883277
        b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
        return np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)
    if transfer in _GAMMAS:
        return values ** _GAMMAS[transfer]
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Returns the matrix from linear RGB of these primaries, with D65 as white, to CIE XYZ."""
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in (*primaries, _WHITE)]).T
    return columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3])
