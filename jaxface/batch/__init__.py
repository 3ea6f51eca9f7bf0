"""Runs over many photos: files, journal, and host work overlapped with the device's."""

from jaxface.batch.cloud import to_path
from jaxface.batch.faces import FaceWorker
from jaxface.batch.inputs import Item, Shard, find_photos
from jaxface.batch.journal import Journal
from jaxface.batch.on_ray import run_on_ray
from jaxface.batch.overlap import Outcome, run_pipeline
from jaxface.batch.results import Report, Worker
from jaxface.batch.runner import run_photo, run_photos

__all__ = [
    "FaceWorker",
    "Item",
    "Journal",
    "Outcome",
    "Report",
    "Shard",
    "Worker",
    "find_photos",
    "run_on_ray",
    "run_photo",
    "run_photos",
    "run_pipeline",
    "to_path",
]
