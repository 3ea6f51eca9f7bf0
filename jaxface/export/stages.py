"""What each stage made of a photo, in one picture: where to look when a fit fails. Host code."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.export.preview import TILE, crop_head, draw
from jaxface.images import Photo
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.lighting import directional
from jaxface.types import FaceModel, Reconstruction

_GIVEN, _FITTED = (0.1, 1.0, 0.2), (1.0, 0.15, 0.1)
_CLAY = 0.6  # linear grey
_LAMP = (-0.8, -0.5, -0.6)  # from the side, so that form shows; camera space


def draw_stages(
    photo: Photo,
    landmarks: Float[np.ndarray | Array, "L D"],
    reconstruction: Reconstruction,
    model: FaceModel,
) -> Float[np.ndarray, "H W 3"]:
    """Returns eight pictures in two rows, sRGB: what each stage saw and made. Host function.

    Above: landmarks as given (green); as the fitted model has them (red, over the given ones); the
    fitted shape as clay; the fitted albedo under the fitted light. Below, in the canonical UV: what
    the photo shows, unlit; what of it counts as skin; the complete low-frequency albedo;
    the result.

    Args:
        photo: the input.
        landmarks: pixels of the photo, as given to `reconstruct`; NaN where one is missing.
        reconstruction: of that photo.
        model: the face model that was fitted.

    Example:
        >>> draw_stages(photo, found.landmarks[0], result, assets.model).shape  # doctest: +SKIP
        (1024, 2048, 3)
    """
    fit, seen = reconstruction.fit, reconstruction.unwrapped
    parameters = fit.parameters
    face, camera = crop_head(photo.srgb, fit.vertices, parameters.camera, model)
    scale = camera.focal / parameters.camera.focal

    def dotted(*layers: tuple[np.ndarray | Array, tuple[float, float, float]]) -> np.ndarray:
        image = face.copy()
        for points, colour in layers:
            xy = (np.asarray(points)[:, :2] - parameters.camera.principal) * scale
            _dots(image, np.asarray(xy + camera.principal), colour)
        return image

    clay = jnp.full((8, 8, 3), _CLAY)
    lamp = directional(jnp.array(_LAMP), jnp.full(3, 0.8), ambient=0.1)
    shape, _ = draw(model, fit.vertices, clay, camera, lamp)
    lit, alpha = draw(model, fit.vertices, seen.low_frequency, camera, parameters.lighting)
    above = [
        dotted((landmarks, _GIVEN)),
        dotted((landmarks, _GIVEN), (fit.landmarks, _FITTED)),
        np.asarray(shape),
        np.asarray(lit * alpha + face * (1 - alpha)),
    ]
    mask = jnp.broadcast_to(seen.skin_mask[..., None], seen.partial.shape)
    linear = (seen.partial, seen.low_frequency, reconstruction.synthesis.texture)
    partial, smooth, result = (np.asarray(linear_to_srgb(image)) for image in linear)
    below = [_tile(image) for image in (partial, np.asarray(mask), smooth, result)]
    rows = [np.concatenate(row, axis=1) for row in (above, below)]
    return np.clip(np.concatenate(rows), 0.0, 1.0).astype(np.float32)


def _dots(image: np.ndarray, points: np.ndarray, colour: tuple[float, float, float]) -> None:
    """Paints dots of 4 x 4 pixels into the image; what is missing or outside is left out."""
    points = points[np.isfinite(points).all(1)]
    for down in range(-2, 2):
        for right in range(-2, 2):
            x, y = (np.floor(points) + np.array([right, down])).astype(int).T
            inside = (x >= 0) & (y >= 0) & (x < image.shape[1]) & (y < image.shape[0])
            image[y[inside], x[inside]] = colour


def _tile(image: np.ndarray) -> np.ndarray:
    """Returns a square texture at TILE pixels a side, by its nearest texels."""
    at = ((np.arange(TILE) + 0.5) * len(image) / TILE).astype(int)
    return image[at][:, at]
