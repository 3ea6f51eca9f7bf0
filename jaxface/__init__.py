"""One photo in, a complete textured 3D face out: a JAX functional pipeline for GPU and TPU."""

from jaxface.blending import blend, project_simplex
from jaxface.database import Database, Library, load_database
from jaxface.errors import AssetError, DetectionError, InputError, JaxfaceError
from jaxface.export import draw_stages, transfer, write_result
from jaxface.features.correlations import CorrelationConfig, correlate
from jaxface.features.vgg import vgg_features
from jaxface.features.weights import load_vgg
from jaxface.fitting import FitConfig, LandmarkNoise, TrackConfig, fit, fit_faces, track
from jaxface.fitting.solver import SolverConfig, residual_system
from jaxface.fitting.solver import State as SolverState
from jaxface.fitting.solver import System as LeastSquares
from jaxface.fitting.solver import solve as solve_least_squares
from jaxface.images import Photo, read_photo
from jaxface.landmarks.detector import detect
from jaxface.landmarks.networks import Network, Networks, load_networks
from jaxface.mapping import Shared
from jaxface.morphable.albedo import albedo_texture
from jaxface.morphable.model import load_model, shape
from jaxface.morphable.texels import TexelMap, texel_map
from jaxface.pipeline import (
    Assets,
    Face,
    ReconstructConfig,
    infer,
    load_assets,
    prepare_face,
    reconstruct,
    reconstruct_batch,
    reconstruct_person,
    reconstruct_video,
)
from jaxface.rendering.antialias import antialias
from jaxface.rendering.camera import look_at, project
from jaxface.rendering.color import linear_to_srgb, srgb_to_linear
from jaxface.rendering.interpolate import interpolate, screen_derivatives
from jaxface.rendering.lighting import directional, shade, uniform
from jaxface.rendering.normals import vertex_normals
from jaxface.rendering.occlusion import sky_seen
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
    Materials,
    PersonReconstruction,
    Reconstruction,
    Sketch,
    Sketches,
    SynthesisResult,
    Track,
    UnwrapResult,
)
from jaxface.unwrapping import UnwrapConfig, merge_unwrapped, unwrap

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
    "LandmarkNoise",
    "LeastSquares",
    "Library",
    "Lighting",
    "Materials",
    "Network",
    "Networks",
    "PersonReconstruction",
    "Photo",
    "ReconstructConfig",
    "Reconstruction",
    "Shared",
    "Sketch",
    "Sketches",
    "SolverConfig",
    "SolverState",
    "SynthesisConfig",
    "SynthesisResult",
    "TexelMap",
    "Track",
    "TrackConfig",
    "UnwrapConfig",
    "UnwrapResult",
    "albedo_texture",
    "antialias",
    "blend",
    "correlate",
    "detect",
    "directional",
    "draw_stages",
    "fit",
    "fit_faces",
    "infer",
    "interpolate",
    "linear_to_srgb",
    "load_assets",
    "load_database",
    "load_model",
    "load_networks",
    "load_vgg",
    "look_at",
    "merge_unwrapped",
    "prepare_face",
    "project",
    "project_simplex",
    "rasterize",
    "read_photo",
    "reconstruct",
    "reconstruct_batch",
    "reconstruct_person",
    "reconstruct_video",
    "render",
    "residual_system",
    "sample_texture",
    "screen_derivatives",
    "shade",
    "shape",
    "sky_seen",
    "solve_least_squares",
    "srgb_to_linear",
    "synthesize",
    "texel_map",
    "track",
    "transfer",
    "uniform",
    "unwrap",
    "vertex_normals",
    "vgg_features",
    "write_result",
]
