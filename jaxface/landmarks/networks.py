"""Loads the landmark networks and the face mesh's fixed tables. Host code."""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp

from jaxface import assets
from jaxface.types import Network, Networks


@lru_cache(maxsize=1)
def load_networks() -> Networks:
    """Returns the landmark networks of `pretrained/landmark_networks.npz`, Apache-2.0.

    With them the index of each landmark's mirror image. Host function.

    Raises:
      AssetError: the file is missing or damaged.

    Example:
      >>> from jaxface.landmarks.networks import load_networks
      >>> sorted(load_networks().__dataclass_fields__)
      ['blendshapes', 'detector', 'mesh', 'mirror']
    """
    data = assets.load_npz("landmark_networks.npz")
    parts = {}
    for name in ("detector", "mesh", "blendshapes"):
        weights = {
            key.split("/")[1]: value
            for key, value in data.items()
            if key.startswith(name + "/") and not key.endswith("/graph")
        }
        parts[name] = Network(weights=jax.device_put(weights), graph=str(data[f"{name}/graph"]))
    mirror = assets.load_npz("landmark_embedding.npz")["landmark_mirror"]
    return Networks(**parts, mirror=jnp.asarray(mirror, jnp.int32))
