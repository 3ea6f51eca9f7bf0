"""Products in full float32 on every device.

Left to themselves, GPUs round the factors of products to 10 bits and TPUs to 8: enough for a
network's convolutions, which say so themselves, and too little for least squares and textures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from jaxface.programs import kept


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """Returns `jax.jit` of a function whose products are float32 unless they say otherwise.

    Args:
        function: as `jax.jit` takes it.
        options: of `jax.jit`; static arguments by name alone. See `jaxface.programs` for how its
            compiled programs are found again.

    Example:
        >>> product = jit(lambda a, b: a @ b)
        >>> "HIGHEST" in product.lower(jax.numpy.eye(2), jax.numpy.eye(2)).as_text()
        True
    """
    static = options.get("static_argnames", ())
    jitted = jax.jit(jax.default_matmul_precision("float32")(function), **options)
    return kept(function, jitted, (static,) if isinstance(static, str) else tuple(static))
