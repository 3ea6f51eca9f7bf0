"""Further files of a tracked video's result: `expressions.csv`, `animation.glb`. Host code."""

from __future__ import annotations

import csv
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from jaxface.export.glb import Animation, encode_glb
from jaxface.morphable.model import shape
from jaxface.rendering.color import linear_to_srgb
from jaxface.types import Camera, FaceModel, Reconstruction, Track

_TO_WORLD = np.diag([1.0, -1.0, -1.0])  # from OpenCV's camera axes to glTF's
_DIGITS = 5


def write_track(
    folder: Path, track: Track, rate: float, reconstruction: Reconstruction, model: FaceModel
) -> None:
    """Writes `expressions.csv` and `animation.glb` into a result's folder.

    Args:
        folder: of the result.
        track: of the video.
        rate: frames a second.
        reconstruction: the face that was tracked.
        model: its face model.
    """
    rotations, translations = head_motion(track.camera)
    weights = np.asarray(track.expression)
    # Pitch after yaw, chin up, as `look_at` has it.
    angles = Rotation.from_matrix(rotations).as_euler("XYZ", degrees=True)
    angles = angles[:, [1, 0, 2]] * [1, -1, 1]
    times = np.arange(len(weights)) / rate
    names = ["frame", "seconds", "found", *model.expression_names]
    names += ["yaw_degrees", "pitch_degrees", "roll_degrees", "x_metres", "y_metres", "z_metres"]
    found = np.isfinite(np.asarray(track.landmark_error)).astype(int)
    with open(folder / "expressions.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        for index, row in enumerate(np.concatenate([weights, angles, translations], 1)):
            head = [index, round(float(times[index]), _DIGITS), found[index]]
            writer.writerow([*head, *np.round(row.astype(float), _DIGITS)])
    animation = Animation(
        times=times,
        weights=weights,
        rotations=Rotation.from_matrix(rotations).as_quat(),
        translations=translations - translations.mean(0),
    )
    identity = reconstruction.fit.parameters.identity
    neutral = np.asarray(shape(model, identity, jnp.zeros(len(model.expression_names))))
    albedo = np.asarray(linear_to_srgb(reconstruction.synthesis.texture))
    glb = encode_glb(model, neutral, weights[0], albedo, reconstruction.materials, animation)
    (folder / "animation.glb").write_bytes(glb)


def head_motion(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Returns the head's rotations `[N, 3, 3]` and translations `[N, 3]` (metres) relative to the
    camera, in glTF's axes: x right, y up, z towards the camera."""
    rotations = Rotation.from_rotvec(np.asarray(camera.rotation, float)).as_matrix()
    return _TO_WORLD @ rotations, np.asarray(camera.translation, float) @ _TO_WORLD
