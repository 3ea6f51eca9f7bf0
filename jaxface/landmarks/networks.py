"""Loads the landmark networks and the face mesh's fixed tables. Host code."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import jax
from flax import struct
from jaxtyping import Array

from jaxface import assets


@struct.dataclass
class Network:
    """A converted network: weights as a pytree, its operations as static JSON."""

    weights: dict[str, Array]
    graph: str = struct.field(pytree_node=False)

    def header(self) -> dict[str, Any]:
        """Returns the operations as `jaxface.landmarks.graph.run` takes them."""
        return json.loads(self.graph)


@struct.dataclass
class Networks:
    """MediaPipe's full-range face detector, face mesh v2, blendshapes and person segmentation."""

    detector: Network
    mesh: Network
    blendshapes: Network
    segmentation: Network


@lru_cache(maxsize=1)
def load_networks() -> Networks:
    """Returns the landmark networks of `pretrained/landmark_networks.npz` (Apache-2.0 weights).

    Raises:
      AssetError: the file is missing or damaged.

    Example:
      >>> from jaxface.landmarks.networks import load_networks
      >>> sorted(load_networks().__dataclass_fields__)
      ['blendshapes', 'detector', 'mesh', 'segmentation']
    """
    data = assets.load_npz("landmark_networks.npz")
    parts = {}
    for name in ("detector", "mesh", "blendshapes", "segmentation"):
        weights = {
            key.split("/")[1]: value
            for key, value in data.items()
            if key.startswith(name + "/") and not key.endswith("/graph")
        }
        parts[name] = Network(weights=jax.device_put(weights), graph=str(data[f"{name}/graph"]))
    return Networks(**parts)
