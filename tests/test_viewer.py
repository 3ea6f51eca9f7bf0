"""The interactive preview: one file that needs nothing else, and shows a face in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess

import imageio.v3 as iio
import jax.numpy as jnp
import numpy as np
import pytest

from jaxface.export.glb import encode_glb
from jaxface.export.viewer import viewer_page
from jaxface.types import Materials

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
OPTIONS = (
    "--headless --no-sandbox --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader "
    "--hide-scrollbars --virtual-time-budget=20000"
)


@pytest.fixture(scope="module")
def page(model) -> str:
    flat = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0]), (32, 32, 3))
    half = jnp.full((32, 32), 0.5)
    skin = np.broadcast_to([0.8, 0.6, 0.5], (32, 32, 3))
    glb = encode_glb(
        model, np.asarray(model.mean), np.zeros(52), skin, Materials(half, flat, half, half)
    )
    return viewer_page("<b>@FACE@</b>.jpg", glb, skin)


def test_page_holds_everything_and_escapes_the_title(page) -> None:
    assert "&lt;b&gt;@FACE@&lt;/b&gt;.jpg" in page and "<b>" not in page
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?:https?:)?//""", page)
    assert "three.js" in page or "Three.js" in page  # the licence of what is inside
    assert page.count("<script") == page.count("</script>") == 4


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("window", ["1280,800", "390,844"])
def test_browser_shows_the_face(page, tmp_path, window) -> None:
    """Skin in the middle of the stage, at the width of a desk and of a telephone."""
    file, shot = tmp_path / "viewer.html", tmp_path / "shot.png"
    file.write_text(page, encoding="utf-8")
    command = [BROWSER, *OPTIONS.split(), f"--window-size={window}", f"--screenshot={shot}"]
    for _ in range(3):  # on a busy machine the picture may be taken before the first frame
        subprocess.run([*command, file.as_uri()], check=True, timeout=240, capture_output=True)
        picture = iio.imread(shot)[..., :3].astype(int)
        stage = picture[:, :980] if window.startswith("1280") else picture[:480]
        skin = (stage[..., 0] - stage[..., 2] > 25) & (stage[..., 0] > 90)
        if skin.any():
            break
    assert 0.08 < skin.mean() < 0.7
    columns = np.flatnonzero(skin.any(0))
    assert abs((columns[0] + columns[-1]) / 2 - stage.shape[1] / 2) < 0.06 * stage.shape[1]
