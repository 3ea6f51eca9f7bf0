"""The intermediate results of a reconstruction in one image, for debugging. Host code."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.export.preview import TILE, crop_head, draw
from jaxface.images import Photo
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.lighting import directional
from jaxface.types import FaceModel, Reconstruction

_MEASURED_COLOUR, _FITTED_COLOUR = (0.1, 1.0, 0.2), (1.0, 0.15, 0.1)
_CLAY = 0.6  # linear grey
_LIGHT_DIRECTION = (-0.8, -0.5, -0.6)  # from the side, so that form shows; camera space


def draw_stages(
    photo: Photo,
    landmarks: Float[np.ndarray | Array, "L D"],
    reconstruction: Reconstruction,
    model: FaceModel,
) -> Float[np.ndarray, "H W 3"]:
    """Returns eight images in two rows, sRGB: results of the stages. Host function.

    Upper row: measured landmarks (green); the fitted model's (red) over them; the fitted shape in
    grey; the fitted face over the photo. Lower row, in the canonical UV: the diffuse albedo of
    visible texels; the skin mask; the complete low-frequency albedo; the result.

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
    light = directional(jnp.array(_LIGHT_DIRECTION), jnp.full(3, 0.8), ambient=0.1)
    shape, _ = draw(model, fit.vertices, clay, camera, light)
    overlay, alpha = draw(model, fit.vertices, seen.low_frequency, camera, parameters.lighting)
    upper_row = [
        dotted((landmarks, _MEASURED_COLOUR)),
        dotted((landmarks, _MEASURED_COLOUR), (fit.landmarks, _FITTED_COLOUR)),
        np.asarray(shape),
        np.asarray(overlay * alpha + face * (1 - alpha)),
    ]
    mask = jnp.broadcast_to(seen.skin_mask[..., None], seen.partial.shape)
    linear = (seen.partial, seen.low_frequency, reconstruction.synthesis.texture)
    partial, smooth, result = (np.asarray(linear_to_srgb(image)) for image in linear)
    lower_row = [_tile(image) for image in (partial, np.asarray(mask), smooth, result)]
    rows = [np.concatenate(row, axis=1) for row in (upper_row, lower_row)]
    return np.clip(np.concatenate(rows), 0.0, 1.0).astype(np.float32)


def _dots(image: np.ndarray, points: np.ndarray, colour: tuple[float, float, float]) -> None:
    """Paints dots of 4 x 4 pixels into the image; points that are NaN or outside are skipped."""
    points = points[np.isfinite(points).all(1)]
    for down in range(-2, 2):
        for right in range(-2, 2):
            x, y = (np.floor(points) + np.array([right, down])).astype(int).T
            inside = (x >= 0) & (y >= 0) & (x < image.shape[1]) & (y < image.shape[0])
            image[y[inside], x[inside]] = colour


def _tile(image: np.ndarray) -> np.ndarray:
    """Returns a square texture resized to TILE pixels a side, by nearest neighbour."""
    index = ((np.arange(TILE) + 0.5) * len(image) / TILE).astype(int)
    return image[index][:, index]
