"""Settings of all stages."""

from __future__ import annotations

from typing import Literal, cast, get_args

from jaxface.errors import InputError
from jaxface.features.correlations import PAPER, CorrelationConfig
from jaxface.fitting.fit import FitConfig
from jaxface.hair.config import HAIR_STYLES, HairConfig
from jaxface.materials import MaterialsConfig
from jaxface.pytrees import pytree, static
from jaxface.synthesis.config import CompositionConfig, SynthesisConfig
from jaxface.unwrapping.config import UnwrapConfig

Quality = Literal["draft", "standard", "high"]
Method = Literal["default", "paper"]
Detail = Literal["none", "smooth", "relief"]
SIZES = {"draft": 256, "standard": 512, "high": 1024}
"""Texture side of each quality, texels."""


@pytree
class ReconstructConfig:
    """Settings of `reconstruct`; `for_quality` returns consistent ones.

    A pytree: what decides a program's structure is static; other numbers are leaves, so that
    changing one recompiles nothing and `vmap` and `grad` apply.

    Attributes:
        quality: `draft`, `standard` or `high`.
        method: `default`, or `paper` for that of Saito et al.
        size: texture side in texels.
        refine: optimise the texture for the blended correlations after `infer`; always true for
            `paper`.
        feature_cache: read the VGG-16 features of the database from its cache
            (`jaxface database cache-features`) in place of running the network.
        seed: of the random choice of source patches for unseen grain; the same seed and inputs give
            the same bits on one device.
        fit: settings of the fit.
        unwrap: settings of the unwrapping.
        correlation: settings of the feature correlations.
        composition: settings of the composition.
        synthesis: settings of the optimisation.
        materials: settings of relief, roughness and specular.
        hair: settings of the hair.
        detail: of the written meshes: `none` is the face model's own; `smooth` subdivides head and
            expressions once; `relief` also subdivides `face.obj` twice and displaces it.
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
    hair: HairConfig = HairConfig()
    detail: Detail = static(default="none")

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
        hair: str = "auto",
        detail: str = "none",
    ) -> ReconstructConfig:
        """Returns the settings of a quality.

        Args:
            quality: `draft`, `standard` or `high`.
            method: `default` or `paper`.
            size: texture side, texels; the quality's if not given.
            alpha: weight of the correlation term of the optimisation; the method's if not given.
            seed: of the choice of source patches for unseen grain.
            refine: optimise the composed texture.
            bfloat16: VGG-16 in bfloat16, for GPU and TPU; float32 otherwise.
            feature_cache: read the database's features from its cache.
            hair: `auto`, `none` or the name of a style (`HAIR_STYLES`).
            detail: `none`, `smooth` or `relief`.

        Raises:
            InputError: an unknown name or size, or settings that exclude each other.
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
        if hair not in ("auto", "none", *HAIR_STYLES):
            raise InputError(f"--hair is auto, none, {', '.join(HAIR_STYLES)}, not {hair!r}.")
        if detail not in get_args(Detail):
            raise InputError(f"--detail is none, smooth or relief, not {detail!r}.")
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
            hair=HairConfig(style=hair),
            detail=cast(Detail, detail),
            correlation=correlation.replace(bfloat16=bfloat16),
            synthesis=synthesis,
        )
