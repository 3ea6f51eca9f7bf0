"""Pictures in other colours than sRGB, made from closed forms: ICC profiles and coded values."""

from __future__ import annotations

import struct

import numpy as np

# Columns of linear RGB to CIE XYZ under D50, as in the published profiles.
TO_XYZ = {
    "sRGB": [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)],
    "Display P3": [
        (0.51512, 0.24120, -0.00105),
        (0.29198, 0.69225, 0.04189),
        (0.15710, 0.06657, 0.78407),
    ],
    "Adobe RGB": [
        (0.60974, 0.31111, 0.01947),
        (0.20528, 0.62567, 0.06087),
        (0.14919, 0.06322, 0.74457),
    ],
    "ProPhoto": [
        (0.79767, 0.28804, 0.0),
        (0.13519, 0.71188, 0.0),
        (0.03134, 0.00009, 0.82491),
    ],
}
GAMMAS = {"Adobe RGB": 563 / 256, "ProPhoto": 1.8, "grey": 1.8}
WHITE_D50 = (0.9642, 1.0, 0.8249)


def linear(srgb: np.ndarray) -> np.ndarray:
    """Returns linear values of sRGB's, 0..1."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def coded(values: np.ndarray, space: str) -> np.ndarray:
    """Returns linear values 0..1 coded by a space's curve; without a gamma it is sRGB's."""
    values = np.clip(values, 0, 1)
    if space in GAMMAS:
        return values ** (1 / GAMMAS[space])
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)


def in_space(srgb: np.ndarray, space: str) -> np.ndarray:
    """Returns sRGB bytes `[..., 3]` as bytes of another space that show the same."""
    matrix = np.linalg.solve(np.array(TO_XYZ[space]).T, np.array(TO_XYZ["sRGB"]).T)
    return np.uint8(255 * coded(linear(srgb / 255) @ matrix.T, space) + 0.5)


def profile(space: str) -> bytes:
    """Returns the ICC profile (version 4.2) of a space of `TO_XYZ`, or of "grey", gamma 1.8."""
    tags = {
        b"desc": b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, 2, 28) + b"\0a",
        b"cprt": b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, 2, 28) + b"\0a",
        b"wtpt": _xyz(WHITE_D50),
    }
    if space == "grey":
        tags[b"kTRC"] = _curve(space)
    else:
        for letter, column in zip(b"rgb", TO_XYZ[space], strict=True):
            tags[bytes([letter]) + b"XYZ"] = _xyz(column)
            tags[bytes([letter]) + b"TRC"] = _curve(space)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    kind = b"GRAY" if space == "grey" else b"RGB "
    header = struct.pack(">I4xI4s4s4s12x4s", 0, 0x04200000, b"mntr", kind, b"XYZ ", b"acsp")
    header += bytes(28) + struct.pack(">iii", *(round(65536 * x) for x in WHITE_D50)) + bytes(48)
    data = header + table + body
    return struct.pack(">I", len(data)) + data[4:]


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(65536 * value) for value in values))


def _curve(space: str) -> bytes:
    if space in GAMMAS:
        return b"para" + struct.pack(">IHHi", 0, 0, 0, round(65536 * GAMMAS[space]))
    parts = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para" + struct.pack(">IHH5i", 0, 3, 0, *(round(65536 * part) for part in parts))
