"""Names of files that are not plain words: results have sound names, what is shown is one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from standin import StandIn

from jaxface.batch import find_photos, run_photos
from jaxface.cli.progress import Progress
from jaxface.errors import InputError
from jaxface.export.folder import MAX_BYTES, check_folder, whole_folder
from jaxface.export.preview import write_film
from jaxface.names import decodable, folder_name, printable

NAMES = [
    b"caf\xe9.jpg",  # Latin-1
    "🙂 zoë 测试.jpg".encode(),
    b"100%d #1 a+b?&c.jpg",
    b"-dash.jpg",
    b" blank .jpg",
    b"two\nlines.jpg",
    b"<script>alert(1)<script>.jpg",
    b"[red]x[bold].jpg",
    b"CON.jpg",
    b"dot..jpg",
    b"n" * 244 + b".jpg",
    b"n" * 244 + b".png",
    "ü".encode() * 122 + b".jpg",
    b"index.html.jpg",
    b"run.jsonl.jpg",
    b".jaxface-x.jpg",
    b"A.jpg",
    b"a.jpg",
    "\u202egpj.a.jpg".encode(),
]


def photos_of(folder: Path) -> list[Path]:
    folder.mkdir()
    for name in NAMES:
        try:
            Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("photo")
        except OSError:
            pytest.skip(f"this file system takes no name like {name!r}")
    return [Path(os.fsdecode(os.fsencode(folder) + b"/" + name)) for name in NAMES]


@pytest.mark.parametrize("log_json", [False, True])
def test_photos_of_any_name_get_a_result_each(tmp_path: Path, log_json: bool, capsys) -> None:
    photos, output = photos_of(tmp_path / "photos"), tmp_path / "out"
    assert set(find_photos([tmp_path / "photos"])) == set(photos) - {photos[15]}  # hidden
    with Progress(many=True, log_json=log_json) as progress:
        progress.finish(run_photos(photos, output, StandIn(), on_event=progress))
    folders = {file.name.casefold() for file in output.iterdir() if file.is_dir()}
    assert len(folders) == len(NAMES) and {"caf_", "con_", "a", "a-2"} <= folders
    for name in folders:
        assert len(name.encode()) <= MAX_BYTES and not name.startswith((".", " "))
        assert not set(name) & set('<>:"/\\|?*\n') and not name.endswith((".", " "))
    lines = (output / "run.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["event"] for entry in entries] == ["run"] + ["done"] * len(NAMES)
    for entry in entries:
        json.dumps(entry, ensure_ascii=False).encode()  # no lone surrogates
    shown = capsys.readouterr().out
    if log_json:
        assert len([json.loads(line) for line in shown.splitlines()]) == len(NAMES) + 1
        assert "\\\\udce9" in shown and r"two\nlines" in shown
    else:
        assert r"two\nlines" in shown and r"\udce9" in shown and "[red]x[bold]" in shown
        assert "\u202e" not in shown
    again = run_photos(photos, output, StandIn(), resume=True)
    assert len(again.skipped) == len(NAMES)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("me", "me"),
        ("IMG_2045 (1)", "IMG_2045 (1)"),
        ("100% #1 a+b", "100% #1 a+b"),
        ("🙂", "🙂"),
        ("a?b:c", "a_b_c"),
        ("caf\udce9", "caf_"),
        ("two\nlines", "two_lines"),
        ("nul", "nul_"),
        ("Com1.x", "Com1_.x"),
        ("console", "console"),
        ("end. .", "end"),
        ("...", "_"),
        (".hidden", "_hidden"),
        ("e\u0301", "é"),  # as macOS stores it
        ("é" * 150, "é" * 100),
    ],
)
def test_folders_have_names_that_every_file_system_takes(stem: str, name: str) -> None:
    assert folder_name(stem) == name == folder_name(name)


def test_what_is_shown_is_one_line_of_text() -> None:
    assert printable("a\n\x1b[31m\u2028\udce9\u202e🙂é") == r"a\n\x1b[31m\u2028\udce9\u202e🙂é"
    assert decodable("a\n\udce9") == "a\n\\udce9"
    assert (
        str(InputError("There is no file two\nlines.jpg.")) == r"There is no file two\nlines.jpg."
    )


def test_an_output_of_too_long_a_name_is_refused_before_the_work(tmp_path: Path) -> None:
    check_folder(tmp_path / ("n" * MAX_BYTES))
    with pytest.raises(InputError, match="too long"):
        check_folder(tmp_path / ("n" * (MAX_BYTES + 1)))
    for _ in range(2):  # the second replaces the first
        with whole_folder(tmp_path / ("n" * MAX_BYTES)) as work:
            (work / "parameters.json").write_text("{}")


def test_a_film_is_written_into_a_folder_with_a_colon(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out:1").mkdir()
    write_film("out:1/film.mp4", np.zeros((3, 64, 64, 3), np.uint8))
    assert Path("out:1/film.mp4").stat().st_size > 500


def test_a_folder_says_what_it_leaves_out(tmp_path: Path) -> None:
    for name in ("a.JFIF", "b.mpo", "c.Jpe", "d.jpg", "e.psd", "f.MOV", "g.mov", "notes", ".x.txt"):
        (tmp_path / name).write_text("")
    said: list[str] = []
    photos = find_photos([tmp_path], say=said.append)
    assert [photo.name for photo in photos] == ["a.JFIF", "b.mpo", "c.Jpe", "d.jpg"]
    (line,) = said
    assert "4 file(s)" in line and "2 .mov, 1 .psd, 1 without a suffix" in line
    for photo in photos:
        photo.unlink()
    with pytest.raises(InputError, match=r"no photo in .* 2 \.mov"):
        find_photos([tmp_path])


def test_heic_without_its_package_is_left_out_and_says_why(tmp_path: Path, monkeypatch) -> None:
    import jaxface.batch.inputs as inputs

    for name in ("a.jpg", "b.HEIC"):
        (tmp_path / name).write_text("")
    without: dict[str, Any] = {".jpg": "JPEG"}
    monkeypatch.setattr(inputs, "readable", lambda: without)
    said: list[str] = []
    assert [photo.name for photo in find_photos([tmp_path], say=said.append)] == ["a.jpg"]
    assert "1 .heic" in said[0] and "pip install 'jaxface[heic]'" in said[0]
