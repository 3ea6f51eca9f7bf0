"""Settings of the composition and of the synthesis.

Both are pytrees: what decides a program's structure (levels, counts, names) is static, every number
is a leaf, so that changing one compiles nothing again and `vmap` and `grad` go over it.
"""

from __future__ import annotations

from typing import Literal

from jaxface.features.correlations import PAPER, CorrelationConfig
from jaxface.features.vgg import layer_stride
from jaxface.pytrees import pytree, static

Levels = tuple[tuple[float, int], ...]


@pytree
class QuiltConfig:
    """How patches of a person's own fine detail are chosen for where nothing is seen.

    A source patch costs, in units of a random term that is uniform on 0..1,
    `distance / distance_scale + |log power - median| / power_scale + anisotropy / anisotropy_scale
    + random + reuse_penalty * uses`, and the cheapest one is taken.

    Attributes:
        distance_scale: distance between a source and its place, in sides of a patch, that costs one
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
        min_wanted: fraction of a place that must be wanted for its source to count as used.
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

    Lengths are texels of a texture of 512 x 512; detail is a difference of the logarithm of linear
    albedo, 0.08 being a contrast of about 8 %.

    Attributes:
        feather_sigma: Gaussian of the transition at the border of what is seen. Wider hides the
            border, narrower keeps more of the photo.
        tone_sigma: what is coarser than this Gaussian is tone, what is finer is detail.
        painted_detail_sigma: the same on painted parts (eyes, mouth): only their edges are detail.
        grain_sigma: bands that begin at this Gaussian or a finer one are grain: the person's own
            is continued there, where any of it is seen.
        photo_blur: standard deviation of a photo's point spread function, pixels. Larger sharpens
            more and takes more detail from the database.
        max_sharpening: largest factor on an octave that the photo has blurred. Larger restores
            more contrast and amplifies more noise.
        max_added_detail: bound (tanh) on the database detail added where a coarse photo shows none.
            Larger restores more, smaller lays no strand of another face's brows over the photo's.
        overlap_removed: fraction of the low-frequency albedo's octaves taken out where the mean
            face's, which repeat it in part, are added. 0 doubles features, 1 leaves the mean face's
            alone.
        mean_detail_gain: gain on the grain of the mean face outside bare skin.
        individual_detail_gain: gain on one face's deviation from the mean face's grain there.
        max_individual_detail: bound (tanh) on that deviation an octave: lets pores pass, holds
            moles and nostrils back.
        unseen_grain_gain: gain on the person's own grain where it is continued: what a photo hides
            is calmer skin than what it shows.
        grain_outlier: bound (tanh) on that grain, in standard deviations, so that a mole is not
            laid many times. Smaller repeats less, larger keeps more texture.
        max_tone_offset: bound on the difference of log tone at the border of what is seen that is
            continued beyond it. Larger follows the photo, smaller is safer against occluders.
        max_skin_contrast: detail beyond this is not counted as skin when strengths are compared.
        min_gain: least strength of the person's skin over the database's.
        max_gain: greatest.
        local_contrast_exponent: exponent on the database's local contrast over its mean: real skin
            varies more between regions than the database's.
        min_local_contrast: least value of that.
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
    overlap_removed: float = 0.5
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
        smooth: exponent e of the preconditioner: steps are taken on a texture whose frequencies f,
            periods a side, are multiplied by (1 + f^2)^(-e / 2); none if None, which is as good or
            better from a start that is near, as the composed one. From far, 0.6 lowers the loss
            sooner.
        levels: (side as a fraction of T, steps), coarse to fine; see `synthesis_levels`.
        content_layer: VGG-16 layer of the content term.
        blended_faces: number of database faces, those of greatest weight, whose correlations are
            blended; half of it at sides of more than 256 texels.
        memory: pairs of differences that L-BFGS keeps.
        method: `default` or `paper`.
        derivative: `unrolled`, through the steps, or `implicit`, that of the finest level's
            optimum: memory independent of the steps, exact as far as they have converged.
        unroll: number of last steps of each level that are differentiated, all if None; the steps
            before them count as constants.
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
            levels = tuple((fraction, 2 * steps) for fraction, steps in levels)  # a far start
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
