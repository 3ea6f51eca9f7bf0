"""Compiled functions are the same whatever options of JAX their caller has set."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.precision import jit


def mixed(matrix: jax.Array, row: jax.Array) -> jax.Array:
    """Adds arrays of two ranks and of two types."""
    return matrix + row


def test_callers_who_forbid_promotion_can_call_what_promotes() -> None:
    matrix, row = np.ones((2, 3), np.float32), np.arange(3, dtype=np.int32)
    for setting in (jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict")):
        with setting:
            with pytest.raises((ValueError, TypeError)):
                jax.jit(mixed)(matrix, row)
            assert jit(mixed)(matrix, row).dtype == jnp.float32
            slope = jax.grad(lambda x: jit(mixed)(x, row).sum())(matrix)
            np.testing.assert_array_equal(slope, matrix)
