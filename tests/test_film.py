"""Films as people have them: lying, mirrored, uneven in time, cut off; a search that goes on."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from jaxface.cli import film_faces
from jaxface.cli.film_faces import FilmFaces
from jaxface.errors import InputError
from jaxface.film import Film
from jaxface.landmarks.linking import FACE

QUADRANTS = np.zeros((64, 96, 3), np.uint8)
QUADRANTS[:32, :48], QUADRANTS[:32, 48:], QUADRANTS[32:, :48] = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
)


def write_film(
    path: Path,
    frames: list[np.ndarray],
    *,
    seconds: list[float] | None = None,
    turn: tuple[float, bool] | None = None,
    stretch: Fraction | None = None,
) -> Path:
    """Writes frames `[H, W, 3]` of bytes at their seconds (25 a second if not given), to be shown
    turned by `turn` (degrees counter-clockwise, then mirrored), with pixels wide by `stretch`."""
    height, width = frames[0].shape[:2]
    seconds = [index / 25 for index in range(len(frames))] if seconds is None else seconds
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=25, width=width, height=height, pix_fmt="yuv420p", options={"crf": "4"}
        )
        stream.codec_context.time_base = Fraction(1, 1000)
        if turn is not None:
            stream.set_display_rotation(turn[0], hflip=turn[1])
        if stretch is not None:
            stream.codec_context.sample_aspect_ratio = stretch
        for second, pixels in zip(seconds, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = round(1000 * second), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_lying_film_is_shown_upright(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    shown = np.rot90(QUADRANTS, degrees // 90)
    shown = shown[:, ::-1] if mirrored else shown
    film = write_film(tmp_path / "film.mp4", [QUADRANTS] * 2, turn=(degrees, mirrored))
    frame = next(Film(film).frames()).srgb
    assert frame.shape == shown.shape
    assert np.abs(frame - shown / 255).mean() < 0.06  # chroma has half the resolution


def test_seconds_are_the_frames(tmp_path: Path) -> None:
    seconds = [0.0, 0.1, 0.5, 0.54, 3.0]
    frames = [np.full((64, 64, 3), 50 * index, np.uint8) for index in range(5)]
    film = Film(write_film(tmp_path / "film.mp4", frames, seconds=seconds))
    found = list(film.frames())
    np.testing.assert_allclose([frame.seconds for frame in found], seconds, atol=1e-3)
    chosen = list(film.frames({1, 3}))
    assert [frame.number for frame in chosen] == [1, 3]
    np.testing.assert_allclose(
        [frame.srgb.mean() for frame in chosen], [50 / 255, 150 / 255], atol=0.02
    )
    assert [frame.number for frame in film.frames(start=3)] == [3, 4]


def test_pixels_are_square(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", [QUADRANTS] * 2, stretch=Fraction(4, 3))
    assert next(Film(film).frames()).srgb.shape == (64, 128, 3)


def test_a_film_that_is_cut_off_is_read_to_its_end(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(20)]
    whole = write_film(tmp_path / "film.mkv", frames)
    data = whole.read_bytes()
    (tmp_path / "half.mkv").write_bytes(data[: len(data) // 2])
    assert 3 <= len(list(Film(tmp_path / "half.mkv").frames())) < 20


def test_no_film_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    for name, word in (
        ("empty.mp4", "not a video"),
        ("sound.wav", "no picture"),
        ("a", "no file"),
        (".", "folder"),
    ):
        with pytest.raises(InputError, match=word):
            Film(tmp_path / name)


def test_memory_does_not_grow_with_the_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAXFACE_CACHE", str(tmp_path))
    monkeypatch.setattr(
        film_faces, "_faces_of", lambda frame, networks: np.zeros(film_faces.MAX_FACES, FACE)
    )

    def peak(count: int) -> int:
        frames = [QUADRANTS] * count
        film = Film(write_film(tmp_path / f"{count}.mp4", frames))
        with FilmFaces(film) as store:
            tracemalloc.start()
            try:
                faces, _ = store.find(None, film_faces.StageTimer())
                assert len(faces) == film_faces.MAX_FACES * count
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    peak(10)  # imports
    few, many = peak(50), peak(500)
    assert many - few < 0.05 * 450 * film_faces.MAX_FACES * FACE.itemsize


def test_sound_that_lasts_longer_counts_for_nothing(tmp_path: Path) -> None:
    """Progress would stop at a fraction of the film."""
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=5, width=96, height=64)
        voice = container.add_stream("aac", rate=16000)
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(QUADRANTS, format="rgb24")))
        container.mux(stream.encode(None))
        for number in range(60):
            sound = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            sound.sample_rate, sound.pts = 16000, 1024 * number
            container.mux(voice.encode(sound))
        container.mux(voice.encode(None))
    film = Film(tmp_path / "a.mp4")
    assert film.duration == pytest.approx(1, abs=0.01)
    assert len(list(film.frames())) == 5


def test_films_of_any_name_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg takes what stands before a colon for a protocol, and % for a number elsewhere."""
    monkeypatch.chdir(tmp_path)
    data = write_film(tmp_path / "film.mp4", [QUADRANTS] * 2).read_bytes()
    for name in (
        "a:b.mp4",
        "file:a.mp4",
        "-a.MOV",
        " a .mp4",
        "50%d#?.mp4",
        "a\nb.mp4",
        "caf\udce9",
    ):
        Path(name).write_bytes(data)
        assert next(Film(Path(name)).frames()).srgb.shape == (64, 96, 3)


def test_an_interrupted_search_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is that of an undisturbed run, also if the last record was half written."""
    monkeypatch.setenv("JAXFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(film_faces, "FRAMES_PER_EVENT", 2)
    frames = [np.full((64, 64, 3), 25 * index, np.uint8) for index in range(8)]
    film = Film(write_film(tmp_path / "film.mp4", frames))
    asked: list[int] = []

    def faces_of(frame, networks):
        if frame.number == stop:
            raise KeyboardInterrupt
        asked.append(frame.number)
        rows = np.zeros(frame.number % 3, FACE)
        rows["frame"], rows["landmarks"] = frame.number, frame.number
        return rows

    monkeypatch.setattr(film_faces, "_faces_of", faces_of)
    events: list[dict] = []
    timer = film_faces.StageTimer(events.append)
    stop = 5
    with FilmFaces(film) as store:
        with pytest.raises(InputError, match="Another run"):
            FilmFaces(film)
        with pytest.raises(KeyboardInterrupt):
            store.find(None, timer)
    with open(store.folder / "faces.bin", "ab") as stream:
        stream.write(b"half a face")
    stop, asked[:] = -1, []
    with FilmFaces(film) as store:
        faces, seconds = store.find(None, timer)
    assert min(asked) >= 4 and max(asked) == 7
    assert faces["frame"].tolist() == [1, 2, 2, 4, 5, 5, 7]
    assert (faces["landmarks"][:, 0, 0] == faces["frame"]).all()
    np.testing.assert_allclose(seconds, np.arange(8) / 25, atol=1e-3)
    steps = [event["done"] for event in events if event["state"] == "step"]
    assert steps == sorted(steps) and 0 < steps[0] < steps[-1] <= 1
    assert "earlier run" in events[-1]["note"]
    store.remove()
    assert not store.folder.exists()
