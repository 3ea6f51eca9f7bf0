"""Thin dark occluders of the face: strands of hair, rims of glasses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxface.filters import blur, closing, dilate, geodesic_reconstruction, masked_blur
from jaxface.unwrapping.config import SkinMaskConfig

# Lengths are fractions of the texture's side.
LENGTH = 1 / 10  # of the structuring segment: shorter dark things are moles and pores
SEGMENT_POINTS = 9  # samples along it
DIRECTIONS = 12  # of segments in half a turn
WIDTH = 1 / 64  # of the closing: wider dark things are shadows
BEND = 1 / 256  # by which a strand may deviate from the straight segment
FILL_SIGMA = 1 / 40  # of the mean that is filled in at texels that are not visible
HUE_SIGMA = 1 / 64  # over which the hue of a strand is averaged
HALO = 1 / 128  # dilation of the strands
REACH = 1 / 8  # limit of the geodesic reconstruction
SHOWN = 0.3  # least weight of a visible texel
FOLLOWED = 0.4  # fraction of `strand_depth` in the reconstruction: hysteresis


def strand_mask(
    log_ratio: Float[Array, "T T 3"],
    usable: Float[Array, "T T"],
    open_skin: Float[Array, "T T"],
    reachable: Float[Array, "T T"],
    config: SkinMaskConfig = SkinMaskConfig(),
) -> Float[Array, "T T"]:
    """Returns 1 on strands of hair and rims of glasses and close beside them, 0 elsewhere.

    depth = black top-hat (closing less value) of the log ratio. A strand is where the opening of
    the depth by some line segment exceeds `strand_depth`. Folds and wrinkles pass that test too,
    but interreflected light is red, so that there red is less deep than green; on hair and frames
    both are equally deep. Strands are detected on open skin and extended across brows and lids by
    geodesic reconstruction. No gradient passes.

    Args:
        log_ratio: natural logarithm of the photo over the rendered fit.
        usable: weight of visible texels, 0..1.
        open_skin: 1 on skin away from brows, lids and lips, which have dark lines too.
        reachable: 1 where a strand may be extended to.
        config: `strand_depth` and `strand_neutrality` are used.
    """
    log_ratio, usable = jax.lax.stop_gradient((log_ratio, usable))
    size = log_ratio.shape[0]
    shown = (usable > SHOWN) * 1.0
    filled = jnp.where(
        shown[..., None] > 0, log_ratio, masked_blur(log_ratio, shown, FILL_SIGMA * size)
    )
    radius = max(1, round(WIDTH * size / 2))
    red, green, blue = (
        jax.vmap(lambda c: closing(c, radius) - c)(jnp.moveaxis(filled, -1, 0)) * shown
    )
    depth = (red + green + blue) / 3
    dilated_depth = dilate(depth, max(1, round(BEND * size)))
    opened = jnp.max(jax.lax.map(lambda s: _segment_opening(dilated_depth, s), _segments(size)), 0)
    lines = (jnp.minimum(opened, depth) > config.strand_depth) * open_skin
    red, green = jnp.moveaxis(
        blur(jnp.stack([red, green], -1) * lines[..., None], HUE_SIGMA * size), -1, 0
    )
    markers = lines * (red > config.strand_neutrality * green)
    strands = geodesic_reconstruction(
        markers, (depth > FOLLOWED * config.strand_depth) * reachable, round(REACH * size)
    )
    return dilate(strands, max(1, round(HALO * size)))


def _segments(size: int) -> Int[Array, "D P 2"]:
    """Returns the samples of a segment in each direction, offsets (row, column) from its middle."""
    angles = np.arange(DIRECTIONS) * np.pi / DIRECTIONS
    along = np.linspace(-0.5, 0.5, SEGMENT_POINTS) * LENGTH * size
    offsets = along[None, :, None] * np.stack([np.sin(angles), np.cos(angles)], -1)[:, None]
    return jnp.asarray(np.round(offsets), jnp.int32)


def _segment_opening(depth: Float[Array, "T T"], segment: Int[Array, "P 2"]) -> Float[Array, "T T"]:
    """Returns the opening by a segment: the erosion by it, dilated by it."""

    def shifted(image, offset):
        return jnp.roll(image, offset, (0, 1))

    eroded = jax.lax.fori_loop(
        0,
        SEGMENT_POINTS,
        lambda k, least: jnp.minimum(least, shifted(depth, segment[k])),
        jnp.full_like(depth, jnp.inf),
    )
    return jax.lax.fori_loop(
        0,
        SEGMENT_POINTS,
        lambda k, most: jnp.maximum(most, shifted(eroded, -segment[k])),
        jnp.zeros_like(depth),
    )
