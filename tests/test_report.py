"""`report.md`: each doubt appears when there is a reason, and only then."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from jaxface.export.gallery import write_gallery
from jaxface.export.report import report
from jaxface.fitting.unknowns import DISTANCES, MAX_IDENTITY
from jaxface.images import Photo

COUNT = 20


def written(
    *, seen: float = 0.5, distance: float = 1.0, converged: bool = True, **values: Any
) -> str:
    """Returns the report of coefficients, all of them average where none are given."""
    data = {
        "camera": {"translation": [0.0, 0.0, distance]},
        "expression": {"jawOpen": 0.3},
        "blend": {"weights": {"ann": 1.0}},
        "hair": values.get("hair", {"style": "none"}),
        "fit": {"converged": converged},
        "identity": dict.fromkeys(map(str, range(COUNT)), 0.5) | values.get("identity", {}),
        "albedo": dict.fromkeys(map(str, range(COUNT)), 0.5) | values.get("albedo", {}),
    }
    result: Any = SimpleNamespace(
        unwrapped=SimpleNamespace(skin_mask=np.full((8, 8), seen)),
        synthesis=SimpleNamespace(texture=np.zeros((8, 8, 3))),
    )
    name = values.get("name", "me")
    return report(Photo(np.zeros((4, 4, 3), np.float32), None, name), result, data)


def doubts(**values: Any) -> list[str]:
    text = written(**values).split("## Uncertain\n")[1]
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert "most probable" in lines[-1]
    return lines[:-1]


def test_hair_is_named_or_said_to_be_missing() -> None:
    assert "No hair" in written()
    text = written(hair={"style": "short02", "overlap": 0.93})
    assert "short02" in text and "93 per cent" in text


def test_an_ordinary_face_raises_no_doubt() -> None:
    assert doubts() == []
    assert doubts(identity={"0": 2.5}) == []  # one of twenty beyond 2 is chance


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"converged": False}, "before it converged"),
        ({"identity": {"0": 2.5, "1": -2.2, "2": 2.1}}, "3 of 20 identity coefficients lie"),
        ({"albedo": {"0": 2.5, "1": -2.2, "2": 4.0}}, "3 of 20 albedo coefficients lie"),
        ({"identity": {"0": -MAX_IDENTITY}}, "1 identity coefficients are at the fit's bound"),
        ({"distance": DISTANCES[0]}, "end of the range"),
        ({"distance": DISTANCES[1]}, "end of the range"),
        ({"seen": 0.1}, "Little skin"),
    ],
)
def test_each_doubt_has_its_reason(values: dict[str, Any], words: str) -> None:
    found = doubts(**values)
    assert len(found) == 1 and words in found[0], found


def test_a_name_is_neither_html_nor_formatting() -> None:
    title = written(name="<script>*x*</script> [a](b) & IMG_1").splitlines()[0]
    assert title == r"# \<script\>\*x\*\</script\> \[a\](b) \& IMG\_1"


def test_ears_and_neck_are_seen_or_inferred() -> None:
    assert "Ears, neck and scalp where the photo does not show them" in written()


def test_a_gallery_shows_every_result_and_escapes_names(tmp_path: Path) -> None:
    names = ["ann", "bob & <b>", "two faces/face1 100%#?+"]
    for number, name in enumerate(names):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        told = {
            "landmark_error_percent": number + 0.5,
            "seen_percent": 20,
            "doubts": ["one < two"] * number,
            "hair": {"style": "none"},
        }
        (folder / "parameters.json").write_text(json.dumps(told))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "parameters.json").write_text("{")
    assert write_gallery(tmp_path) == write_gallery(tmp_path) == 3
    page = (tmp_path / "index.html").read_text()
    assert "bob &amp; &lt;b&gt;" in page and "<b>&" not in page and "one &lt; two" in page
    for link in re.findall(r'href="([^"]+)/viewer.html"', page):
        assert (tmp_path / unquote(link)).is_dir()
    assert re.findall(r'data-doubts="(\d)"', page) == ["0", "1", "2"]
    assert not list(tmp_path.glob(".index*"))
