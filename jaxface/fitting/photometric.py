"""Photometric term: rendered colours of surface samples against the photo's pixels.

A sample is the centre of a quad of the face: its position, its two diagonals (their cross product
is the surface normal) and its log albedo are linear in the shape and albedo coefficients, so that
the Jacobian is a small derivative per sample times constant bases.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jaxface.filters import blur
from jaxface.fitting.joint import StackedTerms
from jaxface.fitting.landmarks import LandmarkTerms
from jaxface.fitting.solver import SolverConfig, State, StepSolver, System, solve, solve_step
from jaxface.fitting.unknowns import (
    LIGHTING,
    POSE,
    Frame,
    Layout,
    Prior,
    bounds,
    combine,
    derivatives,
    point_jacobian,
    project_point,
    rotation_of,
)
from jaxface.rendering.color import linear_to_srgb, srgb_to_linear
from jaxface.rendering.lighting import irradiance_basis, shade, uniform
from jaxface.rendering.normals import length, normalize
from jaxface.rendering.rasterize import rasterize
from jaxface.rendering.texture import SPLINE_VARIANCE, sample_spline, sample_texture
from jaxface.types import FaceModel, Lighting

SAMPLES = 2048
BLURS = (4.0, 2.0, 1.0)
"""Standard deviations of the Gaussian scale space, pixels of the crop, coarse to fine."""
REGIONS = ("skin", "lips", "nose", "brows", "lids")
MIN_Z = -0.07  # metres, of a sample on the mean face: farther back are ears and neck
_DEPTH_TOLERANCE = 0.006  # metres, of the depth test
_MIN_FACING, _FACING_RAMP = 0.15, 0.35  # cosine from which a sample counts; width of the ramp to 1
_CAUCHY_SIGMAS = 2.0  # scale of Cauchy's loss, standard deviations of a colour
# Prior on the light, standard deviations of coefficients: their mean over RGB by band, and colour.
_GREY_SIGMA = (2.0, 1.0, 0.5)
_COLOUR_SIGMA = 0.25
_MEAN_RADIANCE = 0.8  # of the prior's mean: uniform white light
_START_RIDGE = 3e-3  # factor of the prior's precision in the light that the search starts from


@struct.dataclass
class Samples:
    """Surface samples: affine maps from the coefficients.

    `geometry_mean`, `geometry_basis`: position and two diagonals of a sample, model space, metres:
    of the mean face and of each shape mode. `albedo_mean`, `albedo_basis`: the logarithm of linear
    RGB albedo. `weight`: area over total area, 0 for padding.
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
    regions = [model.region_names.index(name) for name in REGIONS if name in model.region_names]
    inside = jnp.all(jnp.isin(model.vertex_region[model.quads], jnp.array(regions)), axis=1)
    centre = model.mean[model.quads].mean(1)
    inside &= centre[:, 2] > MIN_Z
    order = jnp.arange(SAMPLES)
    rank_of_quad, count = jnp.cumsum(inside), inside.sum()
    rank = jnp.where(count > SAMPLES, order * count // SAMPLES, order)
    chosen = jnp.minimum(jnp.searchsorted(rank_of_quad, rank + 1), len(inside) - 1)
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


def unoccluded(
    vertices: Float[Array, "V 3"],
    samples: Float[Array, "N 9"],
    pose: Float[Array, "7"],
    frame: Frame,
    model: FaceModel,
    size: int,
) -> Bool[Array, " N"]:
    """Returns whether each sample passes the depth test of an image of `size` pixels a side.

    False outside the image. Vertices and samples (position, two diagonals) are in model space,
    metres.
    """
    rotation, distance = rotation_of(pose, frame), jnp.exp(pose[6])
    xy = jax.vmap(lambda p: project_point(p, pose, frame))(vertices)
    raster, _ = rasterize(xy, vertices @ rotation[2] + distance, model.triangles, size, size)
    depth = samples[:, :3] @ rotation[2] + distance
    centre = jax.vmap(lambda p: project_point(p, pose, frame))(samples[:, :3])
    column, row = jnp.clip(centre.astype(jnp.int32), 0, size - 1).T
    inside = jnp.all((centre >= 0) & (centre < size), axis=1)
    nearest = raster[row, column, 2]
    return ((depth < nearest + _DEPTH_TOLERANCE) | (nearest == 0)) & inside


def facing_weight(
    samples: Float[Array, "N 9"], pose: Float[Array, "7"], frame: Frame
) -> Float[Array, " N"]:
    """Returns clip((cosine - 0.15) / 0.35, 0, 1) of each sample's viewing angle. Differentiable."""
    rotated = samples.reshape(-1, 3, 3) @ rotation_of(pose, frame).T
    position = rotated[:, 0] + jnp.array([0.0, 0.0, 1.0]) * jnp.exp(pose[6])
    position = position.at[:, :2].add(pose[3:5])
    normals = normalize(jnp.cross(rotated[:, 1], rotated[:, 2]))
    facing = jnp.sum(normals * normalize(-position), axis=1)
    return jnp.clip((facing - _MIN_FACING) / _FACING_RAMP, 0.0, 1.0)


def start_lighting(
    colour: Float[Array, "N 3"],
    albedo: Float[Array, "N 3"],
    normals: Float[Array, "N 3"],
    weight: Float[Array, " N"],
) -> Float[Array, "27"]:
    """Returns the ridge-regression estimate of the light from linear colours of a known albedo.

    The ridge draws it to `lighting_prior`'s mean.
    """
    harmonics = irradiance_basis(normals)
    mean, precision = lighting_prior()
    ridge = precision.reshape(9, 3, 9, 3)[:, 0, :, 0] * _START_RIDGE

    def channel(values: Array, albedo: Array, center: Array) -> Array:
        design = harmonics * albedo[:, None]
        residual = values - design @ center
        normal_matrix = (design * weight[:, None]).T @ design + ridge
        return center + jnp.linalg.solve(normal_matrix, design.T @ (weight * residual))

    solved = jax.vmap(channel)(colour.T, albedo.T, mean.reshape(9, 3).T)
    return solved.T.reshape(-1)


def lighting_prior() -> tuple[Float[Array, "27"], Float[Array, "27 27"]]:
    """Returns mean and precision of the light: mean white and uniform, colour nearly grey."""
    band = jnp.array([_GREY_SIGMA[0]] + [_GREY_SIGMA[1]] * 3 + [_GREY_SIGMA[2]] * 5)
    grey = jnp.ones((3, 3)) / 9.0
    colour = (jnp.eye(3) - jnp.ones((3, 3)) / 3.0) / _COLOUR_SIGMA**2
    precision = jnp.kron(jnp.diag(band**-2.0), grey) + jnp.kron(jnp.eye(9), colour)
    return uniform(_MEAN_RADIANCE).coefficients.reshape(-1), precision


@struct.dataclass
class PixelTerm:
    """The pixels' term of the objective at one level of the scale space, for fixed visibility.

    cost = sum_i weight_i c^2 log(1 + |r_i|^2 / c^2) / 2, r_i = (rendered - observed) / sigma of
    sample i in sRGB, c = 2 (Cauchy); so the IRLS weight is weight_i / (1 + |r_i|^2 / c^2).

    `image`: sRGB, blurred. `weight`: `PixelTerms.weight` times a sample's area, visibility and
    person mask. `sigma`: standard deviation of a colour, sRGB.
    """

    image: Float[Array, "S S 3"]
    samples: Samples
    weight: Float[Array, " N"]
    frame: Frame
    sigma: Float[Array, ""]

    def system(self, x: Float[Array, " P"], layout: Layout) -> System:
        """Returns the term's value, gradient and Gauss-Newton matrix at x."""
        samples = self.samples
        modes = len(samples.albedo_basis)
        padding = layout.extra - modes - LIGHTING
        pose = x[:POSE]
        photometric = x[layout.shape.stop + padding :]
        coefficients, light = photometric[:modes], photometric[modes:]
        geometry = samples.geometry_mean + combine(x[layout.shape], samples.geometry_basis)
        log_albedo = samples.albedo_mean + combine(coefficients, samples.albedo_basis)

        def project(geometry: Array, pose: Array) -> Array:
            """Returns pixel coordinates and surface normal in camera space, `[5]`."""
            normal = normalize(jnp.cross(geometry[3:6], geometry[6:]))
            normal = rotation_of(pose, self.frame) @ normal
            return jnp.concatenate([project_point(geometry[:3], pose, self.frame), normal])

        def sample_pixel(position: Array) -> Array:
            return sample_spline(self.image, position)

        projected, (by_geometry, by_pose) = jax.vmap(lambda g: derivatives(project, g, pose))(
            geometry
        )
        xy, normals = projected[:, :2], projected[:, 2:]
        observed, (image_gradient,) = jax.vmap(lambda p: derivatives(sample_pixel, p))(xy)
        harmonics, (by_n,) = jax.vmap(lambda n: derivatives(irradiance_basis, n))(normals)
        light = light.reshape(9, 3)
        albedo = jnp.exp(log_albedo)
        colour = albedo * (harmonics @ light)
        rendered, srgb_slope = jax.jvp(linear_to_srgb, (colour,), (jnp.ones_like(colour),))
        whitened = (rendered - observed) / self.sigma
        by_normal = (srgb_slope * albedo)[..., None] * jnp.einsum("nhk,hc->nck", by_n, light)
        by_projected = jnp.concatenate([-image_gradient, by_normal], axis=2) / self.sigma
        by_geometry, by_pose = by_projected @ by_geometry, by_projected @ by_pose
        by_albedo = (srgb_slope * colour)[..., None] * jnp.eye(3) / self.sigma
        by_light = jnp.einsum("nc,nh,cd->nchd", srgb_slope * albedo, harmonics, jnp.eye(3))
        by_light = (by_light / self.sigma).reshape(-1, 3, LIGHTING)
        jacobian = jnp.concatenate(
            [
                by_pose,
                point_jacobian(by_geometry, samples.geometry_basis),
                jnp.zeros((*whitened.shape, padding)),
                point_jacobian(by_albedo, samples.albedo_basis),
                by_light,
            ],
            axis=-1,
        )
        squared_residual = jnp.sum(whitened**2, axis=1) / _CAUCHY_SIGMAS**2
        irls_weight = self.weight / (1.0 + squared_residual)
        weighted = (jacobian * irls_weight[:, None, None]).reshape(-1, layout.size)
        flat = jacobian.reshape(-1, layout.size)
        return System(
            cost=0.5 * _CAUCHY_SIGMAS**2 * jnp.sum(self.weight * jnp.log1p(squared_residual)),
            gradient=weighted.T @ whitened.reshape(-1),
            normal=weighted.T @ flat,
        )

    def lighting(self, x: Float[Array, " P"], layout: Layout) -> Float[Array, "27"]:
        """Returns `start_lighting` from the pixels and the mean albedo."""
        samples = self.samples
        geometry = samples.geometry_mean + combine(x[layout.shape], samples.geometry_basis)
        xy = jax.vmap(lambda g: project_point(g[:3], x[:POSE], self.frame))(geometry)
        return start_lighting(
            srgb_to_linear(sample_spline(self.image, xy)),
            jnp.exp(samples.albedo_mean),
            normals_of(geometry, x[:POSE], self.frame),
            self.weight,
        )

    def error(self, x: Float[Array, " P"], layout: Layout) -> Float[Array, ""]:
        """Returns the mean absolute difference in sRGB (0..1) over the visible samples."""
        samples = self.samples
        geometry = samples.geometry_mean + combine(x[layout.shape], samples.geometry_basis)
        albedo = x[layout.size - LIGHTING - len(samples.albedo_basis) : layout.size - LIGHTING]
        log_albedo = samples.albedo_mean + combine(albedo, samples.albedo_basis)
        light = Lighting(coefficients=x[layout.size - LIGHTING :].reshape(9, 3))
        shaded = jnp.exp(log_albedo) * shade(normals_of(geometry, x[:POSE], self.frame), light)
        xy = jax.vmap(lambda g: project_point(g[:3], x[:POSE], self.frame))(geometry)
        residual = jnp.abs(linear_to_srgb(shaded) - sample_spline(self.image, xy)).mean(axis=1)
        return jnp.sum(self.weight * residual) / jnp.maximum(jnp.sum(self.weight), 1e-12)


def normals_of(
    geometry: Float[Array, "N 9"], pose: Float[Array, "7"], frame: Frame
) -> Float[Array, "N 3"]:
    """Returns the samples' normals in camera space."""
    normals = normalize(jnp.cross(geometry[:, 3:6], geometry[:, 6:]))
    return normals @ rotation_of(pose, frame).T


@struct.dataclass
class PixelTerms:
    """The data of the photometric term, from which each round makes its `PixelTerm`.

    `image`: sRGB and the probability of the person at each pixel, blurred; one level, or all of
    the scale space stacked (`blurred_levels`). `weight`: how many independent pixels the whole face
    counts for. `sigma`: standard deviation of a colour, sRGB.
    """

    image: Float[Array, "*levels S S 4"]
    samples: Samples
    model: FaceModel
    basis: Float[Array, "S V 3"]
    layout: Layout
    weight: Float[Array, ""]
    sigma: Float[Array, ""]

    def on(self, image: Float[Array, "S S 4"]) -> PixelTerms:
        """Returns the terms with another image, such as one level of the scale space."""
        return self.replace(image=image)

    def choose(self, x: Float[Array, " P"], frame: Frame) -> Bool[Array, " N"]:
        """Returns which samples are unoccluded at the estimate x."""
        shape, size = x[self.layout.shape], self.image.shape[0]
        vertices = self.model.mean + combine(shape, self.basis)
        return unoccluded(vertices, self._geometry(x), x[:POSE], frame, self.model, size)

    def at(self, x: Float[Array, " P"], frame: Frame, seen: Bool[Array, " N"]) -> PixelTerm:
        """Returns the term of the seen samples, viewing angle and person mask held at x."""
        geometry = self._geometry(x)
        xy = jax.vmap(lambda g: project_point(g[:3], x[:POSE], frame))(geometry)
        person = jnp.clip(sample_spline(self.image[..., 3:], xy)[:, 0], 0.0, 1.0) ** 2
        visible = seen * facing_weight(geometry, x[:POSE], frame)
        return PixelTerm(
            image=self.image[..., :3],
            samples=self.samples,
            weight=self.weight * self.samples.weight * visible * person,
            frame=frame,
            sigma=self.sigma,
        )

    def _geometry(self, x: Float[Array, " P"]) -> Float[Array, "N 9"]:
        """Returns the samples' positions and diagonals, model space, metres."""
        samples = self.samples
        return samples.geometry_mean + combine(x[self.layout.shape], samples.geometry_basis)


def fit_pixels(
    state: State,
    levels: PixelTerms | StackedTerms,
    frame: Frame,
    terms: LandmarkTerms | StackedTerms,
    prior: Prior | StackedTerms,
    config: SolverConfig,
    step_solver: StepSolver = solve_step,
) -> tuple[State, tuple[Int[Array, "*N S"], Bool[Array, "*N samples"]]]:
    """Returns the solver's state after the joint fit of landmarks and pixels, and the last round's
    choices: contour correspondences and unoccluded samples.

    One round per level of the scale space, coarse to fine; visibility, contour correspondences and
    the landmarks' noise are held at the round's start.

    Args:
        state: of the fit to landmarks alone, its x `[P]` or, of N photos, `[N, P]`, over all
            unknowns; the light is replaced by `start_lighting`, iterations are added up.
        levels: pixel terms, whose `image` is `blurred_levels`: `[3, S, S, 4]` or `[3, N, S, S, 4]`.
        frame: base rotation and principal point of the pose vector.
        terms: landmark terms.
        prior: over all unknowns.
        config: solver settings of each round.
        step_solver: `solve_step`, or `joint_step` for several photos.
    """
    layout = terms.layout
    lower, upper = bounds(layout)

    def advance(x: Array, level: tuple[Array, Array]) -> tuple[Array, tuple[State, tuple]]:
        image, first = level
        choices = terms.choose(x, frame), levels.on(image).choose(x, frame)
        points = terms.at(x, frame, choices[0])
        pixels = levels.on(image).at(x, frame, choices[1])
        light = jnp.where(first, pixels.lighting(x, layout), x[..., layout.size - LIGHTING :])
        x = x.at[..., layout.size - LIGHTING :].set(light)

        def system(p: Array) -> System:
            return pixels.system(p, layout) + points.system(p, layout) + prior.system(p)

        state = solve(system, x, lower=lower, upper=upper, config=config, linear=step_solver)
        return state.x, (state, choices)

    images = levels.image, jnp.arange(len(BLURS)) == 0
    _, rounds = jax.lax.scan(advance, state.x, images)
    last, choices = jax.tree.map(lambda leaf: leaf[-1], rounds)
    return last.replace(iterations=state.iterations + jnp.sum(rounds[0].iterations)), choices


def blurred_levels(image: Float[Array, "S S C"]) -> Float[Array, "N S S C"]:
    """Returns the Gaussian scale space: the image under each of `BLURS`, all at full size.

    The blur of `sample_spline`, by which it is looked up, is a part of each.
    """
    rest = jnp.sqrt(jnp.array(BLURS) ** 2 - SPLINE_VARIANCE)
    return jax.vmap(lambda width: blur(image, width))(rest)
