"""`jaxface database`: build, add, remove, info, verify, cache-features, contact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxface.errors import InputError
from jaxface.names import printable

database_app = typer.Typer(
    no_args_is_help=True, help="Texture databases: folders of faces to infer from."
)
Folder = Annotated[Path, typer.Argument(help="Folder of the database.")]
Embedded = Annotated[
    Path | None, typer.Argument(help="Folder of the database. Default: the embedded one.")
]
Size = Annotated[int, typer.Option(help="Texture side: 256, 512, 1024 or 2048 texels.")]
Quality = Annotated[
    str, typer.Option(help="Quality of the portraits' reconstruction: draft, standard or high.")
]


@database_app.command()
def build(
    folder: Folder,
    portraits: Annotated[
        list[Path] | None, typer.Option(help="Portrait or folder of portraits; may be repeated.")
    ] = None,
    skins: Annotated[
        list[Path] | None,
        typer.Option(help="Texture, or folder of textures, in MakeHuman's UV; may be repeated."),
    ] = None,
    size: Size = 1024,
    quality: Quality = "standard",
    resume: Annotated[
        bool, typer.Option("--resume", help="Add what is missing to a database that was begun.")
    ] = False,
) -> None:
    """Builds a database from portraits (each is reconstructed and graded) and skins."""
    from jaxface import build_database

    if not portraits and not skins:
        raise InputError("Give --portraits, --skins or both.")
    photos = _find(portraits) if portraits else []
    pictures = _find(skins) if skins else []
    build_database.prepare(folder, source="portraits and skins of the user", resume=resume)
    _fill(folder, photos, pictures, size, quality)


@database_app.command()
def add(
    folder: Folder,
    photos: Annotated[list[Path], typer.Argument(help="Portraits, or folders of them.")],
    size: Size = 1024,
    quality: Quality = "standard",
) -> None:
    """Adds portraits to a database."""
    from jaxface.database import read_list

    read_list(folder)
    _fill(folder, _find(photos), [], size, quality)


@database_app.command()
def remove(
    folder: Folder,
    names: Annotated[list[str], typer.Argument(help="Names of the faces to remove.")],
) -> None:
    """Removes faces from a database."""
    from jaxface.database import remove_face

    for name in names:
        remove_face(folder, name)
    print(f"Removed {len(names)}.")


@database_app.command()
def info(
    folder: Embedded = None,
) -> None:
    """Lists the faces of a database, and the rejected portraits with reasons."""
    from jaxface import assets
    from jaxface.database import read_list

    path = folder or assets.path("database")
    listing = read_list(path)
    table = Table(title=f"{path}: {len(listing['faces'])} faces ({listing.get('source', '')})")
    for column in ("face", "MB", "about"):
        table.add_column(column)
    for entry in listing["faces"]:
        files = [path / name for name in entry.get("files", {})]
        size = sum(file.stat().st_size for file in files if file.exists()) / 1e6
        about = ", ".join(f"{key} {_short(value)}" for key, value in entry["about"].items())
        table.add_row(entry["name"], f"{size:.2f}", Text(printable(about)))
    for name, reason in listing.get("rejected", {}).items():
        table.add_row(name, "", Text(f"rejected: {reason}"))
    Console().print(table)


@database_app.command()
def verify(
    folder: Embedded = None,
) -> None:
    """Compares every picture of a database with its checksum."""
    from jaxface import assets
    from jaxface.database import verify_database

    count = verify_database(folder or assets.path("database"))
    print(f"All {count} faces are as they should be.")


@database_app.command("sketch", hidden=True)
@database_app.command("cache-features")
def cache_features(
    folder: Embedded = None,
    size: Annotated[
        int, typer.Option(help="Texture side of the reconstructions: 256, 512, 1024 or 2048.")
    ] = 512,
) -> None:
    """Writes the VGG-16 features of every face, 10 MB each, for `reconstruct --feature-cache`."""
    from rich.progress import Progress

    from jaxface.cli.work import prepare_jax
    from jaxface.config import ReconstructConfig
    from jaxface.database import open_database, write_features
    from jaxface.features.weights import load_vgg

    prepare_jax(None)
    config = ReconstructConfig.for_quality(size=size).correlation
    faces = open_database(folder, size=size)
    with Progress() as progress:
        task = progress.add_task("features", total=None)
        path = write_features(
            faces.textures,
            folder,
            load_vgg(),
            config,
            tell=lambda done, total: progress.update(task, completed=done, total=total),
        )
    print(f"Use it by `jaxface reconstruct --feature-cache --size {size}`: {path}.")


@database_app.command()
def contact(
    folder: Folder,
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG file to write.")] = Path(
        "contact.png"
    ),
) -> None:
    """Writes an image of all faces of a database."""
    from jaxface.build_database import contact_sheet
    from jaxface.images import write_png

    write_png(output, contact_sheet(folder) / 255.0)
    print(f"Look at {output}.")


def _find(paths: list[Path]) -> list[Path]:
    """Returns the pictures among files and in folders. Raises `InputError` if there are none."""
    from jaxface.batch import find_photos

    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist.")
    return find_photos(paths, deep=True, say=print)


def _fill(folder: Path, photos: list[Path], pictures: list[Path], size: int, quality: str) -> None:
    """Adds skins (`pictures`) and portraits to a database, printing a line for each."""
    from jaxface import build_database
    from jaxface.cli.work import prepare_jax
    from jaxface.config import ReconstructConfig
    from jaxface.loading import load_assets

    console = Console()
    total = len(photos) + len(pictures)
    counts = {"done": 0, "rejected": 0}

    def on_face(name: str, reason: str | None) -> None:
        counts["done"] += 1
        counts["rejected"] += reason is not None
        state = "added" if reason is None else f"rejected: {reason}"
        line = f"{counts['done']}/{total}  {name}  {state}"
        console.print(line, markup=False, highlight=False)

    prepare_jax(None)
    config = ReconstructConfig.for_quality(quality, size=size)
    assets = load_assets(config)
    build_database.add_skins(folder, pictures, assets, on_face)
    build_database.add_portraits(folder, photos, assets, config, on_face)
    added = counts["done"] - counts["rejected"]
    known = total - counts["done"]
    print(f"Added {added}, rejected {counts['rejected']}, in the database before {known}.")


def _short(value: object) -> str:
    """Returns a value as text, floats with two digits."""
    return f"{value:.2f}" if isinstance(value, float) else str(value)
