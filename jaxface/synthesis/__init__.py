"""Stage 6: the complete texture."""

from jaxface.synthesis.compose import compose, soft_mask
from jaxface.synthesis.config import SynthesisConfig
from jaxface.synthesis.octaves import blur
from jaxface.synthesis.optimize import blended_correlations, synthesize
from jaxface.synthesis.quilt import choose_patches, quilt
from jaxface.synthesis.seams import level_seams, seam_pairs

__all__ = [
    "SynthesisConfig",
    "blended_correlations",
    "blur",
    "choose_patches",
    "compose",
    "level_seams",
    "quilt",
    "seam_pairs",
    "soft_mask",
    "synthesize",
]
