"""Fitting: parameters of the face model from landmarks and pixels."""

from jaxface.fitting.fit import FitConfig, fit
from jaxface.fitting.person import fit_faces
from jaxface.fitting.track import TrackConfig, track

__all__ = [
    "FitConfig",
    "TrackConfig",
    "fit",
    "fit_faces",
    "track",
]
