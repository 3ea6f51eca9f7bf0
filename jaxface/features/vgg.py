"""VGG-16 (Simonyan and Zisserman 2015) up to any named layer, as a Flax module."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

_CONVOLUTIONS = (2, 2, 3, 3, 3)
_CHANNELS = (64, 128, 256, 512, 512)
# ImageNet's mean and deviation, in sRGB, which the weights were trained with.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def layer_names() -> tuple[str, ...]:
    """Returns the names of all layers, in the order of computation.

    `convB_I` is a convolution before its rectifier, `reluB_I` after it.
    """
    return tuple(
        f"{kind}{block}_{index}"
        for block, count in enumerate(_CONVOLUTIONS, start=1)
        for index in range(1, count + 1)
        for kind in ("conv", "relu")
    )


class VGG16(nn.Module):
    """The convolutions of VGG-16; returns the features of the named layers.

    Attributes:
        layers: names of `layer_names()`.
        pooling: "max" as trained, or "average" (Gatys et al. 2015: smoother gradients).
        bfloat16: weights and features in bfloat16.
    """

    layers: tuple[str, ...]
    pooling: str = "max"
    bfloat16: bool = False

    @nn.compact
    def __call__(self, image_srgb: Float[Array, "H W 3"]) -> dict[str, Float[Array, "h w C"]]:
        names = layer_names()
        last = max(names.index(layer) for layer in self.layers)
        pool = nn.max_pool if self.pooling == "max" else nn.avg_pool
        x = ((image_srgb - jnp.asarray(_MEAN)) / jnp.asarray(_DEVIATION))[None]
        if self.bfloat16:
            x = x.astype(jnp.bfloat16)
        # TF32 or bfloat16 factors on accelerators: their rounding does not matter to features.
        convolution = partial(
            nn.Conv, kernel_size=(3, 3), padding=1, precision="default", dtype=x.dtype
        )
        features: dict[str, Array] = {}
        for block, (count, channels) in enumerate(
            zip(_CONVOLUTIONS, _CHANNELS, strict=True), start=1
        ):
            for index in range(1, count + 1):
                if names.index(f"conv{block}_{index}") > last:
                    return features
                if index == 1 and block > 1:
                    x = pool(x, (2, 2), strides=(2, 2))
                name = f"{block}_{index}"
                x = convolution(channels, name=f"conv{name}")(x)
                if f"conv{name}" in self.layers:
                    features[f"conv{name}"] = x[0]
                x = nn.relu(x)
                if f"relu{name}" in self.layers:
                    features[f"relu{name}"] = x[0]
        return features


def vgg_features(
    params: Mapping[str, Any],
    image_srgb: Float[Array, "H W 3"],
    layers: tuple[str, ...],
    *,
    pooling: str = "max",
    bfloat16: bool = False,
) -> dict[str, Float[Array, "h w C"]]:
    """Returns VGG-16's features of an sRGB image, `{layer: [h, w, C]}`, h = H / `layer_stride`.

    Differentiable in the image and the weights (piecewise: rectifiers, max pooling).

    Args:
        params: weights, `jaxface.features.weights.load_vgg()`.
        image_srgb: 0..1, at least as large as the deepest layer's stride.
        layers: names of `layer_names()`; nothing beyond the deepest is computed.
        pooling: "max" or "average".
        bfloat16: compute in bfloat16, which the features then are; for accelerators.

    Raises:
        ValueError: an unknown layer or pooling.

    Example:
        >>> from jaxface.features.weights import load_vgg
        >>> vgg_features(load_vgg(), jnp.ones((8, 8, 3)), ("relu2_1",))["relu2_1"].shape
        (4, 4, 128)
    """
    if unknown := [layer for layer in layers if layer not in layer_names()]:
        raise ValueError(f"VGG-16 has no layer {unknown[0]}; it has {', '.join(layer_names())}.")
    if pooling not in ("max", "average"):
        raise ValueError(f"pooling is 'max' or 'average', not {pooling!r}.")
    network = VGG16(tuple(layers), pooling, bfloat16)
    return network.apply({"params": params}, image_srgb)  # type: ignore[return-value]


def layer_stride(layer: str) -> int:
    """Returns the distance of a layer's neighbouring features, image pixels: 4 for "relu3_1"."""
    return 2 ** (int(layer[4]) - 1)


def receptive_field_coverage(
    mask: Float[Array, "H W"], layers: tuple[str, ...]
) -> dict[str, Float[Array, "h w"]]:
    """Returns the soft known fraction of each feature's receptive field, `{layer: [h, w]}` in 0..1.

    Repeated box averages of the mask, one for each convolution and pooling, hence centre-weighted;
    each over the part of its window inside the image. Linear in the mask; h, w are H, W over
    `layer_stride`.

    Args:
        mask: 1 where the image is known, 0 where it is not.
        layers: names of `layer_names()`.

    Example:
        >>> float(receptive_field_coverage(jnp.ones((8, 8)), ("relu3_1",))["relu3_1"].min())
        1.0
    """

    def average(x: Array, side: int, stride: int, padding: str) -> Array:
        total = jax.lax.reduce_window(x, 0.0, jax.lax.add, (side, side), (stride, stride), padding)
        if padding == "VALID":
            return total / side**2
        # Counted in NumPy: XLA's constant folding of reduce_window over ones takes seconds.
        radius = side // 2
        ends = [(np.arange(n) - radius, np.arange(n) + radius, n) for n in x.shape]
        rows, columns = (
            np.minimum(last, n - 1) - np.maximum(first, 0) + 1 for first, last, n in ends
        )
        return total / jnp.asarray(np.outer(rows, columns), jnp.float32)

    names = layer_names()
    last = max(names.index(layer) for layer in layers)
    coverage = {}
    x = jax.lax.optimization_barrier(mask)  # keeps XLA from folding a constant mask
    for name in names[: last + 1]:
        if name.startswith("conv"):
            if name.endswith("_1") and name != "conv1_1":
                x = average(x, 2, 2, "VALID")
            x = average(x, 3, 1, "SAME")
        if name in layers:
            coverage[name] = x
    return coverage
