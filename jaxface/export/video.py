"""Further files of a tracked video's result: `expressions.csv`, `animation.glb`. Host code."""

from __future__ import annotations

import csv
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from jaxface.export.glb import Animation, encode_glb
from jaxface.export.textures import occlusion_map, padded
from jaxface.hair.lashes import lash_basis, lash_mesh
from jaxface.hair.mesh import compact, hair_mesh
from jaxface.morphable.model import shape
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.occlusion import sky_seen
from jaxface.types import Camera, FaceModel, Reconstruction, Track

_TO_WORLD = np.diag([1.0, -1.0, -1.0])  # from OpenCV's camera axes to glTF's
_DIGITS = 5
_CUT = 1e-3  # seconds that a cut takes in the animation


def write_track(
    folder: Path,
    track: Track,
    reconstruction: Reconstruction,
    model: FaceModel,
    *,
    seconds: Float[np.ndarray, " N"],
    shots: Int[np.ndarray, " N"] | None = None,
) -> None:
    """Writes `expressions.csv` and `animation.glb` into a result's folder.

    Args:
        folder: of the result.
        track: of the video.
        reconstruction: the face that was tracked.
        model: its face model.
        seconds: at which each frame is shown.
        shots: as for `track`; rows of frames that belong to none are empty in the table, and the
            animation stands still there.
    """
    weights = np.asarray(track.expression)
    shots = np.zeros(len(weights), int) if shots is None else shots
    known = np.flatnonzero(shots >= 0)
    camera = jax.tree.map(lambda leaf: np.asarray(leaf)[known], track.camera)
    rotations, translations = head_motion(camera)
    weights = weights[known]
    # Pitch after yaw, chin up, as `look_at` has it.
    angles = Rotation.from_matrix(rotations).as_euler("XYZ", degrees=True)
    angles = angles[:, [1, 0, 2]] * [1, -1, 1]
    names = ["frame", "seconds", "found", "shot", *model.expression_names]
    names += ["yaw_degrees", "pitch_degrees", "roll_degrees", "x_metres", "y_metres", "z_metres"]
    found = np.isfinite(np.asarray(track.landmark_error)).astype(int)
    values = np.concatenate([weights, angles, translations], 1).astype(float)
    rows = dict(zip(known.tolist(), np.round(values, _DIGITS), strict=True))
    with open(folder / "expressions.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        for index, second in enumerate(np.round(np.asarray(seconds, float), _DIGITS)):
            shot = int(shots[index]) if index in rows else ""
            rest = rows.get(index, [""] * values.shape[1])
            writer.writerow([index, second, found[index], shot, *rest])
    times, keys = keyframes(seconds, shots)
    keys = np.searchsorted(known, keys)
    animation = Animation(
        times=times,
        weights=weights[keys],
        rotations=Rotation.from_matrix(rotations[keys]).as_quat(),
        translations=translations[keys] - translations.mean(0),
    )
    identity = reconstruction.fit.parameters.identity
    neutral = np.asarray(shape(model, identity, jnp.zeros(len(model.expression_names))))
    reconstruction = padded(reconstruction, model)
    albedo = np.asarray(linear_to_srgb(reconstruction.synthesis.texture))
    hair = hair_mesh(reconstruction.hair)
    hair = None if hair is None else compact(hair)
    lashes = lash_mesh(model, neutral, hair)
    glb = encode_glb(
        *(model, neutral, weights[0], albedo, reconstruction.materials, animation, hair),
        lashes=None if lashes is None else (lashes, lash_basis(model)),
        occlusion=occlusion_map(model, sky_seen(neutral, model.triangles), len(albedo)),
    )
    (folder / "animation.glb").write_bytes(glb)


def keyframes(
    seconds: Float[np.ndarray, " N"], shots: Int[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, " K"], Int[np.ndarray, " K"]]:
    """Returns the times of an animation's keyframes, and the frame whose values each has.

    Every frame of a shot is one. Just before a shot begins, the last frame of the shot before is
    repeated: players interpolate between keyframes, and would glide over the cut.

    Args:
        seconds: at which each frame is shown, ascending.
        shots: of each frame, -1 outside of shots.
    """
    frames = np.flatnonzero(shots >= 0)
    times = np.asarray(seconds, float)[frames]
    ends = np.flatnonzero(np.diff(shots[frames]) != 0)
    held = np.maximum(times[ends + 1] - _CUT, 0.5 * (times[ends] + times[ends + 1]))
    return np.insert(times, ends + 1, held), np.insert(frames, ends + 1, frames[ends])


def head_motion(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Returns the head's rotations `[N, 3, 3]` and translations `[N, 3]` (metres) relative to the
    camera, in glTF's axes: x right, y up, z towards the camera."""
    rotations = Rotation.from_rotvec(np.asarray(camera.rotation, float)).as_matrix()
    return _TO_WORLD @ rotations, np.asarray(camera.translation, float) @ _TO_WORLD
