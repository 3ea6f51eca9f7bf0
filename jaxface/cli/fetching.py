"""`jaxface assets fetch`: resumable downloads with pinned checksums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from jaxface.assets import checksum
from jaxface.caches import cache_folder
from jaxface.errors import AssetError, InputError

CHUNK = 1 << 20  # bytes between two calls of `on_progress`
TIMEOUT = 30.0  # seconds without a byte after which a download fails
_ICT = (
    "ICT-FaceKit's files have no published checksums to pin, so jaxface does not fetch them; clone "
    "https://github.com/ICT-VGL/ICT-FaceKit and use --model ict:ICT-FaceKit/FaceXModel."
)


@dataclass(frozen=True)
class Source:
    """A published file: its address, SHA-256 and licence."""

    url: str
    sha256: str
    licence: str

    @property
    def file(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[1]


SOURCES = {
    "gnm": Source(
        url="https://huggingface.co/google/gnm-v3/resolve/main/v3_0/gnm_head.npz",
        sha256="61d78bbfb4ad8e0b38495804a4caef3214d3df00f8c3f68761e63b41ce3747eb",
        licence="Apache-2.0",
    )
}


def fetch(name: str, *, on_progress: Callable[[int, int], None] = lambda done, size: None) -> Path:
    """Returns the path of a model's file in the user's cache, downloaded if it is not there.

    Args:
        name: a key of `SOURCES`.
        on_progress: takes the bytes downloaded and the bytes in all, 0 if unknown.

    Raises:
        InputError: no file of that name can be fetched.
        AssetError: there is no network, the download stopped, or the checksum differs.
    """
    if name == "ict":
        raise InputError(_ICT)
    if name not in SOURCES:
        raise InputError(f"There is no {name!r} to fetch; jaxface knows {', '.join(SOURCES)}.")
    source = SOURCES[name]
    target = cache_folder() / "models" / source.file
    if target.exists() and checksum(target) == source.sha256:
        return target
    part = target.with_name(f"{target.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _download(source.url, part, on_progress)
    except (OSError, HTTPException) as error:
        raise AssetError(
            f"{source.url} cannot be downloaded ({error}); run it again to go on where it stopped."
        ) from error
    if checksum(part) != source.sha256:
        part.unlink()
        raise AssetError(f"{source.url} is not the file that jaxface knows; nothing was kept.")
    part.replace(target)
    return target


def _download(url: str, part: Path, on_progress: Callable[[int, int], None]) -> None:
    """Appends the missing bytes to `part`, or writes it anew if the server cannot resume."""
    done = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 416:  # no bytes are missing; the checksum is compared by the caller
            return
        raise
    with response:
        resumed = response.status == 206
        done = done if resumed else 0
        size = done + int(response.headers.get("Content-Length") or 0)
        with open(part, "ab" if resumed else "wb") as stream:
            while chunk := response.read(CHUNK):
                stream.write(chunk)
                done += len(chunk)
                on_progress(done, size)
    if done < size:
        raise OSError(f"it stopped at {done} of {size} bytes")
