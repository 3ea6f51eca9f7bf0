"""Gaussian-process shape modes (Luethi, Gerig, Jud and Vetter, TPAMI 2018).

A deformation field in space with a sum of squared-exponential kernels. It adds the smooth shape
that the sliders cannot express.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.spatial.distance import cdist


@dataclass(frozen=True)
class Kernel:
    """One squared-exponential term, metres. `fine` terms spare eyes, ears and what is behind."""

    length: float
    deviation: float
    fine: bool = False


# Chosen on six random faces of ICT-FaceKit: fitted in 3D they leave a median of 0.33 mm; with
# lengths of 40, 20 and 10 mm and 64 + 16 modes 0.37, with the principal modes alone 0.46.
KERNELS = (Kernel(0.03, 0.0016), Kernel(0.015, 0.0014, True), Kernel(0.008, 0.0009, True))
_SYMMETRIC, _ANTISYMMETRIC = 90, 20
_ASYMMETRY = 0.4  # deviation of the antisymmetric field, share of the symmetric one's


def scalar_modes(
    points: np.ndarray,
    weight: np.ndarray,
    amplitude: np.ndarray,
    kernels: tuple[Kernel, ...],
    count: int,
) -> list[np.ndarray]:
    """Returns the even and the odd scalar modes `[count, V]` of the mirror-symmetric field.

    Args:
        points: `[V, 3]` metres, mirror-symmetric.
        weight: `[V]` area weights, which make the modes principal on the surface.
        amplitude: `[len(kernels), V]` local factor of each term's standard deviation.
        kernels: the terms.
        count: modes of each parity.
    """
    half = np.flatnonzero(points[:, 0] >= 0)  # even and odd fields are known from one half
    root = np.sqrt(weight[half] * np.where(points[half, 0] > 0, 2, 1))
    direct, crossed = np.zeros((2, len(points), len(half)))
    for kernel, local in zip(kernels, amplitude, strict=True):
        scale = kernel.deviation**2 * local[:, None] * local[half]
        for total, others in ((direct, points[half]), (crossed, points[half] * [-1, 1, 1])):
            square = cdist(points, others, "sqeuclidean")
            total += scale * np.exp(-square / (2 * kernel.length**2))
    modes = []
    for covariance in ((direct + crossed) / 2, (direct - crossed) / 2):
        values, vectors = eigh(
            root[:, None] * covariance[half] * root,
            subset_by_index=(len(half) - count, len(half) - 1),
        )
        # Nystroem: modes.T @ modes = covariance, also where the weight is tiny.
        modes.append((covariance * root @ vectors / np.sqrt(values)).T[::-1])
    return modes


def residual_modes(
    even: np.ndarray,
    odd: np.ndarray,
    basis: np.ndarray,
    weight: np.ndarray,
    counts: tuple[int, int],
    asymmetry: float,
) -> np.ndarray:
    """Returns `[sum(counts), V, 3]` whitened modes of the field outside the span of a basis.

    Args:
        even: `[N, V]` even scalar modes.
        odd: `[N, V]` odd scalar modes.
        basis: `[I, V, 3]` modes that exist already; `weight` defines what is orthogonal to them.
        weight: `[V]`.
        counts: numbers of symmetric and of antisymmetric modes.
        asymmetry: factor of the deviation of the antisymmetric field.
    """
    root = np.sqrt(weight)[:, None]
    inverse = np.linalg.pinv((basis * root).reshape(len(basis), -1), rcond=1e-6)
    chosen = []
    pairs = ((odd, even, counts[0], 1.0), (even, odd, counts[1], asymmetry))
    for across, along, count, deviation in pairs:
        # A symmetric field is odd across the midplane (x) and even along it (y, z).
        parts = zip((across, along, along), np.eye(3), strict=True)
        fields = deviation * np.concatenate([mode[:, :, None] * axis for mode, axis in parts])
        # What the basis expresses is taken out everywhere, though measured by weight.
        flat = (fields * root).reshape(len(fields), -1)
        fields -= np.tensordot(flat @ inverse, basis, 1)
        flat = (fields * root).reshape(len(fields), -1)
        _, vectors = np.linalg.eigh(flat @ flat.T)
        chosen.append(np.tensordot(vectors[:, : -count - 1 : -1].T, fields, 1))
    return np.concatenate(chosen)


def build(mean: np.ndarray, basis: np.ndarray, weight: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Returns the whitened Gaussian-process modes `[_SYMMETRIC + _ANTISYMMETRIC, V, 3]`.

    Args:
        mean: `[V, 3]` metres, the mirror-symmetric mean.
        basis: `[I, V, 3]` the principal modes; the new ones are orthogonal to them and to rigid
            motion.
        weight: `[V]` what defines orthogonal.
        eyes: `[2, N]` vertices of the eyeballs, which move by translation only.
    """
    pupil, back = mean[eyes[:, 0]], mean[eyes[:, -1]]
    centers, radius = (pupil + back) / 2, np.linalg.norm(pupil[0] - back[0]) / 2
    nearest = np.linalg.norm(mean[:, None] - centers, axis=-1).min(1) - radius
    front = 1 / (1 + np.exp(-(mean[:, 2] + 0.055) / 0.008))
    front *= 1 / (1 + np.exp(-(mean[:, 1] + 0.13) / 0.008))
    spared = front * (0.15 + 0.85 * (1 - np.exp(-((np.maximum(nearest, 0) / 0.01) ** 2))))
    amplitude = np.stack([spared if kernel.fine else 0.3 + 0.7 * front for kernel in KERNELS])
    even, odd = scalar_modes(mean, weight, amplitude, KERNELS, 150)
    axes = np.eye(3)[:, None]
    rigid = np.concatenate([axes + 0 * mean, np.cross(axes, mean)])
    known = np.concatenate([basis, rigid])
    modes = residual_modes(even, odd, known, weight, (_SYMMETRIC, _ANTISYMMETRIC), _ASYMMETRY)
    for eye, center in zip(eyes, centers, strict=True):
        ahead = eye[mean[eye, 2] > center[2] + 0.8 * radius]
        modes[:, eye] = modes[:, ahead].mean(1, keepdims=True)
    return modes
