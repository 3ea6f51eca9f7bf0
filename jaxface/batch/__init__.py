"""Many photos: files, journal, and host work that goes on while the device computes."""

from jaxface.batch.cloud import to_path
from jaxface.batch.faces import FaceWorker
from jaxface.batch.inputs import Item, Share, find_photos
from jaxface.batch.journal import Journal
from jaxface.batch.on_ray import run_on_ray
from jaxface.batch.overlap import Outcome, overlap
from jaxface.batch.runner import Report, Worker, run_photos

__all__ = [
    "FaceWorker",
    "Item",
    "Journal",
    "Outcome",
    "Report",
    "Share",
    "Worker",
    "find_photos",
    "overlap",
    "run_on_ray",
    "run_photos",
    "to_path",
]
