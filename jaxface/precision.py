"""Matrix products and convolutions in full float32 on every device.

By default GPUs round the factors of float32 products to 10 bits of mantissa (TF32) and TPUs to 8
(bfloat16): enough for a network's convolutions, which ask for it themselves, and too little for
least squares and textures.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

ProgramStore = Callable[[Callable[..., Any], Any, tuple[str, ...]], Callable[..., Any]]
"""Takes a function, `jax.jit` of it and the names of its static arguments; returns what to call."""

_program_store: ProgramStore | None = None


def use_program_store(store: ProgramStore | None) -> None:
    """Lets a store of compiled programs answer the calls of all functions that `jit` has made.

    The command line registers one that keeps programs between starts. After import there is none,
    and calls are those of `jax.jit`.

    Args:
        store: asked at each call, also while a caller is being traced; None ends it.
    """
    global _program_store
    _program_store = store


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """Returns `jax.jit` of a function whose products are float32 unless they ask otherwise.

    It is traced under JAX's default promotion of types and ranks, whatever the caller has set.

    Args:
        function: as `jax.jit` takes it.
        options: of `jax.jit`; static arguments by name alone.

    Example:
        >>> product = jit(lambda a, b: a @ b)
        >>> "HIGHEST" in product.lower(jax.numpy.eye(2), jax.numpy.eye(2)).as_text()
        True
    """
    traced = jax.default_matmul_precision("float32")(function)
    traced = jax.numpy_rank_promotion("allow")(jax.numpy_dtype_promotion("standard")(traced))
    jitted = jax.jit(traced, **options)
    static = options.get("static_argnames", ())
    names = (static,) if isinstance(static, str) else tuple(static)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        run = jitted if _program_store is None else _program_store(function, jitted, names)
        return run(*args, **kwargs)

    for name in ("lower", "trace", "eval_shape", "clear_cache"):
        setattr(call, name, getattr(jitted, name))
    return call
