"""The faces of all frames of a film, found once: an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from jaxface import assets as files
from jaxface.batch.timing import StageTimer
from jaxface.errors import InputError
from jaxface.features.weights import cache_folder
from jaxface.film import Film, FilmFrame
from jaxface.landmarks.detector import detect_in_frame
from jaxface.landmarks.linking import FACE, thumbnail
from jaxface.locking import lock
from jaxface.types import Networks

MAX_FACES = 4
"""Largest number of faces of a frame."""
FRAMES_PER_EVENT = 25
"""Frames between two events of progress, and between two writes to the disk."""
_FRAME = np.dtype([("seconds", np.float64), ("faces", np.int32)])
_CHUNK = 1 << 20  # bytes


class FilmFaces:
    """Faces found in a film, kept in files until `remove`. A context manager, which holds a lock.

    They lie in `$JAXFACE_CACHE/films` or `~/.cache/jaxface/films`, in a folder named after the
    film's contents; where that cannot be written, in a temporary folder. Memory does not grow with
    the film: `find` appends to the files, and what it returns is mapped from them.

    Raises:
        InputError: another run is at work on the film.
    """

    def __init__(self, film: Film) -> None:
        self.film = film
        name = _key(film.path)
        try:
            self.folder = cache_folder() / "films" / name
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            self.folder = Path(tempfile.mkdtemp(prefix="jaxface-film-"))
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            lock(self._lock)
        except BlockingIOError:
            os.close(self._lock)
            raise InputError(f"Another run is reading {film.path}; wait for it to end.") from None
        self._frames, self._faces = self.folder / "frames.bin", self.folder / "faces.bin"

    def __enter__(self) -> FilmFaces:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def find(self, networks: Networks, timer: StageTimer) -> tuple[np.ndarray, np.ndarray]:
        """Returns all faces `[M]` of `FACE` in order of time, and the frames' seconds `[N]`.

        Args:
            networks: from `load_networks`.
            timer: told of the progress, as stage `landmarks`.
        """
        done = self._recover()
        with timer.stage("landmarks") as info:
            number = done - 1
            with open(self._frames, "ab") as frames, open(self._faces, "ab") as faces:
                for frame in self.film.frames(start=done):
                    rows = _faces_of(frame, networks)
                    faces.write(rows.tobytes())
                    row = np.array([(frame.seconds, len(rows))], _FRAME)
                    frames.write(row.tobytes())
                    number = frame.number
                    if (number + 1) % FRAMES_PER_EVENT == 0:
                        faces.flush()
                        frames.flush()
                        timer("landmarks", self._progress(frame) | {"state": "step"})
            rows = np.fromfile(self._frames, _FRAME)
            info["note"] = f"a face in {np.count_nonzero(rows['faces'])} of {len(rows)} frames"
            if done:
                info["note"] += f", {done} frames by an earlier run"
        size = int(rows["faces"].sum())
        found = np.memmap(self._faces, FACE, mode="r") if size else np.zeros(0, FACE)
        return found, rows["seconds"]

    def remove(self) -> None:
        """Deletes the files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _recover(self) -> int:
        """Returns the number of whole frames an earlier run has left, and cuts off the rest."""
        for file in (self._frames, self._faces):
            file.touch()
        rows = np.fromfile(self._frames, _FRAME)
        faces = np.cumsum(rows["faces"])
        count = int(np.searchsorted(faces, self._faces.stat().st_size // FACE.itemsize, "right"))
        with open(self._frames, "ab") as stream:
            stream.truncate(count * _FRAME.itemsize)
        with open(self._faces, "ab") as stream:
            stream.truncate((int(faces[count - 1]) if count else 0) * FACE.itemsize)
        return count

    def _progress(self, frame: FilmFrame) -> dict[str, object]:
        event: dict[str, object] = {"note": f"{frame.number + 1} frames"}
        if self.film.duration > 0:
            event["done"] = min(frame.seconds / self.film.duration, 1.0)
        return event


def _faces_of(frame: FilmFrame, networks: Networks) -> np.ndarray:
    """Returns the faces of a frame, rows of `FACE`."""
    found = detect_in_frame(frame.srgb, networks, max_faces=MAX_FACES)
    rows = np.zeros(len(found.confidence), FACE)
    rows["frame"], rows["seconds"] = frame.number, frame.seconds
    rows["landmarks"], rows["blendshapes"] = found.landmarks, found.blendshapes
    for row in rows:
        row["thumbnail"] = thumbnail(frame.srgb, row["landmarks"])
    return rows


def _key(path: Path) -> str:
    """Returns a name for what determines the faces: film, networks, version of the program."""
    try:
        release = version("jaxface")
    except PackageNotFoundError:
        release = "not installed"
    digest = hashlib.sha256(f"{release} {files.manifest()['landmark_networks.npz']}".encode())
    digest.update(f"{FACE} {MAX_FACES}".encode())
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()[:32]
