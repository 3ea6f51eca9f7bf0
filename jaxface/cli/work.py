"""What the commands do: one photo or a run of many, progress, results, the summary."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from threadpoolctl import threadpool_limits

from jaxface.batch import FaceWorker, Item, Share, find_photos, run_on_ray, run_photos
from jaxface.batch.cloud import fetched, is_cloud, staged
from jaxface.batch.faces import MAX_FACES, describe, settings_of, summary_row
from jaxface.batch.inputs import ALL, digest
from jaxface.batch.runner import is_finished, key_of
from jaxface.cli.progress import CompileClock, Reporter, RunReporter, summary
from jaxface.database import database_id
from jaxface.errors import InputError, Interrupted
from jaxface.export import check_folder, load_result, render_view, write_result
from jaxface.features.weights import cache_folder
from jaxface.images import Photo, read_photo, write_png
from jaxface.landmarks.detector import detect
from jaxface.landmarks.files import read_landmarks
from jaxface.pipeline import Assets, ReconstructConfig, load_assets, reconstruct
from jaxface.programs import keep_programs


def prepare_jax(device: str | None) -> None:
    """Chooses the device, gives LAPACK one thread, keeps compilations in the user's cache."""
    # JAX takes LAPACK from SciPy, whose threads and XLA's get in each other's way: on two cores the
    # fit took 1.7 times as long.
    threadpool_limits(1, user_api="blas")
    if device:
        platforms = {"gpu": "cuda,cpu", "tpu": "tpu,cpu"}.get(device, device)
        jax.config.update("jax_platforms", platforms)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    try:
        found = jax.default_backend()
    except RuntimeError as error:
        raise InputError(f"There is no device {device!r} for JAX on this machine.") from error
    if device and found != device:  # JAX takes the next of the list
        raise InputError(f"There is no device {device!r} for JAX on this machine.")
    folder: Path | None = cache_folder() / "programs"
    if found == "cpu":  # elsewhere it has not been tried; JAX's cache spares most of the wait
        try:
            folder = keep_programs(folder)
        except OSError:  # a folder that cannot be written to costs time alone
            folder = None
    if folder and jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(folder / "jax"))


@dataclass(frozen=True)
class Ray:
    """A run on a Ray cluster: so many actors at most, each of so many cores if without a GPU."""

    actors: int | None
    cpus: int


def share_of(text: str) -> Share:
    """Returns this process's share of a run: `2/8`, or `auto` for what JAX finds out.

    `auto` joins the cluster (SLURM, Open MPI, Kubernetes, TPU pods); call it before JAX is used.
    """
    if text == "auto":
        try:
            jax.distributed.initialize()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"JAX finds no cluster here ({error}); give --share I/N.") from error
        return Share(jax.process_index(), jax.process_count())
    part, _, count = text.partition("/")
    if not (part.isdecimal() and count.isdecimal()):
        raise InputError(f"--share {text} is neither I/N (as 2/8) nor auto.")
    return Share(int(part) - 1, int(count))


def _own_landmarks(path: Path) -> np.ndarray:
    points = read_landmarks(path)
    if len(points) == 468:  # without the irises: the mesh's first 468
        points = np.concatenate([points, np.full((10, 2), np.nan, np.float32)])
    return points


def _faces(
    photo: Photo, assets: Assets, landmarks: np.ndarray | None, all_faces: bool
) -> list[tuple[np.ndarray, Any]]:
    """Returns landmarks and blendshapes of the faces to reconstruct."""
    if landmarks is not None:
        return [(landmarks, None)]
    found = detect(photo.srgb, assets.networks, max_faces=MAX_FACES if all_faces else 1)
    return [(np.asarray(found.landmarks[i]), found.blendshapes[i]) for i in range(len(found.score))]


def reconstruct_photos(
    paths: list[Path],
    output: Path,
    config: ReconstructConfig,
    *,
    model: str = "default",
    database: Path | None = None,
    all_faces: bool = False,
    landmarks: Path | None = None,
    batch: int = 1,
    resume: bool = False,
    share: Share = ALL,
    log_json: bool = False,
    ray: Ray | None = None,
) -> int:
    """Reconstructs photos and writes a folder for each face; returns the exit code.

    One photo's folder is `output` itself, and its failure is raised. Several photos, or those of a
    folder, are a run (`jaxface.batch`) with folders inside `output`, with `ray` on a cluster.
    """
    own = None if landmarks is None else _own_landmarks(landmarks)
    database = None if database is None else database.absolute()
    photos = find_photos(paths)
    console = Console(stderr=log_json)
    many = photos != paths or len(photos) > 1 or share.count > 1 or ray is not None
    if not is_cloud(output):
        check_folder(output, holds_results=all_faces or many)

    source = None if database is None else str(database)
    load = partial(load_assets, config, model=model, database=source)
    if many:
        make = partial(_face_worker, load, config, database, all_faces, batch)
        with RunReporter(console, log_json=log_json) as reporter:
            try:
                if ray is not None:
                    report = run_on_ray(
                        *(photos, output, make),
                        batch=batch,
                        resume=resume,
                        actors=ray.actors,
                        cpus=ray.cpus,
                        tell=reporter,
                    )
                else:
                    worker = make(tell=reporter)
                    report = run_photos(
                        *(photos, output, worker),
                        batch=worker.rows,
                        resume=resume,
                        share=share,
                        tell=reporter,
                    )
            except KeyboardInterrupt:
                raise Interrupted("stopped; what is finished is kept, --resume goes on.") from None
        reporter.finish(report)
        return report.failures[-1][2] if report.failures else 0
    if resume and all_faces:
        raise InputError("--resume with --all-faces needs several photos, or a folder of photos.")
    settings = settings_of(config, model, database_id(database), all_faces)
    if landmarks is not None:
        settings["landmarks"] = digest(landmarks)
    with fetched(Item(photos[0], output)) as near:
        photo = read_photo(near.path)
        key = key_of(json.dumps(settings, sort_keys=True), near)
    if resume and is_finished(output, key):
        console.print(f"{output} is finished.", markup=False, highlight=False)
        return 0
    if not log_json:
        height, width = photo.srgb.shape[:2]
        console.print(f"{photos[0]} ({width} x {height})", markup=False, highlight=False)
    with staged(output) as folder:
        rows = _reconstruct_photo(
            photo, folder, load(), config, console, key,
            all_faces=all_faces, landmarks=own, log_json=log_json,
        )  # fmt: skip
    for row in rows:
        row["folder"] = row["folder"].replace(str(folder), str(output))
    if not log_json:
        summary(console, rows)
    return 0


def _face_worker(
    load: Callable[[], Assets],
    config: ReconstructConfig,
    database: Path | None,
    all_faces: bool,
    batch: int,
    tell: Callable[[dict[str, Any]], None] = lambda event: None,
) -> FaceWorker:
    """Returns a worker of this process, which may be an actor's."""
    prepare_jax(None)
    return FaceWorker(
        load(), config, batch=batch, all_faces=all_faces, database=database, tell=tell
    )


def _reconstruct_photo(
    photo: Photo,
    folder: Path,
    assets: Assets,
    config: ReconstructConfig,
    console: Console,
    key: str,
    *,
    all_faces: bool,
    landmarks: np.ndarray | None,
    log_json: bool,
) -> list[dict[str, Any]]:
    clock = CompileClock()
    reporter = Reporter(console, clock, log_json=log_json)
    reporter("landmarks", {"state": "start"})
    faces = _faces(photo, assets, landmarks, all_faces)
    reporter("landmarks", {"state": "end", "note": f"{len(faces)} face(s)"})
    rows = []
    for number, (points, blendshapes) in enumerate(faces, start=1):
        target = folder / f"face{number}" if all_faces else folder
        if number > 1:
            reporter = Reporter(console, clock, log_json=log_json)
        result = reconstruct(
            jnp.asarray(photo.srgb),
            jnp.asarray(points),
            assets,
            config,
            blendshapes=blendshapes,
            focal=photo.focal,
            progress=reporter,
        )
        reporter("export", {"state": "start"})
        details = describe(photo, result, config, key) | {"timings": reporter.timings()}
        write_result(
            target, photo=photo, reconstruction=result, model=assets.model, details=details
        )
        reporter("export", {"state": "end"})
        rows.append(summary_row(photo.name, details | {"timings": reporter.timings()}, target))
    return rows


def render_result(
    result: Path,
    output: Path,
    *,
    yaw: float,
    pitch: float,
    neutral: bool,
    light: str,
    size: int,
) -> None:
    """Renders a written result from a side into a PNG file. Angles in degrees."""
    stored = load_result(result)
    image = render_view(stored, yaw=yaw, pitch=pitch, neutral=neutral, light=light, size=size)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_png(output, image)
    except (OSError, ValueError) as error:
        raise InputError(f"{output} cannot be written: {error}.") from error
