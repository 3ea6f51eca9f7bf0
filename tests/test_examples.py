"""The programs in `examples` do what they say, with fewer steps."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.slow
def test_pose_light_and_texture_from_one_picture(tmp_path: Path) -> None:
    main = runpy.run_path(str(EXAMPLES / "inverse_rendering.py"))["main"]
    before, after = main(steps=40, size=40, out=tmp_path)
    assert after < 0.6 * before
    assert (tmp_path / "inverse_rendering.png").stat().st_size > 1000
