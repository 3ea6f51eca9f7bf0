"""Face detection and 478 landmarks.

MediaPipe's full-range BlazeFace proposes boxes on the whole photo (and on tiles of it for small
faces); the face mesh, run twice, gives a confidence and the landmarks of each, the mean over the
crop and its mirror image. Where its two runs disagree or nothing is found, proposals on the photo
turned to eight sides are tried too: of a face that is upside down both networks are often sure, but
only the right way up the landmarks settle.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.errors import DetectionError, InputError
from jaxface.landmarks.graph import apply
from jaxface.landmarks.mesh import (
    ENLARGE,
    SIZE,
    face_mesh,
    landmark_crop,
    mirrored_mesh,
    upright_blendshapes,
)
from jaxface.precision import jit
from jaxface.rendering.crop import pyramid, sample
from jaxface.types import Crop, Detection, Networks

DETECTOR_SIZE, CELLS = 192, 48  # the detector's input, pixels a side, and its anchors a side
TILE = 512  # pixels of the photo a side
CANDIDATES = 64  # proposals kept of each crop, and of all
MIN_SCORE, MIN_CONFIDENCE, MAX_OVERLAP = 0.5, 0.5, 0.3  # of detector, of face mesh; IoU
ROTATIONS = (0.0, np.pi / 2, -np.pi / 2)  # of the whole photo, radians
ROTATION_PENALTY = 0.2  # of the score in the +-90 degree passes, so that upright faces win
# Of detector in `TURNS`: the lowest of 576 finds on portraits is 0.413; of 100 pictures without a
# face three gave a find above 0.3, the highest 0.37.
MIN_TURNED_SCORE = 0.4
TURNS = tuple(np.arange(8) * np.pi / 4)  # of the whole photo, where `ROTATIONS` are not enough
PER_TURN = 2  # proposals kept of each turn: the face may be second to a collar or to a bystander
# Mean distance between the landmarks of the face mesh's two runs, of the side of the crop, up to
# which they are believed: of 71 upright portraits 70 are below 0.0065, and of the 71 finds on them
# turned by 90, 180, 225 and 270 degrees that are wrong none is below 0.0085.
SETTLED = 0.0075
BUCKETS = (256, 512, 768, 1024, 1536, 2048, 3072, 4096)  # sizes of padded photos, pixels


def pad_photo(photo_srgb: np.ndarray) -> tuple[Array, Array]:
    """Returns the photo `[H, W, 3]` padded to a bucket of sizes, and its true `(height, width)`.

    Few sizes mean few compilations. Host function: runs Python and NumPy, not for `jit`.
    """
    height, width = photo_srgb.shape[:2]
    if max(height, width) > BUCKETS[-1]:
        raise InputError(f"The photo is {width} x {height}; at most {BUCKETS[-1]} a side are used.")
    rows, columns = (next(b for b in BUCKETS if b >= n) for n in (height, width))
    padded = np.pad(photo_srgb, ((0, rows - height), (0, columns - width), (0, 0)), mode="edge")
    return jnp.asarray(padded, jnp.float32), jnp.array([height, width], jnp.float32)


@partial(jit, static_argnames=("border", "mediapipe_sampling"))
def _sample_crops(
    photo: Array, image_size: Array, crops: Crop, *, border: str, mediapipe_sampling: bool
) -> Array:
    """Returns the images of N crops `[N, size, size, 3]`, with or without MediaPipe's offset.

    A program of its own, since it is compiled for each padded size, and the networks are not.
    """
    levels = (photo,) if mediapipe_sampling else pyramid(photo)

    def one(crop: Crop) -> Array:
        return sample(
            levels, image_size, crop, border=border, mediapipe_sampling=mediapipe_sampling
        )

    return jax.lax.map(one, crops)


@partial(jit, static_argnames=("shape", "tiles"))
def detector_crops(image_size: Array, shape: tuple[int, ...], tiles: bool) -> Crop:
    """Returns the detector's crops: the whole photo at `ROTATIONS`, then tiles at half overlap.

    The detector is trained on upright faces, and misplaces the eyes of others: hence the rotations,
    and `ROTATION_PENALTY` in favour of the pass in which a face is upright.
    """
    rows, columns = (range(0, max(n - TILE // 2, 1), TILE // 2) for n in shape[:2])
    corners = np.array([(c, r) for r in rows for c in columns if tiles], np.float32)
    center = jnp.asarray(corners.reshape(-1, 2) + TILE / 2)
    rotations, count = len(ROTATIONS), len(corners)
    return Crop(
        center=jnp.concatenate([jnp.tile(image_size[::-1] / 2, (rotations, 1)), center]),
        side=jnp.concatenate(
            [jnp.tile(jnp.max(image_size), rotations), jnp.full(count, float(TILE))]
        ),
        angle=jnp.concatenate([jnp.array(ROTATIONS), jnp.zeros(count)]),
        size=DETECTOR_SIZE,
    )


def decode_boxes(images: Array, crops: Crop, networks: Networks) -> tuple[Array, Array, Array]:
    """Returns scores `[N, P]`, boxes `[N, P, 4]` and eyes `[N, P, 2, 2]`, photo pixels, of the best
    P proposals of N crops."""

    def one(item: tuple[Array, Crop]) -> tuple[Array, Array, Array]:
        image, crop = item
        raw, logits = apply(networks.detector, image[None] * 2 - 1)
        at = (jnp.arange(CELLS) + 0.5) * (DETECTOR_SIZE / CELLS)
        anchors = jnp.stack(jnp.meshgrid(at, at), axis=-1).reshape(-1, 2)
        center = raw[0, :, :2] + anchors
        size = raw[0, :, 2:4] / crop.scale
        eyes = raw[0, :, 4:8].reshape(-1, 2, 2) + anchors[:, None]
        score = jax.nn.sigmoid(jnp.clip(logits[0, :, 0], -100, 100))
        score, best = jax.lax.top_k(score, CANDIDATES)
        photo_center = crop.points_to_photo(center[best])
        box = jnp.concatenate(
            [photo_center - size[best] / 2, photo_center + size[best] / 2], axis=1
        )
        return score, box, crop.points_to_photo(eyes[best])

    return jax.lax.map(one, (images, crops))


def iou(box: Array, boxes: Array) -> Array:
    """Returns the intersection over union of a box `[4]` with others `[N, 4]`."""
    low = jnp.maximum(box[:2], boxes[:, :2])
    high = jnp.minimum(box[2:], boxes[:, 2:])
    intersection = jnp.prod(jnp.maximum(high - low, 0), axis=1)
    area = jnp.prod(box[2:] - box[:2]) + jnp.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return intersection / jnp.maximum(area - intersection, 1e-6)


def non_maximum_suppression(scores: Array, boxes: Array) -> Array:
    """Returns descending scores, set to 0 where the IoU with a better box is too large."""

    def step(i: Array, kept: Array) -> Array:
        later = jnp.arange(len(kept)) > i
        drop = later & (iou(boxes[i], boxes) > MAX_OVERLAP) & (kept[i] > 0)
        return jnp.where(drop, 0.0, kept)

    return jax.lax.fori_loop(0, len(scores), step, scores)


def face_crops(
    boxes: Float[Array, "F 4"], eyes: Float[Array, "F 2 2"], scores: Float[Array, " F"]
) -> Crop:
    """Returns the face mesh's crops of F proposals, the eyes horizontal; unused if score is 0."""
    # An unused row's box may be empty: a crop of size 0 would give NaN gradients.
    used = scores > 0
    side = jnp.where(used, jnp.max(boxes[:, 2:] - boxes[:, :2], axis=1), 64.0)
    direction = jnp.where(used[:, None], eyes[:, 1] - eyes[:, 0], jnp.array([1.0, 0.0]))
    return Crop(
        center=(boxes[:, :2] + boxes[:, 2:]) / 2,
        side=ENLARGE * side,
        angle=jnp.arctan2(direction[:, 1], direction[:, 0]),
        size=SIZE,
    )


@partial(jit, static_argnames="faces")
def propose_faces(
    images: Array, crops: Crop, networks: Networks, *, faces: int
) -> tuple[Array, Array, Crop]:
    """Returns boxes, scores and crops of the `faces` largest proposals that survive non-maximum
    suppression; score 0 if there are fewer."""
    scores, boxes, eyes = decode_boxes(jax.lax.stop_gradient(images), crops, networks)
    penalties = jnp.where(crops.angle != 0.0, ROTATION_PENALTY, 0.0)
    scores, best = jax.lax.top_k((scores - penalties[:, None]).reshape(-1), CANDIDATES)
    boxes, eyes = boxes.reshape(-1, 4)[best], eyes.reshape(-1, 2, 2)[best]
    scores = non_maximum_suppression(jnp.where(scores >= MIN_SCORE, scores, 0.0), boxes)
    side = jnp.max(boxes[:, 2:] - boxes[:, :2], axis=1)
    _, best = jax.lax.top_k(jnp.where(scores > 0, side, 0.0), faces)
    boxes, scores = boxes[best], scores[best]
    return boxes, scores, face_crops(boxes, eyes[best], scores)


@jit
def propose_turned(
    images: Float[Array, "N S S 3"], crops: Crop, networks: Networks
) -> tuple[Float[Array, "F 4"], Float[Array, " F"], Crop]:
    """Returns boxes, scores and crops of the `PER_TURN` best proposals of each of N crops.

    Non-maximum suppression is within a crop only: which turn shows a face upright is for the face
    mesh to say, since the detector's scores do not tell.
    """
    scores, boxes, eyes = decode_boxes(images, crops, networks)
    scores = jax.vmap(non_maximum_suppression)(scores, boxes)
    scores, best = jax.lax.top_k(scores, PER_TURN)
    boxes = jnp.take_along_axis(boxes, best[..., None], axis=1).reshape(-1, 4)
    eyes = jnp.take_along_axis(eyes, best[..., None, None], axis=1).reshape(-1, 2, 2)
    scores = scores.reshape(-1)
    return boxes, scores, face_crops(boxes, eyes, scores)


@jit
def run_face_mesh(images: Array, crops: Crop, networks: Networks) -> tuple[Array, Array, Crop]:
    """Returns landmarks, confidence and the crop around the landmarks of N crops."""

    def one(image: Array, crop: Crop) -> tuple[Array, Array, Crop]:
        points, flag = face_mesh(image, crop, networks)
        return points, flag, landmark_crop(points)

    return jax.vmap(one)(images, crops)


@jit
def with_mirror_image(points: Array, mirrored: Array, crops: Crop, networks: Networks) -> Array:
    """Returns the mean of the landmarks found on N crops and on the crops' mirror images."""
    return 0.5 * (points + jax.vmap(mirrored_mesh, (0, 0, None))(mirrored, crops, networks))


@jit
def read_blendshapes(points: Array, networks: Networks) -> Array:
    """Returns the expression coefficients of N faces' landmarks."""
    return jax.vmap(upright_blendshapes, (0, None))(points, networks)


def detect_padded(
    photo: Float[Array, "H W 3"],
    image_size: Float[Array, "2"],
    networks: Networks,
    *,
    faces: int = 1,
    tiles: bool = False,
    mediapipe_sampling: bool = False,
) -> Detection:
    """Returns the `faces` largest detections that survive non-maximum suppression, largest first.

    The `Detection`'s arrays have a leading face axis; a `confidence` below 0.5 means no face.
    Differentiable with respect to `photo` through the landmarks; the crops are constant. Its parts
    are jitted, so that the networks compile once for photos of all sizes; it may be jitted whole.

    Args:
      photo: sRGB 0..1, padded (`pad_photo`).
      image_size: true `(height, width)`, pixels.
      networks: from `load_networks`.
      faces: static number of results; rows beyond the faces found have confidence 0.
      tiles: also run on 512-pixel tiles at half overlap, for faces of 40 to 100 pixels.
      mediapipe_sampling: crops without the half-pixel offset and without their mirror images, as
        MediaPipe's, for parity tests.
    """
    return _detect_unturned(
        photo,
        image_size,
        networks,
        faces=faces,
        tiles=tiles,
        mediapipe_sampling=mediapipe_sampling,
    )[0]


def _detect_unturned(
    photo: Float[Array, "H W 3"],
    image_size: Float[Array, "2"],
    networks: Networks,
    *,
    faces: int,
    tiles: bool,
    mediapipe_sampling: bool = False,
) -> tuple[Detection, Float[Array, " F"]]:
    """Returns the result of `detect_padded`, and how far each face's landmarks moved."""
    crops = detector_crops(image_size, photo.shape, tiles)
    images = _sample_crops(
        photo, image_size, crops, border="zero", mediapipe_sampling=mediapipe_sampling
    )
    proposals = propose_faces(images, crops, networks, faces=faces)
    return _face_mesh_twice(
        photo, image_size, networks, *proposals, mediapipe_sampling=mediapipe_sampling
    )


def _face_mesh_twice(
    photo: Float[Array, "H W 3"],
    image_size: Float[Array, "2"],
    networks: Networks,
    boxes: Float[Array, "F 4"],
    scores: Float[Array, " F"],
    crops: Crop,
    *,
    mediapipe_sampling: bool = False,
) -> tuple[Detection, Float[Array, " F"]]:
    """Returns the faces of proposals, and how far the face mesh's second run, on the crop around
    the first one's landmarks, moved them: mean distance of the side of the crop.

    The landmarks are the mean over the second run's crop and its mirror image, as the network alone
    makes a mirrored face another one; `mediapipe_sampling` leaves that out, as MediaPipe does.
    """
    runs = []
    for _ in range(2):
        square = crops
        images = _sample_crops(
            photo, image_size, square, border="replicate", mediapipe_sampling=mediapipe_sampling
        )
        points, flags, crops = run_face_mesh(images, square, networks)
        runs.append(jax.lax.stop_gradient(points[..., :2]))
    if not mediapipe_sampling:
        mirrored, _, _ = run_face_mesh(images[:, :, ::-1], square, networks)
        points = with_mirror_image(points, mirrored, square, networks)
    found = Detection(
        box=boxes,
        score=scores,
        landmarks=points,
        confidence=jnp.where(scores > 0, flags, 0.0),
        blendshapes=read_blendshapes(points, networks),
    )
    return found, jnp.linalg.norm(runs[1] - runs[0], axis=-1).mean(-1) / crops.side


def _detect_turned(
    photo: Float[Array, "H W 3"], image_size: Float[Array, "2"], networks: Networks
) -> tuple[Detection, Float[Array, " F"]]:
    """Returns `PER_TURN` proposals of each of `TURNS`, unsorted, and how far each has moved."""
    turns = len(TURNS)
    crops = Crop(
        center=jnp.tile(image_size[::-1] / 2, (turns, 1)),
        side=jnp.full(turns, jnp.max(image_size)),
        angle=jnp.array(TURNS, jnp.float32),
        size=DETECTOR_SIZE,
    )
    images = _sample_crops(photo, image_size, crops, border="zero", mediapipe_sampling=False)
    proposals = propose_turned(images, crops, networks)
    return _face_mesh_twice(photo, image_size, networks, *proposals)


def detect_in_frame(
    frame_srgb: Float[np.ndarray, "H W 3"], networks: Networks, *, max_faces: int
) -> Detection:
    """Returns the faces of a film's frame, largest first, perhaps none. Host function.

    Small faces, and turned ones, are sought only where there is none or a single doubtful one, as
    `detect` does.

    Args:
      frame_srgb: sRGB 0..1.
      networks: from `load_networks`.
      max_faces: largest number of faces.
    """
    photo, image_size = pad_photo(frame_srgb)
    found, moved = jax.device_get(
        _detect_unturned(photo, image_size, networks, faces=max_faces, tiles=False)
    )
    keep = np.flatnonzero(found.confidence >= MIN_CONFIDENCE)
    if not len(keep) or (len(keep) == 1 and moved[keep[0]] > SETTLED):
        try:
            return detect_in_padded(photo, image_size, networks)
        except DetectionError:
            keep = keep[:0]
    return jax.tree.map(lambda x: x[keep], found)


def detect(
    photo_srgb: Float[np.ndarray | Array, "H W 3"], networks: Networks, *, max_faces: int = 1
) -> Detection:
    """Returns the faces of a photo, largest first: a `Detection` with a leading face axis.

    A face may be turned by any angle in the picture. Where none is found, or the one asked for is
    doubtful, it is also sought on the photo turned in steps of 45 degrees; then one face is
    returned, that on whose landmarks the face mesh's two runs agree best.

    Host function: runs Python and NumPy, not for `jit`.

    Args:
      photo_srgb: `[H, W, 3]`, sRGB 0..1.
      networks: from `load_networks`.
      max_faces: largest number of faces; tiles, which find small faces, are run on if it is more
        than one, or if the whole photo shows none.

    Raises:
      DetectionError: there is no face.

    Source: Bazarevsky et al. 2019 (BlazeFace); Grishchenko et al. 2020 (Face Mesh).

    Example:
      >>> detect(photo.srgb, load_networks()).landmarks.shape  # doctest: +SKIP
      (1, 478, 3)
    """
    photo, image_size = pad_photo(np.asarray(photo_srgb, np.float32))
    return detect_in_padded(photo, image_size, networks, max_faces=max_faces)


def detect_in_padded(
    photo: Float[Array, "H W 3"],
    image_size: Float[Array, "2"],
    networks: Networks,
    *,
    max_faces: int = 1,
) -> Detection:
    """Returns the faces of a padded photo, as `detect`. Host function.

    Args:
      photo: sRGB 0..1, padded (`pad_photo`).
      image_size: true `(height, width)`, pixels.
      networks: from `load_networks`.
      max_faces: as for `detect`.

    Raises:
      DetectionError: there is no face.
    """
    # Two spare proposals: the face mesh may reject some.
    for tiles in (False, True) if max_faces == 1 else (True,):
        found, moved = jax.device_get(
            _detect_unturned(photo, image_size, networks, faces=max_faces + 2, tiles=tiles)
        )
        keep = np.flatnonzero(found.confidence >= MIN_CONFIDENCE)[:max_faces]
        if len(keep):
            break
    # Not if several are asked for: of many faces some are always doubtful.
    if not len(keep) or (max_faces == 1 and moved[keep[0]] > SETTLED):
        turned = jax.device_get(_detect_turned(photo, image_size, networks))
        first = jax.tree.map(lambda x: x[keep], (found, moved))
        found, moved = jax.tree.map(lambda *x: np.concatenate(x), first, turned)
        valid = (found.confidence >= MIN_CONFIDENCE) & (found.score >= MIN_TURNED_SCORE)
        keep = np.argsort(np.where(valid, moved, np.inf))[: int(valid.any())]
    if len(keep):
        return jax.tree.map(lambda x: x[keep], found)
    raise DetectionError("No face was found in the photo; give landmarks with --landmarks.")
