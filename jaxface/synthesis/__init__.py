"""Stage 6: the complete texture."""

from jaxface.synthesis.compose import blur, compose, soft_mask
from jaxface.synthesis.config import SynthesisConfig
from jaxface.synthesis.optimize import blended_correlations, synthesize

__all__ = [
    "SynthesisConfig",
    "blended_correlations",
    "blur",
    "compose",
    "soft_mask",
    "synthesize",
]
