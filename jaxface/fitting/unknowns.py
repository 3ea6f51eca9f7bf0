"""The unknowns of a fit: one flat vector, its parts, its priors, and the projection of a point.

Position in the image and focal length are written so that each unknown changes one thing that can
be seen: `scale` = log(focal / distance) the size in the image, `distance` = log of the distance
the perspective, `shift` (metres across the view) where the head is. Size is then well determined
and perspective, which is not, gets its prior directly.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxface.fitting.solver import System
from jaxface.pytrees import static
from jaxface.rendering.camera import axis_angle, rotation_matrix
from jaxface.types import Camera, FaceModel

POSE = 7
LIGHTING = 27
INTER_OCULAR = 0.063
"""Metres between the eyes' centres; times focal / distance it is the unit of image errors."""
MAX_IDENTITY = 3.0
DISTANCES = (0.4, 4.0)


@struct.dataclass
class Layout:
    """Sizes of the parts of the flat vector: pose, identity, expression, then the rest."""

    identity: int = static()
    expression: int = static()
    extra: int = static()

    @property
    def shape(self) -> slice:
        return slice(POSE, POSE + self.identity + self.expression)

    @property
    def size(self) -> int:
        return self.shape.stop + self.extra

    def split(self, x: Float[Array, " P"]) -> tuple[Array, Array, Array, Array]:
        """Returns pose `[7]`, identity, expression and the rest."""
        a = POSE + self.identity
        b = a + self.expression
        return x[:POSE], x[POSE:a], x[a:b], x[b:]


@struct.dataclass
class Frame:
    """What the pose vector is relative to: a rotation matrix and the principal point (pixels)."""

    rotation: Float[Array, "3 3"]
    principal: Float[Array, "2"]


def rotation_of(pose: Float[Array, "7"], frame: Frame) -> Float[Array, "3 3"]:
    """Returns the rotation from model to camera."""
    return rotation_matrix(pose[:3]) @ frame.rotation


def project_point(
    point: Float[Array, "3"], pose: Float[Array, "7"], frame: Frame
) -> Float[Array, "2"]:
    """Returns the pixel of a point of model space."""
    turned = rotation_of(pose, frame) @ point
    depth = jnp.maximum(1.0 + turned[2] * jnp.exp(-pose[6]), 0.05)
    return jnp.exp(pose[5]) * (turned[:2] + pose[3:5]) / depth + frame.principal


def camera_of(pose: Float[Array, "7"], frame: Frame) -> Camera:
    """Returns the camera of a pose vector."""
    distance = jnp.exp(pose[6])
    return Camera(
        rotation=axis_angle(rotation_of(pose, frame)),
        translation=jnp.array([pose[3], pose[4], distance]),
        focal=jnp.exp(pose[5]) * distance,
        principal=frame.principal,
    )


def pose_of(camera: Camera) -> tuple[Float[Array, "7"], Frame]:
    """Returns the pose vector of a camera, relative to the camera's own rotation."""
    depth = camera.translation[2]
    rest = jnp.array([jnp.log(camera.focal / depth), jnp.log(depth)])
    pose = jnp.concatenate([jnp.zeros(3), camera.translation[:2], rest])
    return pose, Frame(rotation=rotation_matrix(camera.rotation), principal=camera.principal)


def shape_basis(model: FaceModel) -> Float[Array, "S V 3"]:
    """Returns identity and expression modes, one after the other."""
    return jnp.concatenate([model.identity_basis, model.expression_basis])


@struct.dataclass
class Prior:
    """A Gaussian over the unknowns; precision 0 means none.

    `log_focal` and its precision act on scale + distance, the logarithm of the focal length.
    """

    mean: Float[Array, " P"]
    precision: Float[Array, "P P"]
    log_focal: Float[Array, ""]
    focal_precision: Float[Array, ""]

    def system(self, x: Float[Array, " P"]) -> System:
        """Returns value, gradient and matrix of the negative logarithm of the prior."""
        away = x - self.mean
        pull = self.precision @ away
        direction = jnp.zeros_like(x).at[5].set(1.0).at[6].set(1.0)
        focal = x[5] + x[6] - self.log_focal
        return System(
            cost=0.5 * (pull @ away + self.focal_precision * focal**2),
            gradient=pull + self.focal_precision * focal * direction,
            normal=self.precision + self.focal_precision * direction[:, None] * direction,
        )


def bounds(layout: Layout) -> tuple[Float[Array, " P"], Float[Array, " P"]]:
    """Returns lower and upper bounds: identity within 3 sigma, expressions in 0..1, distance."""
    lower = jnp.full(layout.size, -jnp.inf)
    upper = jnp.full(layout.size, jnp.inf)
    people = slice(POSE, POSE + layout.identity)
    faces = slice(people.stop, layout.shape.stop)
    lower = lower.at[people].set(-MAX_IDENTITY).at[faces].set(0.0)
    upper = upper.at[people].set(MAX_IDENTITY).at[faces].set(1.0)
    return lower.at[6].set(math.log(DISTANCES[0])), upper.at[6].set(math.log(DISTANCES[1]))


def point_jacobian(
    values: Float[Array, "N C K"], basis: Float[Array, "S N K"]
) -> Float[Array, "N C S"]:
    """Returns derivatives with respect to the shape coefficients, by the chain rule."""
    return jnp.einsum("nck,snk->ncs", values, basis)


def derivatives(function, *arguments):
    """Returns a function's value and its derivatives with respect to every argument."""
    value = function(*arguments)
    return value, jax.jacfwd(function, argnums=tuple(range(len(arguments))))(*arguments)
