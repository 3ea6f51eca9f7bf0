"""Pytrees that the stages hand each other. Arrays only; everything static is aux data.

Sizes: H W photo, T texture side, V vertices, F triangles, Q quads, U UV vertices, I identity,
E expression and M albedo modes, L landmarks, K database faces, R regions, C channels.
"""

from __future__ import annotations

from typing import Any

from flax import struct
from jaxtyping import Array, Bool, Float, Int


def _static() -> Any:
    """Returns a field that is aux data of the pytree (one dataclass field each, never shared)."""
    return struct.field(pytree_node=False)


@struct.dataclass
class FaceModel:
    """A linear 3D morphable model in the canonical UV.

    Model space: metres, x to the subject's left, y up, z out of the face, origin between the eyes.
    Identity and albedo coefficients are whitened (prior N(0, 1)); expressions are 0..1.
    The albedo model is linear in the logarithm of linear-RGB albedo (optical density).
    """

    mean: Float[Array, "V 3"]
    identity_basis: Float[Array, "I V 3"]
    expression_basis: Float[Array, "E V 3"]
    triangles: Int[Array, "F 3"]
    quads: Int[Array, "Q 4"]
    uvs: Float[Array, "U 2"]
    uv_triangles: Int[Array, "F 3"]
    uv_quads: Int[Array, "Q 4"]
    mirror: Int[Array, " V"]
    vertex_region: Int[Array, " V"]
    landmark_triangles: Int[Array, " L"]
    landmark_barycentrics: Float[Array, "L 3"]
    albedo_mean: Float[Array, "A A 3"]
    albedo_basis: Float[Array, "M A A 3"]
    region_names: tuple[str, ...] = _static()
    expression_names: tuple[str, ...] = _static()
    identity_names: tuple[str, ...] = _static()
    albedo_names: tuple[str, ...] = _static()
    name: str = struct.field(pytree_node=False, default="default")


@struct.dataclass
class Camera:
    """A pinhole camera, OpenCV axes (x right, y down, z forward).

    `rotation` (axis-angle) and `translation` (metres) map model space to camera space, so that a
    face that looks straight into the camera has the rotation of pi about x.
    `focal` and `principal` are in pixels; the centre of the top-left pixel is (0.5, 0.5).
    """

    rotation: Float[Array, "3"]
    translation: Float[Array, "3"]
    focal: Float[Array, ""]
    principal: Float[Array, "2"]


@struct.dataclass
class Lighting:
    """Real spherical harmonics of the incoming radiance, bands 0 to 2, in camera space."""

    coefficients: Float[Array, "9 3"]


@struct.dataclass
class FaceParameters:
    """Everything that the fit estimates for one photo."""

    identity: Float[Array, " I"]
    expression: Float[Array, " E"]
    albedo: Float[Array, " M"]
    camera: Camera
    lighting: Lighting


@struct.dataclass
class Detection:
    """One face found in a photo. Landmarks are pixels `(x, y)` and relative depth `z`."""

    box: Float[Array, "4"]
    score: Float[Array, ""]
    landmarks: Float[Array, "L 3"]
    confidence: Float[Array, ""]
    blendshapes: Float[Array, "52"]


@struct.dataclass
class FitResult:
    """A fitted face and how far to believe it."""

    parameters: FaceParameters
    vertices: Float[Array, "V 3"]
    landmarks: Float[Array, "L 2"]
    landmark_error: Float[Array, ""]
    photometric_error: Float[Array, ""]
    converged: Bool[Array, ""]
    iterations: Int[Array, ""]


@struct.dataclass
class UnwrapResult:
    """What the photo shows of the face, in the canonical UV. All colours are linear RGB.

    `footprint` is the width of a texel in pixels of the photo: below 1 the photo is coarser.
    """

    radiance: Float[Array, "T T 3"]
    shading: Float[Array, "T T 3"]
    partial: Float[Array, "T T 3"]
    visibility: Float[Array, "T T"]
    skin_mask: Float[Array, "T T"]
    footprint: Float[Array, "T T"]
    low_frequency: Float[Array, "T T 3"]


@struct.dataclass
class Correlations:
    """Masked feature correlations (Gram matrices), one `[R, C, C]` array a layer, and the share
    of each region's support that was visible, `[R]` a layer."""

    values: tuple[Float[Array, "R C C"], ...]
    support: tuple[Float[Array, " R"], ...]
    layers: tuple[str, ...] = _static()


@struct.dataclass
class BlendResult:
    """Simplex weights over the database's faces, the blended complete correlations, the
    certificate."""

    weights: Float[Array, " K"]
    correlations: Correlations
    duality_gap: Float[Array, ""]
    iterations: Int[Array, ""]
    faces: tuple[str, ...] = struct.field(pytree_node=False, default=())


@struct.dataclass
class SynthesisResult:
    """The complete texture (linear RGB) and the loss per evaluation, coarse to fine."""

    texture: Float[Array, "T T 3"]
    losses: Float[Array, " N"]


@struct.dataclass
class Materials:
    """What light needs to know of the surface, in the canonical UV.

    `height` in millimetres; `normal` in the tangent space of glTF (x along u, y along v, z out),
    unit length; `roughness` 0..1; `specular` is glTF's factor on a reflectance of 0.04.
    """

    height: Float[Array, "T T"]
    normal: Float[Array, "T T 3"]
    roughness: Float[Array, "T T"]
    specular: Float[Array, "T T"]


@struct.dataclass
class Reconstruction:
    """One photo's result: every stage's output."""

    fit: FitResult
    unwrapped: UnwrapResult
    blend: BlendResult
    synthesis: SynthesisResult
    materials: Materials
