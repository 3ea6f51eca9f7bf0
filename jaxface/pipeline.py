"""The stages in order: photo -> landmarks -> fit -> unwrap -> correlate -> blend -> synthesize.

Every stage is a pure function of one face, jitted where it is defined; what is here is the chain
and nothing else. Host code (files, decoding, progress bars) stands above this module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from flax import struct
from jaxtyping import Array, Float

from jaxface.blending import blend
from jaxface.database import Database
from jaxface.features.correlations import CorrelationConfig, correlate
from jaxface.fitting.fit import FitConfig, fit
from jaxface.morphable.texels import TexelMap
from jaxface.synthesis import SynthesisConfig, synthesize
from jaxface.types import Detection, FaceModel, Reconstruction
from jaxface.unwrapping import UnwrapConfig, unwrap

Progress = Callable[[str, dict[str, Any]], None]
Quality = Literal["draft", "standard", "high"]
