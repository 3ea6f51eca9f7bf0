"""The programs in `examples` do what they say, with fewer steps."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxface
from jaxface.synthesis import SynthesisConfig

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def quick_compilation() -> Iterator[None]:
    """Most of the time is compilation."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def program(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / name))


@pytest.mark.thorough
@pytest.mark.usefixtures("quick_compilation")
def test_pose_light_and_texture_from_one_picture(tmp_path: Path) -> None:
    before, after = program("inverse_rendering.py")["main"](steps=40, size=40, out=tmp_path)
    assert after < 0.6 * before
    assert (tmp_path / "inverse_rendering.png").stat().st_size > 1000


@pytest.mark.thorough
def test_encoder_learns_from_pictures_alone(tmp_path: Path) -> None:
    main = program("encoder.py")["main"]
    from_mean, from_encoder, saved = main(steps=20, descent=3, faces=32, size=24, out=tmp_path)
    assert from_encoder[0][0] < 0.9 * from_mean[0][0]  # photometric error, held-out faces
    assert from_mean[-1][0] < 0.9 * from_mean[0][0]
    assert saved > 0
    assert (tmp_path / "encoder.png").stat().st_size > 1000


@pytest.mark.thorough
def test_weights_of_the_blend_are_learnt(tmp_path: Path) -> None:
    made = program("learned_blend.py")
    found = made["main"](steps=40, size=64, shortlist=8, faces=16, out=tmp_path)
    assert found["best possible"] < found["blend"] < found["equal weights"]
    assert found["learnt from, learnt"] < found["learnt from, blend"]
    assert (tmp_path / "learned_blend.png").stat().st_size > 1000


def test_the_learnt_weights_are_those_of_blend() -> None:
    made = program("learned_blend.py")
    vgg, textures = jaxface.load_vgg(), jaxface.load_database(size=64).textures[:5]
    mask = jnp.ones((64, 64)).at[:, :32].set(0.0)
    layers = made["LAYERS"][:2]
    config = jaxface.CorrelationConfig(layers=layers)
    found = [made["products"](textures, mask, vgg, layer) for layer in layers]
    cells = jnp.asarray(np.random.default_rng(0).standard_normal((2, 16)), jnp.float32)
    faces = jax.lax.map(lambda x: jaxface.correlate(x / 255.0, mask, vgg, config), textures)
    photo, others = (jax.tree.map(lambda x, part=part: x[part], faces) for part in (0, slice(1, 5)))
    goal = jaxface.blend(photo, others, others, cell_weights=tuple(jnp.exp(cells)))
    apart = made["apart"](
        jnp.stack([a for a, _ in found]), tuple(b for _, b in found), 0, jnp.arange(1, 5)
    )
    np.testing.assert_allclose(made["blended"](cells, apart), goal.weights, atol=1e-3)


@pytest.mark.thorough
def test_skin_is_edited_and_ages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = program("editing.py")

    def average(photo, landmarks, assets, config, **rest) -> jaxface.Reconstruction:
        """The average face, since this is not a test of the reconstruction."""
        model, database = assets.model, assets.database
        texture = jaxface.albedo_texture(model, jnp.zeros(len(model.albedo_names)), config.size)
        nothing = jnp.zeros(texture.shape[:2])
        count = len(database.indices)
        relief = jaxface.materials(texture, nothing, database.heights[0], model, assets.texels)
        return jaxface.Reconstruction(
            fit=SimpleNamespace(vertices=model.mean),
            unwrapped=jaxface.UnwrapResult(
                radiance=texture,
                shading=jnp.ones_like(texture),
                partial=texture,
                visibility=nothing,
                skin_mask=nothing,
                pixels_per_texel=jnp.ones_like(nothing),
                low_frequency=texture,
            ),
            blend=jaxface.BlendResult(
                weights=jnp.full(count, 1 / count),
                correlations=None,
                duality_gap=jnp.zeros(()),
                iterations=jnp.zeros((), jnp.int32),
                faces=database.indices,
            ),
            synthesis=jaxface.SynthesisResult(texture=texture, losses=jnp.zeros(0)),
            materials=relief,
        )

    nobody = SimpleNamespace(landmarks=[None], blendshapes=[None])
    monkeypatch.setattr(jaxface, "detect", lambda *_: nobody)
    monkeypatch.setattr(jaxface, "reconstruct", average)
    quick = SynthesisConfig(levels=((1.0, 3),), blended_faces=4)
    config = made["DRAFT"].replace(size=128, synthesis=quick)
    rows = made["main"](size=96, config=config, out=tmp_path)
    own, _, oldest = map(made["detail"], rows["age"])
    assert oldest > 1.1 * own
    first, _, last = rows["weights"]
    assert np.abs(first - last).mean() > 2e-3
    smooth, usual, _ = map(made["detail"], rows["alpha"])
    assert usual > smooth
    assert (tmp_path / "editing.png").stat().st_size > 1000
