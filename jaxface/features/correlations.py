"""Feature correlations (Gram matrices) of a partly visible texture, per soft cell of the square."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.features.vgg import receptive_support, vgg_features
from jaxface.types import Correlations, Sketch, Textures


@dataclass(frozen=True)
class CorrelationConfig:
    """What is correlated.

    Attributes:
        layers: VGG-16 layers.
        cells: soft cells along each side of the UV square; 1 is the whole face at once.
        centered: take the mean out (covariances), so that tone and shading do not count.
        pooling: of VGG-16, "max" or "average".
        bfloat16: VGG-16 in bfloat16, for accelerators; sums are float32.
    """

    layers: tuple[str, ...] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
    cells: int = 4
    centered: bool = True
    pooling: str = "max"
    bfloat16: bool = False

    def features(
        self, vgg: Mapping[str, Any], image_srgb: Float[Array, "H W 3"], *more: str
    ) -> dict[str, Float[Array, "h w C"]]:
        """Returns what is correlated of an image 0..1, and `more` layers."""
        layers = tuple(dict.fromkeys((*self.layers, *more)))
        return vgg_features(vgg, image_srgb, layers, pooling=self.pooling, bfloat16=self.bfloat16)


PAPER = CorrelationConfig(
    layers=("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"), cells=1, centered=False
)
"""The paper's plain form: one raw Gram matrix a layer for the whole face."""


def correlate(
    texture_srgb: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    vgg: Mapping[str, Any],
    config: CorrelationConfig = CorrelationConfig(),
) -> Correlations:
    """Returns the masked correlations of a texture, an estimate of the complete ones.

    Every feature counts with the square of the visible share of its receptive field, and the sums
    are divided by the sum of those weights, so that a fully visible texture gives plain Gram
    matrices over the number of features (Gatys et al. 2015, equation 3; Saito et al. 2017,
    section 4.1, for partial ones). Differentiable in the texture and the weights of the network.

    Args:
        texture_srgb: 0..1; anything plausible where the mask is 0. T must be a multiple of
            2 `cells` times the stride of the deepest layer.
        mask: 1 where the texture is known, 0 where it is not.
        vgg: weights, `jaxface.features.weights.load_vgg()`.
        config: layers, cells, centring.

    Raises:
        ValueError: T does not suit the cells and layers.

    Example:
        >>> from jaxface.features.weights import load_vgg
        >>> config = CorrelationConfig(layers=("relu1_1",), cells=2)
        >>> correlate(jnp.ones((16, 16, 3)), jnp.ones((16, 16)), load_vgg(), config).values[0].shape
        (4, 64, 64)
    """
    features = config.features(vgg, texture_srgb)
    return correlate_features(features, mask, config)


def correlate_features(
    features: Mapping[str, Float[Array, "h w C"]],
    mask: Float[Array, "T T"] | None,
    config: CorrelationConfig,
) -> Correlations:
    """Returns the masked correlations of features that are already there; see `correlate`.

    A `mask` of None means that everything is visible.
    """
    supports = {} if mask is None else receptive_support(mask, config.layers)
    pairs = [_layer(features[name], supports.get(name), config) for name in config.layers]
    return Correlations(
        values=tuple(value for value, _ in pairs),
        support=tuple(support for _, support in pairs),
        layers=config.layers,
    )


def correlate_database(
    textures: Textures | Sketch,
    mask: Float[Array, "S S"],
    vgg: Mapping[str, Any],
    config: CorrelationConfig = CorrelationConfig(),
) -> tuple[Correlations, Correlations]:
    """Returns the database's correlations under the photo's mask, and the complete ones.

    One face at a time, so that memory does not grow with the features of all of them, in the
    reverse pass either. Differentiable in the textures (floating point), the mask and the weights
    of the network.

    Args:
        textures: sRGB, 0..255, resized to the mask's size if they are of another; or their
            sketch at that size, which needs no pass of VGG and has no derivative.
        mask: what the photo shows, 0..1.
        vgg: weights, `jaxface.features.weights.load_vgg()`.
        config: the one used for the photo.
    """

    @jax.checkpoint
    def one(texture: Array | Sketch) -> tuple[Correlations, Correlations]:
        features = _features(texture, mask.shape[0], vgg, config)
        return correlate_features(features, mask, config), correlate_features(
            features, None, config
        )

    return jax.lax.map(one, textures)


def rank_database(
    texture_srgb: Float[Array, "S S 3"],
    mask: Float[Array, "S S"],
    textures: Textures | Sketch,
    vgg: Mapping[str, Any],
    config: CorrelationConfig = CorrelationConfig(),
) -> Float[Array, " K"]:
    """Returns the squared distance of each face's masked correlations to those of a texture.

    For choosing which faces are worth a closer look: nothing of a face is kept. No derivative.

    Args:
        texture_srgb: 0..1.
        mask: what of it is known.
        textures: sRGB, 0..255, resized to the texture's size; or their sketch at that size.
        vgg: weights, `jaxface.features.weights.load_vgg()`.
        config: layers, cells, centring.
    """
    texture_srgb, mask = jax.lax.stop_gradient((texture_srgb, mask))
    photo = correlate(texture_srgb, mask, vgg, config)

    def one(texture: Array | Sketch) -> Array:
        features = _features(texture, mask.shape[0], vgg, config)
        face = correlate_features(features, mask, config)
        total = jnp.zeros(())
        for value, other, scale in zip(photo.values, face.values, cell_scales(photo), strict=True):
            total += jnp.sum(scale * jnp.sum((other - value) ** 2, (-2, -1)))
        return total

    return jax.lax.map(one, textures)


def sketch_textures(
    textures: Textures,
    size: int,
    vgg: Mapping[str, Any],
    config: CorrelationConfig = CorrelationConfig(),
) -> Sketch:
    """Returns the features of database faces in 8 bits, a scale for each face and channel.

    A mask counts after VGG, so they serve every photo. No derivative.

    Args:
        textures: sRGB, 0..255; resized.
        size: side in texels at which they are to be compared.
        vgg: weights, `jaxface.features.weights.load_vgg()`.
        config: layers and pooling.
    """

    def one(texture: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        features = config.features(vgg, resize(texture / 255.0, size))
        scales = tuple(jnp.max(features[name], (0, 1)) / 255.0 for name in config.layers)
        levels = [
            jnp.round(features[name] / jnp.maximum(scale, 1e-9))
            for name, scale in zip(config.layers, scales, strict=True)
        ]
        return tuple(level.astype(jnp.uint8) for level in levels), scales

    values, scales = jax.lax.map(one, textures)
    return Sketch(values, scales, config.layers)


def _features(
    face: Array | Sketch, size: int, vgg: Mapping[str, Any], config: CorrelationConfig
) -> dict[str, Float[Array, "h w C"]]:
    """Returns the features of one database face, of its texture or of its sketch."""
    if not isinstance(face, Sketch):
        return config.features(vgg, resize(face / 255.0, size))
    rows = zip(face.layers, face.values, face.scales, strict=True)
    return {name: value * scale for name, value, scale in rows}


def cell_scales(correlations: Correlations) -> tuple[Float[Array, " R"], ...]:
    """Returns by what squared distances count in each layer: every visible cell alike.

    One over the cell's energy (plus a twentieth of the layer's mean, so that flat cells do not
    dominate), weighted by how much of the cell is visible.
    """
    scales = []
    for value, support in zip(correlations.values, correlations.support, strict=True):
        energy = jnp.sum(value**2, (-2, -1))
        scale = support / (energy + 0.05 * jnp.mean(energy) + 1e-12)
        scales.append(scale / (jnp.sum(support) + 1e-12))
    return tuple(scales)


def resize(image: Float[Array, "T T C"], size: int) -> Float[Array, "S S C"]:
    """Returns a square image at another size (antialiased, linear). Differentiable."""
    if image.shape[0] == size:
        return image
    return jax.image.resize(image, (size, size, *image.shape[2:]), "linear", antialias=True)


def correlation_distance(
    correlations: Correlations, target: Correlations, *, relative: bool = True
) -> Float[Array, ""]:
    """Returns the squared distance of correlations: the mean over layers and cells.

    Args:
        correlations: of the texture.
        target: what they should be.
        relative: divide each cell's squared distance by the target's squared norm (plus a
            twentieth of the layer's mean, so that flat cells do not dominate). False divides by
            the layer's mean alone, which keeps the paper's uniform layers.
    """
    total = jnp.zeros(())
    for value, goal in zip(correlations.values, target.values, strict=True):
        energy = jnp.sum(goal**2, (-2, -1))
        mean = jnp.mean(energy)
        scale = energy + 0.05 * mean if relative else mean
        distance = jnp.sum((value - goal) ** 2, (-2, -1))
        total += jnp.mean(distance / (scale + 1e-12))
    return total / len(target.values)


def _layer(
    features: Float[Array, "h w C"], share: Float[Array, "h w"] | None, config: CorrelationConfig
) -> tuple[Float[Array, "R C C"], Float[Array, " R"]]:
    """Returns the correlations of one layer and the visible share of each cell.

    Cells are weighted sums of blocks. A feature is multiplied with itself once, in its block; or,
    where a cell has fewer features than channels, in each of its cells, which spares the sums
    over blocks' matrices, larger than the features.
    """
    count = 1 if config.cells == 1 else 2 * config.cells
    h, w = features.shape[:2]
    if h != w or h % count:
        raise ValueError(
            f"{config.cells} cells need square features with a side divisible by them: {h}."
        )
    window = jnp.asarray(_window(config.cells))
    area = (h // count) ** 2
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    if share is None:
        share = jnp.ones((h, h), features.dtype)
    shown = _blocks(features * share[..., None], count)
    visible = _blocks(share[..., None], count)
    total = jnp.matmul(window, jnp.sum(visible**2, (1, 2), dtype=dtype), precision="highest")
    mixed = window / jnp.maximum(total, 1e-6)[:, None]
    mean = jnp.zeros((len(window), features.shape[-1]), dtype)
    if config.centered:
        sums = jnp.sum(shown * visible, 1, dtype=dtype)
        mean = jnp.matmul(mixed, sums, precision="highest")
    if config.cells == 1 or 16 * area > features.shape[-1]:
        values = _squares(shown, config.cells, dtype) / jnp.maximum(total, 1e-6)[:, None, None]
        values -= mean[:, :, None] * mean[:, None, :]
    else:
        inside = _inside(shown, config.cells) - _inside(visible, config.cells) * mean[:, None]
        inside *= jax.lax.rsqrt(jnp.maximum(total, 1e-6))[:, None, None]
        values = _squares(inside, None, dtype)
    return values, total / (area * jnp.sum(window, -1))


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _squares(x: Float[Array, "B p C"], cells: int | None, dtype: Any) -> Float[Array, "R C C"]:
    """Returns the products of a block's features with themselves, summed over those of a cell.

    Its derivative is a product and its transpose, where that of `einsum` is two products.
    """
    return _products(x, x, cells, dtype)


@_squares.defjvp
def _squares_derivative(
    cells: int | None, dtype: Any, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    (x,), (change,) = primals, tangents
    half = _products(change, x, cells, dtype)
    return _squares(x, cells, dtype), half + half.swapaxes(1, 2)


def _products(
    x: Float[Array, "B p C"], y: Float[Array, "B p C"], cells: int | None, dtype: Any
) -> Float[Array, "R C C"]:
    # Of factors with at least 16 bits (bfloat16 in three passes, on a TPU).
    found = jnp.einsum("bpc,bpd->bcd", x, y, precision="high", preferred_element_type=dtype)
    if cells is None:
        return found
    return jnp.einsum("rb,bcd->rcd", jnp.asarray(_window(cells)), found, precision="highest")


def _blocks(image: Float[Array, "h h C"], count: int) -> Float[Array, "B p C"]:
    """Returns `count` x `count` square blocks, their pixels in a row."""
    h, channels = image.shape[0], image.shape[-1]
    side = h // count
    blocks = image.reshape(count, side, count, side, channels).transpose(0, 2, 1, 3, 4)
    return blocks.reshape(count**2, side**2, channels)


def _inside(blocks: Float[Array, "B p C"], cells: int) -> Float[Array, "R q C"]:
    """Returns the features of each cell's 4 x 4 blocks, times the root of how much these count."""
    count, (_, area, channels) = 2 * cells, blocks.shape
    grid = jnp.pad(blocks.reshape(count, count, -1), ((1, 1), (1, 1), (0, 0)))  # beside the edge
    rows = [grid[2 * row : 2 * row + 4] for row in range(cells)]  # a gather's derivative is slow
    inside = jnp.stack(
        [part[:, 2 * column : 2 * column + 4] for part in rows for column in range(cells)]
    )
    hat = np.sqrt([0.25, 0.75, 0.75, 0.25])
    share = jnp.asarray(hat[:, None] * hat, blocks.dtype)[..., None]
    return (share * inside).reshape(cells**2, 16 * area, channels)


def _window(cells: int) -> np.ndarray:
    """Returns how much of each block a cell counts, `[cells^2, (2 cells)^2]`.

    Hats of neighbouring cells, sampled at the blocks' centres; inside, they sum to one.
    """
    if cells == 1:
        return np.ones((1, 1), np.float32)
    centers, blocks = np.arange(cells) + 0.5, (np.arange(2 * cells) + 0.5) / 2
    hat = np.maximum(1.0 - np.abs(centers[:, None] - blocks), 0.0)
    return np.kron(hat, hat).astype(np.float32)
