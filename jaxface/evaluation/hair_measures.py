"""How well the hair of a result agrees with the photo's: outline, colour."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxface.evaluation.color_difference import ciede2000, lab
from jaxface.export.preview import Head, painted_exposure
from jaxface.hair.config import HAIR_STYLES
from jaxface.parsing.classes import BEARD, FACE, HAIR
from jaxface.rendering.camera import project
from jaxface.rendering.color import srgb_to_linear
from jaxface.rendering.render import render
from jaxface.types import FaceCrop, Reconstruction

_SURE = 0.9  # probability from which a pixel is hair whose colour is judged
_LEAST = 50  # pixels


def hair_errors(
    crop: FaceCrop, classes: Float[np.ndarray, "S S K"], result: Reconstruction, head: Head
) -> dict[str, Any]:
    """Returns the style, the outline's overlap and the difference of colour.

    Overlap: intersection over union of head and hair drawn and of face and hair parsed, in the
    photo above the chin. Colour: CIEDE2000 between the medians of the photo and of what is drawn
    over it in its light, where both are hair; missing where nothing is.

    Args:
        crop: of the photo.
        classes: of the crop's pixels, `pixel_classes`.
        result: whose camera is in pixels of the photo.
        head: `fine_head` with the hair.
    """
    size = crop.srgb.shape[0]
    camera = crop.crop.camera_to_crop(result.fit.parameters.camera)
    scene = head.model, head.vertices, jnp.asarray(result.synthesis.texture), camera
    light, exposure = result.fit.parameters.lighting, painted_exposure(head)
    style = -1 if result.hair is None else int(result.hair.style)
    bald = head.hair if style < 0 else head.hair[:-1]
    bare, bare_cover = render(*scene, light, size, size, exposure=exposure, hair=bald)
    drawn, cover = render(*scene, light, size, size, exposure=exposure, hair=head.hair)
    face = np.asarray(head.model.vertex_region) != head.model.region_names.index("neck")
    chin = np.asarray(project(head.vertices, camera)[0])[face, 1].max()
    judged = (np.arange(size)[:, None] < chin) & (classes[..., :BEARD].sum(-1) > 0.5)
    seen = judged & (classes[..., FACE] + classes[..., HAIR] > 0.5)
    made = judged & (np.asarray(cover) > 0.5)
    hair = judged & (classes[..., HAIR] > _SURE)
    changed = np.abs(np.asarray(drawn) - np.asarray(bare)).max(-1) > 1e-3
    changed |= np.asarray(cover) > np.asarray(bare_cover) + 0.5
    wig = judged & changed & (np.asarray(cover) > 0.9)
    found: dict[str, Any] = {
        "style": "none" if style < 0 else HAIR_STYLES[style],
        "outline IoU": float((seen & made).sum() / max((seen | made).sum(), 1)),
    }
    both = hair & wig
    if both.sum() >= _LEAST:
        colours = np.asarray(srgb_to_linear(crop.srgb))[both], np.asarray(drawn)[both]
        medians = [lab(np.median(each, 0)) for each in colours]
        found["CIEDE2000"] = float(ciede2000(*medians))
    return found
