"""Loads the landmark networks and the face mesh's fixed tables. Host code."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import jax
from jaxtyping import Array, Shaped

from jaxface import assets
from jaxface.pytrees import pytree, static


@pytree
class Network:
    """A converted network.

    Attributes:
        weights: by number, in the shapes of their operations.
        graph: the operations, JSON.
    """

    weights: dict[str, Shaped[Array, "..."]]
    graph: str = static()

    def header(self) -> dict[str, Any]:
        """Returns the operations as `jaxface.landmarks.graph.run` takes them."""
        return json.loads(self.graph)


@pytree
class Networks:
    """MediaPipe's networks.

    Attributes:
        detector: full-range face detector.
        mesh: face mesh v2.
        blendshapes: expression coefficients of a face mesh.
        segmentation: which pixels show a person.
    """

    detector: Network
    mesh: Network
    blendshapes: Network
    segmentation: Network


@lru_cache(maxsize=1)
def load_networks() -> Networks:
    """Returns the landmark networks of `pretrained/landmark_networks.npz` (Apache-2.0 weights).

    Host function.

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
