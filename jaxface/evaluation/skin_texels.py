"""The texels of bare skin on the front of a face, and how many millimetres they measure."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from jaxface.types import FaceModel, TexelMap
from jaxface.unwrapping.membrane import vertices_to_texels

_REGIONS = ("skin", "nose")
_BACK = -0.06  # metres, z on the mean face: skin behind it is at the side of the head


def front_skin(model: FaceModel, texels: TexelMap) -> Bool[np.ndarray, "T T"]:
    """Returns which texels show skin or nose on the front of the mean face; mirror-symmetric."""
    regions = [model.region_names.index(name) for name in _REGIONS]
    skin = np.isin(np.asarray(texels.region_ids), regions) & np.asarray(texels.mask)
    skin &= np.asarray(vertices_to_texels(model.mean, texels))[..., 2] > _BACK
    return skin & skin[:, ::-1]


def texel_size(model: FaceModel, texels: TexelMap) -> float:
    """Returns the width of a texel of `front_skin` in millimetres of the mean face.

    The median of sqrt(|dP/du x dP/dv|), with P the place of a texel.
    """
    place, skin = np.asarray(vertices_to_texels(model.mean, texels)), front_skin(model, texels)
    across, down = (np.gradient(place, axis=axis) for axis in (1, 0))
    area = np.linalg.norm(np.cross(across, down), axis=-1)
    return 1e3 * float(np.sqrt(np.median(area[skin])))
