"""`jaxface database`: build, add, remove, info, verify, sketch, contact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from jaxface.errors import InputError

database_app = typer.Typer(no_args_is_help=True, help="Texture databases of your own.")
Folder = Annotated[Path, typer.Argument(help="Folder of the database.")]
Size = Annotated[int, typer.Option(help="Texture side: 256, 512, 1024, 2048.")]


@database_app.command()
def build(
    folder: Folder,
    portraits: Annotated[list[Path] | None, typer.Option(help="Folder of portraits.")] = None,
    skins: Annotated[list[Path] | None, typer.Option(help="Skins in MakeHuman's UV.")] = None,
    size: Size = 1024,
    quality: Annotated[str, typer.Option(help="draft, standard or high.")] = "standard",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with this folder.")] = False,
) -> None:
    """Builds a database from portraits (each is reconstructed and graded) and skins."""
    from jaxface.building import texture_database as building

    if not portraits and not skins:
        raise InputError("Give --portraits, --skins or both.")
    photos = building.find_pictures(portraits) if portraits else []
    pictures = building.find_pictures(skins) if skins else []
    building.prepare(folder, source="portraits and skins of the user", resume=resume)
    _fill(folder, photos, pictures, size, quality)


@database_app.command()
def add(
    folder: Folder,
    photos: Annotated[list[Path], typer.Argument(help="Portraits, or folders of them.")],
    size: Size = 1024,
    quality: Annotated[str, typer.Option(help="draft, standard or high.")] = "standard",
) -> None:
    """Adds portraits to a database."""
    from jaxface.building import texture_database as building
    from jaxface.database import read_list

    read_list(folder)
    _fill(folder, building.find_pictures(photos), [], size, quality)


@database_app.command()
def remove(
    folder: Folder,
    names: Annotated[list[str], typer.Argument(help="Names of faces.")],
) -> None:
    """Takes faces out of a database."""
    from jaxface.database import remove_face

    for name in names:
        remove_face(folder, name)
    print(f"Removed {len(names)}.")


@database_app.command()
def info(
    folder: Annotated[Path | None, typer.Argument(help="Default: the embedded one.")] = None,
) -> None:
    """Lists the faces of a database, and what was rejected."""
    from jaxface import assets
    from jaxface.database import read_list

    place = folder or assets.path("database")
    listing = read_list(place)
    table = Table(title=f"{place}: {len(listing['faces'])} faces ({listing.get('source', '')})")
    for column in ("face", "MB", "about"):
        table.add_column(column)
    for entry in listing["faces"]:
        files = [place / name for name in entry.get("files", {})]
        size = sum(file.stat().st_size for file in files if file.exists()) / 1e6
        about = ", ".join(f"{key} {_short(value)}" for key, value in entry["about"].items())
        table.add_row(entry["name"], f"{size:.2f}", about)
    for name, reason in listing.get("rejected", {}).items():
        table.add_row(name, "", f"rejected: {reason}")
    Console().print(table)


@database_app.command()
def verify(
    folder: Annotated[Path | None, typer.Argument(help="Default: the embedded one.")] = None,
) -> None:
    """Compares every picture of a database with its checksum."""
    from jaxface import assets
    from jaxface.database import verify_database

    count = verify_database(folder or assets.path("database"))
    print(f"All {count} faces are as they should be.")


@database_app.command()
def sketch(
    folder: Annotated[Path | None, typer.Argument(help="Default: the embedded one.")] = None,
    size: Annotated[int, typer.Option(help="Texture side: 256, 512, 1024, 2048.")] = 512,
) -> None:
    """Keeps the features of every face, 10 MB each, with which `--sketch` blends faster."""
    from rich.progress import Progress

    from jaxface.cli.work import prepare_jax
    from jaxface.database import open_database, write_sketches
    from jaxface.features.weights import load_vgg
    from jaxface.pipeline import SIDES, ReconstructConfig

    prepare_jax(None)
    config = ReconstructConfig.for_quality(size=size).correlation
    faces = open_database(folder, size=size)
    with Progress() as progress:
        task = progress.add_task("sketch", total=None)
        place = write_sketches(
            *(faces.textures, folder, load_vgg(), config, SIDES),
            tell=lambda done, total: progress.update(task, completed=done, total=total),
        )
    print(f"Use it by `jaxface reconstruct --sketch` with textures of {size} texels: {place}.")


@database_app.command()
def contact(
    folder: Folder,
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG file.")] = Path("contact.png"),
) -> None:
    """Writes a picture of all faces of a database."""
    from jaxface.building.texture_database import contact_sheet
    from jaxface.images import write_png

    write_png(output, contact_sheet(folder) / 255.0)
    print(f"Look at {output}.")


def _fill(folder: Path, photos: list[Path], pictures: list[Path], size: int, quality: str) -> None:
    from jaxface.building import texture_database as building
    from jaxface.cli.work import prepare_jax
    from jaxface.pipeline import ReconstructConfig, load_assets

    console = Console()
    total = len(photos) + len(pictures)
    counts = {"done": 0, "rejected": 0}

    def told(name: str, reason: str | None) -> None:
        counts["done"] += 1
        counts["rejected"] += reason is not None
        state = "added" if reason is None else f"rejected: {reason}"
        line = f"{counts['done']}/{total}  {name}  {state}"
        console.print(line, markup=False, highlight=False)

    prepare_jax(None)
    config = ReconstructConfig.for_quality(quality, size=size)
    assets = load_assets(config)
    building.add_skins(folder, pictures, assets, told)
    building.add_portraits(folder, photos, assets, config, told)
    kept = counts["done"] - counts["rejected"]
    skipped = total - counts["done"]
    print(f"Added {kept}, rejected {counts['rejected']}, known already {skipped}.")


def _short(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
