"""The photo on the face's texture: what is seen, unlit, and a smooth complete albedo."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxface.morphable.albedo import albedo_texture
from jaxface.morphable.texels import TexelMap
from jaxface.precision import jit
from jaxface.rendering.color import luminance, srgb_to_linear
from jaxface.rendering.lighting import shade
from jaxface.rendering.texture import sample_image, sample_pyramid
from jaxface.types import FaceModel, FitResult, UnwrapResult
from jaxface.unwrapping.eyes import angle_of_texels, paint_iris
from jaxface.unwrapping.hair import colour_scalp
from jaxface.unwrapping.highlights import highlights
from jaxface.unwrapping.membrane import gather_texels, membrane, scatter_vertices, with_mirror
from jaxface.unwrapping.noise import denoise
from jaxface.unwrapping.shadows import cast_shadows
from jaxface.unwrapping.skin import (
    blur_within,
    grow,
    region_tolerance,
    shrink,
    skin_mask,
    smoothstep,
)
from jaxface.unwrapping.strands import dark_lines
from jaxface.unwrapping.teeth import whiten_teeth
from jaxface.unwrapping.visibility import Projection, project_texels

_EPSILON = 2e-3
_HIDES = 0.0125  # noise (0..1 sRGB) that hides an octave of the skin's detail
_BRIDGE = -0.02  # metres above the middle of the eyes: the nose above its wings
_LIT = 0.75  # share of the surplus over the probable albedo that is light


@dataclass(frozen=True)
class UnwrapConfig:
    """Settings of `unwrap`.

    Attributes:
        window: side of the depth buffer around the face, pixels.
        depth_tolerance: metres by which a texel may lie behind the depth buffer.
        facing: cosines of the viewing angle between which visibility rises from 0 to 1.
        reject: robust standard deviations off the trend beyond which a texel is not skin.
        reach: mesh edges over which the low-frequency albedo follows the photo.
        albedo_room: log ratio by which skin may be brighter than the albedo model makes it.
        mirror_weight: of what only the mirrored side shows, against 1 for what is seen itself.
    """

    window: int = 768
    depth_tolerance: float = 2e-3
    facing: tuple[float, float] = (0.2, 0.45)
    reject: float = 3.5
    reach: float = 2.5
    albedo_room: float = 0.05
    mirror_weight: float = 0.03


@partial(jit, static_argnames=("config",))
def unwrap(
    photo_srgb: Float[Array, "H W 3"],
    fit: FitResult,
    model: FaceModel,
    texels: TexelMap,
    *,
    person_mask: Float[Array, "H W"] | None = None,
    config: UnwrapConfig = UnwrapConfig(),
) -> UnwrapResult:
    """Returns what the photo shows of the face, its shading taken out, and a complete albedo.

    Seen are texels inside the photo that no triangle hides and that face the camera. Of those,
    `skin_mask` keeps what the fitted face explains, no cast shadow darkens and no strand crosses.
    Light that differs between the mirrored halves is put down to shading, since skin is symmetric
    at low frequency; `partial` is the radiance over that shading, less the gloss. The low-
    frequency albedo is the fitted one times a smooth membrane through the seen ratio, so that both
    agree at the border; where one side alone is seen, the other takes its tone.

    Differentiable in photo and fit, except through which texels are seen and show skin.

    Args:
        photo_srgb: 0..1.
        fit: the fitted face, with the camera in the photo's pixels.
        model: the face model of the fit.
        texels: of the model, T x T.
        person_mask: probability that a pixel shows a person, 0..1; all ones if missing.
        config: static settings.

    Source: Saito et al. (CVPR 2017), section 4, for the partial texture and the linear albedo.

    Example:
        >>> unwrap(photo.srgb, fitted, model, texel_map(model, 512)).partial.shape  # doctest: +SKIP
        (512, 512, 3)
    """
    parameters = fit.parameters
    corners = texels.vertex_ids, texels.barycentrics
    size = texels.triangle_ids.shape[0]
    charts = (texels.triangle_ids >= 0).astype(jnp.float32)
    view = project_texels(
        fit.vertices,
        parameters.camera,
        model.triangles,
        model.uvs,
        model.uv_triangles,
        texels.triangle_ids,
        *corners,
        window=config.window,
        tolerance=config.depth_tolerance,
    )
    height, width = photo_srgb.shape[:2]
    photo_srgb, noise = denoise(photo_srgb)
    levels = 1 + max(0, math.ceil(math.log2(max(height, width) / size)))
    radiance = sample_pyramid(
        srgb_to_linear(photo_srgb), view.xy, view.pixels_per_texel, levels=min(levels, 5)
    )

    inside = jnp.all((view.xy > 1) & (view.xy < jnp.array([width - 1, height - 1])), axis=-1)
    seen = shrink((view.unoccluded & inside).astype(jnp.float32), max(1, size // 256))
    low, high = config.facing
    visibility = seen * smoothstep((view.facing - low) / (high - low))
    person = jnp.ones_like(visibility)
    if person_mask is not None:
        person = _person(person_mask, view.xy, jnp.mean(view.pixels_per_texel * charts))

    albedo = albedo_texture(model, parameters.albedo, size)
    shading = jnp.maximum(shade(view.normals, parameters.lighting), _EPSILON)
    log_ratio = jnp.log(radiance + _EPSILON) - jnp.log(albedo * shading + _EPSILON)
    log_ratio = jnp.clip(log_ratio, -4.0, 4.0)
    place = scatter_vertices(model.mean, *corners)
    regions = texels.region_ids, charts, place
    tolerance = region_tolerance(*regions, view.facing, model.region_names)

    texels_per_vertex = size**2 / model.mean.shape[0]

    def at_vertices(values, weights):
        values, weights = gather_texels(values, weights, *corners, model.mean.shape[0])
        return values, weights / texels_per_vertex

    def trend_of(values, weights, reach):
        field = membrane(*at_vertices(values, weights), model.triangles, reach=reach)
        return scatter_vertices(field, *corners)

    shadow = cast_shadows(
        fit,
        model,
        texels,
        view,
        jnp.mean(log_ratio, -1),
        visibility * person * (tolerance[0] > 0),
    )
    # Texels in deep shadow or burnt out say nothing about albedo.
    level = luminance(radiance)
    legible = smoothstep(level / 0.004) * smoothstep((0.995 - level) / 0.03)
    open_skin, room = _open_skin(*regions, model.region_names)
    shown = visibility * person
    strands = dark_lines(jax.lax.stop_gradient(log_ratio), shown, open_skin, room)
    legible = legible * (1 - strands)
    judged = log_ratio, visibility * person * legible * (1 - shadow), tolerance
    mask = skin_mask(*jax.lax.stop_gradient(judged), trend_of, reject=config.reject)

    values, weights = at_vertices(log_ratio, mask)
    uneven = _unevenness(values, weights, model)
    trend = membrane(values - uneven, weights, model.triangles, reach=config.reach)
    surplus = _surplus(trend, weights, config.albedo_room)
    shading = shading * jnp.exp(scatter_vertices(uneven + surplus, *corners))
    values = values - uneven - surplus
    values, both = with_mirror(values, weights, model.mirror, config.mirror_weight)
    tone = membrane(values, both, model.triangles, reach=config.reach, steps=160)
    tone = scatter_vertices(tone, *corners)
    # Between the charts the tone goes on, for what bilinear lookups take from there.
    tone = jnp.where(charts[..., None] > 0, tone, blur_within(tone, charts, size / 100))
    low_frequency = jnp.clip(albedo * jnp.exp(jnp.clip(tone, -2.0, 2.0)), 0.0, 1.0)
    unlit = radiance / shading
    if "scalp" in model.region_names:
        low_frequency = colour_scalp(
            low_frequency,
            unlit,
            shown * (level > 0.002) * (level < 0.995),
            (texels.region_ids == model.region_names.index("scalp")) * charts,
            charts,
            model,
            at_vertices,
            lambda field: scatter_vertices(field, *corners),
        )
    # Eyes and teeth are small: a coarse texel would mix pupils, windows and lids.
    points = sample_image(srgb_to_linear(photo_srgb), view.xy) / shading
    low_frequency = _with_eyes_and_teeth(low_frequency, albedo, points, view, model, texels)
    unlit, mask = highlights(unlit, low_frequency, mask)
    return UnwrapResult(
        radiance=radiance * (visibility > 0)[..., None],
        shading=shading,
        partial=jnp.where((visibility > 0)[..., None], unlit, 0.0),
        visibility=visibility,
        skin_mask=mask,
        pixels_per_texel=view.pixels_per_texel / (1.0 + noise / _HIDES),
        low_frequency=low_frequency,
    )


def _open_skin(
    ids: Int[Array, "T T"],
    charts: Float[Array, "T T"],
    place: Float[Array, "T T 3"],
    names: tuple[str, ...],
) -> tuple[Float[Array, "T T"], Float[Array, "T T"]]:
    """Returns 1 on skin away from nostrils, brows, lids and lips; and 1 on all but the lips."""

    def part(name):
        return (ids == names.index(name)) * charts if name in names else 0.0 * charts

    bridge, reach = part("nose") * (place[..., 1] > _BRIDGE), max(1, ids.shape[0] // 50)
    return shrink(part("skin") + bridge, reach), 1.0 - grow(part("lips"), reach)


def _person(
    probability: Float[Array, "H W"], xy: Float[Array, "T T 2"], pixels_per_texel: Float[Array, ""]
) -> Float[Array, "T T"]:
    """Returns whether a texel lies on the person, the least of five places a little apart, since
    the mask's border is soft and the fit's contour is off by a pixel or two."""
    radius = 3.0 * pixels_per_texel
    least = jnp.ones(xy.shape[:2])
    for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        place = xy + radius * jnp.array([dx, dy])
        least = jnp.minimum(least, sample_image(probability[..., None], place)[..., 0])
    return smoothstep((least - 0.4) / 0.4)


def _unevenness(
    values: Float[Array, "V 3"], weights: Float[Array, " V"], model: FaceModel
) -> Float[Array, "V 3"]:
    """Returns the part of the log ratio that changes sign under mirroring, smoothed.

    It is known where both halves are seen and fades to zero elsewhere.
    """
    both = jnp.minimum(weights, weights[model.mirror])
    odd = 0.5 * (values - values[model.mirror])
    field = membrane(odd, both, model.triangles, reach=3.0, pull=3e-3)
    return jnp.clip(0.5 * (field - field[model.mirror]), -0.8, 0.8)


def _surplus(
    trend: Float[Array, "V 3"], weights: Float[Array, " V"], room: float
) -> Float[Array, "V 1"]:
    """Returns how much of a smooth log ratio is light rather than albedo.

    Skin that is brighter than the most probable albedo by more than `room`, and than the face's
    skin is on the whole, is lit by what the spherical harmonics lack: a second bounce in the
    sockets of the eyes, a lamp behind the head, gloss. A face that is brighter everywhere is pale.
    """
    level = jnp.mean(trend, -1, keepdims=True)
    whole = jnp.sum(level[:, 0] * weights) / jnp.maximum(jnp.sum(weights), 1e-6)
    return _LIT * jnp.maximum(level - whole - room, 0.0)


def _with_eyes_and_teeth(
    skin: Float[Array, "T T 3"],
    albedo: Float[Array, "T T 3"],
    seen_albedo: Float[Array, "T T 3"],
    view: Projection,
    model: FaceModel,
    texels: TexelMap,
) -> Float[Array, "T T 3"]:
    """Returns the texture with the eyeballs painted and the teeth as white as the photo's."""

    def shown(where: Array, facing: float) -> tuple[Array, Array]:
        """What of it the photo shows, and the mean width of its texels in pixels."""
        seen = (view.unoccluded & (view.facing > facing) & where).astype(jnp.float32)
        return seen, jnp.sum(view.pixels_per_texel * seen) / jnp.maximum(jnp.sum(seen), 1.0)

    angle = angle_of_texels(model, texels)
    eyes = angle < 180.0
    seen, pixels_per_texel = shown(eyes, 0.5)
    painted = paint_iris(albedo, seen_albedo, seen, angle, pixels_per_texel)
    skin = jnp.where(eyes[..., None], painted, skin)
    if "teeth" not in model.region_names:
        return skin
    teeth = (texels.region_ids == model.region_names.index("teeth")) & texels.mask
    seen, pixels_per_texel = shown(teeth, 0.2)
    return whiten_teeth(skin, seen_albedo, seen, teeth.astype(jnp.float32), pixels_per_texel)
