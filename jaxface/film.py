"""Films from files: upright frames with square pixels, and the second at which each is shown.

Host code.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxface.errors import InputError
from jaxface.images import MAX_SIDE, check_file

_USUAL_RATE = 25.0  # frames per second of a film that names none


class FilmFrame(NamedTuple):
    """A frame: its number from 0, seconds since the first one, `[H, W, 3]` sRGB 0..1."""

    number: int
    seconds: float
    srgb: np.ndarray


class Film:
    """The frames of a video file, read one at a time.

    Frames are as players show them: turned and mirrored by the display matrix, stretched to
    square pixels; and at most `MAX_SIDE` pixels a side. Packets that cannot be decoded are left
    out.

    Attributes:
        path: of the file.
        duration: seconds that the file claims to last; 0 if it does not say.

    Raises:
        InputError: there is no such file, or it holds no frame that can be decoded.
    """

    def __init__(self, path: Path) -> None:
        import av  # slow import

        check_file(path)
        self.path = path
        reason = "it holds no picture"
        try:
            with av.open(str(path.absolute())) as container:
                self.duration = _duration(container)
            if any(True for _ in self.frames({0})):
                return
        except Exception as error:  # whatever the decoder raises
            reason = str(error)
        raise InputError(f"{path} is not a video that can be read ({reason}).")

    def frames(
        self, numbers: Collection[int] | None = None, *, start: int = 0
    ) -> Iterator[FilmFrame]:
        """Yields frames in the order in which they are shown.

        Args:
            numbers: those to yield, if not all; frames after the last are not decoded.
            start: number of the first to yield.
        """
        import av

        last = None if numbers is None else max(numbers, default=-1)
        with av.open(str(self.path.absolute())) as container:
            if not container.streams.video:
                return
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            step = 1 / float(stream.average_rate or _USUAL_RATE)
            first, seconds, number = None, -step, -1
            for packet in container.demux(stream):
                try:
                    decoded = packet.decode()
                except av.error.InvalidDataError:
                    continue
                for frame in decoded:
                    number += 1
                    first = frame.time if first is None else first
                    shown = None if None in (first, frame.time) else frame.time - first
                    # Times that are missing or run backwards are continued at the mean rate.
                    seconds = shown if shown is not None and shown > seconds else seconds + step
                    if last is not None and number > last:
                        return
                    if number >= start and (numbers is None or number in numbers):
                        yield FilmFrame(number, seconds, _pixels(frame, stream))


def _duration(container: Any) -> float:
    """Returns how long a container says that its pictures last, seconds: sound may last longer."""
    import av

    if container.streams.video and container.streams.video[0].duration:
        stream = container.streams.video[0]
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _pixels(frame: Any, stream: Any) -> np.ndarray:
    """Returns a decoded frame as it is to be shown, `[H, W, 3]` sRGB 0..1."""
    stretch = float(stream.sample_aspect_ratio or 1)  # width over height of a pixel
    width, height = frame.width * max(stretch, 1.0), frame.height / min(stretch, 1.0)
    scale = min(1.0, MAX_SIDE / max(width, height))
    size = round(width * scale), round(height * scale)
    if size != (frame.width, frame.height):
        frame = frame.reformat(width=size[0], height=size[1], format="rgb24")
    pixels = upright(frame.to_ndarray(format="rgb24"), _display_matrix(frame))
    return pixels.astype(np.float32) / 255.0


def _display_matrix(frame: Any) -> np.ndarray | None:
    """Returns the linear part of a frame's display matrix `[2, 2]`, or None."""
    for value in frame.side_data:
        if value.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(value), np.int32)[:5]
            return np.array([[a, c], [b, d]], float)
    return None


def upright(pixels: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Returns stored pixels `[H, W, C]` as a display matrix has them shown.

    Args:
        pixels: as they are stored.
        matrix: `[2, 2]`, from stored to shown (x, y); the nearest of the eight turns and mirror
            images is taken. None leaves the pixels as they are.
    """
    if matrix is None or not matrix.any():
        return pixels
    lying = abs(matrix[0, 1]) + abs(matrix[1, 0]) > abs(matrix[0, 0]) + abs(matrix[1, 1])
    if lying:
        pixels, matrix = pixels.swapaxes(0, 1), matrix[:, ::-1]
    columns, rows = (-1 if matrix[axis, axis] < 0 else 1 for axis in range(2))
    return pixels[::rows, ::columns]
