"""The unknowns of a fit: one flat vector x, its layout, priors and bounds; projection of a point.

x[:7] is the pose, parametrised so that each unknown changes one visible thing: axis-angle rotation
relative to `Frame.rotation` (3), `shift` across the view (2, metres), `scale` = log(focal /
distance), the size in the image, and `distance` = log distance (metres), the perspective. Size is
then well determined; perspective, which is not, gets its prior directly.
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
"""Numbers of unknowns: of the pose, and of the light (9 harmonics x RGB)."""
INTER_OCULAR = 0.063
"""Metres between the eyes' centres; times focal / distance it is the unit of image errors."""
MAX_IDENTITY = 3.0
"""Bound of an identity coefficient, standard deviations."""
DISTANCES = (0.4, 4.0)
"""Bounds of the distance, metres."""


@struct.dataclass
class Layout:
    """Sizes of the parts of x: pose (7), identity, expression, then `extra`.

    `extra`: the noise factors' coefficients and, if pixels are fitted, albedo and light.
    """

    identity: int = static()
    expression: int = static()
    extra: int = static()

    @property
    def shape(self) -> slice:
        """Returns where identity and expression are."""
        return slice(POSE, POSE + self.identity + self.expression)

    @property
    def size(self) -> int:
        """Returns the number of unknowns P."""
        return self.shape.stop + self.extra

    def split(self, x: Float[Array, " P"]) -> tuple[Array, Array, Array, Array]:
        """Returns pose `[7]`, identity, expression and extra."""
        a = POSE + self.identity
        b = a + self.expression
        return x[:POSE], x[POSE:a], x[a:b], x[b:]


@struct.dataclass
class Frame:
    """What the pose is relative to: base rotation matrix, and the principal point (pixels)."""

    rotation: Float[Array, "3 3"]
    principal: Float[Array, "2"]


def rotation_of(pose: Float[Array, "7"], frame: Frame) -> Float[Array, "3 3"]:
    """Returns the rotation from model to camera."""
    return rotation_matrix(pose[:3]) @ frame.rotation


def project_point(
    point: Float[Array, "3"], pose: Float[Array, "7"], frame: Frame
) -> Float[Array, "2"]:
    """Returns the pixel coordinates of a point of model space, metres; depth at least 5 %."""
    rotated = rotation_of(pose, frame) @ point
    depth = jnp.maximum(1.0 + rotated[2] * jnp.exp(-pose[6]), 0.05)
    return jnp.exp(pose[5]) * (rotated[:2] + pose[3:5]) / depth + frame.principal


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
    log_scale_distance = jnp.array([jnp.log(camera.focal / depth), jnp.log(depth)])
    pose = jnp.concatenate([jnp.zeros(3), camera.translation[:2], log_scale_distance])
    return pose, Frame(rotation=rotation_matrix(camera.rotation), principal=camera.principal)


def shape_basis(model: FaceModel) -> Float[Array, "S V 3"]:
    """Returns the identity modes, then the expression modes, metres."""
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
        """Returns value, gradient and Hessian of the negative log prior."""
        residual = x - self.mean
        weighted = self.precision @ residual
        focal_gradient = jnp.zeros_like(x).at[5].set(1.0).at[6].set(1.0)
        log_ratio = x[5] + x[6] - self.log_focal
        return System(
            cost=0.5 * (weighted @ residual + self.focal_precision * log_ratio**2),
            gradient=weighted + self.focal_precision * log_ratio * focal_gradient,
            normal=self.precision + self.focal_precision * focal_gradient[:, None] * focal_gradient,
        )


def bounds(layout: Layout) -> tuple[Float[Array, " P"], Float[Array, " P"]]:
    """Returns lower and upper bounds: identity within 3 sigma, expressions in 0..1, distance."""
    lower = jnp.full(layout.size, -jnp.inf)
    upper = jnp.full(layout.size, jnp.inf)
    identity_slice = slice(POSE, POSE + layout.identity)
    expression_slice = slice(identity_slice.stop, layout.shape.stop)
    lower = lower.at[identity_slice].set(-MAX_IDENTITY).at[expression_slice].set(0.0)
    upper = upper.at[identity_slice].set(MAX_IDENTITY).at[expression_slice].set(1.0)
    return lower.at[6].set(math.log(DISTANCES[0])), upper.at[6].set(math.log(DISTANCES[1]))


def combine(coefficients: Float[Array, " S"], basis: Float[Array, "S N K"]) -> Float[Array, "N K"]:
    """Returns the sum of a basis's modes, each times its coefficient.

    As a product with a matrix, whose transpose XLA takes without a copy: on a CPU the derivative of
    `tensordot` takes ten times as long.
    """
    modes, *shape = basis.shape
    return (coefficients @ basis.reshape(modes, math.prod(shape))).reshape(shape)


def point_jacobian(
    values: Float[Array, "N C K"], basis: Float[Array, "S N K"]
) -> Float[Array, "N C S"]:
    """Returns derivatives by the coefficients of a basis: those by its K components, times it."""
    return jnp.einsum("nck,snk->ncs", values, basis)


def derivatives(function, *arguments):
    """Returns a function's value and its Jacobian with respect to every argument."""
    value = function(*arguments)
    return value, jax.jacfwd(function, argnums=tuple(range(len(arguments))))(*arguments)
