"""One photo in, a complete textured 3D face out: a JAX functional pipeline for GPU and TPU."""

from jaxface.blending import blend, project_simplex
from jaxface.config import ReconstructConfig
from jaxface.crops import crop_face
from jaxface.database import DiskDatabase, load_database
from jaxface.errors import AssetError, DetectionError, InputError, JaxfaceError
from jaxface.export import draw_stages, transfer, write_result
from jaxface.features.correlations import CorrelationConfig, correlate
from jaxface.features.vgg import vgg_features
from jaxface.features.weights import load_vgg
from jaxface.fitting import FitConfig, TrackConfig, fit, fit_faces, track
from jaxface.fitting.solver import SolverConfig, residual_system
from jaxface.fitting.solver import State as SolverState
from jaxface.fitting.solver import System as LeastSquares
from jaxface.fitting.solver import solve as solve_least_squares
from jaxface.hair.config import HairConfig
from jaxface.hair.dress import dress
from jaxface.hair.files import load_styles
from jaxface.hair.mesh import hair_mesh
from jaxface.images import Photo, read_photo
from jaxface.infer import infer
from jaxface.landmarks.detector import detect
from jaxface.landmarks.networks import load_networks
from jaxface.loading import load_assets
from jaxface.materials import MaterialsConfig, materials
from jaxface.morphable.albedo import albedo_texture
from jaxface.morphable.files import load_model
from jaxface.morphable.model import shape
from jaxface.morphable.texels import texel_map
from jaxface.observe import observe
from jaxface.parsing.files import load_parser
from jaxface.parsing.network import ParserStage, ParserWeights
from jaxface.parsing.parse import parse
from jaxface.person import reconstruct_person
from jaxface.reconstruct import choose_faces, reconstruct, reconstruct_batch, reconstruct_face
from jaxface.refine import refine
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
from jaxface.synthesis import (
    Composition,
    CompositionConfig,
    QuiltConfig,
    SynthesisConfig,
    compose,
    level_seams,
    synthesize,
)
from jaxface.types import (
    Assets,
    BlendResult,
    Camera,
    Correlations,
    Crop,
    Database,
    Detection,
    FaceCrop,
    FaceModel,
    FaceParameters,
    FeatureCache,
    FeatureCaches,
    FitResult,
    Hair,
    HairMesh,
    HairStyles,
    LandmarkNoise,
    Lighting,
    Materials,
    Network,
    Networks,
    Observation,
    PersonReconstruction,
    Reconstruction,
    SynthesisResult,
    TexelMap,
    Track,
    UnwrapResult,
)
from jaxface.unwrapping import merge_unwrapped, unwrap
from jaxface.unwrapping.config import (
    ExposureConfig,
    HighlightConfig,
    NoiseConfig,
    UnwrapConfig,
)
from jaxface.video import reconstruct_video

__all__ = [
    "AssetError",
    "Assets",
    "BlendResult",
    "Camera",
    "Composition",
    "CompositionConfig",
    "CorrelationConfig",
    "Correlations",
    "Crop",
    "Database",
    "Detection",
    "DetectionError",
    "DiskDatabase",
    "ExposureConfig",
    "FaceCrop",
    "FaceModel",
    "FaceParameters",
    "FeatureCache",
    "FeatureCaches",
    "FitConfig",
    "FitResult",
    "Hair",
    "HairConfig",
    "HairMesh",
    "HairStyles",
    "HighlightConfig",
    "InputError",
    "JaxfaceError",
    "LandmarkNoise",
    "LeastSquares",
    "Lighting",
    "Materials",
    "MaterialsConfig",
    "Network",
    "Networks",
    "NoiseConfig",
    "Observation",
    "ParserStage",
    "ParserWeights",
    "PersonReconstruction",
    "Photo",
    "QuiltConfig",
    "ReconstructConfig",
    "Reconstruction",
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
    "choose_faces",
    "compose",
    "correlate",
    "crop_face",
    "detect",
    "directional",
    "draw_stages",
    "dress",
    "fit",
    "fit_faces",
    "hair_mesh",
    "infer",
    "interpolate",
    "level_seams",
    "linear_to_srgb",
    "load_assets",
    "load_database",
    "load_model",
    "load_networks",
    "load_parser",
    "load_styles",
    "load_vgg",
    "look_at",
    "materials",
    "merge_unwrapped",
    "observe",
    "parse",
    "project",
    "project_simplex",
    "rasterize",
    "read_photo",
    "reconstruct",
    "reconstruct_batch",
    "reconstruct_face",
    "reconstruct_person",
    "reconstruct_video",
    "refine",
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
