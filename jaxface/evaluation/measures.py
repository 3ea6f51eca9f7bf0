"""What is measured, each on one class of texels: fidelity, likeness, detail, tone, shape.

Textures are `[T, T, 3]`, sRGB unless said; lengths are texels. A measure of nothing is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from jaxface.evaluation import scene
from jaxface.features.correlations import CorrelationConfig, correlate_features
from jaxface.features.lpips import lpips
from jaxface.features.vgg import vgg_features
from jaxface.morphable.surface import similarity, vertex_normals
from jaxface.types import FaceModel

OCTAVES = 5
LEAST = 0.005  # fraction of the face below which a class is not judged
WHOLE = CorrelationConfig(
    layers=("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"), cells=1, centered=True
)
_EPSILON = 2e-3

_lpips = jax.jit(lpips)


class Judge:
    """Measures textures against one truth.

    What LPIPS looks at outside a class is the truth, so that it judges the class alone; windows of
    SSIM and of the octaves are small and see the texture as it is.

    Args:
        truth_linear: the true texture.
        classes: `seen`, `mirrored`, `unobserved`: which texels.
        shading: what light reaches each texel.
        vgg: weights of VGG-16, for the correlations.
        alexnet: weights of AlexNet and LPIPS.
    """

    def __init__(
        self,
        truth_linear: np.ndarray,
        classes: Mapping[str, np.ndarray],
        shading: np.ndarray,
        vgg: Any,
        alexnet: Any,
    ) -> None:
        self.linear, self.classes, self.vgg, self.alexnet = truth_linear, classes, vgg, alexnet
        self.shading = shading
        self.face = np.any(list(classes.values()), axis=0)
        self.judged = {k: w for k, w in classes.items() if w.sum() >= LEAST * self.face.sum()}
        self.srgb = scene.encode_srgb(truth_linear)
        self.features = _features(vgg, jnp.asarray(self.srgb, jnp.float32))
        self.bands = bands(self.srgb)
        # Two texels from the edge the octaves would measure what lies between the charts.
        self.inner = ndimage.binary_erosion(self.face, iterations=max(2, len(self.face) // 128))

    def __call__(self, texture_linear: np.ndarray) -> dict[str, dict[str, float]]:
        """Returns class to measure to value, the whole face's under `face`.

        A class of hardly any texels is left out.
        """
        image, truth = scene.encode_srgb(texture_linear), self.srgb
        factor = gain(texture_linear, self.linear, self.classes["seen"])
        free = scene.encode_srgb(texture_linear * factor)
        features = _features(self.vgg, jnp.asarray(image, jnp.float32))
        likeness, octaves = ssim_map(image, truth), bands(image)
        result = {}
        for name, where in self.judged.items():
            mixed = jnp.asarray(np.where(where[..., None], image, truth), jnp.float32)
            judged = jnp.asarray(where, jnp.float32)
            row = {
                "share": float(where.sum() / self.face.sum()),
                "PSNR": psnr(image[where], truth[where]),
                "PSNR gain free": psnr(free[where], truth[where]),
                "SSIM": float(likeness[where].mean()),
                "LPIPS": float(
                    _lpips(self.alexnet, mixed, jnp.asarray(truth, jnp.float32), mask=judged)
                ),
            }
            distances = _correlation(features, self.features, judged)
            row |= {f"correlation {layer}": float(value) for layer, value in distances.items()}
            ratios = energy_ratios(octaves, self.bands, where & self.inner)
            row |= {f"energy octave {octave}": value for octave, value in enumerate(ratios)}
            result[name] = row
        if "seen" in result:
            where = self.judged["seen"]
            for name, texture in (("shading", texture_linear), ("true shading", self.linear)):
                result["seen"][name] = shading_left(texture[where], self.shading[where])
        result["face"] = {
            "left-right": asymmetry(texture_linear, self.linear, self.face),
            "border": border_step(texture_linear, self.linear, self.classes["seen"], self.face),
        }
        return result


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio, dB, of values 0..1; NaN of nothing."""
    return float(-10 * np.log10(max(np.mean((a - b) ** 2), 1e-12))) if a.size else float("nan")


def shading_left(texels_linear: np.ndarray, shading: np.ndarray) -> float:
    """Returns how much texels go with the light on them: |correlation| of the logarithms."""
    levels = np.log(texels_linear.mean(-1) + _EPSILON), np.log(shading + _EPSILON)
    spread = levels[0].std() * levels[1].std()
    return float(abs(np.cov(*levels, bias=True)[0, 1]) / max(spread, 1e-9))


def gain(texture: np.ndarray, truth: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Returns the factor per channel that fits a linear texture to the truth, since one photo
    cannot tell a darker skin from a weaker light."""
    a, b = texture[where], truth[where]
    return (a * b).sum(0) / np.maximum((a * a).sum(0), 1e-9) if len(a) else np.ones(3)


@jax.jit
def _ssim_map(a: jax.Array, b: jax.Array) -> jax.Array:
    return dm_pix.ssim(a, b, return_map=True).mean(-1)


def ssim_map(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns the structural similarity (Wang et al. 2004; windows of 11) at each texel."""
    edge = ((5, 5), (5, 5), (0, 0))
    pair = [jnp.pad(jnp.asarray(x, jnp.float32), edge, "reflect") for x in (image, truth)]
    return np.asarray(_ssim_map(*pair))


@jax.jit
def _features(vgg: Any, image: jax.Array) -> dict[str, jax.Array]:
    return vgg_features(vgg, image, WHOLE.layers, pooling=WHOLE.pooling)


@jax.jit
def _correlation(
    image: dict[str, jax.Array], truth: dict[str, jax.Array], mask: jax.Array
) -> dict[str, jax.Array]:
    """Returns per layer the squared distance of the masked correlations over the truth's norm."""
    a, b = (correlate_features(x, mask, WHOLE) for x in (image, truth))
    pairs = zip(WHOLE.layers, a.values, b.values, strict=True)
    return {layer: jnp.sum((x - y) ** 2) / (jnp.sum(y**2) + 1e-12) for layer, x, y in pairs}


def bands(image: np.ndarray) -> np.ndarray:
    """Returns the differences of Gaussians of each octave, `[O, T, T, C]`, the finest first.

    Octave k lies between the Gaussians of 2^(k-1) and 2^k texels, so that it answers most to
    wavelengths of about 4.6 * 2^k texels.
    """
    sigmas = [0.5 * 2**k for k in range(OCTAVES + 1)]
    levels = [ndimage.gaussian_filter(image, (s, s, 0), mode="nearest") for s in sigmas]
    return np.stack([fine - coarse for fine, coarse in pairwise(levels)])


def energy_ratios(image: np.ndarray, truth: np.ndarray, where: np.ndarray) -> list[float]:
    """Returns the power of each of two pictures' `bands` over some texels, picture by truth: the
    radial power spectrum; 1 is right, less is too smooth."""
    if not where.any():
        return [float("nan")] * len(image)
    power = [np.square(x[:, where]).mean((1, 2)) for x in (image, truth)]
    return [float(x) for x in power[0] / np.maximum(power[1], 1e-12)]


def _error(texture: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.log(texture + _EPSILON) - np.log(truth + _EPSILON)


def asymmetry(texture: np.ndarray, truth: np.ndarray, face: np.ndarray) -> float:
    """Returns how much the two halves' tones differ beyond the truth's: the difference of the mean
    logarithms of linear colour, averaged over the channels (0.1 is about ten per cent)."""
    error = _error(texture, truth)
    middle = face.shape[1] // 2
    left, right = face.copy(), face.copy()
    left[:, middle:], right[:, :middle] = False, False
    if not (left.any() and right.any()):
        return float("nan")
    return float(np.abs(error[left].mean(0) - error[right].mean(0)).mean())


def border_step(
    texture: np.ndarray, truth: np.ndarray, seen: np.ndarray, face: np.ndarray
) -> float:
    """Returns the step of tone across the border of the seen beyond the truth's (root mean square
    of the logarithm), each side averaged over a few texels."""
    error = _error(texture, truth)
    sigma = 6.0 * len(face) / 512
    hidden = face & ~seen

    def mean(where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = ndimage.gaussian_filter(where.astype(float), sigma)
        total = ndimage.gaussian_filter(error * where[..., None], (sigma, sigma, 0))
        return total / np.maximum(weight, 1e-6)[..., None], weight

    (inner, one), (outer, two) = mean(seen & face), mean(hidden)
    at = face & (np.minimum(one, two) > 0.2)
    return float(np.sqrt(((inner - outer)[at] ** 2).mean())) if at.any() else float("nan")


def shape_errors(vertices: np.ndarray, truth: np.ndarray, model: FaceModel) -> dict[str, float]:
    """Returns the vertex error (millimetres) and normal error (degrees) of a fitted neutral face,
    means over the face's front after the best similarity."""
    front = front_vertices(model)
    rotation, factor, shift = similarity(vertices[front], truth[front])
    moved = factor * vertices @ rotation.T + shift
    triangles = np.asarray(model.triangles)
    cosine = (vertex_normals(moved, triangles) * vertex_normals(truth, triangles)).sum(1)[front]
    return {
        "vertex mm": 1e3 * float(np.linalg.norm((moved - truth)[front], axis=1).mean()),
        "normal degrees": float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()),
    }


def front_vertices(model: FaceModel) -> np.ndarray:
    """Returns which vertices are the face's front, `[V]` bool: what photos show of a shape."""
    names = ("skin", "lips", "brows", "lids", "nose")
    front = np.isin(model.vertex_region, [model.region_names.index(x) for x in names])
    return front & (np.asarray(model.mean)[:, 2] > -0.06)


def bootstrap(
    differences: np.ndarray, people: np.ndarray, *, draws: int = 2000, level: float = 0.95
) -> tuple[float, float, float]:
    """Returns the mean of paired differences and its bootstrap interval.

    People are drawn with replacement, each with all of their photos, since photos of one person are
    no independent samples (Davison and Hinkley 1997, section 3.8). NaNs are left out; with fewer
    than two people there is no interval.

    Args:
        differences: `[N]`.
        people: whose each is, `[N]`.
        draws: bootstrap samples.
        level: of confidence.
    """
    good = np.isfinite(differences)
    differences, people = differences[good], np.asarray(people)[good]
    if not len(differences):
        return (float("nan"),) * 3
    _, index = np.unique(people, return_inverse=True)
    totals, counts = np.bincount(index, differences), np.bincount(index)
    mean = float(differences.mean())
    if len(counts) < 2:
        return mean, float("nan"), float("nan")
    drawn = np.random.default_rng(0).integers(len(counts), size=(draws, len(counts)))
    means = totals[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return mean, float(low), float(high)
