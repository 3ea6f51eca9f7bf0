"""Implementation of the commands: JAX's setup, reconstruction of photos, renderings."""

from __future__ import annotations

import functools
import os
import threading
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
from threadpoolctl import threadpool_limits

from jaxface.batch import FaceWorker, Item, Shard, find_photos, run_on_ray, run_photo, run_photos
from jaxface.batch.cloud import is_cloud
from jaxface.batch.inputs import WHOLE
from jaxface.batch.results import OnEvent, ignore_event
from jaxface.caches import cache_folder
from jaxface.cli.programs import Programs, evict
from jaxface.cli.progress import Progress
from jaxface.config import ReconstructConfig
from jaxface.errors import InputError, Interrupted
from jaxface.export import check_folder, load_result, render_view
from jaxface.export.gallery import GALLERY, write_gallery
from jaxface.images import read_photo, write_png
from jaxface.landmarks.files import read_landmarks
from jaxface.loading import load_assets
from jaxface.precision import use_program_store

PLATFORMS = {"gpu": "cuda,cpu", "tpu": "tpu,cpu"}
"""Values of `jax_platforms` by `--device`: the CPU is always included, for host work."""
OPTIONS = {
    "jax_enable_x64": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
}
"""JAX's options by which the stages are written: a user's environment may say otherwise."""


def prepare_jax(device: str | None) -> None:
    """Selects the device and `OPTIONS`, limits LAPACK to one thread, sets up the store of programs.

    A cache that cannot be used (no home directory, a folder that cannot be written) is ignored.

    Args:
        device: `cpu`, `gpu` or `tpu`; None leaves the choice to JAX and `JAX_PLATFORMS`.

    Raises:
        InputError: JAX has no such device on this machine.
    """
    # JAX takes LAPACK from SciPy, whose threads contend with XLA's: on two cores the fit took 1.7
    # times as long.
    threadpool_limits(1, user_api="blas")
    for name, value in OPTIONS.items():
        jax.config.update(name, value)
    if device:
        jax.config.update("jax_platforms", PLATFORMS.get(device, device))
    wanted = device or os.environ.get("JAX_PLATFORMS", "")
    try:
        backend = jax.default_backend()
    except (RuntimeError, AssertionError) as error:  # the latter of JAX's own plugins
        raise InputError(f"There is no device {wanted!r} for JAX on this machine.") from error
    if device and backend != device:  # JAX takes the next one of the list
        raise InputError(f"There is no device {device!r} for JAX on this machine.")
    _keep_programs(backend, cache_folder() / "programs")


@functools.cache  # an actor of Ray prepares JAX for each of its workers
def _keep_programs(backend: str, root: Path) -> None:
    """Registers the stores of compiled programs: `Programs` on the CPU, JAX's cache always."""
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # Errors of JAX's cache cost time only.
    for state in ("reading", "writing"):
        warnings.filterwarnings("ignore", f"Error {state} persistent compilation cache")
    try:
        programs = Programs(root)
    except OSError:
        return
    if backend == "cpu":  # untested on other devices
        use_program_store(programs)
    options: Any = jax.config  # its attributes are untyped
    if options.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(programs.folder / "jax"))
    threading.Thread(target=evict, args=(root,), name="evict", daemon=True).start()


@dataclass(frozen=True)
class Ray:
    """Settings of a run on a Ray cluster.

    Attributes:
        actors: maximum number of actors; None is one per GPU, or per `cpus` cores without GPUs.
        cpus: number of cores of an actor without a GPU.
    """

    actors: int | None
    cpus: int


def parse_shard(text: str) -> Shard:
    """Returns the shard that `--shard` names: `I/N`, I from 1 to N, or `auto` for this process's.

    `Shard.index` is I - 1. `auto` joins the cluster that JAX finds (SLURM, Open MPI, Kubernetes,
    TPU pods); it must be called before any other use of JAX.

    Raises:
        InputError: the text is neither, I is not in 1..N, or JAX finds no cluster.
    """
    if text == "auto":
        try:
            jax.distributed.initialize()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"JAX finds no cluster here ({error}); give --shard I/N.") from error
        return Shard(jax.process_index(), jax.process_count())
    part, _, count = text.partition("/")
    if not (part.isdecimal() and count.isdecimal()):
        raise InputError(f"--shard {text} is neither I/N (as 2/8) nor auto.")
    return Shard(int(part) - 1, int(count))


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
    shard: Shard = WHOLE,
    log_json: bool = False,
    ray: Ray | None = None,
) -> int:
    """Reconstructs photos, writes a folder for each face, prints a summary; returns the exit code.

    A single photo's folder is `output` itself, and an error is raised. Several photos, or those of
    a folder, are a run (`run_photos`) with a folder each inside `output`; with `ray` on a cluster.

    Args:
        paths: photos or folders of photos.
        output: folder or address.
        config: settings.
        model: the face model's name.
        database: folder of a texture database; None is the embedded one.
        all_faces: every face of a photo, not only the largest.
        landmarks: file of landmarks of a single photo, used in place of detection.
        batch: maximum number of faces computed at once.
        resume: skip photos that are finished.
        shard: this process's part of the photos.
        log_json: print events as JSON lines on stdout.
        ray: run on a Ray cluster.
    """
    database = None if database is None else database.absolute()
    left_out: list[str] = []
    photos = find_photos(paths, say=left_out.append)
    single = photos == paths and len(photos) == 1 and shard.count == 1 and ray is None
    if single and resume and all_faces:
        raise InputError("--resume with --all-faces needs several photos, or a folder of photos.")
    if not is_cloud(output):
        check_folder(output, holds_results=all_faces or not single)
    # Input errors are raised before anything is loaded.
    if landmarks is not None:
        read_landmarks(landmarks)
    if single and not is_cloud(photos[0]):
        read_photo(photos[0])

    make = partial(make_worker, config, model, database, all_faces, batch)
    with Progress(many=not single, log_json=log_json) as progress:
        for line in left_out:
            progress.print(line)
        if single:
            progress.print(str(photos[0]))
            worker = make(on_event=progress)
            item = Item(photos[0], output, landmarks)
            report = run_photo(item, worker, batch=worker.rows, resume=resume)
            if report.skipped:
                progress.print(f"{output} is finished.")
        else:
            try:
                if ray is not None:
                    report = run_on_ray(
                        *(photos, output, make),
                        batch=batch,
                        resume=resume,
                        actors=ray.actors,
                        cpus=ray.cpus,
                        on_event=progress,
                    )
                else:
                    worker = make(on_event=progress)
                    report = run_photos(
                        *(photos, output, worker),
                        batch=worker.rows,
                        resume=resume,
                        shard=shard,
                        on_event=progress,
                    )
            except KeyboardInterrupt:
                raise Interrupted("stopped; what is finished is kept, --resume goes on.") from None
    if not single and not is_cloud(output):
        try:
            if count := write_gallery(output):
                progress.print(f"{output / GALLERY} shows {count} faces.")
        except OSError as error:
            progress.print(f"{output / GALLERY} was not written: {error.strerror or error}.")
    progress.finish(report)
    return report.failures[-1][2] if report.failures else 0


def make_worker(
    config: ReconstructConfig,
    model: str,
    database: Path | None,
    all_faces: bool,
    batch: int,
    on_event: OnEvent = ignore_event,
) -> FaceWorker:
    """Returns a worker with its assets, in this process or in an actor of Ray (pickled by name and
    arguments)."""
    prepare_jax(None)
    assets = load_assets(config, model=model, database=None if database is None else str(database))
    return FaceWorker(
        assets, config, batch=batch, all_faces=all_faces, database=database, on_event=on_event
    )


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
    """Renders a result folder into a PNG file.

    Args:
        result: folder that `reconstruct` wrote.
        output: the PNG file.
        yaw: degrees, to the subject's left.
        pitch: degrees, chin up.
        neutral: without the expression.
        light: `studio` or `photo`.
        size: pixels a side.

    Raises:
        InputError: the folder holds no result, or the file cannot be written.
    """
    stored = load_result(result)
    image = render_view(stored, yaw=yaw, pitch=pitch, neutral=neutral, light=light, size=size)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_png(output, image)
    except (OSError, ValueError) as error:
        raise InputError(f"{output} cannot be written: {error}.") from error
