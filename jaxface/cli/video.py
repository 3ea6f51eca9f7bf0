"""`jaxface reconstruct --video`: one face, and its motion, from a video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxface.batch import Item
from jaxface.batch.cloud import fetched, is_cloud
from jaxface.batch.timing import StageTimer
from jaxface.cli.film_faces import FilmFaces
from jaxface.cli.person import write_person
from jaxface.cli.progress import Progress
from jaxface.config import ReconstructConfig
from jaxface.errors import InputError
from jaxface.export import check_folder
from jaxface.export.video import write_track
from jaxface.film import Film
from jaxface.following import Followed, follow
from jaxface.identity import distances, look
from jaxface.images import Photo
from jaxface.loading import load_assets
from jaxface.names import printable
from jaxface.video import key_frames, reconstruct_video


def reconstruct_video_file(
    paths: list[Path],
    output: Path,
    config: ReconstructConfig,
    *,
    model: str = "default",
    database: Path | None = None,
    log_json: bool = False,
) -> None:
    """Writes one result folder from a video of a person, with `expressions.csv` and
    `animation.glb`. A run that was stopped is continued: see `FilmFaces`.

    Args:
        paths: the video file, alone in its list.
        output: folder or address.
        config: settings.
        model: the face model's name.
        database: folder of a texture database; None is the embedded one.
        log_json: print events as JSON lines on stdout.

    Raises:
        InputError: there is not exactly one video, it cannot be read, no frame shows a face, or
            the output cannot be written.
    """
    if len(paths) != 1:
        raise InputError("--video takes one file.")
    if not is_cloud(output):
        check_folder(output, holds_results=False)
    with fetched(Item(paths[0], output)) as local, FilmFaces(Film(local.path)) as store:
        film = store.film
        assets = load_assets(config, model=model, database=str(database or "") or None)
        progress = Progress(log_json=log_json)
        timer = StageTimer(progress)
        faces, seconds = store.find(assets.networks, timer)
        followed = follow_person(film, faces, len(seconds), timer)
        landmarks = np.full((len(seconds), faces["landmarks"].shape[1], 2), np.nan, np.float32)
        blendshapes = np.zeros((len(seconds), faces["blendshapes"].shape[1]), np.float32)
        for frame in np.flatnonzero(followed.faces >= 0):
            face = faces[followed.faces[frame]]
            landmarks[frame], blendshapes[frame] = face["landmarks"][:, :2], face["blendshapes"]
        frames = {frame.number: frame.srgb for frame in film.frames(key_frames(landmarks))}
        person, path = reconstruct_video(
            frames.__getitem__,
            landmarks,
            blendshapes,
            assets,
            config,
            seconds=seconds,
            shots=followed.shots,
            progress=timer,
        )
        best = sorted(frames)[person.best]
        write_person(
            output,
            Photo(frames[best], None, printable(f"{paths[0].stem}-{best}")),
            person,
            assets,
            config,
            progress=progress,
            timer=timer,
            name=printable(paths[0].name),
            more={"video": _video_json(followed, seconds)},
            extra=lambda work: write_track(
                *(work, path, person.result, assets.model), seconds=seconds, shots=followed.shots
            ),
        )
        store.remove()


def follow_person(film: Film, faces: np.ndarray, count: int, timer: StageTimer) -> Followed:
    """Returns the person whom a film shows longest, and reports other persons and cuts.

    Args:
        film: whose frames are looked at again, where it has several tracks.
        faces: of `FACE`, from `FilmFaces.find`.
        count: number of frames.
        timer: told of the stage `follow`.
    """

    def distances_of(looks: list[np.ndarray]) -> np.ndarray:
        """Returns the distances of identity between the tracks to which faces belong."""
        chosen = np.concatenate(looks)
        numbers = {int(number) for number in faces["frame"][chosen]}
        seen: dict[int, np.ndarray] = {}
        for frame in film.frames(numbers):
            for index in chosen[faces["frame"][chosen] == frame.number]:
                seen[int(index)] = look(frame.srgb, faces["landmarks"][index])
        return distances([np.stack([seen[int(index)] for index in track]) for track in looks])

    with timer.stage("follow") as info:
        followed = follow(faces, count, distances_of)
        shots = int(followed.shots.max()) + 1
        present = np.count_nonzero(followed.faces >= 0)
        info["note"] = f"the person seen longest, in {present} of {count} frames"
        if shots > 1:
            info["note"] += f", in {shots} pieces (cuts, or the face was lost)"
        if followed.others:
            others = " and ".join(str(n) for n in followed.others)
            info["note"] += f"; {len(followed.others)} other(s) left out, in {others} frames"
    return followed


def _video_json(followed: Followed, seconds: np.ndarray) -> dict[str, Any]:
    """Returns what `parameters.json` says of the film."""
    shots = []
    for shot in range(int(followed.shots.max()) + 1):
        first, last = np.flatnonzero(followed.shots == shot)[[0, -1]].tolist()
        shots.append(
            {"frames": [first, last], "seconds": np.round(seconds[[first, last]], 5).tolist()}
        )
    span = float(seconds[-1] - seconds[0])
    return {
        "frames": len(seconds),
        "rate": (len(seconds) - 1) / span if span > 0 else None,
        "shots": shots,
        "other_persons_frames": list(followed.others),
    }
