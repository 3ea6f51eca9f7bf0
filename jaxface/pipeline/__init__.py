"""The stages in order: photo -> landmarks -> fit -> unwrap -> correlate -> blend -> synthesize."""

from jaxface.pipeline.assets import SIDES, Assets, load_assets
from jaxface.pipeline.batched import prepare_assets, reconstruct_batch
from jaxface.pipeline.chain import Progress, infer, reconstruct, run_stages
from jaxface.pipeline.config import ReconstructConfig
from jaxface.pipeline.face import Face, prepare_face
from jaxface.pipeline.person import reconstruct_person
from jaxface.pipeline.stages import bare_skin, skin_free
from jaxface.pipeline.video import key_frames, reconstruct_video

__all__ = [
    "SIDES",
    "Assets",
    "Face",
    "Progress",
    "ReconstructConfig",
    "bare_skin",
    "infer",
    "key_frames",
    "load_assets",
    "prepare_assets",
    "prepare_face",
    "reconstruct",
    "reconstruct_batch",
    "reconstruct_person",
    "reconstruct_video",
    "run_stages",
    "skin_free",
]
