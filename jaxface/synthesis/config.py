"""Settings of the composition and of the synthesis.

Both are pytrees: what decides a program's structure (levels, counts, names) is static; floating-
point settings are leaves, so that changing one recompiles nothing and `vmap` and `grad` apply.
"""

from __future__ import annotations

from typing import Literal

from jaxface.features.correlations import PAPER, CorrelationConfig
from jaxface.features.vgg import layer_stride
from jaxface.pytrees import pytree, static

Levels = tuple[tuple[float, int], ...]


@pytree
class QuiltConfig:
    """How source patches of a person's own grain are chosen for texels that are not seen.

    For each patch the source of least cost is taken: `distance / distance_scale +
    |log power - median| / power_scale + anisotropy / anisotropy_scale + uniform(0, 1) +
    reuse_penalty * uses`. The random term sets the unit.

    Attributes:
        distance_scale: distance between a source and the patch, in sides of a patch, that costs one
            unit. Smaller keeps the skin of a region, larger repeats less.
        min_coverage: fraction of a source patch that must be known. Higher is safer at borders,
            lower finds a source in more photos.
        power_scale: deviation of log power from the median patch that costs one unit. Smaller keeps
            out more moles and wrinkles, larger leaves more sources.
        anisotropy_scale: anisotropy of the gradients (0 isotropic, 1 a line) that costs one unit.
            Smaller keeps out more folds, larger leaves more sources.
        anisotropy_sigma: Gaussian before the gradients, in sides of a patch: wide enough to remove
            pores, narrow enough to leave folds.
        reuse_penalty: cost added each time an overlapping source is used. Larger repeats less,
            smaller takes nearer and more typical patches.
        min_wanted: fraction of a patch that must be unseen skin for its source to count as used.
        patches: patches side by side without overlap; with it there are `2 patches - 1` in a row.
    """

    distance_scale: float = 3.0
    min_coverage: float = 0.97
    power_scale: float = 1.0
    anisotropy_scale: float = 0.14
    anisotropy_sigma: float = 1 / 16
    reuse_penalty: float = 0.1
    min_wanted: float = 0.02
    patches: int = static(default=16)


@pytree
class CompositionConfig:
    """Settings of `compose`.

    Lengths are texels of a texture of 512 x 512; detail is a difference of log linear albedo, 0.08
    being a contrast of about 8 %. "Bounds (tanh)" are those of `soft_clip`.

    Attributes:
        feather_sigma: Gaussian of the transition at the border of what is seen. Wider hides the
            border, narrower keeps more of the photo.
        tone_sigma: what is coarser than this Gaussian is tone, what is finer is detail.
        painted_detail_sigma: Gaussian of the high-pass that gives painted regions (eyes, mouth) the
            edges of a database face.
        grain_sigma: octaves whose coarser Gaussian is at most this are grain; on bare skin that is
            continued from the person's own, where any of it is seen.
        photo_blur: standard deviation of a photo's point spread function, pixels. Larger sharpens
            more and takes more detail from the database.
        max_sharpening: largest factor on an octave that the photo has blurred. Larger restores
            more contrast and amplifies more noise.
        max_added_detail: bound (tanh) on the database detail added where a coarse photo shows none.
            Larger restores more, smaller lays no strand of another face's brows over the photo's.
        duplicate_detail_fraction: fraction of the low-frequency albedo's octaves that is subtracted
            where the mean face's, which hold the same features, are added. 0 doubles features, 1
            leaves the mean face's alone.
        mean_detail_gain: gain on the grain of the mean face outside bare skin.
        individual_detail_gain: gain on one face's deviation from the mean face's grain there.
        max_individual_detail: bound (tanh) on that deviation in each octave: passes pores, limits
            moles and nostrils.
        unseen_grain_gain: gain on the person's own grain where it is continued: what a photo hides
            is smoother skin than what it shows.
        grain_outlier: bound (tanh) on that grain, in standard deviations, so that a mole is not
            laid many times. Smaller repeats less, larger keeps more texture.
        max_tone_offset: bound on the difference of log tone at the border of what is seen that is
            continued beyond it. Larger follows the photo, smaller is safer against occluders.
        max_skin_contrast: detail is clipped at this where contrasts are measured, so that brows and
            lips do not dominate.
        min_gain: least ratio of the person's RMS contrast to a database face's.
        max_gain: greatest.
        local_contrast_exponent: exponent on the database's local contrast over its mean: real skin
            varies more between regions than the database's.
        min_local_contrast: lower bound on the result.
        quilt: how patches of grain are chosen.
        blended_faces: number of database faces, those of greatest weight, whose mean is taken. More
            are smoother, fewer more like the nearest face.
        octaves: number of octaves of detail; if None, log2(T / 32), with which the finest Gaussian
            of the default `tone_sigma` is 0.75 texels wide.
    """

    feather_sigma: float = 3.0
    tone_sigma: float = 12.0
    painted_detail_sigma: float = 1.2
    grain_sigma: float = 3.0
    photo_blur: float = 0.5
    max_sharpening: float = 1.7
    max_added_detail: float = 0.08
    duplicate_detail_fraction: float = 0.5
    mean_detail_gain: float = 1.4
    individual_detail_gain: float = 0.7
    max_individual_detail: float = 0.02
    unseen_grain_gain: float = 0.75
    grain_outlier: float = 2.5
    max_tone_offset: float = 0.25
    max_skin_contrast: float = 0.08
    min_gain: float = 0.4
    max_gain: float = 2.0
    local_contrast_exponent: float = 1.5
    min_local_contrast: float = 0.4
    quilt: QuiltConfig = QuiltConfig()
    blended_faces: int = static(default=12)
    octaves: int | None = static(default=None)


@pytree
class SynthesisConfig:
    """Settings of `synthesize`.

    Attributes:
        alpha: weight of the correlation term against the content term.
        smooth: exponent e of the preconditioner (1 + f^2)^(-e / 2) over frequencies f, periods a
            side; no preconditioner if None, which is as good or better from a near start like the
            composed texture. From a far one, 0.6 lowers the loss sooner.
        levels: (side as a fraction of T, steps), coarse to fine; see `synthesis_levels`.
        content_layer: VGG-16 layer of the content term.
        blended_faces: number of database faces, those of greatest weight, whose correlations are
            blended; half of it at sides of more than 256 texels.
        memory: number of pairs (differences of points and of gradients) that L-BFGS keeps.
        method: `default` or `paper`.
        derivative: `unrolled`, through the L-BFGS steps, or `implicit`, by the implicit function
            theorem at the finest level's optimum: memory independent of the number of steps, exact
            as far as they have converged.
        unroll: number of last L-BFGS steps of each level that are differentiated, all if None; the
            result of those before is a constant.
    """

    alpha: float = 3.0
    smooth: float | None = None
    levels: Levels = static(default=((0.25, 8), (0.5, 8), (1.0, 4)))
    content_layer: str = static(default="relu3_1")
    blended_faces: int = static(default=12)
    memory: int = static(default=8)
    method: Literal["default", "paper"] = static(default="default")
    derivative: Literal["unrolled", "implicit"] = static(default="unrolled")
    unroll: int | None = static(default=None)

    @classmethod
    def for_quality(
        cls, quality: str, *, method: str = "default", size: int = 512
    ) -> SynthesisConfig:
        """Returns the settings of `draft`, `standard` or `high` for a texture of `size` texels."""
        if method == "paper":
            levels = synthesis_levels(quality, size, PAPER)
            # The low-frequency albedo is a far start.
            levels = tuple((fraction, 2 * steps) for fraction, steps in levels)
            return cls(alpha=10.0, levels=levels, content_layer="relu4_1", method="paper")
        return cls(levels=synthesis_levels(quality, size, CorrelationConfig()))


def synthesis_levels(quality: str, size: int, correlation: CorrelationConfig) -> Levels:
    """Returns (side as a fraction of `size`, steps) of each level of a quality, coarse to fine.

    Levels are left out whose features do not fall into `2 cells` equal blocks a side (one block if
    `cells` is 1) in every layer that is correlated.
    """
    levels = {
        "draft": ((0.5, 8), (1.0, 4)),
        "standard": ((0.25, 8), (0.5, 8), (1.0, 4)),
        "high": ((0.125, 8), (0.25, 8), (0.5, 8), (1.0, 4)),
    }[quality]
    blocks = 1 if correlation.cells == 1 else 2 * correlation.cells
    unit = blocks * max(layer_stride(layer) for layer in correlation.layers)
    return tuple(level for level in levels if int(size * level[0]) % unit == 0)
