"""Starts and ends the server of `jaxface app`."""

from __future__ import annotations

import ipaddress
import signal
import socket
import tempfile
from pathlib import Path

import uvicorn

from jaxface.cli.progress import Progress
from jaxface.cli.webapp.faces import Faces
from jaxface.cli.webapp.routes import make_app
from jaxface.cli.work import make_worker
from jaxface.config import ReconstructConfig
from jaxface.errors import InputError
from jaxface.export import check_folder


def serve(config: ReconstructConfig, *, host: str, port: int, output: Path | None = None) -> None:
    """Serves the page until Ctrl-C or SIGTERM, then raises `KeyboardInterrupt`.

    Args:
        config: settings of all faces.
        host: name or address to listen at.
        port: to listen at; 0 takes a free one.
        output: folder for the results, one in it for each photo. None: a temporary folder, which
            the end of the server deletes, as it does the photos in any case.

    Raises:
        InputError: the address cannot be used, or the folder cannot be written.
    """
    if output is not None:
        check_folder(output, holds_results=True)
    with listen(host, port) as listener, tempfile.TemporaryDirectory(prefix="jaxface-") as folder:
        uploads = Path(folder) / "photos"
        results = output or Path(folder) / "results"
        for path in (uploads, results):
            path.mkdir(parents=True, exist_ok=True)
        faces = Faces(uploads, results, keep=output is not None)
        # SIGTERM by itself would leave the temporary folder.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with Progress() as progress:
                faces.start(
                    lambda on_event: make_worker(config, "default", None, False, 1, on_event),
                    also=progress,
                )
                for line in _greeting(host, listener.getsockname()[1]):
                    progress.print(line)
                settings = uvicorn.Config(
                    make_app(faces, host=host),
                    log_level="warning",
                    lifespan="off",
                    ws="none",
                    timeout_graceful_shutdown=1,
                )
                try:
                    uvicorn.Server(settings).run(sockets=[listener])
                    # Where SIGINT is ignored, as in a script's background, uvicorn just returns.
                    raise KeyboardInterrupt
                finally:
                    if faces.busy:
                        progress.print("Waiting for the stage to end; Ctrl-C again does not wait.")
        finally:
            faces.stop()
            signal.signal(signal.SIGTERM, before)


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens.

    Raises:
        InputError: the host is not this machine's, or the port is taken or not permitted.
    """
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return socket.create_server(address, family=family)
    except OSError as error:
        raise InputError(
            f"{host} port {port} cannot be used ({error.strerror or error}); "
            "choose another --port or --host."
        ) from None


def _greeting(host: str, port: int) -> list[str]:
    """Returns the lines that say where the page is, and who can reach it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        shown, local = host, host == "localhost"
    else:
        shown = f"[{host}]" if address.version == 6 else host
        shown, local = "localhost" if address.is_unspecified else shown, address.is_loopback
    lines = [f"Open http://{shown}:{port} in a browser; Ctrl-C ends jaxface app."]
    if not local:
        lines.append("Whoever reaches this port over the network can add photos and see all faces.")
    return lines
