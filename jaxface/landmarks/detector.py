"""Stage 1: faces of a photo and their landmarks.

MediaPipe's full-range BlazeFace proposes boxes on the whole photo (and on windows of it for small
faces); the face mesh, run twice, decides whether a face is there and gives its 478 landmarks.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.errors import DetectionError, InputError
from jaxface.landmarks.graph import apply
from jaxface.landmarks.mesh import ENLARGE, SIZE, blendshapes, face_mesh, landmark_crop
from jaxface.precision import jit
from jaxface.rendering.crop import pyramid, sample
from jaxface.types import Crop, Detection, Networks

DETECTOR_SIZE, CELLS = 192, 48
WINDOW = 512
CANDIDATES = 64
MIN_SCORE, MIN_CONFIDENCE, MAX_OVERLAP = 0.5, 0.5, 0.3
TURNS = (0.0, np.pi / 2, -np.pi / 2)
TURN_COST = 0.2  # a lying face scores higher than this above what its upright picture does
BUCKETS = (256, 512, 768, 1024, 1536, 2048, 3072, 4096)


def pad_photo(photo_srgb: np.ndarray) -> tuple[Array, Array]:
    """Returns the photo padded to a bucket of sizes, and its true `(height, width)`.

    Few sizes mean few compilations, whatever the photos' sizes are. Host code.
    """
    height, width = photo_srgb.shape[:2]
    if max(height, width) > BUCKETS[-1]:
        raise InputError(f"The photo is {width} x {height}; at most {BUCKETS[-1]} a side are used.")
    rows, columns = (next(b for b in BUCKETS if b >= n) for n in (height, width))
    padded = np.pad(photo_srgb, ((0, rows - height), (0, columns - width), (0, 0)), mode="edge")
    return jnp.asarray(padded, jnp.float32), jnp.array([height, width], jnp.float32)


@partial(jit, static_argnames=("border", "biased"))
def _sample_crops(photo: Array, extent: Array, crops: Crop, *, border: str, biased: bool) -> Array:
    """Returns the images of N crops `[N, size, size, 3]`: all that depends on the photo's size."""
    levels = (photo,) if biased else pyramid(photo)

    def one(crop: Crop) -> Array:
        return sample(levels, extent, crop, border=border, biased=biased)

    return jax.lax.map(one, crops)


@partial(jit, static_argnames=("shape", "windows"))
def _windows(extent: Array, shape: tuple[int, ...], windows: bool) -> Crop:
    """Returns the whole photo upright and on either side, then windows at half overlap if wanted.

    The detector knows upright faces only: of a lying one it misplaces the eyes. So it does of an
    upright one in a turned window, whose proposals therefore need a better score.
    """
    rows, columns = (range(0, max(n - WINDOW // 2, 1), WINDOW // 2) for n in shape[:2])
    corners = np.array([(c, r) for r in rows for c in columns if windows], np.float32)
    center = jnp.asarray(corners.reshape(-1, 2) + WINDOW / 2)
    whole, count = len(TURNS), len(corners)
    return Crop(
        center=jnp.concatenate([jnp.tile(extent[::-1] / 2, (whole, 1)), center]),
        side=jnp.concatenate([jnp.tile(jnp.max(extent), whole), jnp.full(count, float(WINDOW))]),
        angle=jnp.concatenate([jnp.array(TURNS), jnp.zeros(count)]),
        size=DETECTOR_SIZE,
    )


def _propose(images: Array, crops: Crop, networks: Networks) -> tuple[Array, Array, Array]:
    """Returns scores `[N]`, boxes `[N, 4]` and eye points `[N, 2, 2]` in pixels, all windows."""

    def window(item: tuple[Array, Crop]) -> tuple[Array, Array, Array]:
        image, crop = item
        raw, logits = apply(networks.detector, image[None] * 2 - 1)
        at = (jnp.arange(CELLS) + 0.5) * (DETECTOR_SIZE / CELLS)
        anchors = jnp.stack(jnp.meshgrid(at, at), axis=-1).reshape(-1, 2)
        center = raw[0, :, :2] + anchors
        size = raw[0, :, 2:4] / crop.scale
        eyes = raw[0, :, 4:8].reshape(-1, 2, 2) + anchors[:, None]
        score = jax.nn.sigmoid(jnp.clip(logits[0, :, 0], -100, 100))
        score = score - TURN_COST * (crop.angle != 0.0)
        score, best = jax.lax.top_k(score, CANDIDATES)
        middle = crop.points_to_photo(center[best])
        box = jnp.concatenate([middle - size[best] / 2, middle + size[best] / 2], axis=1)
        return score, box, crop.points_to_photo(eyes[best])

    scores, boxes, eyes = jax.lax.map(window, (images, crops))
    return scores.reshape(-1), boxes.reshape(-1, 4), eyes.reshape(-1, 2, 2)


def _overlap(box: Array, boxes: Array) -> Array:
    low = jnp.maximum(box[:2], boxes[:, :2])
    high = jnp.minimum(box[2:], boxes[:, 2:])
    inner = jnp.prod(jnp.maximum(high - low, 0), axis=1)
    area = jnp.prod(box[2:] - box[:2]) + jnp.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return inner / jnp.maximum(area - inner, 1e-6)


def _suppress(scores: Array, boxes: Array) -> Array:
    """Returns the scores with every box that overlaps a better one set to zero."""

    def step(i: Array, kept: Array) -> Array:
        later = jnp.arange(len(kept)) > i
        drop = later & (_overlap(boxes[i], boxes) > MAX_OVERLAP) & (kept[i] > 0)
        return jnp.where(drop, 0.0, kept)

    return jax.lax.fori_loop(0, len(scores), step, scores)


@partial(jit, static_argnames="faces")
def _candidates(
    images: Array, crops: Crop, networks: Networks, *, faces: int
) -> tuple[Array, Array, Crop]:
    """Returns boxes, scores and crops of the largest proposals that survive suppression."""
    scores, boxes, eyes = _propose(jax.lax.stop_gradient(images), crops, networks)
    scores, best = jax.lax.top_k(scores, CANDIDATES)
    boxes, eyes = boxes[best], eyes[best]
    scores = _suppress(jnp.where(scores >= MIN_SCORE, scores, 0.0), boxes)
    side = jnp.max(boxes[:, 2:] - boxes[:, :2], axis=1)
    # A box of no face would give a crop without extent, and NaN gradients after it.
    side = jnp.where(scores > 0, side, 64.0)
    _, best = jax.lax.top_k(jnp.where(scores > 0, side, 0.0), faces)
    boxes, scores = boxes[best], scores[best]
    upright = jnp.array([1.0, 0.0])
    direction = jnp.where(scores[:, None] > 0, eyes[best, 1] - eyes[best, 0], upright)
    found = Crop(
        center=(boxes[:, :2] + boxes[:, 2:]) / 2,
        side=ENLARGE * side[best],
        angle=jnp.arctan2(direction[:, 1], direction[:, 0]),
        size=SIZE,
    )
    return boxes, scores, found


@jit
def _read(images: Array, crops: Crop, networks: Networks) -> tuple[Array, Array, Array, Crop]:
    """Returns landmarks, their confidence, blendshapes and the crops around the landmarks."""

    def one(image: Array, crop: Crop) -> tuple[Array, Array, Array, Crop]:
        points, flag = face_mesh(image, crop, networks)
        return points, flag, blendshapes(points, networks), landmark_crop(points)

    return jax.vmap(one)(images, crops)


def detect_padded(
    photo: Float[Array, "H W 3"],
    extent: Float[Array, "2"],
    networks: Networks,
    *,
    faces: int = 1,
    windows: bool = False,
    biased: bool = False,
) -> Detection:
    """Returns the `faces` best faces, largest first; a `confidence` below 0.5 means none.

    Args:
      photo: sRGB 0..1, padded (`pad_photo`).
      extent: true `(height, width)`.
      networks: from `load_networks`.
      faces: static number of results; the rows beyond the faces found have confidence 0.
      windows: also look at 512-pixel windows at half overlap, for faces of 40 to 100 pixels.
      biased: MediaPipe's crops without the half-pixel offset, for parity tests.

    Differentiable with respect to `photo` through the landmarks; where the crops lie is constant.
    Its parts are jitted, so that the networks compile once for photos of all sizes; it may be
    jitted whole.
    """
    crops = _windows(extent, photo.shape, windows)
    images = _sample_crops(photo, extent, crops, border="zero", biased=biased)
    boxes, scores, crops = _candidates(images, crops, networks, faces=faces)
    # Twice: the first pass finds the crop for the second.
    for _ in range(2):
        images = _sample_crops(photo, extent, crops, border="replicate", biased=biased)
        points, flags, coefficients, crops = _read(images, crops, networks)
    return Detection(
        box=boxes,
        score=scores,
        landmarks=points,
        confidence=jnp.where(scores > 0, flags, 0.0),
        blendshapes=coefficients,
    )


def detect(
    photo_srgb: Float[np.ndarray | Array, "H W 3"], networks: Networks, *, max_faces: int = 1
) -> Detection:
    """Returns the faces of a photo, largest first, with a leading face axis. Host function.

    Args:
      photo_srgb: `[H, W, 3]`, sRGB 0..1.
      networks: from `load_networks`.
      max_faces: at most so many; small faces are searched for when more than one is asked for
        or when the whole photo shows none.

    Raises:
      DetectionError: there is no face.

    Source: Bazarevsky et al. 2019 (BlazeFace); Grishchenko et al. 2020 (Face Mesh).

    Example:
      >>> detect(photo.srgb, load_networks()).landmarks.shape  # doctest: +SKIP
      (1, 478, 3)
    """
    photo, extent = pad_photo(np.asarray(photo_srgb, np.float32))
    return detect_in_padded(photo, extent, networks, max_faces=max_faces)


def detect_in_padded(
    photo: Float[Array, "H W 3"],
    extent: Float[Array, "2"],
    networks: Networks,
    *,
    max_faces: int = 1,
) -> Detection:
    """Returns what `detect` does of a photo that is on the device already. Host function.

    Args:
      photo: sRGB 0..1, padded (`pad_photo`).
      extent: true `(height, width)`, pixels.
      networks: from `load_networks`.
      max_faces: as for `detect`.

    Raises:
      DetectionError: there is no face.
    """
    for windows in (False, True) if max_faces == 1 else (True,):
        found = detect_padded(photo, extent, networks, faces=max_faces + 2, windows=windows)
        found = jax.device_get(found)
        keep = np.flatnonzero(found.confidence >= MIN_CONFIDENCE)[:max_faces]
        if len(keep):
            return jax.tree.map(lambda x: x[keep], found)  # noqa: B023
    raise DetectionError("No face was found in the photo; give landmarks with --landmarks.")
