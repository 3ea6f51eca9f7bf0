"""Least-squares estimates of the composition's gains from the embedded database.

python -m building.composition_prior [--size 512] [--blended 12]

Each face t in turn is taken out and composed from the others, in octaves of log albedo: its
low-frequency albedo l is the albedo model's least-squares fit, m the mean of the others that are
nearest to l, f the nearest one. Estimated are, each on the texels where the composition uses it,

    duplicate_detail_fraction b  t = m + (1 - b) l      octaves coarser than the grain
    mean_detail_gain a           t = (1 - b) l + a m + c softclip(f - m)   grain off bare skin
    individual_detail_gain c     the same
    unseen_grain_gain            RMS of grain over local contrast, sides of the face over its front

and printed beside the values in use, as median and quartiles over faces.

They do not agree, and the settings stay constants. `--size 256` printed medians of 0.84, 0.60, 0.15
and 1.05 for 0.5, 1.4, 0.7 and 0.75: least squares lowers a gain on detail that cannot be predicted,
while the settings in use are to keep it visible; and the database's faces are not calmer at their
sides than in front.
"""

from __future__ import annotations

import argparse
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxface.database import load_database
from jaxface.filters import log_encode
from jaxface.morphable.albedo import log_albedo
from jaxface.morphable.files import load_model
from jaxface.morphable.texels import texel_map
from jaxface.precision import jit
from jaxface.rendering.color import srgb_to_linear
from jaxface.synthesis.config import CompositionConfig
from jaxface.synthesis.octaves import bands, local_contrast, octave_sigmas, soft_clip
from jaxface.types import FaceModel, Textures

BARE = ("skin", "scalp")
NO_SKIN = ("eyes", "teeth", "tongue", "inner_mouth")
FRONT = 0.2  # half width, in the square's sides, of what a frontal photo shows
RIDGE = 1.0  # prior of the albedo coefficients, N(0, 1), against texels of deviation 1


def low_frequency(
    log_texture: Float[Array, "T T 3"], model: FaceModel, weights: Float[Array, "T T"]
) -> Float[Array, "T T 3"]:
    """Returns the albedo model's ridge least-squares fit to a log texture."""
    size = len(log_texture)

    def resized(image: Float[Array, "A A 3"]) -> Float[Array, "T T 3"]:
        return jax.image.resize(image, (size, size, 3), "linear")

    basis = jax.vmap(resized)(model.albedo_basis) * jnp.sqrt(weights)[..., None]
    wanted = (log_texture - resized(model.albedo_mean)) * jnp.sqrt(weights)[..., None]
    flat = basis.reshape(len(basis), -1)
    matrix = flat @ flat.T + RIDGE * jnp.eye(len(flat))
    return resized(log_albedo(model, jnp.linalg.solve(matrix, flat @ wanted.ravel())))


@partial(jit, static_argnames="blended")
def gains(
    face: Int[Array, ""],
    textures: Textures,
    regions: Float[Array, "3 T T"],
    model: FaceModel,
    config: CompositionConfig,
    *,
    blended: int,
) -> Float[Array, "4"]:
    """Returns the four estimates of one face; `regions` are inferable, bare skin, on a chart."""
    inferable, bare, on_chart = regions
    size = len(inferable)
    truth = log_encode(srgb_to_linear(textures[face] / 255.0))
    low = low_frequency(truth, model, on_chart)

    def tone(texture: Array) -> Array:
        small = jax.image.resize(log_encode(srgb_to_linear(texture / 255.0)), (32, 32, 3), "linear")
        goal = jax.image.resize(low, (32, 32, 3), "linear")
        return jnp.mean((small - goal) ** 2)

    apart = jax.lax.map(tone, textures).at[face].set(jnp.inf)
    _, nearest = jax.lax.top_k(-apart, blended)
    others = srgb_to_linear(textures[nearest] / 255.0)
    mean, one = log_encode(jnp.mean(others, 0)), log_encode(others[0])

    sigmas = octave_sigmas(size, config)
    octaves = [bands(image, inferable, sigmas) for image in (truth, low, mean, one)]
    limit, grain_sigma = config.max_skin_contrast, config.grain_sigma * size / 512
    coarse, fine = jnp.zeros(2), [jnp.zeros((2, 2)), jnp.zeros(2)]
    grain = level = jnp.zeros_like(truth)
    for sigma, t, low_band, m, f in zip(sigmas, *octaves, strict=True):
        is_grain = jnp.where(sigma <= grain_sigma, 1.0, 0.0)
        skin = inferable * (jnp.abs(jnp.mean(t, -1)) < limit)
        where = skin[..., None] * (1 - is_grain)
        coarse += jnp.stack([jnp.sum(where * (t - m) * low_band), jnp.sum(where * low_band**2)])
        where = (skin * (1 - bare))[..., None] * is_grain
        pair = jnp.stack([m, soft_clip(f - m, config.max_individual_detail)])
        fine[0] += jnp.einsum("atuc,btuc->ab", pair * where, pair)
        residual = t - (1 - config.duplicate_detail_fraction) * low_band
        fine[1] += jnp.einsum("atuc,tuc->a", pair * where, residual)
        grain, level = grain + is_grain * (t - m), level + is_grain * m
    mean_gain, individual_gain = jnp.linalg.solve(fine[0] + 1e-9 * jnp.eye(2), fine[1])

    is_front = jnp.abs((jnp.arange(size) + 0.5) / size - 0.5) < FRONT
    contrast = local_contrast(level, inferable, bare * is_front, sigmas[0], config)
    power = jnp.mean(jnp.clip(grain / contrast, -limit, limit) ** 2, -1)
    front, side = (jnp.sum(power * w) / jnp.sum(w) for w in (bare * is_front, bare * ~is_front))
    overlap = 1 - coarse[0] / coarse[1]
    return jnp.stack([overlap, mean_gain, individual_gain, jnp.sqrt(side / front)])


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--blended", type=int, default=12)
    given = parser.parse_args()
    model, config = load_model(), CompositionConfig()
    textures = load_database(size=given.size).textures
    texels = texel_map(model, given.size)

    def region(names: tuple[str, ...]) -> Array:
        parts = [i for i, name in enumerate(model.region_names) if name in names]
        return jnp.isin(texels.region_ids, jnp.asarray(parts)) & texels.mask

    regions = jnp.stack([texels.mask & ~region(NO_SKIN), region(BARE), texels.mask]).astype(float)
    estimate = partial(gains, blended=given.blended)
    rows = np.stack(
        [
            estimate(jnp.asarray(face), textures, regions, model, config)
            for face in range(len(textures))
        ]
    )
    print("| setting | in use | median | quartiles |")
    print("| --- | --- | --- | --- |")
    names = (
        "duplicate_detail_fraction",
        "mean_detail_gain",
        "individual_detail_gain",
        "unseen_grain_gain",
    )
    for name, values in zip(names, rows.T, strict=True):
        low, median, high = np.percentile(values, (25, 50, 75))
        print(f"| `{name}` | {getattr(config, name)} | {median:.2f} | {low:.2f} to {high:.2f} |")


if __name__ == "__main__":
    main()
