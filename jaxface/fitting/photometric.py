"""Photo-consistency: the colours of surface samples against the photo's pixels.

A sample is the middle of a quad of the face: its place, its two diagonals (their cross product is
the normal) and its log albedo are linear in the shape and albedo coefficients, so that the
Jacobian is a small derivative per sample times constant bases.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxface.filters import blur
from jaxface.fitting.joint import Each
from jaxface.fitting.landmarks import LandmarkTerms
from jaxface.fitting.solver import Linear, SolverConfig, State, System, solve, solve_step
from jaxface.fitting.unknowns import (
    LIGHTING,
    POSE,
    Frame,
    Layout,
    Prior,
    bounds,
    derivatives,
    point_jacobian,
    project_point,
    rotation_of,
)
from jaxface.rendering.color import linear_to_srgb, srgb_to_linear
from jaxface.rendering.lighting import irradiance_basis, shade, uniform
from jaxface.rendering.normals import length, normalize
from jaxface.rendering.rasterize import rasterize
from jaxface.rendering.texture import sample_image, sample_texture
from jaxface.types import FaceModel, Lighting

SAMPLES = 2048
BLURS = (4.0, 2.0, 1.0)
"""Gaussian widths of the three levels, pixels of the crop."""
_REGIONS = ("skin", "lips", "nose", "brows", "lids")
_DEPTH_SLACK = 0.006
_ROBUST = 2.0
_GREY_SIGMA = (2.0, 1.0, 0.5)
"""Widths of the prior on the light's grey part by band, and of its colour."""
_COLOUR_SIGMA = 0.25


@struct.dataclass
class Samples:
    """Surface samples: linear maps from the coefficients.

    `geometry`: place and two diagonals, nine numbers a sample, first the mean's then the modes'.
    `log_albedo`: the same for the logarithm of linear RGB albedo. `weight`: 0 for padding.
    """

    geometry_mean: Float[Array, "N 9"]
    geometry_basis: Float[Array, "S N 9"]
    albedo_mean: Float[Array, "N 3"]
    albedo_basis: Float[Array, "M N 3"]
    weight: Float[Array, " N"]


def make_samples(model: FaceModel, basis: Float[Array, "S V 3"]) -> Samples:
    """Returns samples at the quads of the face's front, weighted by their area.

    If the mesh has more than `SAMPLES` front-facing quads, they are subsampled evenly.
    """
    regions = [model.region_names.index(name) for name in _REGIONS if name in model.region_names]
    inside = jnp.all(jnp.isin(model.vertex_region[model.quads], jnp.array(regions)), axis=1)
    middle = model.mean[model.quads].mean(1)
    inside &= middle[:, 2] > -0.07
    order = jnp.arange(SAMPLES)
    found, count = jnp.cumsum(inside), inside.sum()
    rank = jnp.where(count > SAMPLES, order * count // SAMPLES, order)
    chosen = jnp.minimum(jnp.searchsorted(found, rank + 1), len(inside) - 1)
    quads, valid = model.quads[chosen], order < count

    def geometry(points: Array) -> Array:
        corners = points[quads]
        first, second = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
        return jnp.concatenate([corners.mean(1), first, second], axis=1)

    mean = geometry(model.mean)
    area = length(jnp.cross(mean[:, 3:6], mean[:, 6:])) * valid
    uv = model.uvs[model.uv_quads[chosen]].mean(1)
    stack = jnp.concatenate([model.albedo_mean[None], model.albedo_basis])
    side, modes = stack.shape[1], len(stack)
    flat = jnp.moveaxis(stack, 0, 2).reshape(side, side, modes * 3)
    albedo = jnp.moveaxis(sample_texture(flat, uv).reshape(SAMPLES, modes, 3), 1, 0)
    return Samples(
        geometry_mean=mean,
        geometry_basis=jax.lax.map(geometry, basis),
        albedo_mean=albedo[0],
        albedo_basis=albedo[1:],
        weight=area / jnp.sum(area),
    )


def visibility(
    vertices: Float[Array, "V 3"],
    samples: Float[Array, "N 9"],
    pose: Float[Array, "7"],
    frame: Frame,
    model: FaceModel,
    size: int,
) -> Float[Array, " N"]:
    """Returns how well each sample is seen, 0..1: facing ratio times a depth test.

    Differentiable through the facing ratio.
    """
    rotation, distance = rotation_of(pose, frame), jnp.exp(pose[6])
    depth = vertices @ rotation[2] + distance
    xy = jax.vmap(lambda p: project_point(p, pose, frame))(vertices)
    raster, _ = rasterize(xy, depth, model.triangles, size, size)
    turned = samples.reshape(-1, 3, 3) @ rotation.T
    place = turned[:, 0] + jnp.array([0.0, 0.0, 1.0]) * distance
    place = place.at[:, :2].add(pose[3:5])
    facing = jnp.sum(normalize(jnp.cross(turned[:, 1], turned[:, 2])) * normalize(-place), axis=1)
    middle = jax.vmap(lambda p: project_point(p, pose, frame))(samples[:, :3])
    column, row = jnp.clip(middle.astype(jnp.int32), 0, size - 1).T
    inside = jnp.all((middle >= 0) & (middle < size), axis=1)
    nearest = raster[row, column, 2]
    clear = (place[:, 2] < nearest + _DEPTH_SLACK) | (nearest == 0)
    ramp = jnp.clip((facing - 0.15) / 0.35, 0.0, 1.0)
    return ramp * clear * inside


def start_lighting(
    colour: Float[Array, "N 3"],
    albedo: Float[Array, "N 3"],
    normals: Float[Array, "N 3"],
    weight: Float[Array, " N"],
) -> Float[Array, "27"]:
    """Returns the light that best explains linear colours of a known albedo (ridge)."""
    harmonics = irradiance_basis(normals)
    mean, precision = lighting_prior()
    ridge = precision.reshape(9, 3, 9, 3)[:, 0, :, 0] * 3e-3

    def channel(values: Array, tint: Array, center: Array) -> Array:
        design = harmonics * tint[:, None]
        away = values - design @ center
        normal = (design * weight[:, None]).T @ design + ridge
        return center + jnp.linalg.solve(normal, design.T @ (weight * away))

    solved = jax.vmap(channel)(colour.T, albedo.T, mean.reshape(9, 3).T)
    return solved.T.reshape(-1)


def lighting_prior() -> tuple[Float[Array, "27"], Float[Array, "27 27"]]:
    """Returns mean and precision of the light: white, mostly even, nearly grey."""
    band = jnp.array([_GREY_SIGMA[0]] + [_GREY_SIGMA[1]] * 3 + [_GREY_SIGMA[2]] * 5)
    grey = jnp.ones((3, 3)) / 9.0
    colour = (jnp.eye(3) - jnp.ones((3, 3)) / 3.0) / _COLOUR_SIGMA**2
    precision = jnp.kron(jnp.diag(band**-2.0), grey) + jnp.kron(jnp.eye(9), colour)
    return uniform(0.8).coefficients.reshape(-1), precision


@struct.dataclass
class PixelTerm:
    """The pixels' share of the objective at one pyramid level, for fixed visibility.

    `image`: sRGB, blurred. `weight`: of each sample, visibility included. `sigma`: of a colour.
    """

    image: Float[Array, "S S 3"]
    samples: Samples
    weight: Float[Array, " N"]
    frame: Frame
    sigma: Float[Array, ""]

    def system(self, x: Float[Array, " P"], layout: Layout) -> System:
        """Returns the pixels' part of value, gradient and matrix."""
        samples = self.samples
        modes = len(samples.albedo_basis)
        before = layout.extra - modes - LIGHTING
        pose = x[:POSE]
        rest = x[layout.shape.stop + before :]
        albedo, light = rest[:modes], rest[modes:]
        geometry = samples.geometry_mean + jnp.tensordot(x[layout.shape], samples.geometry_basis, 1)
        log_albedo = samples.albedo_mean + jnp.tensordot(albedo, samples.albedo_basis, 1)

        def view(geometry: Array, pose: Array) -> Array:
            normal = normalize(jnp.cross(geometry[3:6], geometry[6:]))
            normal = rotation_of(pose, self.frame) @ normal
            return jnp.concatenate([project_point(geometry[:3], pose, self.frame), normal])

        def look(place: Array) -> Array:
            return sample_image(self.image, place)

        views, (by_geometry, by_pose) = jax.vmap(lambda g: derivatives(view, g, pose))(geometry)
        seen, (slope,) = jax.vmap(lambda place: derivatives(look, place))(views[:, :2])
        harmonics, (bend,) = jax.vmap(lambda n: derivatives(irradiance_basis, n))(views[:, 2:])
        light = light.reshape(9, 3)
        tint = jnp.exp(log_albedo)
        linear = tint * (harmonics @ light)
        shown, gamma = jax.jvp(linear_to_srgb, (linear,), (jnp.ones_like(linear),))
        value = (shown - seen) / self.sigma
        by_normal = (gamma * tint)[..., None] * jnp.einsum("nhk,hc->nck", bend, light)
        by_view = jnp.concatenate([-slope, by_normal], axis=2) / self.sigma
        by_geometry, by_pose = by_view @ by_geometry, by_view @ by_pose
        by_albedo = (gamma * linear)[..., None] * jnp.eye(3) / self.sigma
        by_light = jnp.einsum("nc,nh,cd->nchd", gamma * tint, harmonics, jnp.eye(3)) / self.sigma
        by_light = by_light.reshape(-1, 3, LIGHTING)
        jacobian = jnp.concatenate(
            [
                by_pose,
                point_jacobian(by_geometry, samples.geometry_basis),
                jnp.zeros((*value.shape, before)),
                point_jacobian(by_albedo, samples.albedo_basis),
                by_light,
            ],
            axis=-1,
        )
        square = jnp.sum(value**2, axis=1) / _ROBUST**2
        pull = self.weight / (1.0 + square)
        weighted = (jacobian * pull[:, None, None]).reshape(-1, layout.size)
        flat = jacobian.reshape(-1, layout.size)
        return System(
            cost=0.5 * _ROBUST**2 * jnp.sum(self.weight * jnp.log1p(square)),
            gradient=weighted.T @ value.reshape(-1),
            normal=weighted.T @ flat,
        )

    def lighting(self, x: Float[Array, " P"], layout: Layout) -> Float[Array, "27"]:
        """Returns the light that explains the pixels best if the albedo is the mean."""
        samples = self.samples
        geometry = samples.geometry_mean + jnp.tensordot(x[layout.shape], samples.geometry_basis, 1)
        xy = jax.vmap(lambda g: project_point(g[:3], x[:POSE], self.frame))(geometry)
        return start_lighting(
            srgb_to_linear(sample_image(self.image, xy)),
            jnp.exp(samples.albedo_mean),
            normals_of(geometry, x[:POSE], self.frame),
            self.weight,
        )

    def error(self, x: Float[Array, " P"], layout: Layout) -> Float[Array, ""]:
        """Returns the mean absolute difference in sRGB (0..1) over the visible samples."""
        samples = self.samples
        geometry = samples.geometry_mean + jnp.tensordot(x[layout.shape], samples.geometry_basis, 1)
        albedo = x[layout.size - LIGHTING - len(samples.albedo_basis) : layout.size - LIGHTING]
        log_albedo = samples.albedo_mean + jnp.tensordot(albedo, samples.albedo_basis, 1)
        light = Lighting(coefficients=x[layout.size - LIGHTING :].reshape(9, 3))
        shaded = jnp.exp(log_albedo) * shade(normals_of(geometry, x[:POSE], self.frame), light)
        xy = jax.vmap(lambda g: project_point(g[:3], x[:POSE], self.frame))(geometry)
        away = jnp.abs(linear_to_srgb(shaded) - sample_image(self.image, xy)).mean(axis=1)
        return jnp.sum(self.weight * away) / jnp.maximum(jnp.sum(self.weight), 1e-12)


def normals_of(
    geometry: Float[Array, "N 9"], pose: Float[Array, "7"], frame: Frame
) -> Float[Array, "N 3"]:
    """Returns the samples' normals in camera space."""
    normals = normalize(jnp.cross(geometry[:, 3:6], geometry[:, 6:]))
    return normals @ rotation_of(pose, frame).T


@struct.dataclass
class PixelTerms:
    """What stays the same in all rounds of one level: the picture, the model, weights.

    `picture`: sRGB, blurred, and a weight of every pixel. `weight`: how many independent pixels
    the whole face counts for. `sigma`: of a pixel, sRGB.
    """

    picture: Float[Array, "S S 4"]
    samples: Samples
    model: FaceModel
    basis: Float[Array, "S V 3"]
    layout: Layout
    weight: Float[Array, ""]
    sigma: Float[Array, ""]

    def on(self, picture: Float[Array, "S S 4"]) -> PixelTerms:
        """Returns the terms with another picture, such as a level of the pyramid."""
        return self.replace(picture=picture)

    def at(self, x: Float[Array, " P"], frame: Frame) -> PixelTerm:
        """Returns the term with the visibility of the present estimate."""
        samples, shape = self.samples, x[self.layout.shape]
        geometry = samples.geometry_mean + jnp.tensordot(shape, samples.geometry_basis, 1)
        vertices = self.model.mean + jnp.tensordot(shape, self.basis, 1)
        size = self.picture.shape[0]
        seen = visibility(vertices, geometry, x[:POSE], frame, self.model, size)
        xy = jax.vmap(lambda g: project_point(g[:3], x[:POSE], frame))(geometry)
        person = jnp.clip(sample_image(self.picture[..., 3:], xy)[:, 0], 0.0, 1.0) ** 2
        return PixelTerm(
            image=self.picture[..., :3],
            samples=samples,
            weight=self.weight * samples.weight * seen * person,
            frame=frame,
            sigma=self.sigma,
        )


def fit_pixels(
    state: State,
    levels: PixelTerms | Each,
    frame: Frame,
    terms: LandmarkTerms | Each,
    prior: Prior | Each,
    config: SolverConfig,
    linear: Linear = solve_step,
) -> tuple[State, Float[Array, "*N"]]:
    """Returns the solver's state after landmarks and pixels were fitted jointly, and the error.

    One round a pyramid level, coarse to fine; visibility, contour correspondences and the
    landmarks' noise are those of the round's start.

    Args:
        state: from the landmarks.
        levels: the pixels, with all levels of the pyramid (`blurred_levels`) as their picture.
        frame: that the pose is relative to.
        terms: landmarks, model and noise.
        prior: over all unknowns.
        config: of the solver, for each level.
        linear: of the solver.
    """
    layout = terms.layout
    lower, upper = bounds(layout)

    def advance(x: Array, level: tuple[Array, Array]) -> tuple[Array, tuple[State, Array]]:
        picture, first = level
        pixels, points = levels.on(picture).at(x, frame), terms.at(x, frame)
        light = jnp.where(first, pixels.lighting(x, layout), x[..., layout.size - LIGHTING :])
        x = x.at[..., layout.size - LIGHTING :].set(light)

        def system(p: Array) -> System:
            return pixels.system(p, layout) + points.system(p, layout) + prior.system(p)

        state = solve(system, x, lower=lower, upper=upper, config=config, linear=linear)
        return state.x, (state, pixels.error(state.x, layout))

    pictures = levels.picture, jnp.arange(len(BLURS)) == 0
    _, (states, errors) = jax.lax.scan(advance, state.x, pictures)
    last = jax.tree.map(lambda leaf: leaf[-1], states)
    return last.replace(iterations=state.iterations + jnp.sum(states.iterations)), errors[-1]


def blurred_levels(image: Float[Array, "S S C"]) -> Float[Array, "N S S C"]:
    """Returns the image under each of the blurs, coarse to fine, all at full size."""
    return jax.vmap(lambda width: blur(image, width))(jnp.array(BLURS))
