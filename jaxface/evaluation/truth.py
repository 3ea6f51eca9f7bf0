"""A truth: a known face under known conditions, its photo, and what the photo shows of it."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import imageio.v3 as iio
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from jaxface.errors import InputError
from jaxface.evaluation import light, scene
from jaxface.evaluation.occluders import OCCLUDERS, occluder
from jaxface.evaluation.sources import KnownFace, generator
from jaxface.morphable.surface import vertex_normals
from jaxface.types import Camera, FaceModel, FaceParameters, FitResult, Lighting, TexelMap

LIGHTS = ("inside", "shadow", "glossy")
FACE, SPAN, DISTANCE = 0.19, 0.32, 1.2  # metres: chin to hairline, across the photo, to the camera
_FACE = ("skin", "lips", "brows", "lids", "nose")
_FACING = 0.3  # cosine of the viewing angle from which a texel counts as seen
_BLEED = 2e-3  # metres that red light spreads in skin


@dataclass(frozen=True)
class Condition:
    """How a face is photographed.

    Attributes:
        yaw: degrees; to which side is drawn by the face's name.
        light: `inside` the spherical harmonics that are fitted; `shadow`: a strong light from one
            direction that casts shadows; `glossy`: a weaker one with highlights on the skin. Both
            scatter under the skin.
        occluder: `none`, `bars`, `glasses` or `strands` of hair.
        height: pixels from chin to hairline.
        jpeg: quality of the compression, 0 for none.
        noise: standard deviation added to sRGB.
    """

    yaw: float = 30.0
    light: str = "inside"
    occluder: str = "none"
    height: int = 256
    jpeg: int = 0
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.light not in LIGHTS or self.occluder not in OCCLUDERS:
            raise InputError(f"There is no light {self.light!r} or no occluder {self.occluder!r}.")

    @property
    def name(self) -> str:
        """A short name, different for different conditions."""
        words = [f"yaw{self.yaw:g}", self.light, self.occluder, f"{self.height}px"]
        words += [f"jpeg{self.jpeg}"] * bool(self.jpeg) + [f"noise{self.noise:g}"] * bool(
            self.noise
        )
        return "-".join(words)


@dataclass(frozen=True)
class Truth:
    """A photo with everything that is true of it.

    `fit` holds true shape, camera and light (of a sun: its part within the harmonics). `seen`,
    `mirrored` and `unobserved` divide the face's texels: shown by the photo; hidden, but the texel
    on the other side is shown; neither. `shading`: mean irradiance over pi that reaches each texel
    of the mesh, shadows included, highlights not.
    """

    face: KnownFace
    condition: Condition
    photo_srgb: np.ndarray
    fit: FitResult
    texture_linear: np.ndarray
    classes: dict[str, np.ndarray]
    shading: np.ndarray
    turned: float


def photograph(face: KnownFace, condition: Condition, model: FaceModel, texels: TexelMap) -> Truth:
    """Returns the truth of a face under a condition, always the same for the same two.

    Args:
        face: whose mesh and texture are drawn.
        condition: how.
        model: the default model, for the parameters of the fit.
        texels: of the model, T x T; the true texture is averaged down to it.
    """
    rng = generator("pose", face.name)
    yaw = condition.yaw * rng.choice([-1, 1])
    rotation = scene.head_rotation(yaw, 4 * rng.standard_normal(), 3 * rng.standard_normal())
    translation = np.array([0, 0, DISTANCE]) - rotation @ np.array([0, -0.025, -0.03])
    size = 16 * round(condition.height * SPAN / FACE / 16)
    focal, principal = size * DISTANCE / SPAN, (size / 2, size / 2)
    lighting, sun = lights(condition.light, generator("light", face.name))
    props = occluder(condition.occluder, face.mesh[0], generator("occluder", face.name))
    made = scene.Scene(
        *face.mesh, face.texture_linear, rotation, translation, focal, principal, props
    )
    photo, _ = scene.render(
        made, size, size, lighting,
        samples=3 if condition.height <= 256 else 2,
        sun=sun,
        subsurface=_BLEED if sun else 0.0,
    )  # fmt: skip
    own = replace(made, vertices=face.vertices, triangles=np.asarray(model.triangles))
    seen, shading = texel_truth(own, texels, size, lighting, sun)
    camera = Camera(
        rotation=jnp.asarray(Rotation.from_matrix(rotation).as_rotvec(), jnp.float32),
        translation=jnp.asarray(translation, jnp.float32),
        focal=jnp.float32(focal),
        principal=jnp.asarray(principal, jnp.float32),
    )
    known = lighting if sun is None else lighting + light.project_sun(sun)
    return Truth(
        face=face,
        condition=condition,
        photo_srgb=degrade(photo, condition, generator("noise", face.name)),
        fit=_true_fit(face, model, camera, known),
        texture_linear=shrink(face.texture_linear, len(seen)),
        classes=classes(face_texels(model, texels), seen),
        shading=shading,
        turned=yaw,
    )


def lights(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, light.Sun | None]:
    """Returns the SH radiance `[9, 3]` and the sun, if any, of a kind of light."""
    ambient = light.random_lighting(rng)
    if kind == "inside":
        return ambient, None
    direction = np.array([rng.choice([-1, 1]) * rng.uniform(0.5, 0.9), -0.45, -0.75])
    direction /= np.linalg.norm(direction)
    if kind == "shadow":
        return 0.4 * ambient, light.Sun(direction, np.array([0.75, 0.71, 0.65]))
    sun = light.Sun(direction, np.array([0.45, 0.44, 0.42]), specular=1.0)
    return 0.7 * ambient, sun


def degrade(photo: np.ndarray, condition: Condition, rng: np.random.Generator) -> np.ndarray:
    """Returns the photo with the condition's noise and compression."""
    photo = photo + condition.noise * rng.standard_normal(photo.shape)
    photo = np.clip(photo, 0, 1)
    if condition.jpeg:
        buffer = io.BytesIO()
        picture = np.round(255 * photo).astype(np.uint8)
        iio.imwrite(buffer, picture, extension=".jpg", quality=condition.jpeg)
        photo = iio.imread(buffer.getvalue(), extension=".jpg") / 255.0
    return photo.astype(np.float32)


def texel_truth(
    made: scene.Scene,
    texels: TexelMap,
    size: int,
    lighting: np.ndarray,
    sun: light.Sun | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which texels the photo shows, and their shading, `[T, T]`: rays, none of the
    pipeline's code.

    Args:
        made: with the default model's mesh.
        texels: of that model.
        size: of the photo.
        lighting: SH radiance `[9, 3]`, camera space.
        sun: a light besides.
    """
    mask = np.asarray(texels.mask)
    corners, weights = np.asarray(texels.vertex_ids)[mask], np.asarray(texels.barycentrics)[mask]
    normals = vertex_normals(made.vertices, made.triangles)
    points = np.einsum("nk,nkc->nc", weights, made.vertices[corners])
    normal = np.einsum("nk,nkc->nc", weights, normals[corners])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    free, cosine = scene.visible(made, points, normal, size, size)
    seen, shading = np.zeros(mask.shape, bool), np.zeros(mask.shape)
    seen[mask] = free & (cosine > _FACING)
    shading[mask] = scene.incoming(made, points, normal, lighting, sun).mean(1)
    return seen, shading


def face_texels(model: FaceModel, texels: TexelMap) -> np.ndarray:
    """Returns the texels that are judged, `[T, T]`: the face without eyes, scalp and neck."""
    parts = [model.region_names.index(name) for name in _FACE]
    depth = np.asarray(model.mean)[np.asarray(texels.vertex_ids), 2]
    front = np.einsum("tuk,tuk->tu", np.asarray(texels.barycentrics), depth) > -0.06
    return np.isin(np.asarray(texels.region_ids), parts) & np.asarray(texels.mask) & front


def classes(face: np.ndarray, seen: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the three classes of the face's texels; the canonical UV mirrors by columns."""
    other = seen[:, ::-1]
    return {
        "seen": face & seen,
        "mirrored": face & ~seen & other,
        "unobserved": face & ~seen & ~other,
    }


def shrink(texture: np.ndarray, size: int) -> np.ndarray:
    """Returns a texture averaged down to `size` (which divides its side)."""
    step = texture.shape[0] // size
    return texture.reshape(size, step, size, step, 3).mean((1, 3))


def _true_fit(face: KnownFace, model: FaceModel, camera: Camera, lighting: np.ndarray) -> FitResult:
    zero = jnp.zeros(())
    return FitResult(
        parameters=FaceParameters(
            identity=jnp.asarray(face.identity, jnp.float32),
            expression=jnp.zeros(len(model.expression_names)),
            albedo=jnp.zeros(len(model.albedo_names)),
            camera=camera,
            lighting=Lighting(jnp.asarray(lighting, jnp.float32)),
        ),
        vertices=jnp.asarray(face.vertices, jnp.float32),
        landmarks=jnp.zeros((0, 2)),
        landmark_error=zero,
        photometric_error=zero,
        converged=jnp.array(True),
        iterations=jnp.array(0),
    )
