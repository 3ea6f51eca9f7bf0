"""LPIPS, the perceptual distance of Zhang et al. 2018, on AlexNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxface.features.vgg import _DEVIATION, _MEAN

# channels, kernel side, stride, padding
_LAYERS = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))


class AlexNet(nn.Module):
    """The five rectified convolutions of AlexNet (torchvision's)."""

    @nn.compact
    def __call__(self, image_srgb: Float[Array, "H W 3"]) -> list[Float[Array, "h w C"]]:
        x = ((image_srgb - jnp.asarray(_MEAN)) / jnp.asarray(_DEVIATION))[None]
        features = []
        for index, (channels, side, stride, padding) in enumerate(_LAYERS, start=1):
            if index in (2, 3):
                x = nn.max_pool(x, (3, 3), strides=(2, 2))
            x = nn.relu(
                nn.Conv(channels, (side, side), stride, padding=padding, name=f"conv{index}")(x)
            )
            features.append(x[0])
        return features


def lpips(
    params: Mapping[str, Any],
    first_srgb: Float[Array, "H W 3"],
    second_srgb: Float[Array, "H W 3"],
    *,
    mask: Float[Array, "H W"] | None = None,
) -> Float[Array, ""]:
    """Returns the LPIPS distance (version 0.1, AlexNet) of two sRGB images, 0 for equal ones.

    sum_layers mean_p(l . (u_p - v_p)^2) with unit-length features u and v and learned weights l.

    Args:
        params: weights, `jaxface.features.weights.load_alexnet()`.
        first_srgb: 0..1, at least 64 pixels a side.
        second_srgb: the same size.
        mask: weights of pixels, 0..1, resized to each layer; all alike if missing.

    Example:
        >>> from jaxface.features.weights import load_alexnet
        >>> image = jnp.ones((64, 64, 3))
        >>> float(lpips(load_alexnet(), image, image))
        0.0
    """
    weights = {
        name: {key: layer[key] for key in ("kernel", "bias")} for name, layer in params.items()
    }
    network = AlexNet()

    def unit(features: Array) -> Array:
        return features / (jnp.sqrt(jnp.sum(features**2, -1, keepdims=True) + 1e-20) + 1e-10)

    total = jnp.zeros(())
    pairs = zip(
        network.apply({"params": weights}, first_srgb),
        network.apply({"params": weights}, second_srgb),
        strict=True,
    )
    for index, (first, second) in enumerate(pairs, start=1):
        distance = (unit(first) - unit(second)) ** 2 @ params[f"conv{index}"]["linear"]
        if mask is None:
            total += distance.mean()
        else:
            weight = jax.image.resize(mask, distance.shape, "linear")
            total += jnp.sum(distance * weight) / jnp.maximum(jnp.sum(weight), 1e-6)
    return total
