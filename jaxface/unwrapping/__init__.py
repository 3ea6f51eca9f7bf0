"""Unwrapping: the photo in the face's texture."""

from jaxface.unwrapping.config import (
    ExposureConfig,
    HighlightConfig,
    NoiseConfig,
    UnwrapConfig,
)
from jaxface.unwrapping.exposure import balance_light, estimate_albedo_coefficients
from jaxface.unwrapping.merge import merge_unwrapped
from jaxface.unwrapping.unwrap import unwrap

__all__ = [
    "ExposureConfig",
    "HighlightConfig",
    "NoiseConfig",
    "UnwrapConfig",
    "balance_light",
    "estimate_albedo_coefficients",
    "merge_unwrapped",
    "unwrap",
]
