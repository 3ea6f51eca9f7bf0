"""Hair for a fitted face: a style, its outline and its colours by the photo."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxface.filters import dilate, smoothstep
from jaxface.hair.colours import colour
from jaxface.hair.config import COILY, LONG, OVER_EARS, HairConfig
from jaxface.hair.outline import WINDOW, Window, fit_outline, overlap
from jaxface.hair.seen import coiliness, hair_of_head, hair_or_skin, shrink
from jaxface.morphable.model import shape
from jaxface.parsing.classes import BEARD, HAIR
from jaxface.precision import jit
from jaxface.rendering.camera import project, rotation_matrix
from jaxface.rendering.color import srgb_to_linear
from jaxface.rendering.hair import CROWN
from jaxface.rendering.lighting import shade
from jaxface.rendering.normals import normalize, vertex_normals
from jaxface.rendering.rasterize import rasterize, triangle_ids
from jaxface.types import Camera, FaceModel, FitResult, Hair, HairStyles, Lighting

_COVERED = (0.5, 0.7)  # share of hair where the ears are: they are seen, they are covered
_AROUND_EARS = 6  # pixels of the window: the photo's ears may be larger than the fitted ones
_LONG = (0.2, 0.35)  # share of hair below the cranium's middle, of short and of long hair
_HANGING = (0.02, 0.12)  # share of hair below the chin, of bobs and of longer hair


@jit
def dress(
    photo_srgb: Float[Array, "S S 3"],
    classes: Float[Array, "S S K"],
    fitted: FitResult,
    model: FaceModel,
    styles: HairStyles,
    *,
    config: HairConfig = HairConfig(),
) -> Hair:
    """Returns the hair of a fitted face.

    Pure, unbatched: works under `jit`, `vmap` and `grad`. Each style is put on the head, its
    outline is drawn to that of the photo's hair, and the one is taken that overlaps the photo's
    hair most above the chin. It is transparent where the photo shows skin. A head with little hair,
    or hair that no style fits, stays bald: a wrong wig is worse than none. Differentiable in the
    photo, the fit and the styles' vertices, through colours and place; not through the choice,
    outlines and what covers what.

    Args:
        photo_srgb: a crop, 512 or 1024 pixels a side.
        classes: probabilities of the parser's `CLASSES` in its pixels.
        fitted: the fit, camera in pixels of the crop.
        model: the face model.
        styles: from `load_styles`.
        config: settings.

    Example:
        >>> hair = dress(crop.srgb, classes, fitted, model, load_styles(model))  # doctest: +SKIP
        >>> hair_mesh(hair).vertices.shape  # doctest: +SKIP
        (5735, 3)
    """
    parameters, scale = fitted.parameters, WINDOW / photo_srgb.shape[0]
    camera = parameters.camera.replace(
        focal=parameters.camera.focal * scale, principal=parameters.camera.principal * scale
    )
    curl = coiliness(photo_srgb, classes[..., HAIR])
    small = shrink(jnp.concatenate([srgb_to_linear(photo_srgb), classes], -1), WINDOW)
    linear, classes = small[..., :3], small[..., 3:]
    neutral = shape(model, parameters.identity, jnp.zeros_like(parameters.expression))
    xy, depth = project(neutral, camera)
    head, _ = rasterize(xy, depth, model.triangles, WINDOW, WINDOW)
    before = head[..., 3] > 0
    classes = hair_of_head(classes, linear, before)
    below, seen = _below_chin(xy, model, camera), classes[..., HAIR] > 0.5
    above = _above_middle(camera)

    def share_of_seen(where: Array, ramp: tuple[float, float]) -> Array:
        return smoothstep(jnp.sum(seen & where) / jnp.maximum(jnp.sum(seen), 1), *ramp)

    hanging, long = share_of_seen(below, _HANGING), share_of_seen(~above, _LONG)
    scalp = (_region("scalp", model, head) | ~before) & above
    ears = dilate(1.0 * _region("ears", model, head), _AROUND_EARS) > 0
    classes = hair_or_skin(classes, linear, before, scalp, ears, long)
    window = Window(classes, jnp.where(before, head[..., 2], jnp.inf), camera, below)

    def fit_style(index: Array) -> tuple[Array, Array, Array]:
        style = jax.tree.map(lambda leaf: leaf[index], styles)
        vertices = fit_outline(style, model, neutral, window)
        return vertices, *overlap(vertices, style, window)

    if config.style == "auto":
        vertices, overlaps, above_chin = jax.lax.map(fit_style, jnp.arange(len(styles.names)))
        covered_ears = smoothstep(_share_of_hair("ears", model, head, classes), *_COVERED)
        covered_ears = jnp.maximum(covered_ears, long)  # long hair may go behind them
        chosen = jnp.argmax(above_chin + _prior(styles, curl, covered_ears, hanging, config))
        vertices, covered = vertices[chosen], above_chin[chosen]
        bald = _share_of_hair("scalp", model, head, classes) < config.least
        bald |= jnp.max(overlaps) < config.doubtful
    else:
        chosen = jnp.asarray(styles.names.index(config.style))
        vertices, _, covered = fit_style(chosen)
        bald = jnp.asarray(False)
    style = jax.tree.map(lambda leaf: leaf[chosen], styles)
    face_light = _light_on_face(neutral, model, camera, parameters.lighting)
    colours, contrast = colour(vertices, style, linear, window, parameters.lighting, face_light)
    return Hair(
        style=jnp.where(bald, -1, chosen),
        vertices=vertices,
        colours=colours,
        contrast=contrast,
        curl=curl,
        overlap=covered,
    )


def _prior(
    styles: HairStyles,
    curl: Float[Array, ""],
    covered_ears: Float[Array, ""],
    hanging: Float[Array, ""],
    config: HairConfig,
) -> Float[Array, " B"]:
    """Returns what is added to the styles' overlaps: coily styles are for coily hair and no other,
    those over the ears for covered ears, long ones for hair that hangs."""

    def for_those(names: tuple[str, ...], bonus: Any, share: Array) -> Float[Array, " B"]:
        of_these = jnp.asarray([name in names for name in styles.names])
        return jnp.where(of_these, bonus * (2.0 * share - 1.0), 0.0)

    return (
        jnp.asarray(config.prior)
        + for_those(COILY, config.coily, curl)
        + for_those(OVER_EARS, config.over_ears, covered_ears)
        + for_those(LONG, config.long, hanging)
    )


def _below_chin(xy: Float[Array, "V 2"], model: FaceModel, camera: Camera) -> Bool[Array, "W W"]:
    """Returns where a pixel of the window lies below the chin, as seen from the crown."""
    front = (model.vertex_region == model.region_names.index("skin")) & (model.mean[:, 2] > 0)
    chin = xy[jnp.argmin(jnp.where(front, model.mean[:, 1], jnp.inf))]
    crown = project(jnp.asarray(CROWN)[None], camera)[0][0]
    return _along(chin, chin - crown) > 0


def _above_middle(camera: Camera) -> Bool[Array, "W W"]:
    """Returns where a pixel of the window lies above the middle of the cranium."""
    middle, above = project(
        jnp.asarray(CROWN) + jnp.array([[0.0, 0.0, 0.0], [0.0, 0.1, 0.0]]), camera
    )[0]
    return _along(middle, above - middle) > 0


def _along(point: Float[Array, "2"], direction: Float[Array, "2"]) -> Float[Array, "W W"]:
    """Returns how far in a direction from a point the pixels of the window lie."""
    y, x = jnp.meshgrid(jnp.arange(WINDOW) + 0.5, jnp.arange(WINDOW) + 0.5, indexing="ij")
    return (jnp.stack([x, y], -1) - point) @ normalize(direction)


def _light_on_face(
    neutral: Float[Array, "V 3"], model: FaceModel, camera: Camera, lighting: Lighting
) -> Float[Array, "3"]:
    """Returns the mean irradiance over pi of the face's skin as the camera sees it, linear RGB."""
    normals = vertex_normals(neutral, model.triangles) @ rotation_matrix(camera.rotation).T
    skin = model.vertex_region == model.region_names.index("skin")
    weight = jnp.maximum(-normals[:, 2], 0.0) * skin
    return weight @ shade(normals, lighting) / jnp.maximum(jnp.sum(weight), 1e-6)


def _share_of_hair(
    region: str,
    model: FaceModel,
    head: Float[Array, "W W 4"],
    classes: Float[Array, "W W K"],
) -> Float[Array, ""]:
    """Returns the share of hair in the pixels where a region of the head is."""
    pixels = _region(region, model, head)
    weight = pixels * jnp.sum(classes[..., :BEARD], -1)
    return jnp.sum(pixels * classes[..., HAIR]) / jnp.maximum(jnp.sum(weight), 1.0)


def _region(region: str, model: FaceModel, head: Float[Array, "W W 4"]) -> Bool[Array, "W W"]:
    """Returns the pixels where a region of the head is."""
    inside = model.vertex_region == model.region_names.index(region)
    triangles = inside[model.triangles].all(1)
    return triangles[jnp.maximum(triangle_ids(head), 0)] & (head[..., 3] > 0)
