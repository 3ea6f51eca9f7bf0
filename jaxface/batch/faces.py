"""`FaceWorker`: from a photo's file to the folders of its faces. Host code."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxface import assets as files
from jaxface.batch.inputs import Item
from jaxface.batch.results import OnEvent, ignore_event
from jaxface.batch.timing import StageTimer, add_timings
from jaxface.config import ReconstructConfig
from jaxface.crops import crop_padded
from jaxface.database import database_id
from jaxface.errors import JaxfaceError
from jaxface.export import check_folder, write_result
from jaxface.images import Photo, read_photo, to_bytes
from jaxface.landmarks.detector import detect_in_padded, pad_photo
from jaxface.landmarks.files import read_landmarks
from jaxface.reconstruct import (
    batch_key,
    device_mesh,
    place,
    reconstruct_crops,
    replicate,
    round_up,
    stack,
    unstack,
)
from jaxface.types import Assets, FaceCrop, Reconstruction

MAX_FACES = 16
"""Largest number of faces of one photo with `all_faces`."""
Computed = tuple[Callable[[], Reconstruction], dict[str, float]]
"""A function that returns a result, and the seconds that its stages took."""


@dataclass(frozen=True)
class Job:
    """A face to reconstruct, and where its result goes.

    Attributes:
        crop: the face, on the device.
        photo_bytes: the photo `[H, W, 3]`, sRGB in 8 bits, a quarter of the memory of float32.
        name: of the photo.
        focal: focal length in pixels of the photo, or None.
        folder: of the result.
        key: of the result.
        seconds: by stage, until now.
    """

    crop: FaceCrop
    photo_bytes: np.ndarray
    name: str
    focal: float | None
    folder: Path
    key: str
    seconds: dict[str, float]


class FaceWorker:
    """Reconstructs the faces of photos; the `Worker` of `run_photo` and `run_photos`.

    With a batch of 1 each face is computed as by `reconstruct`, with more as by
    `reconstruct_batch`.
    """

    def __init__(
        self,
        assets: Assets,
        config: ReconstructConfig,
        *,
        batch: int = 1,
        all_faces: bool = False,
        database: Path | None = None,
        on_event: OnEvent = ignore_event,
    ) -> None:
        """Places the assets on the devices.

        Args:
            assets: from `load_assets` with the same `config`.
            config: settings.
            batch: maximum number of faces computed at once, rounded up to a multiple of the
                devices; see `rows`.
            all_faces: reconstruct every face of a photo, each in a folder `face1`, `face2`, ...
            database: folder of the texture database, for `settings`; None is the embedded one.
            on_event: takes `stage` events (`StageTimer`) of the stages landmarks, observe, infer,
                refine and export.
        """
        self.config, self.all_faces, self.on_event = config, all_faces, on_event
        self.settings = settings_of(config, assets.model.name, database_id(database), all_faces)
        self.device_mesh = None if batch == 1 else device_mesh()
        self.rows = 1 if self.device_mesh is None else round_up(batch, self.device_mesh.size)
        self.assets = assets if self.device_mesh is None else replicate(assets, self.device_mesh)

    def prepare(self, item: Item, key: str) -> list[Job]:
        """Returns the faces of a photo, decoded, detected (or with given landmarks) and cropped.

        Raises:
            InputError: the photo, the landmarks or the folder cannot be used.
            DetectionError: the photo shows no face.
        """
        check_folder(item.folder, holds_results=self.all_faces)
        timer = StageTimer(self.on_event)
        with timer.stage("landmarks") as info:
            photo = read_photo(item.path)
            padded, image_size = pad_photo(photo.srgb)
            faces: list[tuple[np.ndarray, np.ndarray | None]]
            if item.landmarks is not None:
                faces = [(read_landmarks(item.landmarks), None)]
            else:
                count, networks = MAX_FACES if self.all_faces else 1, self.assets.networks
                found = detect_in_padded(padded, image_size, networks, max_faces=count)
                points, shapes = np.asarray(found.landmarks), np.asarray(found.blendshapes)
                faces = list(zip(points, shapes, strict=True))
            cut = partial(crop_padded, padded, image_size, photo.srgb.shape[:2], focal=photo.focal)
            crops = [cut(points, blendshapes=shapes) for points, shapes in faces]
            height, width = photo.srgb.shape[:2]
            info["note"] = f"{len(faces)} face(s) in {width} x {height} pixels"
            timer.faces = len(faces)
        photo_bytes, seconds = to_bytes(photo.srgb), timer.per_face()
        jobs = []
        for number, crop in enumerate(crops, start=1):
            folder = item.folder / f"face{number}" if self.all_faces else item.folder
            jobs.append(Job(crop, photo_bytes, photo.name, photo.focal, folder, key, seconds))
        return jobs

    def compute(self, jobs: list[Job], check: Callable[[], None]) -> list[Computed]:
        """Returns for each face a function that fetches its result from the device, and the seconds
        of each stage (divided by the number of faces)."""
        timer = StageTimer(self.on_event, faces=len(jobs), check=check)
        if self.device_mesh is None:
            (job,) = jobs
            result = reconstruct_crops(job.crop, self.assets, self.config, progress=timer)
            jax.block_until_ready(result)
            return [(lambda: result, timer.per_face())]
        crops = place(stack([job.crop for job in jobs], self.rows), self.device_mesh)
        results = reconstruct_crops(
            crops, self.assets, self.config, mesh=self.device_mesh, progress=timer
        )
        jax.block_until_ready(results)
        rows = _Rows(results, len(jobs))
        return [(partial(rows.get, index), timer.per_face()) for index in range(len(jobs))]

    def finish(self, job: Job, result: Computed) -> dict[str, Any]:
        """Writes a face's folder; returns its row of the summary.

        Raises:
            JaxfaceError: the result is not finite.
            InputError: the folder cannot be written.
        """
        get_reconstruction, seconds = result
        seconds = add_timings(job.seconds, seconds)
        timer = StageTimer(self.on_event)
        with timer.stage("export"):
            reconstruction = get_reconstruction()
            check_finite(reconstruction, job.name)
            photo = Photo(job.photo_bytes.astype(np.float32) / 255.0, job.focal, job.name)
            details = describe(photo, reconstruction, self.config, job.key)
            write_result(
                job.folder,
                photo=photo,
                reconstruction=reconstruction,
                model=self.assets.model,
                details=details | {"timings": seconds},
                face_names=self.assets.face_names,
                detail=self.config.detail,
            )
        details["timings"] = add_timings(seconds, timer.per_face())
        return summary_row(photo.name, details, job.folder)

    def batch_key(self, job: Job) -> Hashable:
        """Returns what faces of a batch must have in common: their arrays' shapes."""
        return batch_key(job.crop)


class _Rows:
    """The results of a batch, copied to the host at the first call of `get`."""

    def __init__(self, results: Reconstruction, count: int) -> None:
        self._results: Reconstruction | None = results
        self._count, self._lock = count, threading.Lock()
        self._rows: list[Reconstruction] = []

    def get(self, index: int) -> Reconstruction:
        """Returns a row as NumPy arrays; called from several threads."""
        with self._lock:
            if self._results is not None:
                self._rows = unstack(self._results, self._count)
                self._results = None
        return self._rows[index]


def check_finite(reconstruction: Reconstruction, name: str) -> None:
    """Raises `JaxfaceError` if a result's mesh, textures or materials hold NaN or infinities."""
    written = (
        reconstruction.fit.vertices,
        reconstruction.synthesis.texture,
        reconstruction.unwrapped.low_frequency,
        reconstruction.materials,
        reconstruction.hair,
    )
    if not all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(written)):
        raise JaxfaceError(
            f"The reconstruction of {name} holds numbers that are not finite, so nothing was "
            "written; give other landmarks with --landmarks."
        )


def settings_of(
    config: ReconstructConfig, model: str, database: str, all_faces: bool
) -> dict[str, Any]:
    """Returns the JSON values that, with the photo, determine a result.

    Args:
        config: settings.
        model: the face model's name.
        database: the texture database's `database_id`.
        all_faces: whether every face of a photo is reconstructed.
    """
    return {
        "config": config_json(config),
        "model": model,
        "database": database,
        "all_faces": all_faces,
        "assets": {name: entry["sha256"][:16] for name, entry in files.manifest().items()},
    }


def config_json(config: ReconstructConfig) -> dict[str, Any]:
    """Returns the settings as JSON values; arrays become lists."""
    return json.loads(json.dumps(asdict(config), default=lambda leaf: np.asarray(leaf).tolist()))


def describe(
    photo: Photo, result: Reconstruction, config: ReconstructConfig, key: str
) -> dict[str, Any]:
    """Returns the entries of `parameters.json` other than coefficients and timings."""
    return {
        "photo": photo.name,
        "key": key,
        "settings": config_json(config),
        "versions": _versions(),
        "device": str(jax.devices()[0]),
        "landmark_error_percent": 100 * float(result.fit.landmark_error),
        "seen_percent": 100 * float(np.mean(np.asarray(result.unwrapped.skin_mask))),
        "losses": {
            "photometric": float(result.fit.photometric_error),
            "synthesis": [float(x) for x in np.asarray(result.synthesis.losses)],
        },
        "asset_checksums": {name: entry["sha256"] for name, entry in files.manifest().items()},
    }


def summary_row(name: str, details: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Returns a face's row of the summary.

    Args:
        name: of the photo.
        details: from `describe`, with `timings` in seconds.
        folder: of the result.
    """
    timings = details["timings"]
    return {
        "photo": name,
        "result": "ok",
        "landmarks %": f"{details['landmark_error_percent']:.2f}",
        "seen %": f"{details['seen_percent']:.0f}",
        "seconds": f"{timings['total']:.0f}",
        "compile": f"{timings['compile']:.0f}" if "compile" in timings else "",
        "folder": str(folder),
    }


def _versions() -> dict[str, str]:
    """Returns the versions of this package and of the libraries that results depend on."""
    versions = {}
    for name in ("jaxface", "jax", "jaxlib", "flax", "optax", "numpy"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # run.py works without installing
            versions[name] = "not installed"
    return versions
