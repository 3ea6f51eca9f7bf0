"""The 478-point face mesh and the blendshape network on one crop of a photo."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.landmarks.graph import apply
from jaxface.landmarks.schemes import OUTER_EYES
from jaxface.types import Crop, Networks

# Input landmarks of the blendshape network, from MediaPipe's face_blendshapes_graph.
BLENDSHAPE_POINTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65,
    66, 67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136,
    144, 145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172,
    173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283,
    284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324,
    332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385,
    386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472,
    473, 474, 475, 476, 477,
)  # fmt: skip
# Names of `Detection.blendshapes`, in the network's order.
BLENDSHAPE_NAMES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft",
    "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft",
    "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen",
    "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
_SIDES = {"Left": "Right", "Right": "Left"}
# The coefficient of the other side's muscle, for each of `BLENDSHAPE_NAMES`.
_EXCHANGED = tuple(
    BLENDSHAPE_NAMES.index(re.sub("Left|Right", lambda side: _SIDES[side[0]], name))
    for name in BLENDSHAPE_NAMES
)
SIZE = 256  # side of the network's input, pixels
ENLARGE = 1.5  # side of the crop over the longer side of the landmarks' or detector's box


def landmark_crop(landmarks: Float[Array, "L 3"]) -> Crop:
    """Returns the crop around landmarks: 1.5 times their box's longer side, the eyes horizontal.

    No gradient passes.
    """
    xy = jax.lax.stop_gradient(landmarks[:, :2])
    low, high = xy.min(0), xy.max(0)
    # The outer eye corners give the roll (MediaPipe's choice).
    eyes = xy[OUTER_EYES[1]] - xy[OUTER_EYES[0]]
    angle = jnp.arctan2(eyes[1], eyes[0])
    side = ENLARGE * jnp.maximum(jnp.max(high - low), 1.0)
    return Crop(center=(low + high) / 2, side=side, angle=angle, size=SIZE)


def face_mesh(
    image: Float[Array, "256 256 3"], crop: Crop, networks: Networks
) -> tuple[Float[Array, "478 3"], Float[Array, ""]]:
    """Returns landmarks (photo pixels; z in pixels too) and the probability of a face.

    Args:
      image: of the crop, sRGB 0..1.
      crop: the square of the photo.
      networks: from `load_networks`.
    """
    points, flag, _ = apply(networks.mesh, image[None])
    points = points.reshape(-1, 3)
    xy = crop.points_to_photo(points[:, :2])
    z = points[:, 2:] / crop.scale
    return jnp.concatenate([xy, z], axis=1), jax.nn.sigmoid(flag.reshape(()))


def mirrored_mesh(
    landmarks: Float[Array, "478 3"], crop: Crop, networks: Networks
) -> Float[Array, "478 3"]:
    """Returns what `face_mesh` has found on a crop's mirror image as landmarks of the crop."""
    turned_over = crop.points_to_crop(landmarks[:, :2]) * jnp.array([-1.0, 1.0])
    xy = crop.points_to_photo(turned_over + jnp.array([crop.size, 0.0]))
    return jnp.concatenate([xy, landmarks[:, 2:]], axis=1)[networks.mirror]


def upright_blendshapes(landmarks: Float[Array, "478 3"], networks: Networks) -> Float[Array, "52"]:
    """Returns `blendshapes` that do not depend on the face's roll, and that a mirrored face has
    with left and right exchanged.

    The network takes a roll for an expression (turned by 90 degrees, one coefficient of each
    example photo moves by 0.35 to 0.73): the eyes are made horizontal first. Nor is it symmetric:
    the mean over the landmarks and their mirror image is.
    """
    points = landmark_crop(landmarks).points_to_crop(landmarks[:, :2])
    mirrored = (points * jnp.array([-1.0, 1.0]))[networks.mirror]
    other = blendshapes(mirrored, networks)[jnp.array(_EXCHANGED)]
    return 0.5 * (blendshapes(points, networks) + other)


def blendshapes(landmarks: Float[Array, "478 D"], networks: Networks) -> Float[Array, "52"]:
    """Returns the coefficients named `BLENDSHAPE_NAMES`, 0..1, from landmarks in pixels, as the
    network gives them."""
    points = landmarks[jnp.array(BLENDSHAPE_POINTS), :2]
    (scores,) = apply(networks.blendshapes, points[None])
    return scores
