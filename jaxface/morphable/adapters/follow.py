"""Coefficients of a linear model for given vertex offsets. Host code."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import lsq_linear

_SIGMA = 3e-3  # metres: larger than a vertex's error, because errors of neighbours correlate


def follow(
    basis: np.ndarray,
    target: np.ndarray,
    *,
    mean: np.ndarray,
    sigma: float,
    bounds: tuple[float, float],
) -> np.ndarray:
    """Returns argmin_c sum_v |c B_v - g_v|^2 / s^2 + |c - mean|^2 / sigma^2 in bounds, s = 3 mm.

    Args:
        basis: `[M, V, 3]` B, metres.
        target: `[V, 3]` g, metres.
        mean: `[M]` of the prior.
        sigma: of the prior.
        bounds: of every coefficient.
    """
    rows = basis.reshape(len(basis), -1).astype(float) / _SIGMA
    normal_matrix = rows @ rows.T + np.eye(len(basis)) / sigma**2
    rhs = rows @ target.ravel() / _SIGMA + mean / sigma**2
    upper = cholesky(normal_matrix)  # |U c - y|^2 differs from that sum by a constant
    solution = lsq_linear(upper, solve_triangular(upper, rhs, trans="T"), bounds)
    return solution.x.astype(np.float32)
