"""What the commands do: photos in turn, progress, results, the summary."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from jaxface import assets as files
from jaxface.cli.progress import CompileClock, Reporter, summary
from jaxface.errors import InputError, JaxfaceError
from jaxface.export import check_folder, load_result, render_view, write_result
from jaxface.features.weights import cache_folder
from jaxface.images import Photo, read_photo, write_png
from jaxface.landmarks.detector import detect
from jaxface.landmarks.files import read_landmarks
from jaxface.pipeline import Assets, ReconstructConfig, load_assets, reconstruct
from jaxface.types import Reconstruction

MAX_FACES = 16


def prepare_jax(device: str | None) -> None:
    """Chooses the device and keeps compilations in the user's cache between starts."""
    if device:
        jax.config.update("jax_platforms", "cuda" if device == "gpu" else device)
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    try:
        jax.devices()
    except RuntimeError as error:
        raise InputError(f"There is no device {device!r} for JAX on this machine.") from error


def _versions() -> dict[str, str]:
    found = {}
    for name in ("jaxface", "jax", "jaxlib", "flax", "optax", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run.py works without installing
            found[name] = "not installed"
    return found


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


def _folders(photos: list[Path], output: Path) -> list[Path]:
    """Returns a folder of its own for each photo, also where two have the same name."""
    if len(photos) == 1:
        return [output]
    stems = [photo.stem for photo in photos]
    return [
        output / (stem if stem not in stems[:index] else f"{stem}-{index + 1}")
        for index, stem in enumerate(stems)
    ]


def reconstruct_photos(
    photos: list[Path],
    output: Path,
    config: ReconstructConfig,
    *,
    model: str = "default",
    database: Path | None = None,
    all_faces: bool = False,
    landmarks: Path | None = None,
    log_json: bool = False,
) -> list[JaxfaceError]:
    """Reconstructs photos in turn, writes a folder for each face, returns the failures.

    With one photo a failure is raised; with several it is reported and the next one follows.
    """
    own = None if landmarks is None else _own_landmarks(landmarks)
    console = Console(stderr=log_json)
    clock = CompileClock()
    loaded: Assets | None = None
    rows: list[dict[str, Any]] = []
    failures: list[JaxfaceError] = []
    for path, folder in zip(photos, _folders(photos, output), strict=True):
        try:
            check_folder(folder, holds_results=all_faces)
            photo = read_photo(path)
            if not log_json:
                height, width = photo.srgb.shape[:2]
                console.print(f"{path} ({width} x {height})", markup=False, highlight=False)
            if loaded is None:
                loaded = load_assets(config, model=model, database=str(database or "") or None)
            rows += _reconstruct_photo(
                photo, folder, loaded, config, console, clock,
                all_faces=all_faces, landmarks=own, log_json=log_json,
            )  # fmt: skip
        except JaxfaceError as error:
            if len(photos) == 1:
                raise
            failures.append(error)
            rows.append({"photo": path.name, "result": "failed", "folder": str(error)})
            console.print(f"  {error}", markup=False, highlight=False)
    if not log_json:
        summary(console, rows)
    return failures


def _reconstruct_photo(
    photo: Photo,
    folder: Path,
    assets: Assets,
    config: ReconstructConfig,
    console: Console,
    clock: CompileClock,
    *,
    all_faces: bool,
    landmarks: np.ndarray | None,
    log_json: bool,
) -> list[dict[str, Any]]:
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
        details = _details(photo, result, assets, config, reporter)
        write_result(
            target, photo=photo, reconstruction=result, model=assets.model, details=details
        )
        reporter("export", {"state": "end"})
        timings = reporter.timings()
        rows.append(
            {
                "photo": photo.name,
                "result": "ok",
                "landmarks %": f"{details['landmark_error_percent']:.2f}",
                "seen %": f"{details['seen_percent']:.0f}",
                "seconds": f"{timings['total']:.0f}",
                "compile": f"{timings['compile']:.0f}",
                "folder": str(target),
            }
        )
    return rows


def _details(
    photo: Photo,
    result: Reconstruction,
    assets: Assets,
    config: ReconstructConfig,
    reporter: Reporter,
) -> dict[str, Any]:
    """Returns what `parameters.json` holds besides the coefficients."""
    manifest = files.manifest()
    return {
        "photo": photo.name,
        "settings": asdict(config),
        "versions": _versions(),
        "device": str(jax.devices()[0]),
        "timings": reporter.timings(),
        "landmark_error_percent": 100 * float(result.fit.landmark_error),
        "seen_percent": 100 * float(result.unwrapped.skin_mask.mean()),
        "losses": {
            "photometric": float(result.fit.photometric_error),
            "synthesis": [float(x) for x in np.asarray(result.synthesis.losses)],
        },
        "asset_checksums": {name: entry["sha256"] for name, entry in manifest.items()},
    }


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
