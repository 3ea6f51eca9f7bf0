"""Poisson blending in the texture's square (Perez, Gangnet and Blake 2003), on its charts."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

_PULL = 1e-5  # towards the guide, where a chart has no known texel


class Poisson:
    """The equation of one mask, factored once for any number of guides.

    Unknown are the texels on charts that are not `known`; texels of different charts are no
    neighbours, and between charts the guide stays.
    """

    def __init__(self, known: np.ndarray, charts: np.ndarray) -> None:
        self.known, self.charts = known, charts
        index = np.arange(known.size).reshape(known.shape)
        inside = charts.ravel()
        pairs = np.concatenate([
            np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()], 1),
            np.stack([index[:-1].ravel(), index[1:].ravel()], 1),
        ])  # fmt: skip
        self.pairs = pairs[inside[pairs].all(1)]
        count = len(self.pairs)
        rows = np.repeat(np.arange(count), 2)
        values = np.tile([-1.0, 1.0], count)
        gradient = sparse.csr_matrix((values, (rows, self.pairs.ravel())), (count, known.size))
        self.free = np.flatnonzero(inside & ~known.ravel())
        self.fixed = np.flatnonzero(inside & known.ravel())
        laplacian = (gradient.T @ gradient).tocsr()
        self.divergence = gradient.T.tocsr()[self.free]
        self.border = laplacian[self.free][:, self.fixed]
        system = laplacian[self.free][:, self.free] + _PULL * sparse.eye(len(self.free))
        self.solve = (
            splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A").solve if len(self.free) else None
        )

    def __call__(
        self,
        values: np.ndarray,
        guide: np.ndarray,
        valid: np.ndarray | None = None,
        other: np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns `values` where they are known, elsewhere what has the guide's gradients.

        Args:
            values: `[T, T, C]`, used where known.
            guide: `[T, T, C]`.
            valid: where the guide holds; a pair of texels that are not both valid takes its
                gradient from `other`.
            other: `[T, T, C]`.
        """
        channels = guide.shape[-1]
        flat = guide.reshape(-1, channels)
        ends = flat[self.pairs]
        slope = ends[:, 1] - ends[:, 0]
        if valid is not None and other is not None:
            spare = other.reshape(-1, channels)[self.pairs]
            both = valid.ravel()[self.pairs].all(1)[:, None]
            slope = np.where(both, slope, spare[:, 1] - spare[:, 0])
        result = flat.copy()
        boundary = values.reshape(-1, channels)[self.fixed]
        result[self.fixed] = boundary
        if self.solve is not None:
            right = self.divergence @ slope - self.border @ boundary + _PULL * flat[self.free]
            result[self.free] = self.solve(right)
        return result.reshape(guide.shape)
