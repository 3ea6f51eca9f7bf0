"""`jaxface reconstruct --video`: one face, and its motion, from a video."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from jaxface.batch import Item
from jaxface.batch.cloud import fetched, is_cloud
from jaxface.batch.timing import StageTimer
from jaxface.cli.person import write_person
from jaxface.cli.progress import Progress
from jaxface.config import ReconstructConfig
from jaxface.errors import DetectionError, InputError
from jaxface.export import check_folder
from jaxface.export.video import write_track
from jaxface.images import Photo
from jaxface.landmarks.detector import detect
from jaxface.loading import load_assets
from jaxface.types import Assets
from jaxface.video import key_frames, reconstruct_video

FRAMES_PER_EVENT = 25
"""Frames between two events of progress."""


class Video:
    """The frames of a video file `[H, W, 3]`, sRGB 0..1; `rate` is their number per second.

    Raises:
        InputError: there is no such file, or it cannot be decoded as a video.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"There is no file {path}; check the path.")
        self.path = path
        try:
            self.rate = float(iio.immeta(path, plugin="pyav")["fps"])
            next(iter(self))
        except Exception as error:  # whatever the decoder raises
            raise InputError(f"{path} is not a video that can be read ({error}).") from None

    def __iter__(self) -> Iterator[np.ndarray]:
        for frame in iio.imiter(self.path, plugin="pyav", format="rgb24"):
            yield frame.astype(np.float32) / 255.0

    def take(self, numbers: list[int]) -> dict[int, np.ndarray]:
        """Returns the frames with these numbers, which count from 0."""
        frames = islice(enumerate(self), 1 + max(numbers))
        return {number: frame for number, frame in frames if number in numbers}


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
    `animation.glb`.

    Args:
        paths: the video file, alone in its list.
        output: folder or address.
        config: settings.
        model: the face model's name.
        database: folder of a texture database; None is the embedded one.
        log_json: print events as JSON lines on stdout.

    Raises:
        InputError: there is not exactly one video, no frame shows a face, or the output cannot
            be written.
    """
    if len(paths) != 1:
        raise InputError("--video takes one file.")
    if not is_cloud(output):
        check_folder(output, holds_results=False)
    with fetched(Item(paths[0], output)) as local:
        video = Video(local.path)
        assets = load_assets(config, model=model, database=str(database or "") or None)
        progress = Progress(log_json=log_json)
        timer = StageTimer(progress)
        landmarks, blendshapes = _detect_all(video, assets, timer)
        frames = video.take(key_frames(landmarks))
        person, path = reconstruct_video(
            frames.__getitem__,
            landmarks,
            blendshapes,
            assets,
            config,
            rate=video.rate,
            progress=timer,
        )
    best = sorted(frames)[person.best]
    write_person(
        output,
        Photo(frames[best], None, f"{paths[0].stem}-{best}"),
        person,
        assets,
        config,
        progress=progress,
        timer=timer,
        name=paths[0].name,
        more={"video": {"frames": len(landmarks), "rate": video.rate}},
        extra=lambda work: write_track(work, path, video.rate, person.result, assets.model),
    )


def _detect_all(video: Video, assets: Assets, timer: StageTimer) -> tuple[np.ndarray, np.ndarray]:
    """Returns `[N, 478, 3]` landmarks and `[N, 52]` blendshapes of each frame's largest face; NaN
    and 0 for frames without one."""
    landmarks, blendshapes, found = [], [], 0
    with timer.stage("landmarks") as info:
        for number, frame in enumerate(video, start=1):
            try:
                face = detect(frame, assets.networks)
                landmarks.append(np.asarray(face.landmarks[0]))
                blendshapes.append(np.asarray(face.blendshapes[0]))
                found += 1
            except DetectionError:
                landmarks.append(np.full((478, 3), np.nan, np.float32))
                blendshapes.append(np.zeros(52, np.float32))
            if number % FRAMES_PER_EVENT == 0:
                timer("landmarks", {"state": "step", "note": f"{number} frames"})
        info["note"] = f"a face in {found} of {len(landmarks)} frames"
    return np.stack(landmarks), np.stack(blendshapes)
