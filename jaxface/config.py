"""Settings of the whole chain."""

from __future__ import annotations

from typing import Literal, cast, get_args

from jaxface.errors import InputError
from jaxface.features.correlations import PAPER, CorrelationConfig
from jaxface.fitting.fit import FitConfig
from jaxface.materials import MaterialsConfig
from jaxface.pytrees import pytree, static
from jaxface.synthesis.config import CompositionConfig, SynthesisConfig
from jaxface.unwrapping.config import UnwrapConfig

Quality = Literal["draft", "standard", "high"]
Method = Literal["default", "paper"]
SIZES = {"draft": 256, "standard": 512, "high": 1024}
"""Texture side of each quality, texels."""


@pytree
class ReconstructConfig:
    """Settings of `reconstruct`; `for_quality` makes consistent ones.

    A pytree: what changes a program's structure is static, every number is a leaf. Changing a
    number compiles nothing again, and `vmap` and `grad` go over it.

    Attributes:
        quality: `draft`, `standard` or `high`.
        method: `default`, or `paper` for the paper's plain form.
        size: texture side in texels.
        refine: optimise the composed texture for the blended correlations; the paper's form always
            does.
        feature_cache: take the database's features from its cache; see
            `jaxface database cache-features`.
        seed: chooses where the grain of unseen skin is taken from; the same seed and inputs give
            the same bits on one device.
        fit: settings of the fit.
        unwrap: settings of the unwrapping.
        correlation: what is correlated.
        composition: settings of the composition.
        synthesis: settings of the optimisation.
        materials: settings of relief and gloss.
    """

    quality: Quality = static(default="standard")
    method: Method = static(default="default")
    size: int = static(default=512)
    refine: bool = static(default=False)
    feature_cache: bool = static(default=False)
    seed: int = 0
    fit: FitConfig = FitConfig()
    unwrap: UnwrapConfig = UnwrapConfig()
    correlation: CorrelationConfig = CorrelationConfig()
    composition: CompositionConfig = CompositionConfig()
    synthesis: SynthesisConfig = SynthesisConfig()
    materials: MaterialsConfig = MaterialsConfig()

    @classmethod
    def for_quality(
        cls,
        quality: str = "standard",
        *,
        method: str = "default",
        size: int | None = None,
        alpha: float | None = None,
        seed: int = 0,
        refine: bool = False,
        bfloat16: bool = False,
        feature_cache: bool = False,
    ) -> ReconstructConfig:
        """Returns the settings of a quality.

        Args:
            quality: `draft`, `standard` or `high`.
            method: `default` or `paper`.
            size: texture side, texels; the quality's own if not given.
            alpha: weight of the correlation term; the method's own if not given.
            seed: of the placement of unseen grain.
            refine: optimise the composed texture.
            bfloat16: VGG-16 in bfloat16, for GPU and TPU; float32 otherwise.
            feature_cache: take the database's features from its cache.

        Raises:
            InputError: a name that does not exist, or settings that do not go together.
        """
        if quality not in get_args(Quality):
            raise InputError(f"--quality is draft, standard or high, not {quality!r}.")
        if method not in get_args(Method):
            raise InputError(f"--method is default or paper, not {method!r}.")
        if feature_cache and method == "paper":
            raise InputError(
                "--feature-cache goes with the default method: the paper's has more layers."
            )
        if alpha is not None and method == "default" and not refine:
            raise InputError(
                "--alpha weighs the optimisation: it needs --refine or --method paper."
            )
        size = size or SIZES[quality]
        if size not in (256, 512, 1024, 2048):
            raise InputError(f"--size is 256, 512, 1024 or 2048, not {size}.")
        correlation = PAPER if method == "paper" else CorrelationConfig()
        synthesis = SynthesisConfig.for_quality(quality, size=size, method=method)
        if alpha is not None:
            synthesis = synthesis.replace(alpha=alpha)
        return cls(
            quality=cast(Quality, quality),
            method=cast(Method, method),
            size=size,
            refine=refine or method == "paper",
            feature_cache=feature_cache,
            seed=seed,
            correlation=correlation.replace(bfloat16=bfloat16),
            synthesis=synthesis,
        )
