"""Composition: a complete texture of the photo, its mirror image and the database.

All in log albedo, where shading and pigment are sums. With the log of the low-frequency albedo L,
the photo's residual r = log(partial) - L and the soft mask w, the composed texture is

    L + w r + (1 - w) (v r' + (1 - v) d + o),   v = w' (1 - w)

where ' is the mirror image, r' without tone, d the inferred detail (`_database_detail`, on bare
skin plus `_continued_grain`), and o the step in tone at the border of what is seen, continued
beyond it by a membrane. A mirrored residual thus enters with w' (1 - w)^2.

Tone is what is coarser than the Gaussian of `tone_sigma` texels (12 of 512), detail what is finer.
Octave k of the detail lies between the Gaussians of tone_sigma / 2^k and tone_sigma / 2^(k + 1);
the finest holds all that is finer. Grain are the octaves whose coarser Gaussian has at most
`grain_sigma` texels (3 of 512).

Steps: (1) soft mask; (2) sharpen the photo's octaves; (3) choose source patches of grain; (4) mean
face; (5) per completing face: fill the octaves that blur has removed, infer what is unseen, match
its tone, blend.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from jaxface.filters import blur, log_decode, log_encode, masked_blur, smoothstep
from jaxface.precision import jit
from jaxface.pytrees import pytree
from jaxface.rendering.color import srgb_to_linear
from jaxface.synthesis.config import CompositionConfig
from jaxface.synthesis.octaves import (
    Sigma,
    bands,
    blur_mtf,
    local_contrast,
    mean_product,
    octave_sigmas,
    skin_gains,
    soft_clip,
)
from jaxface.synthesis.quilt import choose_patches, quilt
from jaxface.types import Textures

_SWEEPS = 40  # of Jacobi's method at each level of the membrane's pyramid
_MIN_PIXELS_PER_TEXEL = 0.05  # bounds the Gaussian of the photo's blur at 20 `photo_blur` texels


@pytree
class Composition:
    """A composed texture, and its variants with the detail of other database faces.

    Attributes:
        photo_weight: soft mask w of the photo, 0..1; it falls to 0 before the border of what is
            seen.
        completions: complete textures, linear RGB, each with the detail of one database face,
            N <= E of them, that of greatest weight first.
        face_weights: weights of the E blended faces, normalised to the sum 1, descending.
    """

    photo_weight: Float[Array, "T T"]
    completions: Float[Array, "N T T 3"]
    face_weights: Float[Array, " E"]

    @property
    def texture(self) -> Float[Array, "T T 3"]:
        """The composed texture, linear RGB: the first completion."""
        return self.completions[0]


@partial(jit, static_argnames="completions")
def compose(
    key: Key[Array, ""],
    low_frequency: Float[Array, "T T 3"],
    partial_linear: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    textures: Textures,
    weights: Float[Array, " K"],
    *,
    painted: Float[Array, "T T"] | None = None,
    bare_skin: Float[Array, "T T"] | None = None,
    pixels_per_texel: Float[Array, "T T"] | None = None,
    config: CompositionConfig = CompositionConfig(),
    completions: int = 1,
) -> Composition:
    """Returns the texture composed of the photo, its mirror image and the database's detail.

    Seen texels keep the photo; octaves that its blur has weakened are sharpened, those it has
    removed come from the database. Unseen texels take the mirror image's detail where that is seen,
    else that of the mean face: the mean, in linear RGB, of the `blended_faces` of greatest weight,
    renormalised. Its grain is varied by one face's deviation from it, or, on bare skin,
    supplemented to the person's contrast by patches of their own grain. Equations: module
    docstring. Differentiable, with the choice of faces and of patches held constant. Image quilting
    (Efros and Freeman 2001) in place of the optimisation of Saito et al. 2017, section 5. T is a
    power of two.

    Args:
        key: any random key; seeds the uniform(0, 1) term in the cost of source patches.
        low_frequency: complete albedo without detail, linear RGB.
        partial_linear: diffuse albedo that the photo shows, linear RGB; any where `mask` is 0.
        mask: visible skin, 0..1.
        textures: the database, sRGB 0..255 (floating point where it is to be differentiated).
        weights: on the simplex, from `blend`.
        painted: 1 where `low_frequency` is complete by itself (eyes, mouth), 0 elsewhere: where
            the photo does not show these, their only detail is the high-pass (Gaussian of
            `painted_detail_sigma`) of the completing face's mean log RGB; none if missing.
        bare_skin: 1 where the person's grain may be continued, 0 elsewhere; all that is not
            `painted` if missing.
        pixels_per_texel: width of a texel in pixels of the photo; if missing, the photo is sharp.
        config: settings.
        completions: number N of completing faces, those of greatest weight.

    Example:
        >>> compose(
        ...     *(jax.random.key(0), seen.low_frequency, seen.partial, seen.skin_mask),
        ...     *(textures, weights),
        ... ).texture.shape  # doctest: +SKIP
        (512, 512, 3)
    """
    size = low_frequency.shape[0]
    sigmas = octave_sigmas(size, config)
    photo_weight = soft_mask(mask, config.feather_sigma * (size / 512.0))
    inferable = jnp.ones_like(photo_weight) if painted is None else 1 - painted
    photo = _sharpened_photo(
        low_frequency, partial_linear, mask, photo_weight, inferable, pixels_per_texel, config
    )
    visibility = _Visibility(
        photo=photo_weight,
        mirror=photo_weight[:, ::-1] * (1 - photo_weight),
        inferable=inferable,
        bare_skin=inferable if bare_skin is None else bare_skin,
    )
    patches = _choose_grain_patches(key, photo, visibility, config)
    log_mean, faces, face_weights = _mean_face(textures, weights, config.blended_faces)
    mean_bands = bands(log_mean, inferable, sigmas)

    @jax.checkpoint
    def complete(face: Int[Array, ""]) -> Float[Array, "T T 3"]:
        log_face = log_encode(srgb_to_linear(textures[face] / 255.0))
        return _completed(photo, visibility, patches, log_face, mean_bands, config)

    if completions == 1:
        completed = complete(faces[0])[None]
    else:
        completed = jax.lax.map(complete, faces[:completions])
    return Composition(photo_weight, completed, face_weights)


def soft_mask(mask: Float[Array, "T T"], sigma: Sigma) -> Float[Array, "T T"]:
    """Returns a mask that falls to 0 before its border: min(smoothstep(2 G m - 1), m).

    Args:
        mask: m, 0..1.
        sigma: of the Gaussian G, texels.
    """
    inside = smoothstep(blur(mask[..., None], sigma)[..., 0], 0.5, 1.0)
    return jnp.minimum(inside, mask)


@struct.dataclass
class _Visibility:
    """Weights of the sources of detail, `[T, T]`, 0..1.

    Attributes:
        photo: soft mask w of the photo.
        mirror: v = w' (1 - w), of its mirror image.
        inferable: 1 where detail is inferred: outside painted regions.
        bare_skin: 1 where the person's own grain may be continued.
    """

    photo: Float[Array, "T T"]
    mirror: Float[Array, "T T"]
    inferable: Float[Array, "T T"]
    bare_skin: Float[Array, "T T"]

    @property
    def known_skin(self) -> Float[Array, "T T"]:
        """(w + v) on bare skin: what of it the photo or its mirror image shows."""
        return (self.photo + self.mirror) * self.bare_skin

    def spread(self, detail: Float[Array, "T T C"]) -> Float[Array, "T T C"]:
        """Returns w d + v d' with the mirror image d'."""
        return self.photo[..., None] * detail + self.mirror[..., None] * detail[:, ::-1]


@struct.dataclass
class _SharpenedPhoto:
    """The sharpened photo in log albedo, by octaves, coarsest first.

    Attributes:
        low_frequency: L.
        low_frequency_bands: octaves of L.
        residual: r = log(partial) - L (0 where nothing is seen) plus the sharpening of L + r.
        detail: r without its tone.
        bands: octaves of L + detail.
        mtf: modulation transfer function of each octave, after sharpening, 0..1.
    """

    low_frequency: Float[Array, "T T 3"]
    low_frequency_bands: list[Float[Array, "T T 3"]]
    residual: Float[Array, "T T 3"]
    detail: Float[Array, "T T 3"]
    bands: list[Float[Array, "T T 3"]]
    mtf: list[Float[Array, "T T 1"]]


def _sharpened_photo(
    low_frequency: Float[Array, "T T 3"],
    partial_linear: Float[Array, "T T 3"],
    mask: Float[Array, "T T"],
    photo_weight: Float[Array, "T T"],
    inferable: Float[Array, "T T"],
    pixels_per_texel: Float[Array, "T T"] | None,
    config: CompositionConfig,
) -> _SharpenedPhoto:
    """Returns the photo with its octaves multiplied by min(1 / MTF, `max_sharpening`).

    The MTF is that of a Gaussian of `photo_blur / pixels_per_texel` texels.
    """
    sigmas = octave_sigmas(low_frequency.shape[0], config)
    log_low = log_encode(low_frequency)
    residual = jnp.where(mask[..., None] > 0, log_encode(partial_linear) - log_low, 0.0)
    # The tone of the mirror image is in the low-frequency albedo already.
    detail = residual - masked_blur(residual, photo_weight + 1e-4, sigmas[0])
    low_bands = bands(log_low, inferable, sigmas)
    detail_bands = bands(detail, photo_weight * inferable, sigmas)
    photo_bands = [a + b for a, b in zip(detail_bands, low_bands, strict=True)]

    blur_sigma = jnp.zeros_like(photo_weight)
    if pixels_per_texel is not None:
        blur_sigma = config.photo_blur / jnp.maximum(pixels_per_texel, _MIN_PIXELS_PER_TEXEL)
    mtf = blur_mtf(blur_sigma, sigmas)
    gains = [jnp.minimum(1 / jnp.maximum(m, 1e-3), config.max_sharpening) for m in mtf]
    # In all channels alike: the colours of a compressed photo are coarser than its luminance.
    restored = [
        (gain - 1) * jnp.mean(band, -1, keepdims=True)
        for gain, band in zip(gains, photo_bands, strict=True)
    ]
    sharpening = sum(restored) * inferable[..., None]
    return _SharpenedPhoto(
        low_frequency=log_low,
        low_frequency_bands=low_bands,
        residual=residual + sharpening,
        detail=detail + sharpening,
        bands=[band + boost for band, boost in zip(photo_bands, restored, strict=True)],
        mtf=[gain * m for gain, m in zip(gains, mtf, strict=True)],
    )


def _is_grain(size: int, config: CompositionConfig) -> list[Float[Array, ""]]:
    """Returns g: 1 for octaves whose coarser Gaussian is at most `grain_sigma`, else 0."""
    limit = config.grain_sigma * (size / 512.0)
    return [jnp.where(sigma <= limit, 1.0, 0.0) for sigma in octave_sigmas(size, config)]


def _choose_grain_patches(
    key: Key[Array, ""],
    photo: _SharpenedPhoto,
    visibility: _Visibility,
    config: CompositionConfig,
) -> tuple[Int[Array, "N N 2"], Float[Array, ""]]:
    """Returns the patches of known bare skin that continue the grain; see `choose_patches`."""
    is_grain = _is_grain(len(photo.residual), config)
    grain = jnp.zeros_like(photo.residual)
    for g, band in zip(is_grain, photo.bands, strict=True):
        grain += g * band
    wanted = (1 - visibility.photo) * (1 - visibility.mirror) * visibility.bare_skin
    return choose_patches(
        key, visibility.spread(grain), visibility.known_skin, wanted, config.quilt
    )


def _mean_face(
    textures: Textures, weights: Float[Array, " K"], count: int
) -> tuple[Float[Array, "T T 3"], Int[Array, " E"], Float[Array, " E"]]:
    """Returns the mean face m (log of the weighted mean in linear RGB of the `count` faces of
    greatest weight), their indices, and their weights normalised to the sum 1."""
    largest, faces = jax.lax.top_k(weights, min(count, len(weights)))
    normalised = largest / jnp.maximum(largest.sum(), 1e-6)

    def add(total: Array, item: tuple[Array, Array]) -> tuple[Array, None]:
        weight, face = item
        return total + weight * srgb_to_linear(textures[face] / 255.0), None

    # A mean of logarithms is dominated by the darkest faces: dark spots where nostrils differ.
    mean, _ = jax.lax.scan(add, jnp.zeros(textures.shape[1:]), (normalised, faces))
    return log_encode(mean), faces, normalised


def _completed(
    photo: _SharpenedPhoto,
    visibility: _Visibility,
    patches: tuple[Int[Array, "N N 2"], Float[Array, ""]],
    log_face: Float[Array, "T T 3"],
    mean_bands: list[Float[Array, "T T 3"]],
    config: CompositionConfig,
) -> Float[Array, "T T 3"]:
    """Returns the texture, linear RGB, completed with one face's detail (module docstring)."""
    scale = len(log_face) / 512.0
    inferable = visibility.inferable[..., None]
    face_bands = bands(log_face, visibility.inferable, octave_sigmas(len(log_face), config))

    missing = _missing_bands(photo, face_bands, visibility, config)
    added = inferable * soft_clip(sum(missing, jnp.zeros(())), config.max_added_detail)
    residual, mirrored = photo.residual + added, (photo.detail + added)[:, ::-1]

    detail, grain_level = _database_detail(
        photo, face_bands, mean_bands, visibility, patches[1], config
    )
    detail += _continued_grain(photo, missing, mean_bands, grain_level, visibility, patches, config)
    # Painted regions get the face's high-pass luminance alone: no mirror image, no offset of tone.
    edges = log_face - blur(log_face, config.painted_detail_sigma * scale)
    detail = inferable * detail + (1 - inferable) * jnp.mean(edges, -1, keepdims=True)

    mirror = (visibility.mirror * visibility.inferable)[..., None]
    inferred = mirror * mirrored + (1 - mirror) * detail
    inferred += inferable * _tone_offset(residual - inferred, visibility.photo, config)
    weight = visibility.photo[..., None]
    return log_decode(photo.low_frequency + weight * residual + (1 - weight) * inferred)


def _missing_bands(
    photo: _SharpenedPhoto,
    face_bands: list[Float[Array, "T T 3"]],
    visibility: _Visibility,
    config: CompositionConfig,
) -> list[Float[Array, "T T 3"]]:
    """Returns what the photo's blur has removed of each octave: sqrt(1 - t^2) k f.

    With the MTF t, the face's octave f and the gain k that gives f the RMS contrast of the person's
    skin (`skin_gains`), the powers of the two parts add to that of a sharp photo.
    """
    seen = visibility.photo * visibility.inferable
    gains = skin_gains(photo.bands, face_bands, photo.mtf, seen, config)
    return [
        jnp.sqrt(jnp.maximum(1 - m**2, 1e-6)) * gain * band
        for m, gain, band in zip(photo.mtf, gains, face_bands, strict=True)
    ]


def _database_detail(
    photo: _SharpenedPhoto,
    face_bands: list[Float[Array, "T T 3"]],
    mean_bands: list[Float[Array, "T T 3"]],
    visibility: _Visibility,
    has_patches: Float[Array, ""],
    config: CompositionConfig,
) -> tuple[Float[Array, "T T 3"], Float[Array, "T T 3"]]:
    """Returns d = sum_o m - c l + g (1 - p) (h - m) and the grain sum_o g h, both on all texels,
    with h = a m + b softclip(f - m).

    Of octave o, m is the mean face's, f one face's, l the low-frequency albedo's, which m repeats
    in part; g is 1 for grain and p the weight of the person's own grain (`_continued_grain`). c is
    `duplicate_detail_fraction`, a `mean_detail_gain`, b `individual_detail_gain`.
    """
    own_grain = has_patches * visibility.bare_skin[..., None]
    detail = grain = jnp.zeros_like(photo.low_frequency)
    is_grain = _is_grain(len(detail), config)
    for low_band, face_band, mean_band, g in zip(
        photo.low_frequency_bands, face_bands, mean_bands, is_grain, strict=True
    ):
        deviation = soft_clip(face_band - mean_band, config.max_individual_detail)
        individual = config.mean_detail_gain * mean_band + config.individual_detail_gain * deviation
        duplicate = config.duplicate_detail_fraction * low_band
        detail += mean_band - duplicate + g * (1 - own_grain) * (individual - mean_band)
        grain += g * individual
    return detail, grain


def _continued_grain(
    photo: _SharpenedPhoto,
    missing: list[Float[Array, "T T 3"]],
    mean_bands: list[Float[Array, "T T 3"]],
    grain_level: Float[Array, "T T 3"],
    visibility: _Visibility,
    patches: tuple[Int[Array, "N N 2"], Float[Array, ""]],
    config: CompositionConfig,
) -> Float[Array, "T T 3"]:
    """Returns the person's own grain on bare skin, quilted from where it is seen.

    Octave x of the sharpened and filled photo is scaled to the power that the mean face's octave m
    lacks, sqrt(1 - <m m> / <x x>) x, since d holds m. The sum is divided by the local contrast of
    the database's grain before quilting and multiplied by it after: skin is not equally rough
    everywhere.
    """
    offsets, has_patches = patches
    known, limit = visibility.known_skin, config.max_skin_contrast
    grain = jnp.zeros_like(grain_level)
    is_grain = _is_grain(len(grain), config)
    for band, added, mean_band, g in zip(photo.bands, missing, mean_bands, is_grain, strict=True):
        complete = band + added
        mean_power = mean_product(mean_band, mean_band, known, limit)
        ratio = mean_power / (mean_product(complete, complete, known, limit) + 1e-9)
        grain += g * jnp.sqrt(jnp.clip(1 - ratio, 0.01, 1.0)) * complete
    tone_sigma = octave_sigmas(len(grain), config)[0]
    contrast = local_contrast(grain_level, visibility.inferable, known, tone_sigma, config)
    grain = visibility.spread(grain) / contrast
    power = mean_product(grain, grain, known, limit) / (jnp.mean(known) + 1e-6)
    grain = soft_clip(grain, config.grain_outlier * jnp.sqrt(power + 1e-9))
    weight = has_patches * visibility.bare_skin[..., None]
    return config.unseen_grain_gain * weight * contrast * quilt(grain, offsets)


def _tone_offset(
    difference: Float[Array, "T T 3"], photo_weight: Float[Array, "T T"], config: CompositionConfig
) -> Float[Array, "T T 3"]:
    """Returns o: the difference of log albedo at the border of what is seen, continued beyond it.

    Clipped at +-`max_tone_offset`: larger differences are the rim of an occluder.
    """
    limit = config.max_tone_offset
    return _membrane(jnp.clip(difference, -limit, limit), photo_weight)


def _membrane(values: Float[Array, "T T C"], weights: Float[Array, "T T"]) -> Float[Array, "T T C"]:
    """Returns the solution u of w (u - x) + (1 - w) (u - mean of u's 4 neighbours) = 0.

    Data x of weight w, harmonic where w = 0. Jacobi sweeps on a pyramid, coarsest level first, from
    the weighted mean of all values.
    """
    weights = weights[..., None]
    pyramid = [(values * weights, weights)]
    while pyramid[-1][0].shape[0] > 1:
        pyramid.append((_halve(pyramid[-1][0]), _halve(pyramid[-1][1])))
    total, weight = pyramid[-1]
    solution = total / jnp.maximum(weight, 1e-6)
    for total, weight in pyramid[-2::-1]:
        side = total.shape[0]
        data, weight = total / jnp.maximum(weight, 1e-6), jnp.minimum(weight, 1.0)

        def sweep(_: int, field: Array, data: Array = data, weight: Array = weight) -> Array:
            padded = jnp.pad(field, ((1, 1), (1, 1), (0, 0)), "edge")
            neighbours = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
            return weight * data + (1 - weight) * neighbours / 4

        solution = jax.image.resize(solution, (side, side, solution.shape[-1]), "linear")
        solution = jax.lax.fori_loop(0, _SWEEPS, sweep, solution)
    return solution


def _halve(image: Float[Array, "T T C"]) -> Float[Array, "t t C"]:
    """Returns the means of 2 x 2 texels."""
    side = image.shape[0] // 2
    return image.reshape(side, 2, side, 2, -1).mean((1, 3))
