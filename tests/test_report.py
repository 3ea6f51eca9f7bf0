"""`report.md`: each doubt appears when there is a reason, and only then."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

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
        "fit": {"converged": converged},
        "identity": dict.fromkeys(map(str, range(COUNT)), 0.5) | values.get("identity", {}),
        "albedo": dict.fromkeys(map(str, range(COUNT)), 0.5) | values.get("albedo", {}),
    }
    result: Any = SimpleNamespace(
        unwrapped=SimpleNamespace(skin_mask=np.full((8, 8), seen)),
        synthesis=SimpleNamespace(texture=np.zeros((8, 8, 3))),
    )
    return report(Photo(np.zeros((4, 4, 3), np.float32), None, "me"), result, data)


def doubts(**values: Any) -> list[str]:
    text = written(**values).split("## Uncertain\n")[1]
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert "most probable" in lines[-1]
    return lines[:-1]


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


def test_ears_and_neck_are_seen_or_inferred() -> None:
    assert "Ears, neck and scalp where the photo does not show them" in written()
