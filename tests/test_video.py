"""Films made of photos: found, followed, and the same whether they are stored upright or lying."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from jaxface.batch.timing import StageTimer
from jaxface.cli import film_faces
from jaxface.cli.film_faces import FilmFaces
from jaxface.cli.video import _video_json, follow_person
from jaxface.film import Film
from jaxface.landmarks.networks import load_networks
from tests.test_film import write_film

PHOTOS = Path(__file__).parent.parent / "examples" / "photos"
FRAMES, WALKS_IN = 12, 6


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Obama moves to the right; from `WALKS_IN` on Biden, larger, stands beside him."""
    first = Image.open(PHOTOS / "obama.jpg").convert("RGB").resize((180, 256))
    second = Image.open(PHOTOS / "biden.jpg").convert("RGB").resize((360, 496))
    made = []
    for number in range(FRAMES):
        frame = Image.new("RGB", (720, 512), (90, 100, 110))
        if number >= WALKS_IN:
            frame.paste(second, (340, 8))
        frame.paste(first, (40 + 4 * number, 60))
        made.append(np.asarray(frame))
    return made


def test_a_person_is_known_after_a_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Obama, then Biden in his place, then Obama smaller and elsewhere. Landmarks are MediaPipe's:
    this is about what follows detection."""
    monkeypatch.setenv("JAXFACE_CACHE", str(tmp_path))
    with np.load(Path(__file__).parent / "data" / "landmarks.npz") as data:
        marks = {name: data[name] for name in ("obama", "biden")}
    cast = [*[("obama", 300, 0)] * 8, *[("biden", 300, 0)] * 6, *[("obama", 200, 180)] * 8]
    made, found = [], []
    for name, height, left in cast:
        photo = Image.open(PHOTOS / f"{name}.jpg").convert("RGB")
        scale = height / photo.height
        frame = Image.new("RGB", (480, 300))
        frame.paste(
            photo.resize((round(photo.width * scale), height), Image.Resampling.BOX), (left, 0)
        )
        made.append(np.asarray(frame))
        points = np.pad(marks[name] * scale + [left, 0], ((0, 0), (0, 1)))
        face = {"landmarks": points[None], "blendshapes": np.zeros((1, 52))}
        found.append(SimpleNamespace(confidence=np.ones(1), **face))
    answers = iter(found)
    monkeypatch.setattr(film_faces, "detect_in_frame", lambda *_, **__: next(answers))
    film, timer = Film(write_film(tmp_path / "cut.mp4", made)), StageTimer()
    with FilmFaces(film) as store:
        faces, seconds = store.find(None, timer)
        followed = follow_person(film, faces, len(seconds), timer)
    expected = [0] * 8 + [-1] * 6 + [1] * 8
    assert followed.shots.tolist() == expected and followed.others == (6,)
    assert _video_json(followed, seconds)["shots"][1] == {
        "frames": [14, 21],
        "seconds": [0.56, 0.84],
    }


@pytest.mark.slow
def test_the_first_person_is_followed_however_the_film_is_stored(
    frames: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAXFACE_CACHE", str(tmp_path / "cache"))
    networks, landmarks = load_networks(), []
    # Stored as these are shown after the inverse turn.
    lying = [np.rot90(frame[:, ::-1], -1) for frame in frames]
    films = {
        "upright": write_film(tmp_path / "upright.mp4", frames),
        "lying": write_film(tmp_path / "lying.mp4", lying, turn=(90, True)),
    }
    for path in films.values():
        film = Film(path)
        timer = StageTimer()
        with FilmFaces(film) as store:
            faces, seconds = store.find(networks, timer)
        found = follow_person(film, faces, len(seconds), timer)
        assert (found.faces >= 0).all() and (found.shots == 0).all()
        assert found.others == (FRAMES - WALKS_IN,)
        landmarks.append(faces["landmarks"][found.faces][..., :2])
    nose = landmarks[0][:, 1, 0]
    np.testing.assert_allclose(np.diff(nose), 4.0, atol=1.5)
    assert np.abs(landmarks[0] - landmarks[1]).mean() < 0.7
