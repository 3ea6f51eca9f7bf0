"""Reads landmarks from `.pts`, JSON or NPY files. Host code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from jaxface.errors import InputError

COUNTS = (478, 468, 68)


def read_landmarks(path: str | Path) -> np.ndarray:
    """Returns landmarks `[L, 2]` in pixels, float32; L is 478, 468 (face mesh) or 68 (iBUG).

    `.pts` is the text format of the 300-W data: `n_points: 68`, then one `x y` a line in braces,
    with (1, 1) at the centre of the top-left pixel, which is (0.5, 0.5) here.
    JSON is a list of `[x, y]` (or longer) rows, or an object with such a list under `landmarks`;
    NPY an array `[L, 2 or 3]`; both in jaxface's own pixel coordinates.

    Args:
      path: the file; its suffix decides the format.

    Raises:
      InputError: the file cannot be read, or holds no such points.

    Example:
      >>> read_landmarks("face.txt")
      Traceback (most recent call last):
      jaxface.errors.InputError: Landmarks are read from .pts, .json or .npy files, not face.txt.
    """
    path = Path(path)
    readers = {".pts": _read_pts, ".json": _read_json, ".npy": _read_npy}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"Landmarks are read from .pts, .json or .npy files, not {path.name}.")
    if path.exists() and not path.is_file():  # to read a pipe may take for ever
        raise InputError(f"The landmarks {path} are a folder, a pipe or a device; give a file.")
    try:
        points = np.asarray(reader(path), np.float64)
    except OSError as error:
        raise InputError(f"The landmarks {path} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError, EOFError, OverflowError) as error:
        raise InputError(f"The landmarks {path} are not valid {path.suffix}: {error}.") from error
    if points.ndim != 2 or points.shape[0] not in COUNTS or points.shape[1] < 2:
        raise InputError(
            f"The landmarks {path} have shape {points.shape}; expected 478, 468 or 68 points."
        )
    if not np.isfinite(points[:, :2]).all():
        raise InputError(f"The landmarks {path} hold values that are not finite numbers.")
    return points[:, :2].astype(np.float32)


def _read_pts(path: Path) -> list[list[float]]:
    """Returns the points of a `.pts` file, in this package's pixel coordinates."""
    body = path.read_text().split("{", 1)
    if len(body) != 2 or "}" not in body[1]:
        raise ValueError("no points in braces")
    lines = body[1].split("}", 1)[0].strip().splitlines()
    return [[float(value) - 0.5 for value in line.split()[:2]] for line in lines if line.strip()]


def _read_json(path: Path) -> list:
    """Returns the rows of a JSON file."""
    content = json.loads(path.read_text())
    return content["landmarks"] if isinstance(content, dict) else content


def _read_npy(path: Path) -> np.ndarray:
    """Returns the array of an NPY file."""
    return np.load(path, allow_pickle=False)
