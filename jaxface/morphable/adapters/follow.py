"""Coefficients of a linear model for places that are known. Host code."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import lsq_linear

_SIGMA = 3e-3  # metres: more than a vertex is off by, because its neighbours err with it


def follow(
    basis: np.ndarray,
    goal: np.ndarray,
    *,
    mean: np.ndarray,
    sigma: float,
    bounds: tuple[float, float],
) -> np.ndarray:
    """Returns the coefficients c, `[M]` float32, whose offsets come next to a goal, within bounds.

    Least squares with a prior: sum_v |c B_v - g_v|^2 / s^2 + |c - mean|^2 / sigma^2.

    Args:
        basis: `[M, V, 3]` B, metres.
        goal: `[V, 3]` g, metres.
        mean: `[M]` of the prior.
        sigma: of the prior.
        bounds: of every coefficient.
    """
    rows = basis.reshape(len(basis), -1).astype(float) / _SIGMA
    normal = rows @ rows.T + np.eye(len(basis)) / sigma**2
    right = rows @ goal.ravel() / _SIGMA + mean / sigma**2
    upper = cholesky(normal)  # |U c - y|^2 differs from that sum by a constant
    found = lsq_linear(upper, solve_triangular(upper, right, trans="T"), bounds)
    return found.x.astype(np.float32)
