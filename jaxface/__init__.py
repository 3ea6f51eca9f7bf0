"""One photo in, a complete textured 3D face out: a JAX functional pipeline for GPU and TPU."""

from jaxface.blending import blend, project_simplex
from jaxface.database import Database, load_database
from jaxface.errors import AssetError, DetectionError, InputError, JaxfaceError
from jaxface.export import write_result
from jaxface.features.correlations import CorrelationConfig, correlate
from jaxface.features.vgg import vgg_features
from jaxface.features.weights import load_vgg
from jaxface.fitting import FitConfig, fit
from jaxface.images import read_photo
from jaxface.landmarks.detector import detect
from jaxface.landmarks.networks import load_networks
from jaxface.morphable.model import load_model, shape
from jaxface.morphable.texels import texel_map
from jaxface.pipeline import (
    Assets,
    Face,
    ReconstructConfig,
    infer,
    load_assets,
    prepare_face,
    reconstruct,
    reconstruct_batch,
)
from jaxface.rendering.antialias import antialias
from jaxface.rendering.interpolate import interpolate, screen_derivatives
from jaxface.rendering.rasterize import rasterize
from jaxface.rendering.render import render
from jaxface.rendering.texture import sample_texture
from jaxface.synthesis import SynthesisConfig, synthesize
from jaxface.types import (
    BlendResult,
    Camera,
    Correlations,
    Detection,
    FaceModel,
    FaceParameters,
    FitResult,
    Lighting,
    Reconstruction,
    SynthesisResult,
    UnwrapResult,
)
from jaxface.unwrapping import UnwrapConfig, unwrap

__all__ = [
    "AssetError",
    "Assets",
    "BlendResult",
    "Camera",
    "CorrelationConfig",
    "Correlations",
    "Database",
    "Detection",
    "DetectionError",
    "Face",
    "FaceModel",
    "FaceParameters",
    "FitConfig",
    "FitResult",
    "InputError",
    "JaxfaceError",
    "Lighting",
    "ReconstructConfig",
    "Reconstruction",
    "SynthesisConfig",
    "SynthesisResult",
    "UnwrapConfig",
    "UnwrapResult",
    "antialias",
    "blend",
    "correlate",
    "detect",
    "fit",
    "infer",
    "interpolate",
    "load_assets",
    "load_database",
    "load_model",
    "load_networks",
    "load_vgg",
    "prepare_face",
    "project_simplex",
    "rasterize",
    "read_photo",
    "reconstruct",
    "reconstruct_batch",
    "render",
    "sample_texture",
    "screen_derivatives",
    "shape",
    "synthesize",
    "texel_map",
    "unwrap",
    "vgg_features",
    "write_result",
]
