"""The faces of `jaxface app`: photos that wait, the one in work, and the results."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxface.batch import Item, Worker, run_photo
from jaxface.batch.inputs import result_folders
from jaxface.batch.results import OnEvent, ignore_event
from jaxface.batch.runner import explain
from jaxface.errors import InputError, Interrupted, JaxfaceError
from jaxface.export import PARAMETERS
from jaxface.images import read_photo

MAX_WAITING = 50
"""Photos that may wait: as many as fill about an hour, and keep the uploads' disk space bounded."""
MAX_NAME_BYTES = 100
"""Of a photo's name: a result's folder is written under a longer one, and systems allow 255."""


@dataclass(eq=False)
class Face:
    """A photo and what has become of it.

    Attributes:
        id: unguessable, part of the addresses.
        photo: the uploaded file, in a folder of its own; deleted once it is done or has failed.
        folder: of the result.
        state: `waiting`, `working`, `done` or `failed`.
        stages: the last event of each stage that has begun, by name (`StageTimer`).
        since: when the last stage began, by `time.monotonic`.
        error: the sentence of a failure.
        facts: of a result: `landmark_error_percent`, `seen_percent`, `doubts`.
        removed: whether it was taken off the list, which stops the work at its next event.
    """

    id: str
    photo: Path
    folder: Path
    state: str = "waiting"
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    since: float = 0.0
    error: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    removed: bool = False

    def to_json(self) -> dict[str, Any]:
        """Returns what the page shows of it."""
        stages = [dict(event) for event in self.stages.values()]
        for event in stages:
            if event["state"] != "end":
                event["elapsed"] = round(time.monotonic() - self.since, 1)
        return {
            "id": self.id,
            "name": self.photo.name,
            "state": self.state,
            "stages": stages,
            "error": self.error,
            "facts": self.facts,
        }


class Faces:
    """Photos in the order of their arrival, of which a thread works on one at a time.

    The work is `run_photo`'s, as on the command line. All methods may be called from any thread.
    """

    def __init__(self, uploads: Path, results: Path, *, keep: bool) -> None:
        """Starts without a photo and without a thread.

        Args:
            uploads: existing folder for photos until they are done.
            results: existing folder for results, NAME or NAME-2, -3, ... after the photo.
            keep: whether a result stays when its face is removed from the list.
        """
        self.uploads, self.results, self.keep = uploads, results, keep
        self._faces: dict[str, Face] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._thread: threading.Thread | None = None

    def start(self, make_worker: Callable[[OnEvent], Worker], also: OnEvent = ignore_event) -> None:
        """Makes the worker, and starts the thread that gives it the photos.

        Args:
            make_worker: takes the `on_event` to which the worker reports its stages.
            also: takes the same events.
        """

        def on_event(event: dict[str, Any]) -> None:
            self._note(event)
            also(event)

        worker = make_worker(on_event)
        self._thread = threading.Thread(target=self._run, args=(worker,), daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a photo is in work."""
        with self._changed:
            return any(face.state == "working" for face in self._faces.values())

    def stop(self) -> None:
        """Ends the thread at the next event of its stage, and waits for it; no result is half."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def new_photo(self, name: str) -> Path:
        """Returns a path, in a new folder, to which a photo can be written.

        Args:
            name: as the browser gives it; the file is called by its `safe_name`.

        Raises:
            InputError: too many photos wait.
        """
        with self._changed:
            if sum(face.state == "waiting" for face in self._faces.values()) >= MAX_WAITING:
                raise InputError(f"{MAX_WAITING} photos are waiting; add more when some are done.")
        folder = self.uploads / secrets.token_urlsafe(12)
        folder.mkdir()
        return folder / safe_name(name)

    def add(self, photo: Path) -> Face:
        """Returns a face that waits for its turn.

        Args:
            photo: a path from `new_photo`, written.

        Raises:
            InputError: it is not a photo that can be read; it is deleted.
        """
        try:
            read_photo(photo)
        except JaxfaceError as error:
            shutil.rmtree(photo.parent, ignore_errors=True)
            raise InputError(_by_name(error, photo)) from None
        with self._changed:
            used = {face.folder.name for face in self._faces.values()}
            used |= {path.name for path in self.results.iterdir()}
            (item,) = result_folders([photo], self.results, reserved=used)
            face = Face(photo.parent.name, photo, item.folder)
            self._faces[face.id] = face
            self._changed.notify_all()
        return face

    def find(self, face_id: str) -> Face | None:
        """Returns the face of an id, or None."""
        return self._faces.get(face_id)

    def remove(self, face: Face) -> None:
        """Takes a face off the list, and deletes its photo and, unless it is to stay, its result.

        If it is in work, that ends at the next event of its stage.
        """
        with self._changed:
            self._faces.pop(face.id, None)
            face.removed = True
            if face.state != "working":
                self._delete(face)

    def to_json(self) -> list[dict[str, Any]]:
        """Returns all faces as JSON values, in the order of their arrival."""
        with self._changed:
            return [face.to_json() for face in self._faces.values()]

    def _run(self, worker: Worker) -> None:
        """Works on one photo after another; the thread's main function."""
        while (face := self._next()) is not None:
            error, facts = "", {}
            try:
                run_photo(Item(face.photo, face.folder), worker)
                facts = _facts(face.folder)
            except Interrupted:
                pass
            except Exception as caught:
                if not isinstance(caught, JaxfaceError):
                    traceback.print_exception(caught)
                error = _by_name(caught, face.photo)
            shutil.rmtree(face.photo.parent, ignore_errors=True)
            with self._changed:
                face.state, face.error, face.facts = "failed" if error else "done", error, facts
                if face.removed:
                    self._delete(face)

    def _next(self) -> Face | None:
        """Returns the next face, now in work, as soon as there is one; None at the end."""
        with self._changed:
            while not self._ended:
                for face in self._faces.values():
                    if face.state == "waiting":
                        face.state = "working"
                        return face
                self._changed.wait()
        return None

    def _note(self, event: dict[str, Any]) -> None:
        """Notes an event of the face in work. Raises `Interrupted` if it is to end."""
        with self._changed:
            working = [face for face in self._faces.values() if face.state == "working"]
            if self._ended or not working:
                raise Interrupted("The work on a photo was stopped.")
            (face,) = working
            face.stages[event["stage"]] = event
            if event["state"] == "start":
                face.since = time.monotonic()

    def _delete(self, face: Face) -> None:
        """Deletes what a removed face leaves on the disk."""
        shutil.rmtree(face.photo.parent, ignore_errors=True)
        if not self.keep:
            shutil.rmtree(face.folder, ignore_errors=True)


def safe_name(name: str) -> str:
    r"""Returns a name for an uploaded file: the last part, without what no file system likes.

    Example:
        >>> safe_name(r"C:\photos\me?.jpg"), safe_name("../.."), safe_name("Zoë & Bob.png")
        ('me_.jpg', 'photo', 'Zoë & Bob.png')
    """
    last = re.split(r"[/\\]", name)[-1]
    last = "".join(letter for letter in last if letter.isprintable())
    path = Path(re.sub(r'[<>:"|?*]', "_", last).strip(". ") or "photo")
    suffix = path.suffix[:8]
    room = MAX_NAME_BYTES - len(suffix.encode())
    return path.stem.encode()[:room].decode(errors="ignore") + suffix


def _facts(folder: Path) -> dict[str, Any]:
    """Returns the figures and doubts of a result that the page shows."""
    parameters = json.loads((folder / PARAMETERS).read_text())
    return {name: parameters[name] for name in ("landmark_error_percent", "seen_percent", "doubts")}


def _by_name(error: Exception, photo: Path) -> str:
    """Returns an error's sentence, in which the photo has its name instead of its path."""
    reason, _ = explain(error)
    return reason.replace(str(photo), photo.name)
