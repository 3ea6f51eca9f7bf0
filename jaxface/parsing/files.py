"""The parser's weights, from `pretrained/`. Host code."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from jaxface import assets
from jaxface.parsing.network import (
    DILATIONS,
    FINE_DILATIONS,
    FINE_LAYERS,
    LAYERS,
    ParserStage,
    ParserWeights,
)

FILE = "parser.npz"


def load_parser() -> ParserWeights:
    """Returns the embedded parser's weights, float32.

    Raises:
        AssetError: the file is missing or damaged.

    Example:
        >>> load_parser().coarse.classes_bias.shape
        (4,)
    """
    return weights_of(assets.load_npz(FILE))


def weights_of(stored: Mapping[str, np.ndarray]) -> ParserWeights:
    """Returns weights from the arrays of a file."""
    arrays = {name: jnp.asarray(a, jnp.float32) for name, a in stored.items()}

    def stage(name: str, layers: tuple[str, ...], count: int) -> ParserStage:
        return ParserStage(
            projections={layer: arrays[f"{name}_projection_{layer}"] for layer in layers},
            offset=arrays[f"{name}_offset"],
            kernels=tuple(arrays[f"{name}_kernel_{k}"] for k in range(count)),
            biases=tuple(arrays[f"{name}_bias_{k}"] for k in range(count)),
            classes_kernel=arrays[f"{name}_classes_kernel"],
            classes_bias=arrays[f"{name}_classes_bias"],
        )

    coarse, fine = ("coarse", LAYERS, len(DILATIONS)), ("fine", FINE_LAYERS, len(FINE_DILATIONS))
    return ParserWeights(
        coarse=stage(*coarse),
        fine=stage(*fine),
        bridge=arrays["bridge"],
        beard_kernel=arrays["beard_kernel"],
        beard_bias=arrays["beard_bias"],
        brows_kernels=(arrays["brows_kernel_0"], arrays["brows_kernel_1"]),
        brows_biases=(arrays["brows_bias_0"], arrays["brows_bias_1"]),
    )
