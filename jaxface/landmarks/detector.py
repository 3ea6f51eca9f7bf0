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
from jaxface.landmarks.crops import Region, crop, pyramid, to_photo
from jaxface.landmarks.graph import run
from jaxface.landmarks.mesh import ENLARGE, blendshapes, face_mesh, landmark_region
from jaxface.landmarks.networks import Networks
from jaxface.types import Detection

DETECTOR_SIZE, CELLS = 192, 48
WINDOW = 512
CANDIDATES = 64
MIN_SCORE, MIN_CONFIDENCE, MAX_OVERLAP = 0.5, 0.5, 0.3
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


def _propose(
    levels: tuple[Array, ...], extent: Array, regions: Region, networks: Networks
) -> tuple[Array, Array, Array]:
    """Returns scores `[N]`, boxes `[N, 4]` and eye points `[N, 2, 2]` in pixels, all windows."""

    def window(region: Region) -> tuple[Array, Array, Array]:
        image = crop(levels, extent, region, DETECTOR_SIZE, border="zero") * 2 - 1
        raw, logits = run(networks.detector.header(), networks.detector.weights, image[None])
        at = (jnp.arange(CELLS) + 0.5) / CELLS
        anchors = jnp.stack(jnp.meshgrid(at, at), axis=-1).reshape(-1, 2)
        center = raw[0, :, :2] / DETECTOR_SIZE + anchors
        size = raw[0, :, 2:4] / DETECTOR_SIZE * region.side
        eyes = raw[0, :, 4:8].reshape(-1, 2, 2) / DETECTOR_SIZE + anchors[:, None]
        score = jax.nn.sigmoid(jnp.clip(logits[0, :, 0], -100, 100))
        score, best = jax.lax.top_k(score, CANDIDATES)
        middle = to_photo(region, center[best])
        box = jnp.concatenate([middle - size[best] / 2, middle + size[best] / 2], axis=1)
        pixels = to_photo(region, eyes[best].reshape(-1, 2)).reshape(-1, 2, 2)
        return score, box, pixels

    scores, boxes, eyes = jax.lax.map(window, regions)
    return scores.reshape(-1), boxes.reshape(-1, 4), eyes.reshape(-1, 2, 2)


def _overlap(box: Array, boxes: Array) -> Array:
    low = jnp.maximum(box[:2], boxes[:, :2])
    high = jnp.minimum(box[2:], boxes[:, 2:])
    inner = jnp.prod(jnp.maximum(high - low, 0), axis=1)
    area = jnp.prod(box[2:] - box[:2]) + jnp.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return inner / jnp.maximum(area - inner, 1e-6)


def _suppress(scores: Array, boxes: Array) -> Array:
    """Returns the scores with every box that overlaps a better one set to zero."""

    def step(i: int, kept: Array) -> Array:
        later = jnp.arange(len(kept)) > i
        drop = later & (_overlap(boxes[i], boxes) > MAX_OVERLAP) & (kept[i] > 0)
        return jnp.where(drop, 0.0, kept)

    return jax.lax.fori_loop(0, len(scores), step, scores)


@partial(jax.jit, static_argnames=("faces", "windows", "biased"))
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

    Differentiable with respect to `photo` through the landmarks; regions are constants.
    """
    whole = Region(center=extent[::-1] / 2, side=jnp.max(extent), angle=jnp.zeros(()))
    stack = [jax.tree.map(lambda x: x[None], whole)]
    if windows:
        rows, columns = (range(0, max(n - WINDOW // 2, 1), WINDOW // 2) for n in photo.shape[:2])
        corners = np.array([(c, r) for r in rows for c in columns], np.float32)
        count = len(corners)
        stack.append(
            Region(
                center=jnp.asarray(corners + WINDOW / 2),
                side=jnp.full(count, float(WINDOW)),
                angle=jnp.zeros(count),
            )
        )
    regions = jax.tree.map(lambda *x: jnp.concatenate(x), *stack)
    levels = (photo,) if biased else pyramid(photo)
    scores, boxes, eyes = _propose(jax.lax.stop_gradient(levels), extent, regions, networks)
    scores, best = jax.lax.top_k(scores, CANDIDATES)
    boxes, eyes = boxes[best], eyes[best]
    scores = _suppress(jnp.where(scores >= MIN_SCORE, scores, 0.0), boxes)
    side = jnp.max(boxes[:, 2:] - boxes[:, :2], axis=1)
    # A box of no face would give a region without extent, and NaN gradients after it.
    side = jnp.where(scores > 0, side, 64.0)
    _, best = jax.lax.top_k(jnp.where(scores > 0, side, 0.0), faces)

    def landmarks(box: Array, eye: Array, length: Array, score: Array) -> Detection:
        direction = jnp.where(score > 0, eye[1] - eye[0], jnp.array([1.0, 0.0]))
        region = Region(
            center=(box[:2] + box[2:]) / 2,
            side=ENLARGE * length,
            angle=jnp.arctan2(direction[1], direction[0]),
        )

        # Twice: the first pass finds the region for the second. A scan compiles the mesh once.
        def refine(where: Region, _: None) -> tuple[Region, tuple[Array, Array]]:
            points, flag = face_mesh(levels, extent, where, networks, biased=biased)
            return landmark_region(points), (points, flag)

        _, (passes, flags) = jax.lax.scan(refine, region, None, length=2)
        points, flag = passes[-1], flags[-1]
        return Detection(
            box=box,
            score=score,
            landmarks=points,
            confidence=jnp.where(score > 0, flag, 0.0),
            blendshapes=blendshapes(points, networks),
        )

    return jax.vmap(landmarks)(boxes[best], eyes[best], side[best], scores[best])


def detect(photo_srgb: np.ndarray, networks: Networks, *, max_faces: int = 1) -> Detection:
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
      >>> from jaxface import detect, load_networks
      >>> detect(photo, load_networks()).landmarks.shape  # doctest: +SKIP
      (1, 478, 3)
    """
    photo, extent = pad_photo(np.asarray(photo_srgb, np.float32))
    for windows in (False, True) if max_faces == 1 else (True,):
        found = detect_padded(photo, extent, networks, faces=max_faces + 2, windows=windows)
        keep = np.flatnonzero(np.asarray(found.confidence) >= MIN_CONFIDENCE)[:max_faces]
        if len(keep):
            return jax.tree.map(lambda x: x[keep], found)  # noqa: B023
    raise DetectionError("No face was found in the photo; give landmarks with --landmarks.")
