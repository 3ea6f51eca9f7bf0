"""Pytrees that the stages hand each other. Arrays only; everything static is aux data.

Sizes: H W photo, T texture side, V vertices, F triangles, Q quads, U UV vertices, I identity,
E expression and M albedo modes, L landmarks, K database faces, R regions, C channels.
"""

from __future__ import annotations

from jaxtyping import Array, Bool, Float, Int, UInt8

from jaxface.pytrees import pytree, static

Textures = UInt8[Array, "K T T 3"] | Float[Array, "K T T 3"]
"""Of database faces, sRGB 0..255: as stored, or floating point where it is differentiated."""


@pytree
class FaceModel:
    """A linear 3D morphable model in the canonical UV.

    Model space: metres, x to the subject's left, y up, z out of the face, origin between the eyes.
    Identity and albedo coefficients are whitened (prior N(0, 1)); expressions are 0..1.
    The albedo model is linear in the logarithm of linear-RGB albedo (optical density).

    Attributes:
        mean: vertices of the average face, metres.
        identity_basis: metres a unit of each coefficient.
        expression_basis: metres from rest to the full expression.
        triangles: vertex indices, counter-clockwise seen from outside.
        quads: the same surface as quads, for subdivision and export; a triangle is one whose last
            two corners are the same.
        uvs: of the UV vertices, 0..1, origin at the bottom left.
        uv_triangles: UV vertex indices, in the order of `triangles`.
        uv_quads: UV vertex indices, in the order of `quads`.
        mirror: index of each vertex's mirror image.
        vertex_region: index of each vertex's region in `region_names`.
        landmark_triangles: triangle on which each landmark lies.
        landmark_barycentrics: of each landmark on its triangle, sum 1.
        albedo_mean: logarithm of linear RGB.
        albedo_basis: change of that a unit of each coefficient.
        region_names: face, lips, eyes and so on.
        expression_names: ARKit's 52, then the model's own.
        identity_names: of the coefficients.
        albedo_names: of the coefficients.
        name: of the model.
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
    region_names: tuple[str, ...] = static()
    expression_names: tuple[str, ...] = static()
    identity_names: tuple[str, ...] = static()
    albedo_names: tuple[str, ...] = static()
    name: str = static(default="default")


@pytree
class Camera:
    """A pinhole camera, OpenCV axes (x right, y down, z forward).

    It maps model space to camera space, so that a face that looks straight into the camera has the
    rotation of pi about x. The centre of the top-left pixel is (0.5, 0.5).

    Attributes:
        rotation: axis times angle, radians.
        translation: metres.
        focal: focal length, pixels.
        principal: principal point `(x, y)`, pixels.
    """

    rotation: Float[Array, "3"]
    translation: Float[Array, "3"]
    focal: Float[Array, ""]
    principal: Float[Array, "2"]


@pytree
class Lighting:
    """Real spherical harmonics of the incoming radiance, bands 0 to 2, in camera space.

    Attributes:
        coefficients: RGB of Y_00, Y_1-1, Y_10, Y_11, Y_2-2 ... Y_22; linear radiance.
    """

    coefficients: Float[Array, "9 3"]


@pytree
class FaceParameters:
    """Everything that the fit estimates for one photo.

    Attributes:
        identity: whitened coefficients, N(0, 1) over people.
        expression: ARKit coefficients, 0..1.
        albedo: whitened coefficients, N(0, 1) over people.
        camera: in pixels of the photo.
        lighting: in camera space.
    """

    identity: Float[Array, " I"]
    expression: Float[Array, " E"]
    albedo: Float[Array, " M"]
    camera: Camera
    lighting: Lighting


@pytree
class Detection:
    """One face found in a photo.

    Attributes:
        box: left, top, right, bottom; pixels.
        score: of the face detector, 0..1.
        landmarks: `(x, y)` and relative depth `z`, pixels.
        confidence: that a face is there, of the face mesh, 0..1.
        blendshapes: expression coefficients, 0..1, named `BLENDSHAPE_NAMES`.
    """

    box: Float[Array, "4"]
    score: Float[Array, ""]
    landmarks: Float[Array, "L 3"]
    confidence: Float[Array, ""]
    blendshapes: Float[Array, "52"]


@pytree
class FitResult:
    """A fitted face and how far to believe it.

    Attributes:
        parameters: what was estimated.
        vertices: of the fitted face, model space, metres.
        landmarks: the model's, as the fitted camera sees them, pixels.
        landmark_error: mean distance to the given ones without the contour, as a share of the
            distance between the eyes.
        photometric_error: mean absolute difference of the explained pixels, sRGB 0..1.
        converged: whether the solver's last round did.
        iterations: of the solver, all rounds together.
    """

    parameters: FaceParameters
    vertices: Float[Array, "V 3"]
    landmarks: Float[Array, "L 2"]
    landmark_error: Float[Array, ""]
    photometric_error: Float[Array, ""]
    converged: Bool[Array, ""]
    iterations: Int[Array, ""]


@pytree
class UnwrapResult:
    """What the photo shows of the face, in the canonical UV. All colours are linear RGB.

    Attributes:
        radiance: of the photo, 0 where nothing is seen.
        shading: what a white surface would reflect.
        partial: radiance over shading, less the gloss; 0 where nothing is seen.
        visibility: how well a texel is seen, 0..1.
        skin_mask: how much of that is skin, 0..1.
        pixels_per_texel: width of a texel in pixels of the photo: below 1 the photo is coarser. The
            noisier the photo, the less its finest pixels tell, and the smaller it is.
        low_frequency: complete smooth albedo.
    """

    radiance: Float[Array, "T T 3"]
    shading: Float[Array, "T T 3"]
    partial: Float[Array, "T T 3"]
    visibility: Float[Array, "T T"]
    skin_mask: Float[Array, "T T"]
    pixels_per_texel: Float[Array, "T T"]
    low_frequency: Float[Array, "T T 3"]


@pytree
class Correlations:
    """Masked feature correlations (Gram matrices).

    Attributes:
        values: one array a layer, of each region the mean product of every two channels.
        support: one array a layer, the share of each region that was visible, 0..1.
        layers: names of VGG-16's layers.
    """

    values: tuple[Float[Array, "R C C"], ...]
    support: tuple[Float[Array, " R"], ...]
    layers: tuple[str, ...] = static()


@pytree
class Sketch:
    """VGG-16's features of database faces at one size, in 8 bits: `values * scales`.

    Attributes:
        values: one array a layer.
        scales: one array a layer, of each face and channel.
        layers: names of VGG-16's layers.
    """

    values: tuple[UInt8[Array, "K h w C"], ...]
    scales: tuple[Float[Array, "K C"], ...]
    layers: tuple[str, ...] = static()


@pytree
class Sketches:
    """A database's sketches at the sizes at which faces are compared.

    Attributes:
        half: of all faces, for choosing some; None where they are chosen already.
        full: of the same faces at twice the size, for their weights.
    """

    half: Sketch | None
    full: Sketch


@pytree
class BlendResult:
    """Which database faces, together, are most like the photo's face.

    Attributes:
        weights: on the simplex: 0 or more, sum 1.
        correlations: complete ones, blended; None if `blend` was not given any.
        duality_gap: certificate: the objective exceeds its minimum by at most this.
        iterations: of the solver.
        faces: names of the database's faces.
    """

    weights: Float[Array, " K"]
    correlations: Correlations | None
    duality_gap: Float[Array, ""]
    iterations: Int[Array, ""]
    faces: tuple[str, ...] = static(default=())


@pytree
class SynthesisResult:
    """The complete texture.

    Attributes:
        texture: albedo, linear RGB.
        losses: after every chunk of steps, coarse to fine.
    """

    texture: Float[Array, "T T 3"]
    losses: Float[Array, " N"]


@pytree
class Materials:
    """What light needs to know of the surface, in the canonical UV.

    Attributes:
        height: relief, millimetres.
        normal: unit length, in the tangent space of glTF (x along u, y along v, z out).
        roughness: glTF's, 0..1.
        specular: glTF's factor on a reflectance of 0.04.
    """

    height: Float[Array, "T T"]
    normal: Float[Array, "T T 3"]
    roughness: Float[Array, "T T"]
    specular: Float[Array, "T T"]


@pytree
class Reconstruction:
    """One photo's result: every stage's output.

    Attributes:
        fit: shape, pose, albedo, light; camera in pixels of the photo.
        unwrapped: what the photo shows.
        blend: which database faces it is like.
        synthesis: the complete texture.
        materials: relief and gloss.
    """

    fit: FitResult
    unwrapped: UnwrapResult
    blend: BlendResult
    synthesis: SynthesisResult
    materials: Materials


@pytree
class PersonReconstruction:
    """The result of several photos of one person.

    Attributes:
        result: of all photos together; its fit is that of the photo that shows most.
        fits: of each photo, in its own pixels; identity is the same in all.
        best: index of the photo that shows most.
    """

    result: Reconstruction
    fits: tuple[FitResult, ...]
    best: int = static(default=0)


@pytree
class Track:
    """A known face in the N frames of a video.

    Attributes:
        expression: ARKit coefficients, 0..1.
        camera: in pixels of the frames, a leading axis over them.
        landmark_error: as of `FitResult`; NaN where a frame shows no face.
    """

    expression: Float[Array, "N E"]
    camera: Camera
    landmark_error: Float[Array, " N"]
