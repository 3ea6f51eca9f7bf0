"""The parser's network: two small convolutional heads on frozen features of VGG-16."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.features.vgg import layer_stride, vgg_features
from jaxface.parsing.classes import CLASSES
from jaxface.pytrees import pytree

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
STRIDE = 4  # pixels between neighbouring features of the coarse stage, which sees what things are
DILATIONS = (1, 2, 4, 8)
"""Of the 3 x 3 convolutions: the last one's features see 31 of the stage's pixels a side."""
FINE_LAYERS = ("relu1_2", "relu2_2")
FINE_STRIDE = 2  # of the fine stage, which sees rims of glasses and strands of hair
BROWS_DILATION = 2
FINE_DILATIONS = (1, 2, 4)  # 15 of its pixels a side: both borders of what is thin, and beyond


@pytree
class ParserStage:
    """One stage of the parser.

    Attributes:
        projections: of each layer's features, `{layer: [C, P]}` (principal components).
        offset: added to the sum of the projected features, `[P]`.
        kernels: of each dilated convolution, `[3, 3, I, O]`.
        biases: of each, `[O]`.
        classes_kernel: `[O, K]`.
        classes_bias: `[K]`.
    """

    projections: Mapping[str, Float[Array, "C P"]]
    offset: Float[Array, "P"]
    kernels: tuple[Float[Array, "3 3 I O"], ...]
    biases: tuple[Float[Array, "O"], ...]
    classes_kernel: Float[Array, "O K"]
    classes_bias: Float[Array, "K"]


@pytree
class ParserWeights:
    """What `building.parser` learns.

    Attributes:
        coarse: the stage at stride 4, on all `LAYERS`.
        fine: the stage at stride 2, on `FINE_LAYERS`.
        bridge: from the coarse stage's last features to the fine stage's first, `[O, Q]`.
        beard_kernel: from first and last features of both stages to the logit of beard, `[F]`.
        beard_bias: `[]`.
        brows_kernels: from those features to hidden ones `[3, 3, F, O]`, from these to the logit of
            brows `[O]`.
        brows_biases: `[O]` and `[]`.
    """

    coarse: ParserStage
    fine: ParserStage
    bridge: Float[Array, "O Q"]
    beard_kernel: Float[Array, "F"]
    beard_bias: Float[Array, ""]
    brows_kernels: tuple[Float[Array, "3 3 F O"], Float[Array, "O"]]
    brows_biases: tuple[Float[Array, "O"], Float[Array, ""]]


def parser_features(
    image_srgb: Float[Array, "S S 3"], vgg: Mapping[str, Any], weights: ParserWeights
) -> tuple[Float[Array, "s s P"], Float[Array, "t t Q"]]:
    """Returns the projected features of both stages, s = S / `STRIDE`, t = S / `FINE_STRIDE`."""
    features = vgg_features(vgg, image_srgb, LAYERS)
    return (
        _projected(features, weights.coarse.projections, STRIDE),
        _projected(features, weights.fine.projections, FINE_STRIDE),
    )


def _projected(
    features: Mapping[str, Float[Array, "h w C"]],
    projections: Mapping[str, Float[Array, "C P"]],
    stride: int,
) -> Float[Array, "s s P"]:
    """Returns the sum over layers of linear maps of VGG-16's features, at a stride.

    Projected before they are resampled: finer layers are averaged, coarser ones interpolated.
    """
    total: Any = 0.0
    for layer, matrix in projections.items():
        maps = jnp.einsum("hwc,cp->hwp", features[layer], matrix)
        own, components = layer_stride(layer), matrix.shape[1]
        side = maps.shape[0] * own // stride
        if own < stride:
            maps = maps.reshape(side, stride // own, side, stride // own, components).mean((1, 3))
        elif own > stride:
            maps = jax.image.resize(maps, (side, side, components), "linear")
        total = total + maps
    return total


def class_logits(
    coarse: Float[Array, "s s P"], fine: Float[Array, "t t Q"], weights: ParserWeights
) -> tuple[
    Float[Array, f"s s {len(CLASSES)}"], Float[Array, f"t t {len(CLASSES)}"], Float[Array, "t t F"]
]:
    """Returns the logits of `CLASSES` of the coarse and of the fine stage, and the features that
    facial hair is told by: first and last ones of both stages.

    Of each stage x_0 = f + offset; x_k = relu(conv_k(x_{k-1})) (+ x_{k-1} if the shapes agree),
    dilated by `DILATIONS` or `FINE_DILATIONS`; logits = x_last W + b. Those of the fine stage are
    added to the coarse ones, enlarged; its x_0 has x_last of the coarse one times `bridge` besides.

    Args:
        coarse: of `parser_features`.
        fine: likewise.
        weights: `load_parser()`.
    """
    seen = _convolved(coarse, weights.coarse, DILATIONS)
    logits = seen @ weights.coarse.classes_kernel + weights.coarse.classes_bias

    def enlarged(maps: Float[Array, "s s C"]) -> Float[Array, "t t C"]:
        return jax.image.resize(maps, (*fine.shape[:2], maps.shape[-1]), "linear")

    near = _convolved(fine + enlarged(seen @ weights.bridge), weights.fine, FINE_DILATIONS)
    change = near @ weights.fine.classes_kernel + weights.fine.classes_bias
    features = jnp.concatenate([enlarged(seen), near, enlarged(coarse), fine], -1)
    return logits, enlarged(logits) + change, features


def facial_hair_logits(
    features: Float[Array, "t t F"], weights: ParserWeights
) -> Float[Array, "t t 2"]:
    """Returns the logits of `FACIAL_HAIR`, of the features of `class_logits`.

    Beard's are linear in a pixel's features; brows, which are thin, are told by those around it,
    too: relu(conv(f)) w + b, dilated by `BROWS_DILATION`.
    """
    beard = features @ weights.beard_kernel + weights.beard_bias
    (kernel, out), (bias, out_bias) = weights.brows_kernels, weights.brows_biases
    hidden = jax.nn.relu(_dilated_convolution(features, kernel, BROWS_DILATION) + bias)
    return jnp.stack([beard, hidden @ out + out_bias], -1)


def _convolved(
    x: Float[Array, "H W P"], stage: ParserStage, dilations: Sequence[int]
) -> Float[Array, "H W O"]:
    """Returns a stage's last features, `class_logits`."""
    x = x + stage.offset
    for kernel, bias, dilation in zip(stage.kernels, stage.biases, dilations, strict=True):
        y = jax.nn.relu(_dilated_convolution(x, kernel, dilation) + bias)
        x = y if y.shape != x.shape else x + y
    return x


def _dilated_convolution(
    x: Float[Array, "H W I"], kernel: Float[Array, "3 3 I O"], dilation: int
) -> Float[Array, "H W O"]:
    """Returns a 3 x 3 convolution of the same size as one matrix product.

    On a CPU 2.3 times as fast as `jax.lax.conv_general_dilated`, with the gradient.
    """
    height, width = x.shape[:2]
    padded = jnp.pad(x, ((dilation, dilation), (dilation, dilation), (0, 0)))
    shifted = [
        padded[i * dilation : i * dilation + height, j * dilation : j * dilation + width]
        for i in range(3)
        for j in range(3)
    ]
    return jnp.concatenate(shifted, -1) @ kernel.reshape(-1, kernel.shape[-1])
