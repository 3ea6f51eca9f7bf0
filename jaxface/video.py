"""Reconstruction of one face from a video of a person, tracked through all frames."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxface.config import ReconstructConfig
from jaxface.errors import InputError
from jaxface.fitting.track import TrackConfig, track
from jaxface.person import reconstruct_person
from jaxface.reconstruct import Progress
from jaxface.types import Assets, PersonReconstruction, Track

KEYS = 6  # key frames, at evenly spaced ranks of yaw
_NOSE, _RIGHT_CHEEK, _LEFT_CHEEK = 1, 234, 454  # of MediaPipe's mesh


def reconstruct_video(
    frame: Callable[[int], Float[np.ndarray, "H W 3"]],
    landmarks: Float[np.ndarray, "N L D"],
    blendshapes: Float[np.ndarray, "N 52"],
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
    *,
    seconds: Float[np.ndarray, " N"],
    shots: Int[np.ndarray, " N"] | None = None,
    progress: Progress | None = None,
) -> tuple[PersonReconstruction, Track]:
    """Returns one complete textured face of a video, and its pose and expression in every frame.

    Identity and texture are reconstructed from a few frames of different yaw (`key_frames`,
    `reconstruct_person`); with these fixed, all frames are tracked (`track`). Host function.

    Args:
        frame: returns a frame by its number, sRGB 0..1; called for the key frames only.
        landmarks: 478 points in pixels of every frame, NaN where it shows no face.
        blendshapes: `Detection.blendshapes` of every frame, 0..1.
        assets: from `load_assets` with the same `config`.
        config: settings.
        seconds: at which each frame is shown, ascending.
        shots: as for `track`.
        progress: as for `reconstruct`.

    Raises:
        InputError: no frame shows a face.

    Example:
        >>> person, path = reconstruct_video(
        ...     frames.__getitem__, points, shapes, load_assets(), seconds=times
        ... )  # doctest: +SKIP
        >>> path.expression.shape  # doctest: +SKIP
        (250, 52)
    """
    keys = key_frames(landmarks)
    images = [frame(key) for key in keys]
    person = reconstruct_person(
        images,
        [landmarks[key] for key in keys],
        assets,
        config,
        blendshapes=[jnp.asarray(blendshapes[key]) for key in keys],
        progress=progress,
    )
    report = progress or (lambda stage, info: None)

    def on_progress(done: float) -> None:
        report("track", {"state": "step", "done": done})

    report("track", {"state": "start"})
    height, width = images[0].shape[:2]
    focals = [fitted.parameters.camera.focal for fitted in person.fits]
    path = track(
        landmarks,
        person.result.fit.parameters.identity,
        assets.model,
        seconds=seconds,
        shots=shots,
        focal=jnp.exp(jnp.mean(jnp.log(jnp.stack(focals)))),
        principal=jnp.array([width / 2.0, height / 2.0]),
        blendshapes=blendshapes,
        noise=assets.noise,
        config=TrackConfig(),
        on_progress=on_progress,
    )
    error = 100 * float(jnp.nanmean(path.landmark_error))
    note = f"{len(landmarks)} frames, landmarks {error:.2f} % of the eyes' distance"
    report("track", {"state": "end", "note": note})
    return person, path


def key_frames(landmarks: Float[np.ndarray, "N L D"]) -> list[int]:
    """Returns up to `KEYS` frames at evenly spaced ranks of the face's yaw, in order of time.

    Raises:
        InputError: no frame shows a face.
    """
    points = landmarks[..., :2]
    known = np.flatnonzero(np.isfinite(points).all((1, 2)))
    if not len(known):
        raise InputError("No frame of the video shows a face.")
    nose, right, left = (points[known, index] for index in (_NOSE, _RIGHT_CHEEK, _LEFT_CHEEK))
    across = left - right
    turn = ((nose - right) * across).sum(-1) / np.maximum((across**2).sum(-1), 1e-6)
    order = known[np.argsort(turn, kind="stable")]
    ranks = np.linspace(0, len(order) - 1, min(KEYS, len(order))).round().astype(int)
    return sorted({int(order[rank]) for rank in ranks})
