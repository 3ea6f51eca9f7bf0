"""Settings of the synthesis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class SynthesisConfig:
    """Settings of `synthesize`. Lengths are texels of a 512 x 512 texture.

    Attributes:
        levels: (side as a share of T, steps), coarse to fine.
        smooth: exponent of the preconditioner: steps are taken on a texture whose frequencies f,
            periods a side, are multiplied by (1 + f^2)^(-smooth / 2). From a start that is near,
            as the composed one, 0 is as good or better; from far, 0.6 lowers the loss sooner.
        alpha: weight of the correlation term against the content term.
        content_layer: VGG-16 layer of the content term.
        feather: width of the transition at the border of the seen.
        tone: detail is what is finer than this; tone is what is coarser and may not drift.
        sharp: as `tone`, on the fixed parts, whose edges are no detail.
        photo_blur: standard deviation, in pixels, of the blur of a photo.
        finest: bound on the log detail that is added to what a coarse photo shows.
        grain: detail that is finer than this is the person's own, where any of it is seen.
        experts: so many database faces, those of greatest weight, give the correlations at the
            finest levels; twice as many at the coarse ones.
        chunk: steps between two reports.
        memory: pairs that L-BFGS keeps.
        method: `default` or `paper`.
        derivative: `unrolled`, through the steps, or `implicit`, that of the finest level's
            optimum: memory independent of the steps, right as far as they have converged.
        unroll: go back through so many last steps of every level, and take what the steps before
            them found as a constant; through all if None.
    """

    levels: tuple[tuple[float, int], ...] = ((0.25, 8), (0.5, 8), (1.0, 4))
    smooth: float = 0.0
    alpha: float = 3.0
    content_layer: str = "relu3_1"
    feather: float = 3.0
    tone: float = 12.0
    sharp: float = 1.2
    photo_blur: float = 0.5
    finest: float = 0.08
    grain: float = 3.0
    experts: int = 6
    chunk: int = 4
    memory: int = 8
    method: Literal["default", "paper"] = "default"
    derivative: Literal["unrolled", "implicit"] = "unrolled"
    unroll: int | None = None

    @classmethod
    def for_quality(cls, quality: str, *, method: str = "default") -> SynthesisConfig:
        """Returns the settings of `draft`, `standard` or `high`."""
        steps = {
            "draft": ((0.5, 8), (1.0, 4)),
            "standard": ((0.25, 8), (0.5, 8), (1.0, 4)),
            "high": ((0.125, 8), (0.25, 8), (0.5, 8), (1.0, 4)),
        }[quality]
        if method == "paper":
            steps = tuple((share, 2 * count) for share, count in steps)  # its start is far
            return cls(steps, alpha=10.0, content_layer="relu4_1", method="paper")
        return cls(steps)
