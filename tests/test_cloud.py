"""Photos from and results to object stores: the memory file system, and S3 served here."""

from __future__ import annotations

import json
import socket
import uuid
from pathlib import Path

import pytest
from standin import FILES, StandIn

from jaxface import InputError
from jaxface.batch import find_photos, run_photos, to_path
from jaxface.batch.cloud import fetched, staged, upload
from jaxface.batch.inputs import Item
from jaxface.batch.journal import JOURNAL, read_entries
from jaxface.export import PARAMETERS
from jaxface.images import read_photo

pytest.importorskip("upath", reason="needs the cloud extra")


@pytest.fixture(scope="module")
def s3():
    """A new bucket of a server on this machine."""
    server = pytest.importorskip("moto.server", reason="needs moto[server]")
    boto3 = pytest.importorskip("boto3")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    patch = pytest.MonkeyPatch()
    address = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        patch.setenv(name, value)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    running.start()
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="faces")
    yield "s3://faces"
    running.stop()
    patch.undo()


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> str:
    base = "memory://faces" if request.param == "memory" else request.getfixturevalue("s3")
    folder = f"{base}/{uuid.uuid4().hex}"
    for number in range(5):
        place = to_path(f"{folder}/photos/p{number:03}.jpg")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(f"photo {place.stem} ".encode())
    return folder


def whole(folder: Path) -> bool:
    files = {file.name: file.read_text() for file in folder.iterdir()}
    key = json.loads(files.pop(PARAMETERS))["key"]
    return bool(key) and len(files) == FILES - 1 and len(set(files.values())) == 1


def test_from_store_to_store_and_on_again(store: str, tmp_path: Path) -> None:
    photos, output = find_photos([to_path(f"{store}/photos")]), to_path(f"{store}/out")
    assert [photo.name for photo in photos] == [f"p{number:03}.jpg" for number in range(5)]
    events: list[dict] = []
    report = run_photos(photos, output, StandIn(), batch=2, on_event=events.append)
    assert report.done == 5 and not report.failures
    assert all(whole(output / photo.stem) for photo in photos)
    assert {row["folder"] for row in report.rows} == {str(output / p.stem) for p in photos}
    assert {event["folder"] for event in events} == {row["folder"] for row in report.rows}
    (tmp_path / JOURNAL).write_bytes((output / JOURNAL).read_bytes())
    assert [e["event"] for e in read_entries(tmp_path)] == ["run", *["done"] * 5]

    def again() -> set[str]:
        worker = StandIn()
        report = run_photos(photos, output, worker, resume=True)
        assert report.done + len(report.skipped) == 5 and not report.failures
        return {name for batch in worker.computed for name in batch}

    assert again() == set()
    (output / "p001" / PARAMETERS).unlink()  # an upload that was cut off
    photos[2].write_bytes(b"another photo")
    assert again() == {"p001", "p002"}
    (output / JOURNAL).unlink()  # a run that was killed before its journal was uploaded
    assert again() == set()


def test_several_faces_and_what_fails(store: str) -> None:
    photos, output = find_photos([to_path(f"{store}/photos")]), to_path(f"{store}/faces")
    missing = to_path(f"{store}/photos/none.jpg")
    report = run_photos([*photos, missing], output, StandIn(faces=2), batch=3)
    assert report.done == 5 and len(report.failures) == 1
    assert "none.jpg" in report.failures[0][1] and report.failures[0][2] == 2
    assert all(whole(output / photo.stem / "face2") for photo in photos)
    report = run_photos(photos, output, StandIn(faces=2), resume=True)
    assert len(report.skipped) == 5


def test_a_folder_counts_only_when_all_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = to_path(f"memory://faces/{uuid.uuid4().hex}")
    with staged(target) as near:
        near.mkdir()
        for name in ("a.png", PARAMETERS, "z.png"):
            (near / name).write_text("one")
    assert sorted(file.name for file in target.iterdir()) == ["a.png", PARAMETERS, "z.png"]
    folder = tmp_path / "next"
    folder.mkdir()
    for name in ("a.png", PARAMETERS, "z.png"):
        (folder / name).write_text("two")
    real = type(target).write_bytes

    def broken(self, data):
        if self.name == "z.png":
            raise ConnectionError("the line is down")
        return real(self, data)

    monkeypatch.setattr(type(target), "write_bytes", broken)
    with pytest.raises(InputError, match="the line is down"):
        upload(folder, target)
    assert not (target / PARAMETERS).exists()
    assert (target / "z.png").read_text() == "one"


def test_what_cannot_be_reached_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with pytest.raises(InputError, match="nosuch://"):
        to_path("nosuch://bucket/a.jpg")
    with pytest.raises(InputError, match="cannot be reached"):
        find_photos([to_path("s3://faces/photos")])
    assert to_path("photos/a.jpg") == Path("photos/a.jpg")


def test_a_sentence_names_the_address() -> None:
    """Not the file of this machine to which the photo was fetched."""
    place = to_path("memory://faces/sentence/a.jpg")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"%PDF")
    with (
        pytest.raises(InputError, match=r"^memory://faces/sentence/a\.jpg is a PDF"),
        fetched(Item(place, Path("out"))) as local,
    ):
        read_photo(local.path)


def test_an_empty_path_is_not_this_folder() -> None:
    """As of a variable of the shell that is not set."""
    with pytest.raises(InputError, match="An empty path"):
        to_path("")
