"""Identity modes: random realistic MakeHuman heads, their principal components."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from building import makehuman
from building.placement import Placement

# Standard deviations of the sliders that give believable heads.
_SLIDER_SIGMA = {
    "head": 0.14,
    "neck": 0.14,
    "ears": 0.12,
    "forehead": 0.22,
    "chin": 0.25,
    "cheek": 0.27,
    "eyes": 0.26,
    "eyebrows": 0.27,
    "mouth": 0.25,
    "nose": 0.24,
}
_ASYMMETRY = 0.25  # share of a left-right slider's deviation that is not shared by both sides
_OPPOSITES = {
    "decr": "incr",
    "down": "up",
    "in": "out",
    "backward": "forward",
    "concave": "convex",
    "compress": "uncompress",
}
_RIGID = re.compile("head-trans-|neck-trans-|measure-")  # moves of the head, not its shape


def macro_draw(key: np.random.Generator) -> dict[str, float]:
    """Returns the macro weights of one random adult of 18 to 80 years."""
    gender = np.clip(key.choice([0.15, 0.85]) + 0.15 * key.standard_normal(), 0, 1)
    age = key.beta(1.0, 2.5)
    races = key.dirichlet(np.full(3, 0.7))
    muscle, weight = np.clip(0.5 + 0.13 * key.standard_normal(2), 0, 1)
    return makehuman.macro_weights(gender, age, races, muscle, weight)


def slider_targets(data: Path, placement: Placement) -> dict[str, dict[str, np.ndarray]]:
    """Returns the displacements `[V, 3]` in metres of the face sliders' targets, by folder."""
    return {
        folder: {
            name: placement.displacement(target)
            for name, target in makehuman.read_targets(
                data / "mpfb2/targets" / folder, placement.count
            ).items()
            if not _RIGID.match(name)
        }
        for folder in _SLIDER_SIGMA
    }


def slider_draw(names: list[str], sigma: float, key: np.random.Generator) -> np.ndarray:
    """Returns one random weight for each target of a folder, none negative.

    Opposite targets (`-decr`, `-incr`) share one normal variable; targets of the left and the
    right side share most of it.
    """
    shared: dict[str, float] = {}
    weights = np.zeros(len(names))
    for index, name in enumerate(names):
        stem, _, ending = name.rpartition("-")
        sign = -1.0 if ending in _OPPOSITES else 1.0
        slider = stem if ending in _OPPOSITES or ending in _OPPOSITES.values() else name
        side, both = (slider[:2], slider[2:]) if slider[:2] in ("l-", "r-") else ("", slider)
        for variable in (both, side + both):
            if variable not in shared:
                shared[variable] = key.standard_normal()
        value = shared[both]
        if side:
            value = np.sqrt(1 - _ASYMMETRY**2) * value + _ASYMMETRY * shared[side + both]
        weights[index] = max(0.0, sign * sigma * value)
    return weights


def random_heads(
    data: Path,
    placement: Placement,
    macros: dict[str, np.ndarray],
    count: int,
    seed: int,
) -> np.ndarray:
    """Returns `[count, V, 3]` displacements of random heads from MakeHuman's base, metres."""
    key = np.random.default_rng(seed)
    macro_names = list(macro_draw(key))
    folders = slider_targets(data, placement)
    targets = [placement.displacement(macros[name]) for name in macro_names]
    for sliders in folders.values():
        targets += list(sliders.values())
    weights = []
    for _ in range(count):
        row = list(macro_draw(key).values())
        for folder, sliders in folders.items():
            row += slider_draw(list(sliders), _SLIDER_SIGMA[folder], key).tolist()
        weights.append(row)
    stacked = np.stack(targets)
    heads = np.array(weights) @ stacked.reshape(len(stacked), -1)
    return heads.reshape(count, -1, 3)


def align(heads: np.ndarray, mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns the heads `[N, V, 3]` moved rigidly onto the mean `[V, 3]`, weighted by vertex."""
    weight = weight / weight.sum()
    center = mean - weight @ mean
    moved = heads - np.einsum("v,nvc->nc", weight, heads)[:, None]
    left, _, right = np.linalg.svd(np.einsum("v,nvi,vj->nij", weight, moved, center))
    determinant = np.linalg.det(left @ right)
    left[:, :, -1] *= determinant[:, None]
    return moved @ (left @ right) + weight @ mean


def principal_modes(
    offsets: np.ndarray, mirror: np.ndarray, weight: np.ndarray, count: int
) -> np.ndarray:
    """Returns `[count, V, 3]` whitened modes of the offsets `[N, V, 3]` and their mirror images.

    Each mode is exactly symmetric or exactly antisymmetric; they are ordered by the variance
    they explain, vertices weighted by `weight`.
    """
    reflected = offsets[:, mirror] * [-1, 1, 1]
    modes, variances = [], []
    for part in ((offsets + reflected) / 2, (offsets - reflected) / 2):
        weighted = (part * np.sqrt(weight)[:, None]).reshape(len(part), -1)
        values, vectors = np.linalg.eigh(weighted @ weighted.T)
        modes.append(np.tensordot(vectors[:, -count:].T, part, 1) / np.sqrt(len(part)))
        variances.append(values[-count:])
    order = np.argsort(-np.concatenate(variances))[:count]
    return np.concatenate(modes)[order]
