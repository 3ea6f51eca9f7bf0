"""`jaxface app`: its queue, its routes and who may use them, and the page in a browser."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote
from urllib.request import urlopen

import numpy as np
import pytest
from conftest import PHOTOS, ROOT
from PIL import Image
from standin import StandIn

from jaxface import cli
from jaxface.batch import Item
from jaxface.batch.results import OnEvent
from jaxface.batch.timing import StageTimer
from jaxface.errors import DetectionError, InputError
from jaxface.export import PARAMETERS, whole_folder

pytest.importorskip("starlette", reason="jaxface[app] is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="jaxface[app] is not installed")

from starlette.applications import Starlette  # noqa: E402
from starlette.datastructures import Headers  # noqa: E402

from jaxface.cli.webapp import faces as queue  # noqa: E402
from jaxface.cli.webapp import routes  # noqa: E402
from jaxface.cli.webapp.serving import listen  # noqa: E402

ASTRONAUT = (PHOTOS / "astronaut.jpg").read_bytes()
FACTS = {"landmark_error_percent": 1.5, "seen_percent": 31.0, "doubts": ["<b>hair</b>"]}


class Gated(StandIn):
    """Reports stages as the real worker does, and computes only while `gate` is open."""

    def __init__(self, on_event: OnEvent) -> None:
        super().__init__()
        self.on_event, self.gate = on_event, threading.Event()
        self.gate.set()

    def prepare(self, item: Item, key: str) -> list[Any]:
        with StageTimer(self.on_event).stage("landmarks") as info:
            if item.path.stem.startswith("bad"):
                raise DetectionError(f"No face was found in {item.path}; give another photo.")
            info["note"] = "1 face(s)"
        return [(item.folder, key, item.path.name)]

    def compute(self, jobs: list[Any], check: Callable[[], None]) -> list[str]:
        with StageTimer(self.on_event).stage("observe"):
            assert self.gate.wait(120)
        return [str(super().compute(jobs, check)[0])]

    def finish(self, job: Any, result: str) -> dict[str, Any]:
        with whole_folder(job[0]) as place:
            (place / PARAMETERS).write_text(json.dumps(FACTS))
            for name in ("viewer.html", "report.md", "face.glb"):
                (place / name).write_text(result)
            shutil.copy(ROOT / "docs" / "demo.webp", place / "preview.png")
        return {"folder": str(job[0]), "photo": job[2], "result": "ok"}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """The application with a stand-in for the reconstruction, on a free port."""

    def __init__(self, folder: Path, *, keep: bool = False) -> None:
        self.uploads, self.results = folder / "uploads", folder / "results"
        for path in (self.uploads, self.results):
            path.mkdir()
        self.faces = queue.Faces(self.uploads, self.results, keep=keep)
        self.faces.start(self._worker)
        self.socket = listen("127.0.0.1", 0)
        self.port = self.socket.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        app = routes.make_app(self.faces, host="box.lan")
        config = uvicorn.Config(app, log_level="error", lifespan="off", ws="none")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})

    def _worker(self, on_event: OnEvent) -> Gated:
        self.worker = Gated(on_event)
        return self.worker

    def ask(
        self, method: str, address: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        own = {"Origin": f"http://{self.host}"} if method in ("POST", "DELETE") else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, address, body, own | (headers or {}))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, body)

    def add(self, name: str = "me.jpg", body: Any = ASTRONAUT, **headers: str) -> Answer:
        return self.ask("POST", f"/faces?name={quote(name)}", body, headers)

    def wait(self, face_id: str, state: str) -> dict[str, Any]:
        """Returns a face as soon as it has a state."""
        for _ in range(400):
            (face,) = (f for f in self.ask("GET", "/faces").json["faces"] if f["id"] == face_id)
            if face["state"] == state:
                return face
            time.sleep(0.02)
        raise AssertionError(face)


@contextmanager
def serving(folder: Path, **options: Any) -> Iterator[Server]:
    server = Server(folder, **options)
    server.thread.start()
    try:
        yield server
    finally:
        server.worker.gate.set()
        server.server.should_exit = True
        server.thread.join()
        server.faces.stop()
        server.socket.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as made:
        yield made


def test_a_photo_becomes_a_folder_to_look_at_and_to_download(server: Server) -> None:
    added = server.add("Zoë & Bob.jpg")
    assert added.status == 201
    face = server.wait(added.json["id"], "done")
    assert face["name"] == "Zoë & Bob.jpg" and face["facts"] == FACTS
    assert [(e["stage"], e["state"]) for e in face["stages"]] == [
        ("landmarks", "end"),
        ("observe", "end"),
    ]
    assert face["stages"][0]["note"] == "1 face(s)"
    result = server.results / "Zoë & Bob"
    for name in ("viewer.html", "face.glb", "preview.png"):
        answer = server.ask("GET", f"/faces/{face['id']}/files/{name}")
        assert answer.status == 200 and answer.body == (result / name).read_bytes()
    answer = server.ask("GET", f"/faces/{face['id']}/zip")
    assert answer.headers["content-disposition"] == (
        "attachment; filename*=utf-8''Zo%C3%AB%20%26%20Bob.zip"
    )
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        names = {f"Zoë & Bob/{file.name}" for file in result.iterdir()}
        assert set(archive.namelist()) == names and len(names) == 5
    assert not list(server.uploads.iterdir())


def test_one_photo_at_a_time_in_the_order_of_arrival(server: Server) -> None:
    server.worker.gate.clear()
    first, second, third = (server.add().json["id"] for _ in range(3))
    face = server.wait(first, "working")
    states = {f["id"]: f["state"] for f in server.ask("GET", "/faces").json["faces"]}
    assert list(states) == [first, second, third]
    assert states == {first: "working", second: "waiting", third: "waiting"}
    assert server.ask("GET", f"/faces/{first}/zip").status == 404
    time.sleep(0.2)
    now = server.wait(first, "working")["stages"][-1]
    assert now["state"] == "start" and now["elapsed"] > face["stages"][-1]["elapsed"]
    server.worker.gate.set()
    for face_id in (first, second, third):
        server.wait(face_id, "done")
    assert server.worker.computed == [["me"], ["me-2"], ["me-3"]]


def test_removed_photos_leave_nothing_and_are_not_computed(server: Server) -> None:
    server.worker.gate.clear()
    first, second, third = (server.add().json["id"] for _ in range(3))
    server.wait(first, "working")
    for face_id in (first, second):
        assert server.ask("DELETE", f"/faces/{face_id}").status == 204
        assert server.ask("DELETE", f"/faces/{face_id}").status == 404
    server.worker.gate.set()
    server.wait(third, "done")
    assert [path.name for path in server.results.iterdir()] == ["me-3"]
    server.ask("DELETE", f"/faces/{third}")
    assert not list(server.results.iterdir()) and not list(server.uploads.iterdir())
    assert server.ask("GET", "/faces").json == {"faces": []}


def test_results_of_an_output_folder_stay_and_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with serving(tmp_path / "a", keep=True) as server:
        (server.results / "me").mkdir()
        face = server.wait(server.add().json["id"], "done")
        server.ask("DELETE", f"/faces/{face['id']}")
        assert sorted(path.name for path in server.results.iterdir()) == ["me", "me-2"]


def sentence_of_the_command_line(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.chdir(photo.parent)
    monkeypatch.setattr(sys, "argv", ["jaxface", "reconstruct", photo.name, "-o", "out"])
    with pytest.raises(SystemExit):
        cli.main()
    return capsys.readouterr().err.removeprefix("jaxface: ").strip()


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("notes.txt", b"no picture"),
        ("empty.jpg", b""),
        ("cut.jpg", ASTRONAUT[:5000]),
        ("phone.heic", b"\0\0\0\x18ftypheic" + bytes(64)),
    ],
    ids=["text", "empty", "cut", "heic"],
)
def test_a_wrong_file_gets_the_sentence_of_the_command_line(
    server: Server, tmp_path: Path, monkeypatch, capsys, name: str, body: bytes
) -> None:
    answer = server.add(name, body)
    (tmp_path / name).write_bytes(body)
    expected = sentence_of_the_command_line(tmp_path / name, monkeypatch, capsys)
    assert answer.status == 422 and answer.json == {"error": expected}
    assert name in expected and not list(server.uploads.iterdir())
    assert server.ask("GET", "/faces").json == {"faces": []}


def test_a_tiny_picture_is_refused(server: Server) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(stream, "png")
    assert "too small" in server.add("dot.png", stream.getvalue()).json["error"]


def test_failures_are_sentences_without_paths_of_the_server(server: Server, capsys) -> None:
    face = server.wait(server.add("bad.jpg").json["id"], "failed")
    assert face["error"] == "No face was found in bad.jpg; give another photo."
    assert not capsys.readouterr().err
    face = server.wait(server.add("bug.jpg").json["id"], "failed")
    assert face["error"] == "ValueError: no such thing"
    assert "Traceback" in capsys.readouterr().err
    assert server.wait(server.add("good.jpg").json["id"], "done")
    assert not list(server.uploads.iterdir())


def test_a_large_upload_is_refused_and_not_kept(server: Server, monkeypatch) -> None:
    monkeypatch.setattr(routes, "MAX_BYTES", 2_000_000)
    for body in (bytes(2_000_001), iter([bytes(1_000_000)] * 5)):  # the latter without a length
        answer = server.add("huge.png", body)
        assert answer.status == 413
        assert answer.json == {"error": "huge.png has more than 2 MB; scale it down first."}
    assert not list(server.uploads.iterdir())


def test_a_full_queue_is_a_sentence(server: Server, monkeypatch) -> None:
    monkeypatch.setattr(queue, "MAX_WAITING", 1)
    server.worker.gate.clear()
    server.wait(server.add().json["id"], "working")
    assert server.add().status == 201
    answer = server.add()
    assert answer.status == 422 and answer.json["error"].startswith("1 photos are waiting")


def test_an_upload_that_breaks_off_leaves_nothing(server: Server, capfd) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST /faces?name=a.jpg HTTP/1.1\r\nHost: {server.host}\r\n"
        head += f"Origin: http://{server.host}\r\nContent-Length: 1000\r\n\r\nhalf"
        connection.sendall(head.encode())
        for _ in range(200):
            if list(server.uploads.iterdir()):
                break
            time.sleep(0.02)
        assert list(server.uploads.iterdir())
    for _ in range(200):
        if not list(server.uploads.iterdir()):
            break
        time.sleep(0.02)
    assert not list(server.uploads.iterdir())
    assert server.ask("GET", "/faces").json == {"faces": []}
    assert "Traceback" not in capfd.readouterr().err


def test_the_end_waits_for_the_stage_and_writes_nothing(server: Server) -> None:
    server.worker.gate.clear()
    server.wait(server.add().json["id"], "working")
    assert server.faces.busy
    end = threading.Thread(target=server.faces.stop)
    end.start()
    end.join(0.1)
    assert end.is_alive()
    server.worker.gate.set()
    end.join(20)
    assert not end.is_alive() and not server.faces.busy
    assert not list(server.results.iterdir()) and not list(server.uploads.iterdir())


@pytest.mark.parametrize(
    ("method", "host", "origin", "allowed"),
    [
        ("GET", "127.0.0.1:9", None, True),
        ("GET", "localhost:9", None, True),
        ("GET", "BOX.lan", None, True),
        ("GET", "[::1]:9", None, True),
        ("GET", "192.168.1.9:9", None, True),
        ("GET", "evil.example", None, False),
        ("GET", "127.0.0.1.evil.example:9", None, False),
        ("GET", "localhost.evil.example", None, False),
        ("GET", "[::1", None, False),
        ("GET", "", None, False),
        ("GET", None, None, False),
        ("POST", "localhost:9", "http://localhost:9", True),
        ("POST", "localhost", "https://localhost", True),
        ("POST", "localhost:9", None, False),
        ("POST", "localhost:9", "", False),
        ("POST", "localhost:9", "null", False),
        ("POST", "localhost:9", "http://localhost:10", False),
        ("POST", "localhost:9", "http://evil.example", False),
        ("POST", "evil.example", "http://evil.example", False),
        ("DELETE", "localhost:9", "http://evil.example", False),
        ("DELETE", "localhost:9", "http://localhost:9", True),
    ],
)
def test_hosts_and_origins(
    method: str, host: str | None, origin: str | None, allowed: bool
) -> None:
    given = {"host": host, "origin": origin}
    headers = Headers({name: value for name, value in given.items() if value is not None})
    guard = routes.Guard(Starlette(), host="box.lan")
    assert guard.allows(method, headers) == allowed


@pytest.mark.parametrize(
    ("method", "address", "headers"),
    [
        ("POST", "/faces?name=me.jpg", {"Origin": "http://evil.example"}),
        ("POST", "/faces?name=me.jpg", {"Host": "a.example", "Origin": "http://a.example"}),
        ("GET", "/faces", {"Host": "evil.example"}),
        ("GET", "/", {"Host": "evil.example"}),
        ("DELETE", "/faces/x", {"Origin": "http://evil.example"}),
    ],
)
def test_other_sites_start_nothing(
    server: Server, method: str, address: str, headers: dict[str, str]
) -> None:
    """Another origin, or a name that was bound to this address."""
    answer = server.ask(method, address, ASTRONAUT if method == "POST" else None, headers)
    assert answer.status == 403 and "another site" in answer.json["error"]
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert server.ask("GET", "/faces").json == {"faces": []}


def test_only_files_of_the_result_are_served(server: Server) -> None:
    face = server.wait(server.add().json["id"], "done")
    (server.results / "secret.txt").write_text("secret")
    for name in ("../secret.txt", "..%2fsecret.txt", "%2e%2e/secret.txt", "..", "x", "%00"):
        answer = server.ask("GET", f"/faces/{face['id']}/files/{name}")
        assert answer.status == 404 and b"secret" not in answer.body.replace(b"secret.txt", b"")
    assert server.ask("GET", "/faces/x/files/viewer.html").status == 404
    assert server.ask("GET", "/docs").status == 404


def test_policies_keep_the_browser_at_home(server: Server) -> None:
    """No page of the server may load from, or send to, another address."""
    face = server.wait(server.add().json["id"], "done")
    pages = ["/", "/page.js", "/page.css", "/faces"]
    pages += [f"/faces/{face['id']}/files/{name}" for name in ("viewer.html", "report.md")]
    for page in pages:
        answer = server.ask("GET", page)
        policy = answer.headers["content-security-policy"]
        assert answer.status == 200 and "default-src 'none'" in policy
        sources = set(re.findall(r"-src ([^;]*)", policy.replace(";", " ;")))
        words = {word for source in sources for word in source.split()}
        assert words <= {"'none'", "'self'", "'unsafe-inline'", "blob:", "data:"}
        assert answer.headers["cache-control"] == "no-store"
    assert server.ask("GET", pages[5]).headers["content-type"] == "text/plain; charset=utf-8"
    viewer = server.ask("GET", pages[4]).headers["content-security-policy"]
    assert viewer.startswith("sandbox allow-scripts;") and "allow-same-origin" not in viewer
    html = server.ask("GET", "/").body.decode()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?:https?:)?//""", html)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("me.jpg", "me.jpg"),
        ("/etc/passwd", "passwd"),
        (r"C:\a\me.jpg", "me.jpg"),
        ("..", "photo"),
        ("", "photo"),
        (".hidden.jpg", "hidden.jpg"),
        ("a\0b\n.jpg", "ab.jpg"),
        ("<img src=x onerror='a'>.jpg", "_img src=x onerror='a'_.jpg"),
        ("é" * 300 + ".jpeg", "é" * 47 + ".jpeg"),
    ],
)
def test_names_of_uploads(name: str, safe: str, tmp_path: Path) -> None:
    assert queue.safe_name(name) == safe
    (tmp_path / safe).write_text("can be written")


def test_a_taken_port_is_one_sentence() -> None:
    with (
        listen("127.0.0.1", 0) as first,
        pytest.raises(InputError, match=r"cannot be used .*; choose another --port"),
    ):
        listen("127.0.0.1", first.getsockname()[1])
    with pytest.raises(InputError, match=r"nowhere\.invalid port 1 cannot be used"):
        listen("nowhere.invalid", 1)


def test_a_missing_extra_is_one_sentence(monkeypatch, capsys) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["jaxface", "app"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        "jaxface: jaxface app needs starlette, uvicorn: pip install 'jaxface[app]'.\n"
    )


@contextmanager
def started(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`jaxface app` as a user starts it, and its address; its temporary files are in `folder`."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "TMPDIR": str(folder)}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), "app", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"Open (http://127\.0\.0\.1:\d+) in a browser; .*\n", line)
        assert found, line + process.communicate(timeout=60)[1]
        yield process, found[1]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_deletes_what_is_temporary(tmp_path: Path, number: int) -> None:
    with started(tmp_path, "--quality", "draft") as (process, address):
        assert urlopen(f"{address}/faces", timeout=60).read() == b'{"faces":[]}'
        assert len(list(tmp_path.glob("jaxface-*"))) == 1
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
        assert process.returncode == 130 and error == "jaxface: stopped.\n"
    assert not list(tmp_path.glob("jaxface-*"))


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = {"desktop": (1280, 900), "telephone": (390, 844)}
_CHROMIUM_OPTIONS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if BROWSER is None:
        pytest.skip("no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=_CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@contextmanager
def page_at(chromium: Any, address: str, width: str, *, refused: int = 0) -> Iterator[Any]:
    """A page, after which nothing was asked of another address and nothing went wrong in it.

    Args:
        refused: how many answers of an error's status the test provokes.
    """
    columns, rows = WIDTHS[width]
    mobile = width == "telephone"
    context = chromium.new_context(
        viewport={"width": columns, "height": rows}, is_mobile=mobile, has_touch=mobile
    )
    page = context.new_page()
    page.set_default_timeout(120_000)
    asked: list[str] = []
    errors: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    yield page
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"the page is {wide} pixels wider than the screen"
    context.close()
    away = [url for url in asked if not url.startswith((address, "blob:", "data:"))]
    assert not away
    assert len(errors) == refused, errors


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_page_adds_shows_and_removes(server: Server, chromium: Any, width: str) -> None:
    with page_at(chromium, f"http://{server.host}/", width, refused=1) as page:
        server.worker.gate.clear()
        page.get_by_label("Choose a photo").set_input_files(
            {"name": "Zoë <&>.jpg", "mimeType": "image/jpeg", "buffer": ASTRONAUT}
        )
        page.get_by_role("listitem").filter(has_text="Fit the head").locator("time").wait_for()
        assert page.get_by_role("heading", level=2).inner_text() == "Zoë _&_.jpg"
        page.get_by_text("compiles its programs").wait_for()
        server.worker.gate.set()
        page.get_by_role("link", name="Download all").wait_for()
        assert page.get_by_text("31 % of the texture").is_visible()
        assert page.get_by_text("<b>hair</b>").is_visible()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download all").click()
        assert download.value.suggested_filename == "Zoë _&_.zip"
        assert zipfile.ZipFile(download.value.path()).testzip() is None
        with page.expect_download() as download:
            page.get_by_role("link", name="face.glb").click()
        assert download.value.suggested_filename == "Zoë _&_.glb"
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="report").click()
        opened.value.get_by_text("ZOË").wait_for()  # what the stand-in wrote
        opened.value.close()
        page.get_by_label("Choose a photo").set_input_files(
            {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"}
        )
        page.get_by_role("alert").get_by_text("notes.jpg is not a picture").wait_for()
        page.get_by_role("button", name="Remove").click()
        page.get_by_text("Turn it, download it").wait_for()
        assert not list(server.results.iterdir())


@pytest.mark.slow
def test_page_takes_a_dropped_photo(server: Server, chromium: Any) -> None:
    with page_at(chromium, f"http://{server.host}/", "desktop") as page:
        data = page.evaluate_handle(
            """(bytes) => {
              const data = new DataTransfer();
              data.items.add(new File([new Uint8Array(bytes)], "me.jpg", { type: "image/jpeg" }));
              return data;
            }""",
            list(ASTRONAUT),
        )
        page.locator("body").dispatch_event("drop", {"dataTransfer": data})
        page.get_by_role("link", name="Download all").wait_for()
    assert [path.name for path in server.results.iterdir()] == ["me"]


@pytest.mark.slow
def test_page_says_that_the_server_has_ended(server: Server, chromium: Any) -> None:
    with page_at(chromium, f"http://{server.host}/", "desktop", refused=1) as page:
        page.get_by_text("Turn it, download it").wait_for()
        server.server.should_exit = True
        server.thread.join()
        page.get_by_role("alert").get_by_text("start it again").wait_for()


@pytest.mark.thorough
def test_a_real_photo_in_a_browser(chromium: Any, tmp_path: Path) -> None:
    """From the file chooser to the face that the viewer draws, at both widths; nothing fetched."""
    with started(tmp_path, "--quality", "draft", "-o", str(tmp_path / "out")) as (_, address):
        with page_at(chromium, f"{address}/", "desktop") as page:
            page.get_by_label("Choose a photo").set_input_files(PHOTOS / "astronaut.jpg")
            page.get_by_text("Find the face", exact=True).wait_for()
            page.get_by_role("link", name="Download all").wait_for(timeout=480_000)
            assert_viewer_shows_skin(page)
            with page.expect_download() as download:
                page.get_by_role("link", name="Download all").click()
            with zipfile.ZipFile(download.value.path()) as archive:
                names = set(archive.namelist())
            assert names == {
                f"astronaut/{path.name}" for path in (tmp_path / "out/astronaut").iterdir()
            }
        with page_at(chromium, f"{address}/", "telephone") as page:
            page.get_by_role("link", name="Download all").wait_for()
            assert_viewer_shows_skin(page)


def assert_viewer_shows_skin(page: Any) -> None:
    frame = page.frame_locator("iframe")
    frame.get_by_role("button", name="relief").wait_for(timeout=240_000)  # as test_viewer.py
    stage = frame.locator("#stage")
    stage.scroll_into_view_if_needed()
    for _ in range(20):  # a software renderer's first frame takes a while
        picture = np.asarray(Image.open(io.BytesIO(stage.screenshot())).convert("RGB"), int)
        skin = (picture[..., 0] - picture[..., 2] > 25) & (picture[..., 0] > 90)
        if skin.any():
            break
        page.wait_for_timeout(500)
    assert 0.08 < skin.mean() < 0.7
