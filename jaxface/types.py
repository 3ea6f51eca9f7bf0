"""Pytrees that the stages hand each other: arrays as leaves, everything static as aux data.

Sizes: H W photo, S side of a square image, T texture side, A side of the albedo model, h w features
of a layer, C channels, V vertices, F triangles, Q quads, U UV vertices, I identity, E expression
and M albedo modes, L landmarks, K database faces, R cells of the UV square, Y yaws and J factors of
the landmark noise, N any number.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped, UInt8

from jaxface.pytrees import pytree, static

Textures = UInt8[Array, "K T T 3"] | Float[Array, "K T T 3"]
"""Textures of database faces, sRGB 0..255: as stored, or floating point to be differentiated."""

HEIGHT_LEVEL_MM = 0.0025
"""Height of one level of 8 bits, millimetres; level 128 is height 0."""


@pytree
class FaceModel:
    """A linear 3D morphable model in the canonical UV.

    Model space: metres, x to the subject's left, y up, z out of the face, origin between the eyes.
    Identity and albedo coefficients are whitened (prior N(0, 1)); expressions are 0..1.
    The albedo model is linear in the logarithm of linear-RGB albedo (optical density).

    Attributes:
        mean: vertices of the average face, metres.
        identity_basis: metres per unit of each coefficient.
        expression_basis: metres from the neutral to the full expression.
        triangles: vertex indices, counter-clockwise seen from outside.
        quads: the same surface as quads, for subdivision and export; triangles repeat their last
            corner.
        uvs: of the UV vertices, 0..1, origin at the bottom left.
        uv_triangles: UV vertex indices, in the order of `triangles`.
        uv_quads: UV vertex indices, in the order of `quads`.
        mirror: index of each vertex's mirror image.
        vertex_region: index into `region_names` of each vertex.
        landmark_triangles: triangle on which each landmark lies.
        landmark_barycentrics: of each landmark on its triangle, sum 1.
        albedo_mean: log of linear RGB.
        albedo_basis: log of linear RGB per unit of each coefficient.
        region_names: "skin", "lips", "eyes" and so on.
        expression_names: ARKit's 52, then the model's own.
        identity_names: of the coefficients.
        albedo_names: of the coefficients.
        name: of the model.
        pigment_gain: share of the bands of a residual log ratio that is pigment, not light, in
            canonical UV; `jaxface.unwrapping.delight`. None: what is symmetric.
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
    pigment_gain: Float[Array, "G G 24 3"] | None = None


@pytree
class TexelMap:
    """The surface point of each texel of the canonical UV.

    Attributes:
        triangle_ids: index of the triangle, -1 between charts.
        vertex_ids: the triangle's corners.
        barycentrics: on the triangle, sum 1.
        mask: whether the texel lies on a chart.
        region_ids: region of the nearest corner, index into `FaceModel.region_names`.
    """

    triangle_ids: Int[Array, "T T"]
    vertex_ids: Int[Array, "T T 3"]
    barycentrics: Float[Array, "T T 3"]
    mask: Bool[Array, "T T"]
    region_ids: Int[Array, "T T"]


@pytree
class Camera:
    """A pinhole camera, OpenCV axes (x right, y down, z forward).

    Maps model space to camera space: a face that looks straight into the camera is rotated by pi
    about x. The centre of the top-left pixel is (0.5, 0.5).

    Attributes:
        rotation: axis-angle of the model-to-camera rotation, radians.
        translation: of the model's origin in camera space, metres.
        focal: focal length, pixels.
        principal: principal point `(x, y)`, pixels.
    """

    rotation: Float[Array, "3"]
    translation: Float[Array, "3"]
    focal: Float[Array, ""]
    principal: Float[Array, "2"]


@pytree
class Crop:
    """The affine map (similarity) from a square of a photo to `size` x `size` pixels.

        crop = size / side R(-angle) (photo - center) + size / 2

    Attributes:
        center: of the square, `(x, y)` in the photo, pixels.
        side: of the square, pixels of the photo.
        angle: rotation of the square, radians (x right, y down); None if it is upright.
        size: pixels a side of the crop.
    """

    center: Float[Array, "2"]
    side: Float[Array, ""]
    angle: Float[Array, ""] | None = None
    size: int = static(default=256)

    @property
    def scale(self) -> Float[Array, ""]:
        """Pixels of the crop per pixel of the photo."""
        return self.size / self.side

    def points_to_photo(self, points: Float[Array, "*N 2"]) -> Float[Array, "*N 2"]:
        """Returns pixels of the crop as pixels of the photo."""
        local = (points - 0.5 * self.size) / self.scale
        return self.center + (local if self.angle is None else local @ _rotation(self.angle))

    def points_to_crop(self, points: Float[Array, "*N 2"]) -> Float[Array, "*N 2"]:
        """Returns pixels of the photo as pixels of the crop."""
        local = points - self.center
        if self.angle is not None:
            local = local @ _rotation(self.angle).T
        return local * self.scale + 0.5 * self.size

    def camera_to_photo(self, camera: Camera) -> Camera:
        """Returns a camera in pixels of an upright crop as one in pixels of the photo."""
        return camera.replace(
            focal=camera.focal / self.scale, principal=self.points_to_photo(camera.principal)
        )

    def camera_to_crop(self, camera: Camera) -> Camera:
        """Returns a camera in pixels of the photo as one in pixels of an upright crop."""
        return camera.replace(
            focal=camera.focal * self.scale, principal=self.points_to_crop(camera.principal)
        )

    def fit_to_photo(self, fit: FitResult) -> FitResult:
        """Returns a fit in pixels of an upright crop as one in pixels of the photo."""
        parameters = fit.parameters
        return fit.replace(
            parameters=parameters.replace(camera=self.camera_to_photo(parameters.camera)),
            landmarks=self.points_to_photo(fit.landmarks),
        )


def _rotation(angle: Float[Array, ""]) -> Float[Array, "2 2"]:
    """Returns the matrix M such that `local @ M` rotates row vectors by the angle."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([jnp.stack([c, s]), jnp.stack([-s, c])])


@pytree
class FaceCrop:
    """The input of the stages: a square of standard size around a face.

    Lengths are pixels of the square. Unknown values are NaN or 0 instead of None, so that faces of
    one size stack to a batch.

    Attributes:
        srgb: the square, 0..1.
        crop: position of the square in the photo.
        landmarks: NaN where one is missing.
        blendshapes: of the detector, 0..1; zeros if there are none.
        focal: focal length; NaN if it is not known.
        principal: the photo's centre, which is the principal point of a photo that is no crop.
        photo_side: the photo's longer side.
    """

    srgb: Float[Array, "S S 3"]
    crop: Crop
    landmarks: Float[Array, "L 2"]
    blendshapes: Float[Array, "52"]
    focal: Float[Array, ""]
    principal: Float[Array, "2"]
    photo_side: Float[Array, ""]


@pytree
class Lighting:
    """Real spherical harmonics of the incoming radiance, bands 0 to 2, in camera space.

    Attributes:
        coefficients: RGB of Y_00, Y_1-1, Y_10, Y_11, Y_2-2 ... Y_22; linear radiance.
    """

    coefficients: Float[Array, "9 3"]


@pytree
class FaceParameters:
    """The parameters that the fit estimates for one photo.

    Attributes:
        identity: whitened coefficients, N(0, 1) over people.
        expression: ARKit coefficients, 0..1.
        albedo: whitened coefficients, N(0, 1) over people.
        camera: in pixels of the photo that was fitted.
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
        confidence: of the face mesh network that the crop shows a face, 0..1.
        blendshapes: expression coefficients, 0..1, named `BLENDSHAPE_NAMES`.
    """

    box: Float[Array, "4"]
    score: Float[Array, ""]
    landmarks: Float[Array, "L 3"]
    confidence: Float[Array, ""]
    blendshapes: Float[Array, "52"]


@pytree
class LandmarkNoise:
    """Gaussian factor model of the detector's error (detected minus true), by yaw.

    error = bias + sum_j z_j factors_j + sigma e with z, e ~ N(0, 1). Unit: 0.063 m x focal /
    distance. Axes: x along the line from the right to the left outer eye corner, y perpendicular,
    down.

    Attributes:
        yaw: grid of yaws, radians, on which the others are tabulated.
        bias: mean error.
        factors: correlated errors of all landmarks, each times its standard deviation.
        sigma: standard deviation of the independent remainder.
    """

    yaw: Float[Array, " Y"]
    bias: Float[Array, "Y L 2"]
    factors: Float[Array, "Y J L 2"]
    sigma: Float[Array, "Y L 2"]

    def at(self, yaw: Float[Array, ""]) -> tuple[Array, Array, Array]:
        """Returns bias, factors and sigma at a yaw (radians), linearly interpolated, clamped."""
        position = jnp.interp(yaw, self.yaw, jnp.arange(len(self.yaw), dtype=jnp.float32))
        weight = jnp.maximum(0.0, 1.0 - jnp.abs(jnp.arange(len(self.yaw)) - position))
        bias, factors, sigma = (
            jnp.tensordot(weight, part, 1) for part in (self.bias, self.factors, self.sigma)
        )
        return bias, factors, sigma

    def tempered(
        self, trust: float | Float[Array, ""], sigma: float | Float[Array, ""]
    ) -> LandmarkNoise:
        """Returns this noise scaled by `trust`, plus independent noise for the model's own error.

        Args:
            trust: factor on bias and standard deviations.
            sigma: standard deviation of the added noise, in the same unit.
        """
        return self.replace(
            bias=trust * self.bias,
            factors=trust * self.factors,
            sigma=jnp.sqrt((trust * self.sigma) ** 2 + sigma**2),
        )


@pytree
class Network:
    """A network converted from TFLite.

    Attributes:
        weights: by tensor number.
        graph: its operations in order, JSON.
    """

    weights: dict[str, Shaped[Array, "..."]]
    graph: str = static()


@pytree
class Networks:
    """MediaPipe's networks.

    Attributes:
        detector: full-range face detector.
        mesh: face mesh v2.
        blendshapes: expression coefficients of a face mesh.
        mirror: the landmark on the other side of each.
    """

    detector: Network
    mesh: Network
    blendshapes: Network
    mirror: Int[Array, "478"]


@pytree
class FitResult:
    """A fitted face and its residual errors.

    Attributes:
        parameters: the estimate.
        vertices: of the fitted face, model space, metres.
        landmarks: the model's, projected by the fitted camera, pixels.
        landmark_error: mean distance to the given landmarks, contour excluded, as a fraction of the
            distance between the eyes.
        photometric_error: mean absolute residual of the explained pixels, sRGB 0..1.
        converged: whether the solver's last round converged.
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
class HairStyles:
    """Meshes of hair on the average head, stacked; N, M and A are the largest style's.

    Attributes:
        vertices: model space, metres; padded with zeros.
        triangles: vertex indices, counter-clockwise seen from outside the head; padded with 0 0 0.
        uvs: of the vertices, 0..1, origin at the bottom left.
        textures: detail (128 + 40 standard deviations of log luminance) and opacity, 0..255.
        anchors: vertices of the head that each vertex moves with.
        weights: their shares, sum 1.
        neighbours: nearest other vertices of the style.
        mirror: vertex nearest to each one's mirror image.
        rooted: 1 where hair lies on the scalp, else 0.
        close: 1 at the head, to 0 a few centimetres off it.
        freedom: 0 where hair touches the face and keeps its place, to 1 where its outline is free.
        used: whether a vertex belongs to the style.
        names: of the styles.
    """

    vertices: Float[Array, "B N 3"]
    triangles: Int[Array, "B M 3"]
    uvs: Float[Array, "B N 2"]
    textures: UInt8[Array, "B T T 2"]
    anchors: Int[Array, "B N A"]
    weights: Float[Array, "B N A"]
    neighbours: Int[Array, "B N J"]
    mirror: Int[Array, "B N"]
    rooted: Float[Array, "B N"]
    close: Float[Array, "B N"]
    freedom: Float[Array, "B N"]
    used: Bool[Array, "B N"]
    names: tuple[str, ...] = static()


@pytree
class Hair:
    """The hair of one face: a style of `HairStyles`, shaped and coloured by the photo.

    Attributes:
        style: index into `HairStyles.names`; -1 is none.
        vertices: model space of the neutral face, metres.
        colours: albedo of each vertex, linear RGB, and its opacity, 0..1.
        contrast: standard deviation of the log albedo of its texture's detail.
        curl: how coily it is, 0..1.
        overlap: intersection over union of the hair drawn and the hair seen, 0..1.
    """

    style: Int[Array, ""]
    vertices: Float[Array, "N 3"]
    colours: Float[Array, "N 4"]
    contrast: Float[Array, ""]
    curl: Float[Array, ""]
    overlap: Float[Array, ""]


@pytree
class HairMesh:
    """A mesh of hair to draw: both sides of its triangles are seen.

    Attributes:
        vertices: model space, metres.
        triangles: vertex indices, counter-clockwise seen from outside the head.
        uvs: of the vertices, 0..1, origin at the bottom left.
        colours: albedo, linear RGB, and opacity, 0..1.
        texture: factor on the albedo, and opacity, 0..1.
        layers: number of surfaces of a pixel that are drawn, the nearest ones.
    """

    vertices: Float[Array, "N 3"]
    triangles: Int[Array, "M 3"]
    uvs: Float[Array, "N 2"]
    colours: Float[Array, "N 4"]
    texture: Float[Array, "T T 2"]
    layers: int = static(default=4)


@pytree
class UnwrapResult:
    """What the photo shows of the face, in the canonical UV. All colours are linear RGB.

    Attributes:
        radiance: of the photo, 0 where nothing is seen.
        shading: reflected radiance of a surface of albedo 1.
        partial: diffuse albedo: radiance without specular reflection, over shading; 0 where nothing
            is seen.
        visibility: 0..1: 1 where the surface is inside the photo, unoccluded and facing the camera.
        skin_mask: visible skin, 0..1.
        pixels_per_texel: width of a texel in pixels of the image that was unwrapped (in `observe`,
            of the crop), reduced by the photo's noise; below 1 the photo is coarser than the
            texture.
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
        values: one array a layer: in each cell, the (centred) second moments of the channels.
        support: one array a layer: the mean of each cell's squared visible fraction, 0..1.
        layers: names of VGG-16's layers.
    """

    values: tuple[Float[Array, "R C C"], ...]
    support: tuple[Float[Array, " R"], ...]
    layers: tuple[str, ...] = static()


@pytree
class FeatureCache:
    """VGG-16's features of database faces at one size, quantised to 8 bits: `values * scales`.

    Attributes:
        values: one array a layer, 0..255.
        scales: one array a layer, by face and channel.
        layers: names of VGG-16's layers.
    """

    values: tuple[UInt8[Array, "K h w C"], ...]
    scales: tuple[Float[Array, "K C"], ...]
    layers: tuple[str, ...] = static()


@pytree
class FeatureCaches:
    """Cached features of a database at the two sides at which faces are compared.

    Attributes:
        half: at half of `CorrelationConfig.blend_side`, by which faces are ranked; None if the
            faces are a shortlist already.
        full: of the same faces at `blend_side`, by which they are weighted.
    """

    half: FeatureCache | None
    full: FeatureCache


@pytree
class BlendResult:
    """The blend of database faces whose correlations are nearest to the photo's.

    Attributes:
        weights: on the simplex: 0 or more, sum 1.
        correlations: weighted sum of the complete correlations; None if `blend` was given none.
        duality_gap: upper bound on the objective minus its minimum.
        iterations: of the solver.
        faces: index of each face in the list of its database.
    """

    weights: Float[Array, " K"]
    correlations: Correlations | None
    duality_gap: Float[Array, ""]
    iterations: Int[Array, ""]
    faces: Int[Array, " K"]


@pytree
class SynthesisResult:
    """The complete texture.

    Attributes:
        texture: albedo, linear RGB.
        losses: least loss so far after every step, levels coarse to fine; empty until `refine`.
    """

    texture: Float[Array, "T T 3"]
    losses: Float[Array, " N"]


@pytree
class Observation:
    """What a photo shows of a face, the result of `observe`.

    Attributes:
        fit: shape, pose, albedo, light; camera in pixels of the photo.
        unwrapped: the photo in the canonical UV.
        hair: of the head; None if it was not asked for.
    """

    fit: FitResult
    unwrapped: UnwrapResult
    hair: Hair | None = None


@pytree
class Database:
    """Complete textures of K faces in the canonical UV.

    Attributes:
        textures: albedo, sRGB.
        heights: relief (height - 128) `HEIGHT_LEVEL_MM`, millimetres.
        indices: index of each face in the list of its database.
        features: cached VGG-16 features of the faces; None if VGG-16 is to be run on them.
    """

    textures: Textures
    heights: UInt8[Array, "K T T"]
    indices: Int[Array, " K"]
    features: FeatureCaches | None = None

    def take(self, faces: Int[Array, " N"]) -> Database:
        """Returns the database of some faces, by their index in this one."""
        return jax.tree.map(lambda leaf: leaf[faces], self)


@pytree
class Assets:
    """What the stages need besides the photo; from `load_assets`.

    Attributes:
        model: the face model.
        texels: of its canonical UV, at the texture's size.
        database: textures of other faces, or a `DiskDatabase`.
        networks: MediaPipe's.
        vgg: weights of VGG-16.
        parser: weights of the parser of pixels.
        noise: of the landmark detector.
        seams: pairs of UV vertices that share a vertex of the mesh, on skin.
        painted: 1 on eyes, teeth, tongue and inner mouth, which no photo shows well enough: their
            texture is the albedo model's.
        bare_skin: 1 on bare skin and scalp; 0 on nose, lips, lids, brows, ears, neck.
        hair: styles; None if there is to be none.
        face_names: of the database's faces.
    """

    model: FaceModel
    texels: TexelMap
    database: Any
    networks: Networks
    vgg: Any
    parser: Any
    noise: LandmarkNoise | None
    seams: Int[Array, "N 2"]
    painted: Float[Array, "T T"]
    bare_skin: Float[Array, "T T"]
    hair: HairStyles | None = None
    face_names: tuple[str, ...] = static(default=())


@pytree
class Materials:
    """Physically based material maps in the canonical UV.

    Attributes:
        height: relief, millimetres.
        normal: unit length, in the tangent space of glTF (x along u, y along v, z out).
        roughness: glTF's, 0..1.
        specular: glTF's factor on a reflectance of 0.04 at normal incidence, 0..1.
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
        unwrapped: the photo in the canonical UV.
        blend: weights of the database's faces.
        synthesis: the complete texture.
        materials: relief, roughness and specular.
        hair: of the head; None if it was not asked for.
    """

    fit: FitResult
    unwrapped: UnwrapResult
    blend: BlendResult
    synthesis: SynthesisResult
    materials: Materials
    hair: Hair | None = None


@pytree
class PersonReconstruction:
    """The result of several photos of one person.

    Attributes:
        result: of all photos together; its fit is that of photo `best`.
        fits: of each photo, in its own pixels; identity is the same in all.
        best: index of the photo that shows most of the face.
    """

    result: Reconstruction
    fits: tuple[FitResult, ...]
    best: int = static(default=0)


@pytree
class Track:
    """Pose and expression of a known face in the N frames of a video.

    Attributes:
        expression: ARKit coefficients, 0..1; NaN, as the camera, in frames that belong to no shot.
        camera: in pixels of the frames, a leading axis over them.
        landmark_error: as of `FitResult`; NaN where a frame shows no face.
    """

    expression: Float[Array, "N E"]
    camera: Camera
    landmark_error: Float[Array, " N"]
