"""Runs a converted TFLite network: its operations as JAX ops, its weights as a pytree."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jaxface.types import Network

Header = dict[str, Any]
NHWC = ("NHWC", "HWIO", "NHWC")


def apply(network: Network, *inputs: Array) -> tuple[Array, ...]:
    """Returns the outputs of a network for its inputs; see `run`."""
    return run(json.loads(network.graph), network.weights, *inputs)


def run(header: Header, weights: dict[str, Array], *inputs: Array) -> tuple[Array, ...]:
    """Returns the outputs of a network for its inputs (`[1, ...]` each), in their precision.

    Pure and differentiable in weights and inputs; `header` is static.
    """
    precision = inputs[0].dtype
    values: dict[int, Any] = {int(k): jnp.asarray(v, precision) for k, v in weights.items()}
    values |= {int(k): v for k, v in header["static"].items()}
    values |= dict(zip(header["inputs"], inputs, strict=True))
    for op in header["ops"]:
        args = [values[i] if i >= 0 else None for i in op["in"]]
        values[op["out"][0]] = OPERATIONS[op["op"]](op, *args)
    return tuple(values[i] for i in header["outputs"])


def _activate(op: Header, x: Array) -> Array:
    """Returns x under an operation's fused activation."""
    kind = op.get("activation")
    return x if kind is None else jax.nn.relu(x) if kind == "relu" else jax.nn.relu6(x)


def _conv(op: Header, x: Array, weight: Array, bias: Array | None) -> Array:
    """Returns a 2D convolution with bias and activation."""
    kernel = weight.transpose(1, 2, 3, 0)
    y = lax.conv_general_dilated(x, kernel, op["stride"], op["padding"], dimension_numbers=NHWC)
    return _activate(op, y if bias is None else y + bias)


def _depthwise(op: Header, x: Array, weight: Array, bias: Array | None) -> Array:
    """Returns a depthwise convolution with bias and activation."""
    # A sum of shifted slices: XLA:CPU runs it 3 to 10 times faster than a grouped convolution.
    (stride_h, stride_w), (kh, kw) = op["stride"], weight.shape[1:3]
    if op["padding"] == "SAME":
        pads = lax.padtype_to_pads(x.shape[1:3], (kh, kw), (stride_h, stride_w), "SAME")
        x = jnp.pad(x, [(0, 0), *pads, (0, 0)])
    height, width = (x.shape[1] - kh) // stride_h + 1, (x.shape[2] - kw) // stride_w + 1
    y = jnp.zeros(()) if bias is None else bias
    for i in range(kh):
        for j in range(kw):
            rows = slice(i, i + stride_h * (height - 1) + 1, stride_h)
            columns = slice(j, j + stride_w * (width - 1) + 1, stride_w)
            y = y + x[:, rows, columns] * weight[0, i, j]
    return _activate(op, y)


def _max_pool(op: Header, x: Array) -> Array:
    """Returns the maximum of each window."""
    window, stride = (1, *op["window"], 1), (1, *op["stride"], 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, stride, op["padding"])


def _average_pool(op: Header, x: Array) -> Array:
    """Returns the mean of each window, over pixels inside the image."""
    window, stride = (1, *op["window"], 1), (1, *op["stride"], 1)
    total = lax.reduce_window(x, 0.0, lax.add, window, stride, op["padding"])
    if not any(map(any, lax.padtype_to_pads(x.shape, window, stride, op["padding"]))):
        return total / math.prod(window)  # counted, XLA would spend seconds on constant folding
    count = lax.reduce_window(jnp.ones_like(x), 0.0, lax.add, window, stride, op["padding"])
    return total / count


def _resize(op: Header, x: Array, size: list[int]) -> Array:
    """Returns a bilinear resize, with aligned corners or half-pixel centres as the op says."""
    for axis, n in zip((1, 2), size, strict=True):
        m = x.shape[axis]
        if op["align"]:
            at = jnp.arange(n) * ((m - 1) / max(n - 1, 1))
        else:
            at = (jnp.arange(n) + 0.5) * (m / n) - 0.5 if op["half"] else jnp.arange(n) * (m / n)
        at = jnp.clip(at, 0, m - 1)
        low = jnp.floor(at).astype(jnp.int32)
        high = jnp.minimum(low + 1, m - 1)
        shape = [1] * 4
        shape[axis] = n
        t = (at - low).reshape(shape)
        x = jnp.take(x, low, axis) * (1 - t) + jnp.take(x, high, axis) * t
    return x


def _strided_slice(op: Header, x: Array, begin: list, end: list, strides: list) -> Array:
    """Returns a strided slice, axes in the op's shrink mask dropped."""
    index: list[Any] = []
    for i, (b, e, s) in enumerate(zip(begin, end, strides, strict=True)):
        if op["shrink"] >> i & 1:
            index.append(b)
        else:
            first = None if op["begin_mask"] >> i & 1 else b
            index.append(slice(first, None if op["end_mask"] >> i & 1 else e, s))
    return x[tuple(index)]


def _depth_to_space(op: Header, x: Array) -> Array:
    """Returns channels rearranged into blocks of pixels."""
    n, h, w, c = x.shape
    b = op["block"]
    x = x.reshape(n, h, w, b, b, c // (b * b)).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h * b, w * b, c // (b * b))


def _transposed_conv(op: Header, x: Array, weight: Array, bias: Array) -> Array:
    """Returns a transposed convolution with bias, kernel size equal to stride."""
    # MediaPipe's custom Convolution2DTransposeBias: a 2 x 2 kernel at stride 2.
    n, h, w, _ = x.shape
    y = jnp.einsum("nhwi,oyxi->nhywxo", x, weight)
    return y.reshape(n, h * weight.shape[1], w * weight.shape[2], -1) + bias


def _axes(value: list[int] | int) -> tuple[int, ...]:
    """Returns an op's axes as a tuple."""
    return tuple(value) if isinstance(value, list) else (value,)


OPERATIONS: dict[str, Callable[..., Array]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "MAX_POOL_2D": _max_pool,
    "AVERAGE_POOL_2D": _average_pool,
    "RESIZE_BILINEAR": _resize,
    "STRIDED_SLICE": _strided_slice,
    "DEPTH_TO_SPACE": _depth_to_space,
    "CUSTOM": _transposed_conv,
    "ADD": lambda op, a, b: _activate(op, a + b),
    "SUB": lambda op, a, b: _activate(op, a - b),
    "MUL": lambda op, a, b: _activate(op, a * b),
    "DIV": lambda op, a, b: _activate(op, a / jnp.where(b == 0, 1e-6, b)),
    "NEG": lambda op, a: -a,
    "SQRT": lambda op, a: jnp.sqrt(jnp.maximum(a, 1e-12)),
    "RSQRT": lambda op, a: lax.rsqrt(jnp.maximum(a, 1e-12)),
    "SQUARED_DIFFERENCE": lambda op, a, b: (a - b) ** 2,
    "MEAN": lambda op, a, axes: a.mean(_axes(axes), keepdims=op["keep"]),
    "SUM": lambda op, a, axes: a.sum(_axes(axes), keepdims=op["keep"]),
    "RELU": lambda op, a: jax.nn.relu(a),
    "HARD_SWISH": lambda op, a: a * jax.nn.relu6(a + 3) / 6,
    "LOGISTIC": lambda op, a: jax.nn.sigmoid(a),
    "PRELU": lambda op, a, slope: jnp.where(a >= 0, a, slope * a),
    "PAD": lambda op, a, pads: jnp.pad(a, pads),
    "RESHAPE": lambda op, a, *_: a.reshape(op["shape"]),
    "TRANSPOSE": lambda op, a, order: a.transpose(order),
    "CONCATENATION": lambda op, *parts: jnp.concatenate(parts, axis=op["axis"]),
}
