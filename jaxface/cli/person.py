"""What `jaxface reconstruct --person` does: one face from several photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from jaxface.batch import Item, find_photos
from jaxface.batch.cloud import fetched, is_cloud, staged
from jaxface.batch.faces import describe, summary_row
from jaxface.cli.progress import CompileClock, Reporter, summary
from jaxface.errors import DetectionError, InputError
from jaxface.export import check_folder, write_result
from jaxface.export.result import fit_json
from jaxface.images import Photo, read_photo
from jaxface.landmarks.detector import detect
from jaxface.pipeline import Assets, ReconstructConfig, load_assets, reconstruct_person
from jaxface.types import Detection, PersonReconstruction

MOST = 16  # photos: all are fitted at once


def reconstruct_one_person(
    paths: list[Path],
    output: Path,
    config: ReconstructConfig,
    *,
    model: str = "default",
    database: Path | None = None,
    log_json: bool = False,
) -> None:
    """Writes one folder from several photos of a person.

    Of every photo its largest face is taken; photos without one are left out, and said so.

    Raises:
        InputError: no photo shows a face, there are more than can be fitted at once, or the output
            cannot be written.
    """
    files = find_photos(paths)
    if len(files) > MOST:
        raise InputError(f"There are {len(files)} photos; choose {MOST} or fewer of the person.")
    console = Console(stderr=log_json)
    if not is_cloud(output):
        check_folder(output, holds_results=False)
    assets = load_assets(config, model=model, database=str(database or "") or None)
    reporter = Reporter(console, CompileClock(), log_json=log_json)
    reporter("landmarks", {"state": "start"})
    photos: list[Photo] = []
    found: list[Detection] = []
    for file in files:
        with fetched(Item(file, output)) as near:
            photo = read_photo(near.path)
        try:
            found.append(detect(photo.srgb, assets.networks))
            photos.append(photo)
        except DetectionError as error:
            console.print(f"{file} is left out: {error}", markup=False, highlight=False)
    if not photos:
        raise InputError("None of the photos shows a face.")
    reporter("landmarks", {"state": "end", "note": f"{len(photos)} photo(s)"})
    person = reconstruct_person(
        [photo.srgb for photo in photos],
        [np.asarray(one.landmarks[0]) for one in found],
        assets,
        config,
        blendshapes=[one.blendshapes[0] for one in found],
        focals=[photo.focal for photo in photos],
        progress=reporter,
    )
    fits = [
        {"photo": photo.name} | fit_json(fitted, assets.model)
        for photo, fitted in zip(photos, person.fits, strict=True)
    ]
    write_person(
        *(output, photos[person.best], person, assets, config, reporter),
        name=f"{len(photos)} photos",
        more={"photos": fits},
    )


def write_person(
    output: Path,
    photo: Photo,
    person: PersonReconstruction,
    assets: Assets,
    config: ReconstructConfig,
    reporter: Reporter,
    *,
    name: str,
    more: dict[str, Any],
    extra: Callable[[Path], None] | None = None,
) -> None:
    """Writes a person's folder and its line of the summary.

    Args:
        output: the folder.
        photo: that shows most.
        person: the result.
        assets: of the pipeline.
        config: static settings.
        reporter: of the progress.
        name: of what was reconstructed, for the summary.
        more: what `parameters.json` holds besides.
        extra: as of `write_result`.
    """
    reporter("export", {"state": "start"})
    # Several photos have no key: --resume is refused.
    details = describe(photo, person.result, config, "") | more
    details["timings"] = reporter.timings()
    with staged(output) as folder:
        write_result(
            folder,
            photo=photo,
            reconstruction=person.result,
            model=assets.model,
            details=details,
            extra=extra,
        )
    reporter("export", {"state": "end"})
    if not reporter.log_json:
        summary(reporter.console, [summary_row(name, details, output)])
