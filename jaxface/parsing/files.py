"""The parser's weights, from `pretrained/`. Host code."""

from __future__ import annotations

import jax.numpy as jnp

from jaxface import assets
from jaxface.parsing.network import DILATIONS, LAYERS, ParserWeights

FILE = "parser.npz"


def load_parser() -> ParserWeights:
    """Returns the embedded parser's weights, float32.

    Raises:
        AssetError: the file is missing or damaged.

    Example:
        >>> load_parser().classes_bias.shape
        (4,)
    """
    arrays = {name: jnp.asarray(a, jnp.float32) for name, a in assets.load_npz(FILE).items()}
    return ParserWeights(
        projections={layer: arrays[f"projection_{layer}"] for layer in LAYERS},
        offset=arrays["offset"],
        kernels=tuple(arrays[f"kernel_{k}"] for k in range(len(DILATIONS))),
        biases=tuple(arrays[f"bias_{k}"] for k in range(len(DILATIONS))),
        classes_kernel=arrays["classes_kernel"],
        classes_bias=arrays["classes_bias"],
    )
