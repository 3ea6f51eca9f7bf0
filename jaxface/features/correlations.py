"""Feature correlations (Gram matrices) of a partly visible texture, per soft cell of the UV square.

R = cells^2 cells tile the square, their windows are overlapping hat functions. Features are h x w
positions, h = S / stride for an image of S texels; S must be a multiple of 2 `cells` (1 if `cells`
is 1) times the stride of the deepest layer, so that every layer divides into blocks of half a cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.features.vgg import receptive_field_coverage, vgg_features
from jaxface.pytrees import pytree, static
from jaxface.types import Correlations, FeatureCache, Textures

_MIN_ENERGY = 0.05  # of the layer's mean squared norm: bounds the weight of flat cells


@pytree
class CorrelationConfig:
    """Settings of the correlations: layers, cells, centring. A pytree without leaves (all static).

    Attributes:
        layers: VGG-16 layers.
        cells: soft cells along each side of the UV square; 1 is the whole face at once.
        centered: subtract the mean (covariances), so that tone and shading do not count.
        pooling: of VGG-16, "max" or "average".
        bfloat16: VGG-16 in bfloat16, for accelerators; sums are float32.
        blend_side: texels a side at which the photo and database faces are compared, whatever the
            texture's size; candidates are ranked at half of that. Half of it must be a multiple of
            2 `cells` times the deepest layer's stride.
    """

    layers: tuple[str, ...] = static(default=("relu1_1", "relu2_1", "relu3_1", "relu4_1"))
    cells: int = static(default=4)
    centered: bool = static(default=True)
    pooling: str = static(default="max")
    bfloat16: bool = static(default=False)
    blend_side: int = static(default=256)

    @property
    def sides(self) -> tuple[int, int]:
        """`(half, full)`: texels a side at which faces are ranked, and the best are blended."""
        return self.blend_side // 2, self.blend_side

    def features(
        self, vgg: Mapping[str, Any], image_srgb: Float[Array, "H W 3"], *more: str
    ) -> dict[str, Float[Array, "h w C"]]:
        """Returns VGG-16's features of an image (0..1) in `layers` and in the layers `more`."""
        layers = tuple(dict.fromkeys((*self.layers, *more)))
        return vgg_features(vgg, image_srgb, layers, pooling=self.pooling, bfloat16=self.bfloat16)


PAPER = CorrelationConfig(
    layers=("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"), cells=1, centered=False
)
"""The paper's method: one uncentred Gram matrix a layer for the whole face."""


def correlate(
    texture_srgb: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    vgg: Mapping[str, Any],
    config: CorrelationConfig = CorrelationConfig(),
) -> Correlations:
    """Returns C = sum_p w_p (f_p - m)(f_p - m)' / sum_p w_p, m the weighted mean of f, per cell.

    Masked correlations, an estimate of the complete ones. f_p are the features at position p and
    w_p = window_p v_p^2, with the cell's window and the visible fraction v of the receptive field.
    If not `centered`, m = 0: a fully visible texture gives plain Gram matrices over the number of
    positions (Gatys et al. 2015, equation 3; Saito et al. 2017, section 4.1, for partial ones).
    Differentiable in the texture and the weights of the network.

    Args:
        texture_srgb: 0..1; anything plausible where the mask is 0. T must be a multiple of
            2 `cells` times the stride of the deepest layer.
        mask: 1 where the texture is known, 0 where it is not.
        vgg: weights, `jaxface.features.weights.load_vgg()`.
        config: layers, cells, centring.

    Raises:
        ValueError: T is not such a multiple.

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
    """Returns the masked correlations of given features; see `correlate`.

    A `mask` of None means that everything is visible.
    """
    coverage = {} if mask is None else receptive_field_coverage(mask, config.layers)
    pairs = [_layer(features[name], coverage.get(name), config) for name in config.layers]
    return Correlations(
        values=tuple(value for value, _ in pairs),
        support=tuple(support for _, support in pairs),
        layers=config.layers,
    )


def correlate_database(
    textures: Textures | FeatureCache,
    mask: Float[Array, "S S"],
    vgg: Mapping[str, Any],
    config: CorrelationConfig = CorrelationConfig(),
) -> tuple[Correlations, Correlations]:
    """Returns the database's correlations under the photo's mask, and the complete ones.

    Both have a leading axis K. One face after another (`lax.map`, rematerialised), so that peak
    memory is one face's features, in the reverse pass too. Differentiable in the textures (floating
    point), the mask and the weights of the network.

    Args:
        textures: sRGB, 0..255, resized to S; or their cached features at S, which need no pass of
            VGG-16 and have no derivative.
        mask: what the photo shows, 0..1. S must be a multiple of 2 `cells` times the stride of the
            deepest layer.
        vgg: weights, `jaxface.features.weights.load_vgg()`.
        config: the one used for the photo.
    """

    @jax.checkpoint
    def one(texture: Array | FeatureCache) -> tuple[Correlations, Correlations]:
        features = _features(texture, mask.shape[0], vgg, config)
        return correlate_features(features, mask, config), correlate_features(
            features, None, config
        )

    return jax.lax.map(one, textures)


def database_distances(
    texture_srgb: Float[Array, "S S 3"],
    mask: Float[Array, "S S"],
    textures: Textures | FeatureCache,
    vgg: Mapping[str, Any],
    config: CorrelationConfig = CorrelationConfig(),
) -> Float[Array, " K"]:
    """Returns d_k = sum over layers and cells of a |C_k - C|_F^2; smaller is more alike.

    C and C_k are the masked correlations of a texture and of face k, a the `cell_scales` of C: in
    contrast to `correlation_distance` cells count by their support. Ranks candidates for
    `blend`. One face after another, so that peak memory is one face's features. No derivative in
    the texture and the mask.

    Args:
        texture_srgb: 0..1; S as for `correlate_database`.
        mask: 1 where the texture is known, 0 where it is not.
        textures: sRGB, 0..255, resized to S; or their cached features at S.
        vgg: weights, `jaxface.features.weights.load_vgg()`.
        config: layers, cells, centring.
    """
    texture_srgb, mask = jax.lax.stop_gradient((texture_srgb, mask))
    photo = correlate(texture_srgb, mask, vgg, config)

    def one(texture: Array | FeatureCache) -> Array:
        features = _features(texture, mask.shape[0], vgg, config)
        face = correlate_features(features, mask, config)
        total = jnp.zeros(())
        rows = zip(photo.values, face.values, cell_scales(photo), strict=True)
        for goal, value, scale in rows:
            total += jnp.sum(scale * jnp.sum((value - goal) ** 2, (-2, -1)))
        return total

    return jax.lax.map(one, textures)


def cache_features(
    textures: Textures,
    size: int,
    vgg: Mapping[str, Any],
    config: CorrelationConfig = CorrelationConfig(),
) -> FeatureCache:
    """Returns VGG-16's features of database faces, quantised to 8 bits by face and channel.

    Masks are applied to the features, so that the cache serves every photo. No derivative.

    Args:
        textures: sRGB, 0..255; resized.
        size: side in texels at which faces are compared.
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
    return FeatureCache(values, scales, config.layers)


def _features(
    face: Array | FeatureCache, size: int, vgg: Mapping[str, Any], config: CorrelationConfig
) -> dict[str, Float[Array, "h w C"]]:
    """Returns the features of one database face, from its texture or from its cached features."""
    if not isinstance(face, FeatureCache):
        return config.features(vgg, resize(face / 255.0, size))
    rows = zip(face.layers, face.values, face.scales, strict=True)
    return {name: value * scale for name, value, scale in rows}


def cell_scales(correlations: Correlations) -> tuple[Float[Array, " R"], ...]:
    """Returns s / (e + mean(e) / 20) / sum(s), by layer: weights of the cells' squared distances.

    s is a cell's `support`, its mean squared visible fraction, and e the squared norm of its
    correlations. Dividing by e lets fully visible cells count alike, mean(e) / 20 keeps flat cells
    (small e) from dominating.
    """
    scales = []
    for value, support in zip(correlations.values, correlations.support, strict=True):
        energy = jnp.sum(value**2, (-2, -1))
        scale = support / (energy + _MIN_ENERGY * jnp.mean(energy) + 1e-12)
        scales.append(scale / (jnp.sum(support) + 1e-12))
    return tuple(scales)


def resize(image: Float[Array, "T T C"], size: int) -> Float[Array, "S S C"]:
    """Returns a square image at another size (antialiased, linear). Differentiable."""
    if image.shape[0] == size:
        return image
    return jax.image.resize(image, (size, size, *image.shape[2:]), "linear", antialias=True)


def correlation_distance(correlations: Correlations, target: Correlations) -> Float[Array, ""]:
    """Returns the mean over layers and cells of |C - C_target|_F^2 / (e + mean(e) / 20).

    e is the squared norm of the target's cell, mean(e) the layer's mean, which keeps flat cells
    (small e) from dominating. For complete correlations: in contrast to `database_distances` all
    cells count alike. Differentiable.

    Args:
        correlations: C, of the texture.
        target: C_target.
    """
    total = jnp.zeros(())
    for value, goal in zip(correlations.values, target.values, strict=True):
        energy = jnp.sum(goal**2, (-2, -1))
        distance = jnp.sum((value - goal) ** 2, (-2, -1))
        total += jnp.mean(distance / (energy + _MIN_ENERGY * jnp.mean(energy) + 1e-12))
    return total / len(target.values)


def _layer(
    features: Float[Array, "h w C"],
    visible: Float[Array, "h w"] | None,
    config: CorrelationConfig,
) -> tuple[Float[Array, "R C C"], Float[Array, " R"]]:
    """Returns a layer's correlations in each cell (see `correlate`), and each cell's `support`: the
    mean of v^2 under its window, sum_p window_p v_p^2 / sum_p window_p.

    A window is constant on each of the (2 cells)^2 blocks. Two equivalent orders: Gram matrices of
    the blocks, summed into cells; or, if a cell has no more positions than channels, one Gram
    matrix a cell, since C x C matrices of the blocks would be larger than the features.
    """
    count = 1 if config.cells == 1 else 2 * config.cells
    h, w = features.shape[:2]
    if h != w or h % count:
        raise ValueError(
            f"{config.cells} cells need square features with a side divisible by them: {h}."
        )
    window = jnp.asarray(_window(config.cells))
    positions = (h // count) ** 2  # in a block
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    if visible is None:
        visible = jnp.ones((h, h), features.dtype)
    masked_blocks = _blocks(features * visible[..., None], count)
    visible_blocks = _blocks(visible[..., None], count)
    block_weights = jnp.sum(visible_blocks**2, (1, 2), dtype=dtype)
    total = jnp.matmul(window, block_weights, precision="highest")
    mean = jnp.zeros((len(window), features.shape[-1]), dtype)
    if config.centered:
        sums = jnp.sum(masked_blocks * visible_blocks, 1, dtype=dtype)
        normalised = window / jnp.maximum(total, 1e-6)[:, None]
        mean = jnp.matmul(normalised, sums, precision="highest")
    if config.cells == 1 or 16 * positions > features.shape[-1]:
        values = _gram(masked_blocks, config.cells, dtype)
        values /= jnp.maximum(total, 1e-6)[:, None, None]
        values -= mean[:, :, None] * mean[:, None, :]
    else:
        deviations = _cell_features(masked_blocks, config.cells)
        deviations -= _cell_features(visible_blocks, config.cells) * mean[:, None]
        deviations *= jax.lax.rsqrt(jnp.maximum(total, 1e-6))[:, None, None]
        values = _gram(deviations, None, dtype)
    return values, total / (positions * jnp.sum(window, -1))


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _gram(x: Float[Array, "B p C"], cells: int | None, dtype: Any) -> Float[Array, "R C C"]:
    """Returns the Gram matrices x'x of blocks, summed into cells unless `cells` is None.

    The derivative is dx'x plus its transpose: one product in place of the two of `einsum`.
    """
    return _products(x, x, cells, dtype)


@_gram.defjvp
def _gram_derivative(
    cells: int | None, dtype: Any, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    product = _products(tangent, x, cells, dtype)
    return _gram(x, cells, dtype), product + product.swapaxes(1, 2)


def _products(
    x: Float[Array, "B p C"], y: Float[Array, "B p C"], cells: int | None, dtype: Any
) -> Float[Array, "R C C"]:
    """Returns the products x'y of blocks, summed into cells (weights: `_window`) unless `cells` is
    None. Precision "high": three passes of bfloat16 on a TPU."""
    products = jnp.einsum("bpc,bpd->bcd", x, y, precision="high", preferred_element_type=dtype)
    if cells is None:
        return products
    return jnp.einsum("rb,bcd->rcd", jnp.asarray(_window(cells)), products, precision="highest")


def _blocks(image: Float[Array, "h h C"], count: int) -> Float[Array, "B p C"]:
    """Returns B = `count`^2 square blocks of p positions each."""
    h, channels = image.shape[0], image.shape[-1]
    side = h // count
    blocks = image.reshape(count, side, count, side, channels).transpose(0, 2, 1, 3, 4)
    return blocks.reshape(count**2, side**2, channels)


def _cell_features(blocks: Float[Array, "B p C"], cells: int) -> Float[Array, "R q C"]:
    """Returns the features of the 4 x 4 blocks in each cell's window, times sqrt(window).

    Their Gram matrix is the windowed sum of the blocks'. Blocks beyond the edge are zeros.
    """
    count, (_, positions, channels) = 2 * cells, blocks.shape
    grid = jnp.pad(blocks.reshape(count, count, -1), ((1, 1), (1, 1), (0, 0)))
    rows = [grid[2 * row : 2 * row + 4] for row in range(cells)]  # a gather's derivative is slow
    windows = jnp.stack(
        [part[:, 2 * column : 2 * column + 4] for part in rows for column in range(cells)]
    )
    hat = np.sqrt([0.25, 0.75, 0.75, 0.25])
    roots = jnp.asarray(hat[:, None] * hat, blocks.dtype)[..., None]
    return (roots * windows).reshape(cells**2, 16 * positions, channels)


def _window(cells: int) -> np.ndarray:
    """Returns the weight of each block in each cell, `[cells^2, (2 cells)^2]`.

    Products of hat functions centred on the cells, at the blocks' centres; they sum to one over the
    cells except at the border.
    """
    if cells == 1:
        return np.ones((1, 1), np.float32)
    centers, blocks = np.arange(cells) + 0.5, (np.arange(2 * cells) + 0.5) / 2
    hat = np.maximum(1.0 - np.abs(centers[:, None] - blocks), 0.0)
    return np.kron(hat, hat).astype(np.float32)
