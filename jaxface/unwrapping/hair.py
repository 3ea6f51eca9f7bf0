"""The scalp's tone: a head has no hair here, and its scalp wears the colour of the photo's."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxface.rendering.color import luminance
from jaxface.types import FaceModel
from jaxface.unwrapping.membrane import membrane, with_mirror
from jaxface.unwrapping.skin import blur, blur_within, smoothstep

_ENOUGH = 0.004  # share of the texture that must show what covers the scalp
_MIRROR = 0.05  # weight of the other side's colour
_DARKEST, _LIGHTEST = 0.008, 0.6  # luminance
_WITHIN = 2.0  # the farther from the hairline, which is another's, the more a texel counts
_EDGE = 1 / 40  # width of the hairline, of the texture's side

AtVertices = Callable[
    [Float[Array, "T T 3"], Float[Array, "T T"]], tuple[Float[Array, "V 3"], Float[Array, " V"]]
]


def colour_scalp(
    albedo: Float[Array, "T T 3"],
    seen_albedo: Float[Array, "T T 3"],
    shown: Float[Array, "T T"],
    scalp: Float[Array, "T T"],
    charts: Float[Array, "T T"],
    model: FaceModel,
    at_vertices: AtVertices,
    at_texels: Callable[[Float[Array, "V 3"]], Float[Array, "T T 3"]],
) -> Float[Array, "T T 3"]:
    """Returns a smooth albedo with the scalp in the colours that the photo shows there.

    Hair, or the skin of a bald head: a membrane carries them on over what is not seen. No hair
    and no skin is green or blue, so that a hat leaves grey. Differentiable in what is seen.

    Args:
        albedo: smooth and complete.
        seen_albedo: radiance over shading.
        shown: weight of what the photo shows of the person.
        scalp: 1 on it.
        charts: 1 where texels belong to the surface.
        model: mesh and mirror.
        at_vertices: gathers texels, with their weights.
        at_texels: scatters vertices.
    """
    size = len(scalp)
    # Nothing at the hairline and outside it: the face keeps its own.
    share = smoothstep(2.0 * blur_within(scalp[..., None], charts, _EDGE * size) - 1.0)
    shown = shown * share[..., 0] ** _WITHIN
    values, weights = at_vertices(jnp.log(jnp.maximum(seen_albedo, 1e-3)), shown)
    values, both = with_mirror(values, weights, model.mirror, _MIRROR)
    known = jnp.concatenate([values, jnp.ones_like(values[:, :1])], axis=1)
    field = membrane(known, both, model.triangles, reach=1.5, pull=1e-6, steps=160)
    colour = jnp.exp(field[:, :3] / jnp.maximum(field[:, 3:], 1e-3))
    red, green, blue = colour[:, 0], colour[:, 1], colour[:, 2]
    green = jnp.minimum(green, red)
    colour = jnp.stack([red, green, jnp.minimum(blue, green)], -1)
    level = jnp.maximum(luminance(colour), 1e-4)
    colour = colour * (jnp.clip(level, _DARKEST, _LIGHTEST) / level)[:, None]

    share = share * jnp.clip(jnp.mean(shown) / _ENOUGH, 0.0, 1.0)
    log = jnp.log(jnp.maximum(albedo, 1e-4))
    mixed = jnp.exp(log + share * (at_texels(jnp.log(colour)) - log))
    mixed = jnp.where((charts[..., None] > 0) & (share > 0), mixed, albedo)
    # Between the charts it goes on, for what bilinear lookups take from there.
    beside = blur_within(mixed, scalp, size / 100)
    near, any_near = blur(scalp[..., None], size / 100), blur(charts[..., None], size / 100)
    own = (charts[..., None] == 0) & (near > 1e-3) & (near > 0.5 * any_near)
    return jnp.where(own, beside, mixed)
