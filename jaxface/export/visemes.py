"""The 15 visemes of Oculus' lip sync, as combinations of ARKit's expressions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# A name without its side stands for both, as `mouthPress` for mouthPressLeft and mouthPressRight.
VISEMES: dict[str, dict[str, float]] = {
    "viseme_sil": {},
    "viseme_PP": {"mouthPress": 0.5, "mouthRollLower": 0.25, "mouthRollUpper": 0.15},
    "viseme_FF": {"jawOpen": 0.06, "mouthRollLower": 0.7, "mouthUpperUp": 0.35},
    "viseme_TH": {"jawOpen": 0.16, "tongueOut": 0.6, "mouthLowerDown": 0.2, "mouthUpperUp": 0.2},
    "viseme_DD": {"jawOpen": 0.12, "mouthLowerDown": 0.3, "mouthUpperUp": 0.2},
    "viseme_kk": {"jawOpen": 0.2, "mouthLowerDown": 0.2, "mouthUpperUp": 0.15, "mouthStretch": 0.1},
    "viseme_CH": {"jawOpen": 0.06, "mouthFunnel": 0.45, "mouthPucker": 0.1, "mouthUpperUp": 0.1},
    "viseme_SS": {
        "jawOpen": 0.05,
        "mouthStretch": 0.35,
        "mouthLowerDown": 0.4,
        "mouthUpperUp": 0.25,
    },
    "viseme_nn": {"jawOpen": 0.1, "mouthLowerDown": 0.25, "mouthUpperUp": 0.15, "mouthSmile": 0.1},
    "viseme_RR": {"jawOpen": 0.1, "mouthFunnel": 0.2, "mouthPucker": 0.35},
    "viseme_aa": {"jawOpen": 0.65, "mouthLowerDown": 0.2, "mouthUpperUp": 0.15},
    "viseme_E": {"jawOpen": 0.3, "mouthStretch": 0.3, "mouthSmile": 0.2, "mouthLowerDown": 0.2},
    "viseme_I": {"jawOpen": 0.18, "mouthStretch": 0.25, "mouthSmile": 0.35, "mouthLowerDown": 0.2},
    "viseme_O": {"jawOpen": 0.35, "mouthFunnel": 0.3, "mouthPucker": 0.5},
    "viseme_U": {"jawOpen": 0.1, "mouthFunnel": 0.25, "mouthPucker": 0.9},
}
"""Weights of ARKit's expressions in each viseme. The names and what each sounds like are those of
Meta's *Oculus Lipsync, Viseme Reference*; the weights are ours."""


def visemes_of(names: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the names of the visemes and the weights `[M, E]` of expressions in them; none for a
    model that lacks ARKit's expressions.

    Args:
        names: of the model's expressions.

    Example:
        >>> from jaxface import load_model
        >>> names = load_model().expression_names
        >>> visemes, weights = visemes_of(names)
        >>> weights[visemes.index("viseme_PP"), names.index("mouthPressLeft")].item()
        0.5
    """
    matrix = np.zeros((len(VISEMES), len(names)))
    for row, weights in zip(matrix, VISEMES.values(), strict=True):
        for name, weight in weights.items():
            sides = [name] if name in names else [f"{name}Left", f"{name}Right"]
            if not set(sides) <= set(names):
                return (), matrix[:0]
            row[[names.index(side) for side in sides]] = weight
    return tuple(VISEMES), matrix
