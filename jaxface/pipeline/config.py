"""Settings of the whole chain."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from jaxface.errors import InputError
from jaxface.features.correlations import PAPER, CorrelationConfig
from jaxface.fitting import FitConfig
from jaxface.synthesis import SynthesisConfig
from jaxface.unwrapping import UnwrapConfig

Quality = Literal["draft", "standard", "high"]
Method = Literal["default", "paper"]
SIZES = {"draft": 256, "standard": 512, "high": 1024}


@dataclass(frozen=True)
class ReconstructConfig:
    """Settings of `reconstruct`; `for_quality` makes consistent ones.

    Attributes:
        quality: `draft`, `standard` or `high`.
        method: `default`, or `paper` for the paper's plain form.
        size: texture side in texels.
        seed: same seed and inputs, same bits on one device.
        sketch: take the database's features from its sketch; see `jaxface database sketch`.
        fit: settings of the fit.
        unwrap: settings of the unwrapping.
        correlation: what is correlated.
        synthesis: settings of the synthesis.
    """

    quality: Quality = "standard"
    method: Method = "default"
    size: int = 512
    seed: int = 0
    sketch: bool = False
    fit: FitConfig = field(default_factory=FitConfig)
    unwrap: UnwrapConfig = field(default_factory=UnwrapConfig)
    correlation: CorrelationConfig = field(default_factory=CorrelationConfig)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)

    @classmethod
    def for_quality(
        cls,
        quality: str = "standard",
        *,
        method: str = "default",
        size: int | None = None,
        alpha: float | None = None,
        seed: int = 0,
        bfloat16: bool = False,
        sketch: bool = False,
    ) -> ReconstructConfig:
        """Returns the settings of a quality, with the network in float32 or `bfloat16`.

        Raises `InputError` for a name that does not exist, and for what does not go together.
        """
        if quality not in get_args(Quality):
            raise InputError(f"--quality is draft, standard or high, not {quality!r}.")
        if method not in get_args(Method):
            raise InputError(f"--method is default or paper, not {method!r}.")
        if sketch and method == "paper":
            raise InputError("--sketch goes with the default method: the paper's has more layers.")
        size = size or SIZES[quality]
        if size not in (256, 512, 1024, 2048):
            raise InputError(f"--size is 256, 512, 1024 or 2048, not {size}.")
        synthesis = SynthesisConfig.for_quality(quality, method=method)
        if alpha is not None:
            synthesis = replace(synthesis, alpha=alpha)
        correlation = PAPER if method == "paper" else CorrelationConfig()
        if bfloat16:
            correlation = replace(correlation, bfloat16=True)
        return cls(
            quality=quality,  # type: ignore[arg-type]
            method=method,  # type: ignore[arg-type]
            size=size,
            seed=seed,
            sketch=sketch,
            correlation=correlation,
            synthesis=synthesis,
        )
