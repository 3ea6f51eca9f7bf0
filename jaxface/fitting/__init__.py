"""Stage 2: parameters of the face model from landmarks and pixels."""

from jaxface.fitting.files import load_noise, with_landmarks68
from jaxface.fitting.fit import FitConfig, fit
from jaxface.fitting.landmarks import LandmarkNoise
from jaxface.fitting.person import fit_faces
from jaxface.fitting.track import TrackConfig, track

__all__ = [
    "FitConfig",
    "LandmarkNoise",
    "TrackConfig",
    "fit",
    "fit_faces",
    "load_noise",
    "track",
    "with_landmarks68",
]
