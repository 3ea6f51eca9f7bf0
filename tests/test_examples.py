"""The programs in `examples` do what they say, with fewer steps."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxface

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def program(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / name))


@pytest.mark.slow
def test_pose_light_and_texture_from_one_picture(tmp_path: Path) -> None:
    before, after = program("inverse_rendering.py")["main"](steps=40, size=40, out=tmp_path)
    assert after < 0.6 * before
    assert (tmp_path / "inverse_rendering.png").stat().st_size > 1000


@pytest.mark.slow
def test_encoder_learns_from_pictures_alone(tmp_path: Path) -> None:
    main = program("encoder.py")["main"]
    from_mean, from_encoder, saved = main(steps=60, descent=6, faces=64, size=24, out=tmp_path)
    assert from_encoder[0][0] < 0.8 * from_mean[0][0]  # photometric error, held-out faces
    assert from_mean[-1][0] < 0.8 * from_mean[0][0]
    assert saved > 0
    assert (tmp_path / "encoder.png").stat().st_size > 1000
