"""Whole reconstructions beside stored ones: what a refactoring must not change.

`python tests/test_golden.py` makes `tests/data/golden.npz` from the present program. Do so only
where a change of the method is meant, look at the pictures, and say why in the commit.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import jaxface
from jaxface.types import Reconstruction

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "data" / "golden.npz"
CASES = [("obama", "draft"), ("biden", "draft"), ("astronaut", "draft"), ("obama", "standard")]
# A changed order of sums passes, a changed method does not: 48 dB is one of 255 levels.
MIN_PSNR, MAX_VERTEX_MM, MAX_TOTAL_VARIATION = 48.0, 0.1, 0.02
_UNIT = 1e-5  # metres: of stored vertices, 16-bit integers


@cache
def _reconstructed(name: str, quality: str) -> Reconstruction:
    config = jaxface.ReconstructConfig.for_quality(quality)
    assets = _assets(quality)
    photo = jaxface.read_photo(ROOT / "examples" / "photos" / f"{name}.jpg")
    found = jaxface.detect(photo.srgb, assets.networks)
    return jaxface.reconstruct(
        photo.srgb, found.landmarks[0], assets, config,
        blendshapes=found.blendshapes[0], focal=photo.focal,
    )  # fmt: skip


@cache
def _assets(quality: str) -> jaxface.Assets:
    return jaxface.load_assets(jaxface.ReconstructConfig.for_quality(quality))


def _albedo(result: Reconstruction) -> np.ndarray:
    srgb = np.asarray(jaxface.linear_to_srgb(result.synthesis.texture))
    return np.round(255 * srgb).astype(np.uint8)


def assert_same_albedo(found: np.ndarray, case: str, charts: np.ndarray | None = None) -> None:
    """Compares an albedo of 8 bits with the stored one of a case, as `obama-draft`; only on the
    charts, if they are given, since files continue them differently."""
    stored = np.load(GOLDEN)[f"{case}/albedo"]
    albedo = np.asarray(Image.open(io.BytesIO(stored.tobytes())))
    if charts is not None:
        found, albedo = found[charts][None], albedo[charts][None]
    assert psnr(found, albedo) > MIN_PSNR
    mean = found.mean((0, 1)) - albedo.mean((0, 1))
    assert np.abs(mean).max() < 0.5, "the tone has moved"


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio of two 8-bit pictures, dB."""
    return float(-10 * np.log10(max(np.mean((a / 255.0 - b / 255.0) ** 2), 1e-12)))


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "quality"), CASES)
def test_reconstruction_is_as_stored(name: str, quality: str) -> None:
    """`test_cli.py` compares the astronaut's albedo in the plain suite, too."""
    stored = np.load(GOLDEN)
    result = _reconstructed(name, quality)
    case = f"{name}-{quality}"
    assert_same_albedo(_albedo(result), case)
    vertices = _UNIT * stored[f"{case}/vertices"]
    away = 1e3 * np.linalg.norm(np.asarray(result.fit.vertices) - vertices, axis=1)
    assert away.max() < MAX_VERTEX_MM
    weights = np.asarray(result.blend.weights)
    assert 0.5 * np.abs(weights - stored[f"{case}/weights"]).sum() < MAX_TOTAL_VARIATION


def test_the_comparison_sees_a_changed_method() -> None:
    """A hundredth of tone, a blur of half a texel, a shape half a millimetre off do not pass."""
    stored = np.load(GOLDEN)
    albedo = np.asarray(Image.open(io.BytesIO(stored["obama-draft/albedo"].tobytes())), float)
    assert psnr(albedo, np.clip(albedo * 1.03, 0, 255)) < MIN_PSNR
    soft = (albedo + np.roll(albedo, 1, 0) + np.roll(albedo, 1, 1)) / 3
    assert psnr(albedo, soft) < MIN_PSNR


def main() -> None:
    arrays = {}
    for name, quality in CASES:
        result, case = _reconstructed(name, quality), f"{name}-{quality}"
        jax.block_until_ready(result)
        stream = io.BytesIO()
        Image.fromarray(_albedo(result)).save(stream, "WEBP", lossless=True, method=6)
        arrays[f"{case}/albedo"] = np.frombuffer(stream.getvalue(), np.uint8)
        arrays[f"{case}/vertices"] = np.round(np.asarray(result.fit.vertices) / _UNIT).astype(
            np.int16
        )
        arrays[f"{case}/weights"] = np.asarray(result.blend.weights)
    np.savez_compressed(GOLDEN, **arrays)


if __name__ == "__main__":
    main()
