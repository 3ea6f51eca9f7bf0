"""From a photo's file to the folders of its faces, in the parts that overlap. Host code."""

from __future__ import annotations

import json
import threading
import time
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
from jaxface.database import database_id
from jaxface.errors import JaxfaceError
from jaxface.export import check_folder, write_result
from jaxface.images import Photo, read_photo, to_bytes
from jaxface.landmarks.detector import detect
from jaxface.mapping import Many, face_mesh
from jaxface.pipeline import Assets, Face, ReconstructConfig, prepare_face, run_stages
from jaxface.pipeline.batched import kind, prepare_assets, round_up, stack, unstack
from jaxface.types import Reconstruction

MAX_FACES = 16


@dataclass(frozen=True)
class Work:
    """A face to reconstruct. `pixels` are the photo's, 8 bit: a quarter of the memory."""

    face: Face
    pixels: np.ndarray
    name: str
    focal: float | None
    folder: Path
    key: str


class FaceWorker:
    """Reconstructs the faces of photos; the `Worker` of `run_photos`.

    With a batch of 1 every face runs as in `reconstruct`, with more as in `reconstruct_batch`.
    """

    def __init__(
        self,
        assets: Assets,
        config: ReconstructConfig,
        *,
        batch: int = 1,
        all_faces: bool = False,
        database: Path | None = None,
        tell: Callable[[dict[str, Any]], None] = lambda event: None,
    ) -> None:
        """Takes what all photos share.

        Args:
            assets: from `load_assets` with the same `config`.
            config: static settings.
            batch: faces at once, rounded up to a multiple of the devices.
            all_faces: every face of a photo, each in a folder of its own.
            database: folder of its database, for `settings`; the embedded one if not given.
            tell: takes an event (`event` is `stage`) at the start, steps and end of each stage.
        """
        self.config, self.all_faces, self.tell = config, all_faces, tell
        self.settings = settings_of(config, assets.model.name, database_id(database), all_faces)
        self.run = None if batch == 1 else Many(face_mesh())
        self.rows = 1 if self.run is None else round_up(batch, self.run.mesh.size)
        self.assets = assets if self.run is None else prepare_assets(assets)

    def prepare(self, item: Item, key: str) -> list[Work]:
        """Returns the faces of a photo, decoded and detected. Raises as `detect` and others do."""
        check_folder(item.folder, holds_results=self.all_faces)
        photo = read_photo(item.path)
        found = detect(
            photo.srgb, self.assets.networks, max_faces=MAX_FACES if self.all_faces else 1
        )
        pixels, works = to_bytes(photo.srgb), []
        for number in range(len(found.score)):
            face = prepare_face(
                photo.srgb,
                np.asarray(found.landmarks[number]),
                blendshapes=found.blendshapes[number],
                focal=photo.focal,
            )
            folder = item.folder / f"face{number + 1}" if self.all_faces else item.folder
            works.append(Work(face, pixels, photo.name, photo.focal, folder, key))
        return works

    def compute(
        self, works: list[Work], check: Callable[[], None]
    ) -> list[tuple[Callable[[], Reconstruction], dict[str, float]]]:
        """Returns how to get each result, and seconds by stage (of a batch, a face's share)."""
        clock = _Clock(len(works), check, self.tell)
        if self.run is None:
            (work,) = works
            result, names = run_stages(work.face, self.assets, self.config, progress=clock)
            result = result.replace(blend=result.blend.replace(faces=names[0]))
            jax.block_until_ready(result)
            return [(lambda: result, clock.shares())]
        batch = self.run.place(stack([work.face for work in works], self.rows))
        results, names = run_stages(batch, self.assets, self.config, run=self.run, progress=clock)
        rows = _Rows(results, names, len(works))
        return [(partial(rows.get, index), clock.shares()) for index in range(len(works))]

    def finish(
        self, work: Work, result: tuple[Callable[[], Reconstruction], dict[str, float]]
    ) -> dict[str, Any]:
        """Writes a face's folder; returns its line of the summary.

        Raises:
            JaxfaceError: the result is not finite.
            InputError: the folder cannot be written.
        """
        get, seconds = result
        reconstruction = get()
        if not np.isfinite(np.asarray(reconstruction.synthesis.texture)).all():
            raise JaxfaceError(f"The fit of {work.name} failed; give landmarks with --landmarks.")
        photo = Photo(work.pixels.astype(np.float32) / 255.0, work.focal, work.name)
        details = describe(photo, reconstruction, self.config, work.key) | {"timings": seconds}
        model = self.assets.model
        write_result(
            work.folder, photo=photo, reconstruction=reconstruction, model=model, details=details
        )
        return summary_row(photo.name, details, work.folder)

    def kind(self, work: Work) -> Hashable:
        """Returns what faces of a batch have in common."""
        return kind(work.face)


def settings_of(
    config: ReconstructConfig, model: str, database: str, all_faces: bool
) -> dict[str, Any]:
    """Returns what a result depends on besides its photo, as JSON values.

    Args:
        config: static settings.
        model: its name.
        database: `database_id` of it.
        all_faces: every face of a photo, each in a folder of its own.
    """
    return {
        "config": json.loads(json.dumps(asdict(config))),
        "model": model,
        "database": database,
        "all_faces": all_faces,
        "assets": {name: entry["sha256"][:16] for name, entry in files.manifest().items()},
    }


def describe(
    photo: Photo, result: Reconstruction, config: ReconstructConfig, key: str
) -> dict[str, Any]:
    """Returns what `parameters.json` holds besides coefficients and timings."""
    return {
        "photo": photo.name,
        "key": key,
        "settings": asdict(config),
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
    """Returns a face's line of the summary."""
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
    found = {}
    for name in ("jaxface", "jax", "jaxlib", "flax", "optax", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run.py works without installing
            found[name] = "not installed"
    return found


class _Rows:
    """A batch's results. The first thread that writes one brings all to the host, so that the
    device goes on with the next batch."""

    def __init__(self, results: Reconstruction, names: list[tuple[str, ...]], count: int) -> None:
        self.lock = threading.Lock()
        self.fetch: Callable[[], list[Reconstruction]] | None
        self.fetch = partial(unstack, results, names, count)

    def get(self, index: int) -> Reconstruction:
        """Returns the result of a face."""
        with self.lock:
            if self.fetch is not None:
                self.rows, self.fetch = self.fetch(), None
        return self.rows[index]


class _Clock:
    """The pipeline's `progress` in a batch: tells, takes the time, and lets a run be stopped."""

    def __init__(
        self, faces: int, check: Callable[[], None], tell: Callable[[dict[str, Any]], None]
    ) -> None:
        self.faces, self.check, self.tell = faces, check, tell
        self.begun = self.since = time.monotonic()
        self.stages: dict[str, float] = {}

    def __call__(self, stage: str, info: dict[str, Any]) -> None:
        self.check()
        now = time.monotonic()
        if info["state"] == "start":
            self.since = now
        elapsed = round(now - self.since, 3)
        if info["state"] == "end":
            self.stages[stage] = elapsed
        self.tell(
            {"event": "stage", "stage": stage, "elapsed": elapsed, "faces": self.faces} | info
        )

    def shares(self) -> dict[str, float]:
        """Returns the seconds of each stage and in all, a face's share."""
        whole = self.stages | {"total": time.monotonic() - self.begun}
        return {stage: round(seconds / self.faces, 3) for stage, seconds in whole.items()}
