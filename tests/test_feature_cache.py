"""The feature cache: features in 8 bits give the correlations and weights of the textures."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.config import ReconstructConfig
from jaxface.database import (
    load_database,
    open_database,
    open_features,
    save_database,
    write_features,
)
from jaxface.errors import AssetError, InputError
from jaxface.features.correlations import (
    CorrelationConfig,
    cache_features,
    correlate_database,
    database_distances,
)
from jaxface.features.weights import load_vgg
from jaxface.infer import SHORTLIST, blend_face
from jaxface.loading import load_assets
from jaxface.reconstruct import choose_faces
from jaxface.rendering.color import srgb_to_linear
from jaxface.types import Assets, BlendResult, Database, FeatureCaches, UnwrapResult

CONFIG, SIZE = CorrelationConfig(layers=("relu1_1", "relu2_1"), cells=2, blend_side=32), 32


@pytest.fixture(scope="module")
def textures() -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.uniform(60, 200, (5, 8, 8, 3)), np.ones((8, 8, 1)))
    return np.clip(smooth + 10 * rng.standard_normal(smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def mask() -> jnp.ndarray:
    return jnp.asarray(np.broadcast_to(np.linspace(1.5, -0.5, SIZE).clip(0, 1), (SIZE, SIZE)))


def test_correlations_are_those_of_the_textures(textures, mask) -> None:
    vgg = load_vgg()
    cached = cache_features(jnp.asarray(textures), SIZE, vgg, CONFIG)
    assert [value.shape for value in cached.values] == [(5, 32, 32, 64), (5, 16, 16, 128)]
    for found, exact in zip(
        correlate_database(cached, mask, vgg, CONFIG),
        correlate_database(jnp.asarray(textures), mask, vgg, CONFIG),
        strict=True,
    ):
        for value, other in zip(found.values, exact.values, strict=True):
            assert float(jnp.abs(value - other).max()) < 3e-3 * float(jnp.abs(other).max())
        np.testing.assert_array_equal(found.support[0], exact.support[0])
    photo = jnp.asarray(textures[3, ::2, ::2]) / 255.0
    found, exact = (
        np.asarray(database_distances(photo, mask, faces, vgg, CONFIG))
        for faces in (cached, jnp.asarray(textures))
    )
    np.testing.assert_allclose(found, exact, rtol=0.02)
    assert exact.argmin() == 3


def test_they_are_read_as_they_were_written(tmp_path, textures) -> None:
    faces = [(f"face{index}", face / 255.0, None, None, {}) for index, face in enumerate(textures)]
    save_database(tmp_path, faces, source="a test")
    with pytest.raises(AssetError, match="jaxface database cache-features"):
        open_features(tmp_path, 64, CONFIG)
    database, vgg, counts = load_database(tmp_path, size=64), load_vgg(), []
    for _ in range(2):  # the second takes the place of the first
        write_features(
            *(database.textures, tmp_path, vgg, CONFIG),
            lambda *count: counts.append(count),
        )
    assert counts == [(5, 5), (5, 5)]
    stored = open_features(tmp_path, 64, CONFIG)
    for side in CONFIG.sides:
        exact = cache_features(database.textures, side, vgg, CONFIG)
        found = stored.take([4, 1], side)
        for value, other in zip(
            found.values + found.scales, exact.values + exact.scales, strict=True
        ):
            np.testing.assert_allclose(
                np.asarray(value, float), np.asarray(other, float)[[4, 1]], rtol=1e-5, atol=1
            )
    assert sorted(path.name for path in tmp_path.glob("*features*")) == ["features-64"]
    with pytest.raises(AssetError, match="other faces or settings"):
        open_features(tmp_path, 64, replace(CONFIG, pooling="average"))
    save_database(tmp_path, faces[:4], source="a test")
    with pytest.raises(AssetError, match="other faces or settings"):
        open_features(tmp_path, 64, CONFIG)


def test_without_a_cache_one_sentence_says_how_to_make_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("JAXFACE_CACHE", str(tmp_path))
    with pytest.raises(AssetError, match="jaxface database cache-features --size 256") as error:
        load_assets(ReconstructConfig.for_quality("draft", feature_cache=True))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="--feature-cache"):
        ReconstructConfig.for_quality("draft", method="paper", feature_cache=True)


@pytest.fixture(scope="module")
def seen(database) -> UnwrapResult:
    """A skin that is a mixture of two of the database's, half of it seen."""
    pair = np.asarray(database.textures[jnp.array([5, 40])], np.float32).mean(0)
    texture = srgb_to_linear(jnp.asarray(pair) / 255.0)
    mask = jnp.asarray(np.broadcast_to(np.arange(256) < 140, (256, 256)), jnp.float32)
    return UnwrapResult(texture, texture, texture, mask, mask, mask, texture)


@pytest.fixture(scope="module")
def database() -> Database:
    return load_database(size=256)


def apart(found: BlendResult, exact: BlendResult) -> float:
    return 0.5 * float(jnp.abs(found.weights - exact.weights).sum())


@pytest.mark.thorough
def test_weights_are_within_two_hundredths_of_the_exact_ones(database, seen) -> None:
    """Of all faces of the default database."""
    vgg, config = load_vgg(), CorrelationConfig()
    half, full = (cache_features(database.textures, side, vgg, config) for side in config.sides)
    cached = database.replace(features=FeatureCaches(half, full))
    found, exact = (blend_face(seen, faces, vgg, config) for faces in (cached, database))
    assert apart(found, exact) < 0.02
    assert int((exact.weights > 0.05).sum()) > 1


@pytest.mark.thorough
def test_a_large_database_reads_the_features_of_those_that_look_alike(
    tmp_path, monkeypatch, database, seen
) -> None:
    """They are chosen as those of a small one are: the weights are the same."""
    monkeypatch.setattr("jaxface.database.disk.LARGE", 4)
    faces = database.take(jnp.array([*range(0, 26, 2), 5, 40]))
    pictures = np.asarray(faces.textures) / 255.0
    records = [(f"face{index}", face, None, None, {}) for index, face in enumerate(pictures)]
    save_database(tmp_path, records, source="a test")
    on_disk, vgg, config = open_database(tmp_path, size=256), load_vgg(), ReconstructConfig()
    write_features(on_disk.textures, tmp_path, vgg, config.correlation)
    on_disk = on_disk.with_features(open_features(tmp_path, 256, config.correlation))
    assets = Assets(
        model=None, texels=None, database=on_disk, networks=None, vgg=vgg, parser=None, noise=None,
        seams=None, painted=None, bare_skin=None,
    )  # fmt: skip
    near = choose_faces(seen, on_disk, assets, config)
    assert len(near.indices) == SHORTLIST < len(on_disk)
    found = blend_face(seen, near, vgg, config.correlation)
    exact = blend_face(seen, on_disk.take(range(len(on_disk))), vgg, config.correlation)
    weights = jnp.zeros(len(on_disk)).at[found.faces].set(found.weights)
    assert apart(found.replace(weights=weights), exact) < 0.02
