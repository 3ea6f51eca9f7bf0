"""The pinhole camera: rotations, model to camera space, projection, preview cameras.

Hartley and Zisserman, *Multiple View Geometry* (2004), chapter 6, with OpenCV's axes.
"""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.precision import jit
from jaxface.types import Camera

_MIN_DEPTH = 1e-4


def rotation_matrix(axis_angle: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Returns the rotation matrix of an axis-angle vector (Rodrigues' formula).

    Differentiable everywhere, also at zero, where the derivative is the cross-product matrix.

    Args:
        axis_angle: unit axis times angle in radians.

    Example:
        >>> rotation_matrix(jnp.array([jnp.pi, 0.0, 0.0])).round(3).diagonal().tolist()
        [1.0, -1.0, -1.0]
    """
    x, y, z = axis_angle
    skew = jnp.array([[0 * x, -z, y], [z, 0 * x, -x], [-y, x, 0 * x]])
    squared_norm = axis_angle @ axis_angle
    near_zero = squared_norm < 1e-8
    angle = jnp.sqrt(jnp.where(near_zero, 1.0, squared_norm))
    sin_factor = jnp.where(near_zero, 1.0 - squared_norm / 6.0, jnp.sin(angle) / angle)
    half = jnp.sin(angle / 2) / angle
    cos_factor = jnp.where(near_zero, 0.5 - squared_norm / 24.0, 2.0 * half * half)
    return jnp.eye(3, dtype=skew.dtype) + sin_factor * skew + cos_factor * (skew @ skew)


def axis_angle(matrix: Float[Array, "3 3"]) -> Float[Array, "3"]:
    """Returns the axis-angle vector of a rotation matrix, by way of the quaternion.

    Stable for every angle, pi included. Differentiable except at pi, where it jumps between the two
    vectors of the same rotation.

    Args:
        matrix: a rotation matrix.

    Example:
        >>> axis_angle(jnp.diag(jnp.array([1.0, -1.0, -1.0]))).round(3).tolist()
        [3.142, 0.0, 0.0]
    """
    m = matrix
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    # Each row is the quaternion (w, x, y, z) times four times one of its components.
    rows = jnp.array(
        [
            [1 + trace, m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
            [
                m[2, 1] - m[1, 2],
                1 + 2 * m[0, 0] - trace,
                m[1, 0] + m[0, 1],
                m[0, 2] + m[2, 0],
            ],
            [
                m[0, 2] - m[2, 0],
                m[1, 0] + m[0, 1],
                1 + 2 * m[1, 1] - trace,
                m[2, 1] + m[1, 2],
            ],
            [
                m[1, 0] - m[0, 1],
                m[0, 2] + m[2, 0],
                m[2, 1] + m[1, 2],
                1 + 2 * m[2, 2] - trace,
            ],
        ]
    )
    quaternion = rows[jnp.argmax(jnp.diagonal(rows))]
    quaternion = quaternion / jnp.linalg.norm(quaternion)
    quaternion = jnp.where(quaternion[0] < 0, -quaternion, quaternion)
    squared_norm = quaternion[1:] @ quaternion[1:]
    near_zero = squared_norm < 1e-14
    sine = jnp.sqrt(jnp.where(near_zero, 1.0, squared_norm))
    angle = 2.0 * jnp.arctan2(sine, quaternion[0])
    return quaternion[1:] * jnp.where(near_zero, 2.0, angle / sine)


def to_camera(vertices: Float[Array, "N 3"], camera: Camera) -> Float[Array, "N 3"]:
    """Returns points in camera space (metres; x right, y down, z forward). Differentiable.

    Args:
        vertices: points in model space, metres.
        camera: extrinsics map model to camera.
    """
    return vertices @ rotation_matrix(camera.rotation).T + camera.translation


@jit
def project(
    vertices: Float[Array, "N 3"], camera: Camera
) -> tuple[Float[Array, "N 2"], Float[Array, " N"]]:
    """Returns pixel coordinates `(x, y)` and depth (metres along the camera's z axis).

    Differentiable in points and camera. Points nearer than 0.1 mm, or behind the camera, are
    divided by 0.1 mm instead; their returned depth is the true one.

    Args:
        vertices: points in model space, metres.
        camera: a pinhole camera; focal length and principal point in pixels.

    Example:
        >>> xy, depth = project(jnp.zeros((1, 3)), look_at(0.0, 0.0, 100, 100))
        >>> xy[0].round(2).tolist()
        [50.0, 50.0]
    """
    points = to_camera(vertices, camera)
    depth = points[:, 2]
    xy = camera.focal * points[:, :2] / jnp.maximum(depth, _MIN_DEPTH)[:, None] + camera.principal
    return xy, depth


@partial(jit, static_argnames=("height", "width", "target", "distance", "extent"))
def look_at(
    yaw: float | Float[Array, ""],
    pitch: float | Float[Array, ""],
    height: int,
    width: int,
    *,
    target: tuple[float, float, float] = (0.0, 0.0, 0.0),
    distance: float = 1.2,
    extent: float = 0.36,
) -> Camera:
    """Returns a camera in front of a head that has turned by `yaw` and `pitch`.

    Differentiable in both, under `jit` and `vmap`.

    Args:
        yaw: radians; positive turns the head to the subject's left, which is image right.
        pitch: radians; positive raises the chin.
        height: image height in pixels.
        width: image width in pixels.
        target: point of model space that projects to the image centre, metres.
        distance: from the camera to the target, metres.
        extent: length that the smaller image side spans at the target, metres.

    Example:
        >>> look_at(0.0, 0.0, 100, 200).principal.tolist()
        [100.0, 50.0]
    """
    zero, one = jnp.zeros(()), jnp.ones(())
    cy, sy = jnp.cos(yaw), jnp.sin(yaw)
    cp, sp = jnp.cos(pitch), jnp.sin(pitch)
    yaw_matrix = jnp.array([[cy, zero, sy], [zero, one, zero], [-sy, zero, cy]])
    pitch_matrix = jnp.array([[one, zero, zero], [zero, cp, sp], [zero, -sp, cp]])
    matrix = jnp.diag(jnp.array([1.0, -1.0, -1.0])) @ pitch_matrix @ yaw_matrix
    translation = jnp.array([0.0, 0.0, distance]) - matrix @ jnp.asarray(target)
    return Camera(
        rotation=axis_angle(matrix),
        translation=translation,
        focal=jnp.asarray(min(height, width) * distance / extent, jnp.float32),
        principal=jnp.array([width / 2.0, height / 2.0]),
    )
