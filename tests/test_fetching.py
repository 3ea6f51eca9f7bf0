"""Downloads: pinned, resumed, one sentence when they fail. From a server of our own."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from jaxface.cli import fetching
from jaxface.errors import AssetError, InputError

CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT; `asked` are the ranges, `stop` the bytes after which it hangs up."""

    asked: list[str | None] = []  # noqa: RUF012
    stop: int | None = None
    ranges = True

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        type(self).asked.append(wanted)
        first = int(wanted.split("=")[1].rstrip("-")) if wanted and self.ranges else 0
        if first >= len(CONTENT):
            self.send_error(416)
            return
        rest = CONTENT[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest if self.stop is None else rest[: self.stop])

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Server]]:
    handler = type("Handler", (Server,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=partial(running.serve_forever, 0.05), daemon=True).start()
        url = f"http://127.0.0.1:{running.server_port}/head.npz"
        pinned = fetching.Source(url, hashlib.sha256(CONTENT).hexdigest(), "CC0")
        monkeypatch.setattr(fetching, "SOURCES", {"head": pinned})
        monkeypatch.setenv("JAXFACE_CACHE", str(tmp_path))
        yield handler
        running.shutdown()


def test_fetches_once(server: type[Server], tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    file = fetching.fetch("head", on_progress=lambda done, size: progress.append((done, size)))
    assert file == tmp_path / "models" / "head.npz" and file.read_bytes() == CONTENT
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    assert fetching.fetch("head") == file and server.asked == [None]
    file.write_bytes(b"damaged")
    assert fetching.fetch("head").read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_goes_on_where_it_stopped(server: type[Server], ranges: bool) -> None:
    server.stop, server.ranges = 1_200_000, ranges
    with pytest.raises(AssetError, match="run it again"):
        fetching.fetch("head")
    server.stop = None
    assert fetching.fetch("head").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1200000-"]


def test_a_whole_part_needs_no_more_bytes(server: type[Server], tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "head.npz.part").write_bytes(CONTENT)
    assert fetching.fetch("head").read_bytes() == CONTENT


def test_other_bytes_are_refused(
    server: type[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = fetching.Source(fetching.SOURCES["head"].url, "0" * 64, "CC0")
    monkeypatch.setattr(fetching, "SOURCES", {"head": other})
    with pytest.raises(AssetError, match="not the file that jaxface knows"):
        fetching.fetch("head")
    assert not any((tmp_path / "models").iterdir())


def test_without_network_it_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAXFACE_CACHE", str(tmp_path))
    nowhere = fetching.Source("http://127.0.0.1:9/head.npz", "0" * 64, "CC0")
    monkeypatch.setattr(fetching, "SOURCES", {"head": nowhere})
    with pytest.raises(AssetError, match="cannot be downloaded"):
        fetching.fetch("head")


def test_what_cannot_be_fetched_says_so() -> None:
    with pytest.raises(InputError, match="no published checksums"):
        fetching.fetch("ict")
    with pytest.raises(InputError, match="knows gnm"):
        fetching.fetch("flame")
    assert fetching.SOURCES["gnm"].url.startswith("https://")
