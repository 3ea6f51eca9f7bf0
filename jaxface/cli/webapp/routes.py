"""What the browser asks `jaxface app` for, and who may ask."""

from __future__ import annotations

import io
import ipaddress
import shutil
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxface.cli.webapp.faces import Face, Faces
from jaxface.errors import InputError

MAX_BYTES = 100_000_000
"""Largest upload: more than any camera's JPEG; a PNG of `images.MAX_PIXELS` may be larger."""
READ_METHODS = ("GET", "HEAD")
_HERE = Path(__file__).parent
_PAGE_FILES = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}

# Content security policies: by them, not only by what the page happens to do, no request leaves
# for another address.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# The viewer holds its scripts and its data. Its sandbox keeps it from asking this server.
_VIEWER_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; connect-src data: blob:; "
    "frame-ancestors 'self'"
)
_FILE_POLICY = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'"
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def make_app(faces: Faces, *, host: str = "localhost") -> ASGIApp:
    """Returns the application.

    Args:
        faces: its faces.
        host: the name under which it is served, beside `localhost` and addresses in numbers.
    """

    async def page(request: Request) -> Response:
        return FileResponse(
            _HERE / _PAGE_FILES[request.url.path], headers={"Content-Security-Policy": _PAGE_POLICY}
        )

    async def show_faces(request: Request) -> Response:
        return JSONResponse({"faces": faces.to_json()})

    async def add_face(request: Request) -> Response:
        photo = faces.new_photo(request.query_params.get("name", ""))
        try:
            await _receive(request, photo)
            face = await run_in_threadpool(faces.add, photo)
        except BaseException:
            shutil.rmtree(photo.parent, ignore_errors=True)
            raise
        return JSONResponse(face.to_json(), 201)

    async def remove_face(request: Request) -> Response:
        await run_in_threadpool(faces.remove, _face(faces, request))
        return Response(status_code=204)

    async def show_file(request: Request) -> Response:
        folder, name = _result(faces, request), request.path_params["file"]
        if name not in {file.name for file in folder.iterdir()}:
            raise HTTPException(404, f"The result has no file {name}.")
        policy = _VIEWER_POLICY if name == "viewer.html" else _FILE_POLICY
        # Browsers show plain text, but offer Markdown for downloading.
        kind = "text/plain" if name.endswith(".md") else None
        headers = {"Content-Security-Policy": policy}
        return FileResponse(folder / name, media_type=kind, headers=headers)

    def show_zip(request: Request) -> Response:
        folder = _result(faces, request)
        return Response(
            _zip(folder),
            media_type="application/zip",
            headers={
                "Content-Disposition": f"attachment; filename*=utf-8''{quote(folder.name)}.zip"
            },
        )

    routes = [Route(path, page) for path in _PAGE_FILES]
    routes += [
        Route("/faces", show_faces),
        Route("/faces", add_face, methods=["POST"]),
        Route("/faces/{id}", remove_face, methods=["DELETE"]),
        Route("/faces/{id}/zip", show_zip),
        Route("/faces/{id}/files/{file}", show_file),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, host=host)],
        exception_handlers={
            HTTPException: _http_error,
            InputError: _input_error,
            ClientDisconnect: lambda request, error: Response(status_code=400),  # nobody reads it
        },
    )


class Guard:
    """Refuses requests that another site's page may have made, and sets the common headers.

    A name that is not this server's could be another site's, bound to this address (DNS
    rebinding); addresses in numbers cannot be rebound. What changes something must come from this
    server's own page: browsers state the origin of such requests, and it must be their host.
    """

    def __init__(self, app: ASGIApp, *, host: str) -> None:
        self.app, self.names = app, {"localhost", host.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 403 or passes the request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", _FILE_POLICY)
            await send(message)

        app = self.app if self.allows(scope["method"], Headers(scope=scope)) else _refusal()
        await app(scope, receive, send_with_headers)

    def allows(self, method: str, headers: Headers) -> bool:
        """Returns whether host and, of a request that changes something, origin are this one's."""
        host = headers.get("host", "").lower()
        if not self._is_own(host):
            return False
        origin = headers.get("origin", "").lower()
        return method in READ_METHODS or origin in (f"http://{host}", f"https://{host}")

    def _is_own(self, host: str) -> bool:
        """Returns whether a `Host` header has a name of this server, or an address in numbers."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self.names or bool(ipaddress.ip_address(name))
        except ValueError:
            return False


def _refusal() -> Response:
    sentence = "This request came from another site; open the address that jaxface app printed."
    return JSONResponse({"error": sentence}, 403)


async def _receive(request: Request, photo: Path) -> None:
    """Writes the body of a request to a file.

    Raises:
        HTTPException: it is larger than `MAX_BYTES`. All of it is received, though not kept:
            browsers show no answer that comes before they have sent everything.
    """
    size = 0
    with photo.open("wb") as stream:
        async for part in request.stream():
            size += len(part)
            if size <= MAX_BYTES:
                stream.write(part)
    if size > MAX_BYTES:
        raise HTTPException(
            413, f"{photo.name} has more than {MAX_BYTES // 1_000_000} MB; scale it down first."
        )


def _face(faces: Faces, request: Request) -> Face:
    face = faces.find(request.path_params["id"])
    if face is None:
        raise HTTPException(404, "There is no such face; it may have been removed.")
    return face


def _result(faces: Faces, request: Request) -> Path:
    face = _face(faces, request)
    if face.state != "done":
        raise HTTPException(404, f"{face.photo.name} is not done yet.")
    return face.folder


def _zip(folder: Path) -> bytes:
    """Returns a folder as a ZIP file; nearly all in it is compressed already."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{folder.name}/{file.name}")
    return stream.getvalue()


def _http_error(request: Request, error: Any) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)


def _input_error(request: Request, error: Any) -> Response:
    return JSONResponse({"error": str(error)}, 422)
