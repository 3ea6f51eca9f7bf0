"""From a photo's file to the folders of its faces, in the steps that `overlap` runs. Host code."""

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
"""Faces of one photo that are looked for if all are wanted; the largest ones."""
Computed = tuple[Callable[[], Reconstruction], dict[str, float]]
"""A function that returns a result, and the seconds that its stages took."""


@dataclass(frozen=True)
class Work:
    """A face to reconstruct.

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
        """Holds what all photos have in common.

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
        self.mesh = None if batch == 1 else device_mesh()
        self.rows = 1 if self.mesh is None else round_up(batch, self.mesh.size)
        self.assets = assets if self.mesh is None else replicate(assets, self.mesh)

    def prepare(self, item: Item, key: str) -> list[Work]:
        """Returns the faces of a photo, decoded, detected (or with given landmarks) and cropped.

        Raises:
            InputError: the photo, the landmarks or the folder cannot be used.
            DetectionError: the photo shows no face.
        """
        check_folder(item.folder, holds_results=self.all_faces)
        timer = StageTimer(self.on_event)
        with timer.stage("landmarks") as info:
            photo = read_photo(item.path)
            padded, extent = pad_photo(photo.srgb)
            faces: list[tuple[np.ndarray, np.ndarray | None]]
            if item.landmarks is not None:
                faces = [(read_landmarks(item.landmarks), None)]
            else:
                most = MAX_FACES if self.all_faces else 1
                found = detect_in_padded(padded, extent, self.assets.networks, max_faces=most)
                points, shapes = np.asarray(found.landmarks), np.asarray(found.blendshapes)
                faces = list(zip(points, shapes, strict=True))
            cut = partial(crop_padded, padded, extent, photo.srgb.shape[:2], focal=photo.focal)
            crops = [cut(points, blendshapes=shapes) for points, shapes in faces]
            height, width = photo.srgb.shape[:2]
            info["note"] = f"{len(faces)} face(s) in {width} x {height} pixels"
            timer.faces = len(faces)
        photo_bytes, seconds = to_bytes(photo.srgb), timer.per_face()
        works = []
        for number, crop in enumerate(crops, start=1):
            folder = item.folder / f"face{number}" if self.all_faces else item.folder
            works.append(Work(crop, photo_bytes, photo.name, photo.focal, folder, key, seconds))
        return works

    def compute(self, works: list[Work], check: Callable[[], None]) -> list[Computed]:
        """Returns the results of a batch, which wait on the device until they are asked for, and
        the seconds of each stage (divided by the number of faces)."""
        timer = StageTimer(self.on_event, faces=len(works), check=check)
        if self.mesh is None:
            (work,) = works
            result = reconstruct_crops(work.crop, self.assets, self.config, progress=timer)
            jax.block_until_ready(result)
            return [(lambda: result, timer.per_face())]
        crops = place(stack([work.crop for work in works], self.rows), self.mesh)
        results = reconstruct_crops(crops, self.assets, self.config, mesh=self.mesh, progress=timer)
        jax.block_until_ready(results)
        rows = _Rows(results, len(works))
        return [(partial(rows.get, index), timer.per_face()) for index in range(len(works))]

    def finish(self, work: Work, result: Computed) -> dict[str, Any]:
        """Writes a face's folder; returns its row of the summary.

        Raises:
            JaxfaceError: the result is not finite.
            InputError: the folder cannot be written.
        """
        get_reconstruction, seconds = result
        seconds = add_timings(work.seconds, seconds)
        timer = StageTimer(self.on_event)
        with timer.stage("export"):
            reconstruction = get_reconstruction()
            check_finite(reconstruction, work.name)
            photo = Photo(work.photo_bytes.astype(np.float32) / 255.0, work.focal, work.name)
            details = describe(photo, reconstruction, self.config, work.key)
            write_result(
                work.folder,
                photo=photo,
                reconstruction=reconstruction,
                model=self.assets.model,
                details=details | {"timings": seconds},
                face_names=self.assets.face_names,
            )
        details["timings"] = add_timings(seconds, timer.per_face())
        return summary_row(photo.name, details, work.folder)

    def batch_key(self, work: Work) -> Hashable:
        """Returns what faces of a batch have in common: their arrays' shapes."""
        return batch_key(work.crop)


class _Rows:
    """The results of a batch, copied to the host once, when the first one is asked for."""

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
    """Raises `JaxfaceError` if a result's mesh, texture or materials hold NaN or infinities."""
    written = (
        reconstruction.fit.vertices,
        reconstruction.synthesis.texture,
        reconstruction.unwrapped.low_frequency,
        reconstruction.materials,
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
    versions = {}
    for name in ("jaxface", "jax", "jaxlib", "flax", "optax", "numpy"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # run.py works without installing
            versions[name] = "not installed"
    return versions
