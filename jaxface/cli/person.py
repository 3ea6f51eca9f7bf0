"""`jaxface reconstruct --person`: one face from several photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxface.batch import Item, find_photos
from jaxface.batch.cloud import fetched, is_cloud, staged
from jaxface.batch.faces import check_finite, describe, summary_row
from jaxface.batch.results import Report
from jaxface.batch.timing import StageTimer
from jaxface.cli.progress import Progress
from jaxface.config import ReconstructConfig
from jaxface.errors import DetectionError, InputError
from jaxface.export import check_folder, write_result
from jaxface.export.result import fit_json
from jaxface.identity import distances, look, odd_ones
from jaxface.images import Photo, read_photo
from jaxface.landmarks.detector import detect
from jaxface.loading import load_assets
from jaxface.person import reconstruct_person
from jaxface.types import Assets, Detection, PersonReconstruction

MAX_PHOTOS = 16
"""Largest number of photos of one person, since all are fitted jointly."""


def reconstruct_one_person(
    paths: list[Path],
    output: Path,
    config: ReconstructConfig,
    *,
    model: str = "default",
    database: Path | None = None,
    log_json: bool = False,
) -> None:
    """Writes one result folder from several photos of a person.

    The largest face of each photo is used. Photos without a face are skipped, with a message; those
    that may show somebody else are named and used.

    Args:
        paths: photos or folders of photos, at most `MAX_PHOTOS`.
        output: folder or address.
        config: settings.
        model: the face model's name.
        database: folder of a texture database; None is the embedded one.
        log_json: print events as JSON lines on stdout.

    Raises:
        InputError: no photo shows a face, there are too many, or the output cannot be written.
    """
    progress = Progress(log_json=log_json)
    files = find_photos(paths, say=progress.print)
    if len(files) > MAX_PHOTOS:
        raise InputError(
            f"There are {len(files)} photos; choose {MAX_PHOTOS} or fewer of the person."
        )
    if not is_cloud(output):
        check_folder(output, holds_results=False)
    assets = load_assets(config, model=model, database=str(database or "") or None)
    timer = StageTimer(progress)
    photos: list[Photo] = []
    detections: list[Detection] = []
    with timer.stage("landmarks") as info:
        for file in files:
            with fetched(Item(file, output)) as local:
                photo = read_photo(local.path)
            try:
                detections.append(detect(photo.srgb, assets.networks))
                photos.append(photo)
            except DetectionError as error:
                progress.print(f"{file} is left out: {error}")
        if not photos:
            raise InputError("None of the photos shows a face.")
        info["note"] = f"{len(photos)} photo(s)"
    points = [np.asarray(detection.landmarks[0]) for detection in detections]
    looks = [look(photo.srgb, each)[None] for photo, each in zip(photos, points, strict=True)]
    odd = odd_ones(distances(looks))
    if odd:
        progress.print(doubt_of_person([photo.name for photo in photos], odd))
    person = reconstruct_person(
        [photo.srgb for photo in photos],
        points,
        assets,
        config,
        blendshapes=[detection.blendshapes[0] for detection in detections],
        focals=[photo.focal for photo in photos],
        progress=timer,
    )
    fits = [
        {"photo": photo.name, "unlike_the_others": index in odd} | fit_json(fitted, assets.model)
        for index, (photo, fitted) in enumerate(zip(photos, person.fits, strict=True))
    ]
    write_person(
        output,
        photos[person.best],
        person,
        assets,
        config,
        progress=progress,
        timer=timer,
        name=f"{len(photos)} photos",
        more={"photos": fits},
    )


def doubt_of_person(names: list[str], odd: list[int]) -> str:
    """Returns the sentence about photos that may show somebody else.

    Args:
        names: of the photos.
        odd: indices of those that are unlike all others, at least one.
    """
    # If most are unlike each other, nothing tells which of them is the person.
    if 2 * len(odd) >= len(names):
        return "The photos look little alike: make sure that all show the same person."
    some = ", ".join(names[index] for index in odd)
    return f"Unlike the other photos, so perhaps of somebody else: {some}; if so, leave it out."


def write_person(
    output: Path,
    photo: Photo,
    person: PersonReconstruction,
    assets: Assets,
    config: ReconstructConfig,
    *,
    progress: Progress,
    timer: StageTimer,
    name: str,
    more: dict[str, Any],
    extra: Callable[[Path], None] | None = None,
) -> None:
    """Writes a person's result folder and prints its summary.

    Args:
        output: folder or address.
        photo: the one with the largest mean skin mask.
        person: the result.
        assets: used for the result.
        config: settings.
        progress: prints the summary.
        timer: of the stages until now.
        name: of the input, for the summary.
        more: further entries of `parameters.json`.
        extra: writes further files into the folder, as in `write_result`.

    Raises:
        JaxfaceError: the result is not finite.
        InputError: the folder cannot be written.
    """
    check_finite(person.result, name)
    # Several photos have no key: --resume is refused.
    details = describe(photo, person.result, config, key="") | more
    details["timings"] = timer.per_face()
    with timer.stage("export"), staged(output) as folder:
        write_result(
            folder,
            photo=photo,
            reconstruction=person.result,
            model=assets.model,
            details=details,
            face_names=assets.face_names,
            detail=config.detail,
            extra=extra,
        )
    details["timings"] = timer.per_face()
    progress.finish(Report(done=1, rows=[summary_row(name, details, output)]))
