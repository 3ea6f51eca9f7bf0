"""The methods that complete a texture, side by side: ours, the paper's, and what one would try.

Each sees the same seen texels, low-frequency albedo and database, keeps the photo where it is seen
(but the linear model and the paper's form, which do not), and gets the best that we know to give
it: database faces take their tone from our low-frequency albedo, which alone they could not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxface.config import ReconstructConfig
from jaxface.evaluation import scene
from jaxface.evaluation.poisson import Poisson
from jaxface.features.correlations import correlate, resize
from jaxface.filters import blur, log_decode, log_encode
from jaxface.infer import finish, infer
from jaxface.landmarks.detector import detect
from jaxface.morphable.albedo import albedo_texture
from jaxface.morphable.model import landmark_points
from jaxface.parsing.parse import parse
from jaxface.reconstruct import reconstruct
from jaxface.refine import refine
from jaxface.rendering.camera import project
from jaxface.rendering.color import linear_to_srgb, srgb_to_linear
from jaxface.synthesis import compose, soft_mask, synthesize
from jaxface.types import (
    Assets,
    Correlations,
    FitResult,
    Observation,
    Reconstruction,
    UnwrapResult,
)
from jaxface.unwrapping import unwrap

# Texels of 512: Gaussians of detail and of the border of the seen; OpenCV's radius.
_TONE, _FEATHER, _RADIUS = 8.0, 3.0, 4


@dataclass
class Case:
    """What every method is given: the stages up to the unwrapped photo, and the assets."""

    seen: UnwrapResult
    fit: FitResult
    assets: Assets
    config: ReconstructConfig
    done: Reconstruction | None = None

    @property
    def observation(self) -> Observation:
        """What the photo shows, as the stages hand it on."""
        return Observation(fit=self.fit, unwrapped=self.seen)

    @cached_property
    def ours(self) -> Reconstruction:
        """Our result, made once; several methods use its weights."""
        return self.done or infer(self.observation, self.assets.database, self.assets, self.config)

    @cached_property
    def keep(self) -> np.ndarray:
        """How much the photo counts at each texel, `[T, T, 1]`."""
        size = self.seen.partial.shape[0]
        return np.asarray(soft_mask(self.seen.skin_mask, _FEATHER * size / 512))[..., None]

    @cached_property
    def poisson(self) -> Poisson:
        """Poisson's equation with the photo's texels as boundary; eyes and mouth stay too."""
        fixed = np.asarray(self.assets.painted) > 0.5
        known = (self.keep[..., 0] > 0.9) | fixed
        return Poisson(known, np.asarray(self.assets.texels.mask))

    @cached_property
    def known_log(self) -> np.ndarray:
        """The logarithm of the photo's texels, the low-frequency albedo elsewhere."""
        return log(np.where(self.keep > 0.5, self.seen.partial, self.seen.low_frequency))


def observe_truth(
    photo_srgb: np.ndarray,
    fit: FitResult,
    assets: Assets,
    config: ReconstructConfig,
    *,
    shown: Float[Array, "H W"] | None = None,
) -> Case:
    """Returns the case of a photo whose shape, camera and light are known; its classes of pixels
    are the parser's.

    Args:
        photo_srgb: 0..1.
        fit: the truth.
        assets: of the stages.
        config: settings.
        shown: weight of each pixel, 0..1; 0 hides it.
    """
    photo = jnp.asarray(photo_srgb)
    landmarks = landmark_points(assets.model, fit.vertices)
    xy, _ = project(landmarks, fit.parameters.camera)
    classes = parse(photo, xy, assets.vgg, assets.parser)
    if shown is not None:
        classes = classes * shown[..., None]
    seen, fit = unwrap(
        photo,
        fit,
        assets.model,
        assets.texels,
        classes=classes,
        known_light=True,
        config=config.unwrap,
    )
    return Case(seen, fit, assets, config)


def observe_photo(photo_srgb: np.ndarray, assets: Assets, config: ReconstructConfig) -> Case:
    """Returns the case of a photo of which nothing is known. Raises `DetectionError`."""
    found = detect(photo_srgb, assets.networks)
    result = reconstruct(
        photo_srgb, found.landmarks[0], assets, config, blendshapes=found.blendshapes[0]
    )
    return Case(result.unwrapped, result.fit, assets, config, result)


def log(linear: np.ndarray) -> np.ndarray:
    """Returns the logarithm in which shading and pigment are sums."""
    return np.asarray(log_encode(jnp.asarray(linear)))


def detail(linear: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Returns what of a texture's logarithm is finer than the tone of the skin around."""
    values, sigma = log(linear), _TONE * len(linear) / 512
    coverage = jnp.maximum(blur(jnp.asarray(skin), sigma), 1e-3)
    return values - np.asarray(blur(jnp.asarray(values * skin), sigma) / coverage)


def composite(case: Case, inferred: np.ndarray) -> np.ndarray:
    """Returns the photo where it is seen, feathered into what was inferred."""
    return case.keep * np.asarray(case.seen.partial) + (1 - case.keep) * inferred


def blended(
    case: Case,
    guide_log: np.ndarray,
    valid: np.ndarray | None = None,
    other: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the photo completed with the gradients of a guide."""
    solved = case.poisson(case.known_log, guide_log, valid, other)
    return composite(case, np.asarray(log_decode(jnp.asarray(solved))))


def default(case: Case) -> np.ndarray:
    """Returns our texture: the composition."""
    return np.asarray(case.ours.synthesis.texture)


def refined(case: Case) -> np.ndarray:
    """Returns our texture after the optimisation for the blended correlations."""
    database = case.assets.database
    result = refine(case.ours, database, case.assets, case.config, stepwise=True)
    return np.asarray(result.synthesis.texture)


def uniform_weights(case: Case) -> np.ndarray:
    """Returns our texture with all faces of the database weighed alike: what the blend adds."""
    seen, assets = case.seen, case.assets
    count = len(assets.database.indices)
    weights = jnp.full(count, 1 / count)
    texture = compose(
        jax.random.key(case.config.seed),
        seen.low_frequency,
        seen.partial,
        seen.skin_mask,
        assets.database.textures,
        weights,
        painted=assets.painted,
        bare_skin=assets.bare_skin,
        pixels_per_texel=seen.pixels_per_texel,
        config=case.config.composition.replace(blended_faces=count),
    ).texture
    blended = case.ours.blend.replace(weights=weights)
    return np.asarray(finish(texture, seen, blended, assets.database, assets, case.config)[0])


def paper(case: Case) -> np.ndarray:
    """Returns the paper's plain form: one correlation matrix a layer, from the smooth albedo."""
    plain = ReconstructConfig.for_quality(
        case.config.quality, method="paper", size=case.config.size
    )
    database = case.assets.database
    result = infer(case.observation, database, case.assets, plain)
    result = refine(result, database, case.assets, plain, stepwise=True)
    return np.asarray(result.synthesis.texture)


def linear_albedo(case: Case) -> np.ndarray:
    """Returns the linear albedo model's texture alone."""
    size = case.seen.partial.shape[0]
    return np.asarray(albedo_texture(case.assets.model, case.fit.parameters.albedo, size))


def low_frequency(case: Case) -> np.ndarray:
    """Returns the photo over our low-frequency albedo: no detail where nothing is seen."""
    return composite(case, np.asarray(case.seen.low_frequency))


def mirror(case: Case) -> np.ndarray:
    """Returns the photo with its mirror image Poisson-blended where that is seen."""
    valid = case.keep[:, ::-1, 0] > 0.9
    return blended(case, case.known_log[:, ::-1], valid, log(case.seen.low_frequency))


def inpaint(case: Case, how: str) -> np.ndarray:
    """Returns OpenCV's inpainting of the photo's texels, `telea` or `navier-stokes`."""
    import cv2

    flag = {"telea": cv2.INPAINT_TELEA, "navier-stokes": cv2.INPAINT_NS}[how]
    picture = np.round(255 * scene.encode_srgb(np.asarray(case.seen.partial))).astype(np.uint8)
    missing = (case.keep[..., 0] < 0.9).astype(np.uint8)
    radius = max(2, round(_RADIUS * len(picture) / 512))
    filled = cv2.inpaint(picture[..., ::-1].copy(), missing, radius, flag)[..., ::-1]
    inferred = scene.decode_srgb(filled / 255.0)
    painted = np.asarray(case.assets.painted)[..., None]
    # An eye cannot be inpainted from skin: everybody gets the same ones.
    return composite(case, painted * np.asarray(case.seen.low_frequency) + (1 - painted) * inferred)


def telea(case: Case) -> np.ndarray:
    """Returns OpenCV's inpainting after Telea 2004."""
    return inpaint(case, "telea")


def navier_stokes(case: Case) -> np.ndarray:
    """Returns OpenCV's inpainting after Bertalmio et al. 2001."""
    return inpaint(case, "navier-stokes")


def of_database(case: Case, weights: np.ndarray) -> np.ndarray:
    """Returns the photo completed by weighted database faces, tone matched, Poisson-blended."""
    faces = srgb_to_linear(case.assets.database.textures / 255.0)
    mixed = np.asarray(jnp.tensordot(jnp.asarray(weights), faces, 1))
    skin = 1 - np.asarray(case.assets.painted)[..., None]
    return blended(case, log(case.seen.low_frequency) + detail(mixed, skin))


def nearest(case: Case) -> np.ndarray:
    """Returns the completion by the database face of the nearest seen texels.

    Distance is that of the logarithms after each channel's mean is taken out (tone matched).
    """
    faces = log(srgb_to_linear(case.assets.database.textures / 255.0))
    weight = np.asarray(case.seen.skin_mask)[..., None]
    weight = weight / max(float(weight.sum()), 1e-6)
    difference = faces - case.known_log
    difference -= (difference * weight).sum((1, 2), keepdims=True)
    best = int(np.argmin((difference**2 * weight).sum((1, 2, 3))))
    return of_database(case, np.eye(len(faces), dtype=np.float32)[best])


def weighted_average(case: Case) -> np.ndarray:
    """Returns the completion by the average of database faces under our simplex weights."""
    return of_database(case, np.asarray(case.ours.blend.weights))


def uniform_average(case: Case) -> np.ndarray:
    """Returns the completion by the plain average of all database faces."""
    count = len(case.assets.database.indices)
    return of_database(case, np.full(count, 1 / count, np.float32))


def direct(case: Case) -> np.ndarray:
    """Returns a synthesis for the photo's own masked correlations, without any database; as the
    default in all else."""
    smooth = jnp.round(255 * linear_to_srgb(case.seen.low_frequency)).astype(jnp.uint8)[None]
    return synthesize_for(case, own_target(case), textures=smooth, weights=jnp.ones(1))


def synthesize_for(
    case: Case,
    target: Callable[[int], Correlations] | None = None,
    *,
    textures: Any = None,
    weights: Any = None,
) -> np.ndarray:
    """Returns our synthesis with another target or another database.

    Args:
        case: what is seen.
        target: correlations by side; the blended ones if missing.
        textures: the database's, sRGB 0..255.
        weights: of them; our simplex weights if missing.
    """
    result = synthesize(
        jax.random.key(case.config.seed),
        case.seen.low_frequency,
        case.seen.partial,
        case.seen.skin_mask,
        case.assets.database.textures if textures is None else textures,
        case.ours.blend.weights if weights is None else weights,
        case.assets.vgg,
        painted=case.assets.painted,
        bare_skin=case.assets.bare_skin,
        pixels_per_texel=case.seen.pixels_per_texel,
        correlation=case.config.correlation,
        composition=case.config.composition,
        config=case.config.synthesis,
        target=target,
        stepwise=True,
    )
    return np.asarray(result.texture)


def own_target(case: Case) -> Callable[[int], Correlations]:
    """Returns the photo's own correlations by side; what it does not show of a cell, the mirror
    image gives, and what neither shows, the mean over the cells."""
    seen, config = case.seen, case.config.correlation
    mask = seen.skin_mask[..., None]
    merged = linear_to_srgb(mask * seen.partial + (1 - mask) * seen.low_frequency)

    def target(side: int) -> Correlations:
        picture, visible = resize(merged, side), resize(mask, side)[..., 0]
        both = (
            correlate(picture[:, ::turn], visible[:, ::turn], case.assets.vgg, config)
            for turn in (1, -1)
        )
        return fill_cells(*both)

    return target


def fill_cells(own: Correlations, mirrored: Correlations) -> Correlations:
    """Returns correlations with a value in every cell: its own as far as it is seen, the mirror
    image's as far as that is, the mean of the seen cells for the rest."""
    values = []
    for value, support, other, other_support in zip(
        own.values, own.support, mirrored.values, mirrored.support, strict=True
    ):
        mean = jnp.tensordot(support, value, 1) / jnp.maximum(support.sum(), 1e-6)
        first = jnp.clip(support, 0, 1)[:, None, None]
        second = (1 - first) * jnp.clip(other_support, 0, 1)[:, None, None]
        values.append(first * value + second * other + (1 - first - second) * mean)
    return own.replace(values=tuple(values))


METHODS: dict[str, Callable[[Case], np.ndarray]] = {
    "ours": default,
    "refined": refined,
    "uniform weights": uniform_weights,
    "paper": paper,
    "linear albedo": linear_albedo,
    "low-frequency albedo": low_frequency,
    "mirror": mirror,
    "Telea": telea,
    "Navier-Stokes": navier_stokes,
    "nearest face": nearest,
    "weighted average": weighted_average,
    "uniform average": uniform_average,
    "direct correlations": direct,
}
"""What is compared; the first is judged against each of the others."""
