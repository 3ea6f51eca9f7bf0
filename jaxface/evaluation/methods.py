"""The methods that complete a texture, side by side, and how they are scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxface.evaluation import scene
from jaxface.features.lpips import lpips
from jaxface.morphable.albedo import albedo_texture
from jaxface.pipeline import Assets, ReconstructConfig, infer
from jaxface.rendering.color import srgb_to_linear
from jaxface.synthesis import blur, soft_mask
from jaxface.types import FitResult, UnwrapResult

METHODS = (
    "linear model",
    "low frequency",
    "mirror",
    "weighted average",
    "weighted average, tone matched",
    "paper",
    "default",
)
_FACE = ("skin", "lips", "brows", "lids", "nose")
_EPSILON = 2e-3

_lpips = jax.jit(lpips)


def candidates(
    seen: UnwrapResult,
    fit: FitResult,
    assets: Assets,
    config: ReconstructConfig,
    paper: ReconstructConfig,
) -> dict[str, np.ndarray]:
    """Returns each method's complete texture, linear `[T, T, 3]`, from the same seen texels.

    All but the linear model and the paper's form keep the photo where it is seen.
    """
    size = seen.partial.shape[0]
    low = seen.low_frequency
    blended, synthesis = infer(seen, assets, config)
    _, plain = infer(seen, assets, paper)
    keep = soft_mask(seen.skin_mask, 4.0 * size / 512)[..., None]
    faces = srgb_to_linear(assets.database.textures / 255.0)
    average = jnp.tensordot(blended.weights, faces, 1)
    log = jnp.log(average + _EPSILON)
    detail = log - blur(log, 8.0 * size / 512)
    matched = jnp.clip(jnp.exp(jnp.log(low + _EPSILON) + detail) - _EPSILON, 0, 1)
    other = keep[:, ::-1]
    mirrored = other * seen.partial[:, ::-1] + (1 - other) * low
    textures = {
        "linear model": albedo_texture(assets.model, fit.parameters.albedo, size),
        "low frequency": keep * seen.partial + (1 - keep) * low,
        "mirror": keep * seen.partial + (1 - keep) * mirrored,
        "weighted average": keep * seen.partial + (1 - keep) * average,
        "weighted average, tone matched": keep * seen.partial + (1 - keep) * matched,
        "paper": plain.texture,
        "default": synthesis.texture,
    }
    return {name: np.asarray(texture) for name, texture in textures.items()}


def score(
    textures: Mapping[str, np.ndarray],
    seen: UnwrapResult,
    truth_linear: np.ndarray,
    assets: Assets,
    alexnet: Any,
) -> tuple[dict[str, dict[str, float]], np.ndarray]:
    """Returns the figures of each method and a picture: truth, seen, then the methods.

    Texels of the face count, without eyes, scalp and neck: seen, unseen, and `neither`, those
    that the mirror image does not show either. For LPIPS and the detail ratio the truth stands
    outside the judged texels. `gain free` is PSNR after the factor per channel that fits the seen
    texels best, since one photo cannot tell a darker skin from a weaker light.
    """
    size = seen.partial.shape[0]
    step = truth_linear.shape[0] // size
    truth = truth_linear.reshape(size, step, size, step, 3).mean((1, 3))
    model, texels = assets.model, assets.texels
    parts = [model.region_names.index(name) for name in _FACE]
    place = np.einsum("tuk,tuk->tu", texels.barycentrics, model.mean[texels.vertex_ids][..., 2])
    face = np.isin(texels.region_ids, parts) & np.asarray(texels.mask) & (place > -0.06)
    mask = np.asarray(seen.skin_mask)
    regions = {"seen": face & (mask > 0.5), "unseen": face & (mask < 0.05)}
    regions["neither"] = regions["unseen"] & (mask[:, ::-1] < 0.05)
    true_srgb = scene.encode_srgb(truth)
    results, pictures = (
        {},
        [true_srgb, scene.encode_srgb(np.asarray(seen.partial)) * face[..., None]],
    )
    for name, texture in textures.items():
        image = scene.encode_srgb(texture)
        pictures.append(image)
        row = {
            f"PSNR {key}": psnr(image[where], true_srgb[where]) for key, where in regions.items()
        }
        at = regions["seen"]
        gain = (texture[at] * truth[at]).sum(0) / np.maximum((texture[at] ** 2).sum(0), 1e-9)
        free, unseen = scene.encode_srgb(texture * gain), regions["unseen"]
        row["PSNR unseen, gain free"] = psnr(free[unseen], true_srgb[unseen])
        for key in ("unseen", "neither"):
            where = regions[key]
            enough = where.sum() > 0.005 * face.sum()
            mixed = np.where(where[..., None], image, true_srgb)
            judged = jnp.asarray(where, jnp.float32)
            distance = _lpips(alexnet, jnp.asarray(mixed), jnp.asarray(true_srgb), mask=judged)
            row[f"LPIPS {key}"] = float(distance) if enough else float("nan")
        row["detail unseen"] = detail_ratio(image, true_srgb, regions["unseen"])
        results[name] = row
    shares = {f"{key} texels %": 100 * float(w.sum() / face.sum()) for key, w in regions.items()}
    return {name: row | shares for name, row in results.items()}, np.concatenate(pictures, axis=1)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio, dB, of values 0..1; NaN of nothing."""
    return float(-10 * np.log10(max(np.mean((a - b) ** 2), 1e-12))) if a.size else float("nan")


def detail_ratio(image: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Returns the energy of fine detail against the truth's, over some texels."""
    if not where.any():
        return float("nan")
    sigma = 4.0 * image.shape[0] / 512

    def energy(x: np.ndarray) -> float:
        fine = np.asarray(x - blur(jnp.asarray(x), sigma))
        return float((fine[where] ** 2).mean())

    return energy(image) / max(energy(truth), 1e-12)
