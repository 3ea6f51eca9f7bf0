"""Synthesis: the complete texture, composed and, if wanted, optimised."""

from jaxface.synthesis.compose import Composition, compose, soft_mask
from jaxface.synthesis.config import (
    CompositionConfig,
    QuiltConfig,
    SynthesisConfig,
    synthesis_levels,
)
from jaxface.synthesis.optimize import blended_correlations, synthesize
from jaxface.synthesis.quilt import choose_patches, quilt
from jaxface.synthesis.seams import level_seams, seam_pairs

__all__ = [
    "Composition",
    "CompositionConfig",
    "QuiltConfig",
    "SynthesisConfig",
    "blended_correlations",
    "choose_patches",
    "compose",
    "level_seams",
    "quilt",
    "seam_pairs",
    "soft_mask",
    "synthesis_levels",
    "synthesize",
]
