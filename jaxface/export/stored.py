"""Reads a result folder back. Host code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxface.errors import InputError
from jaxface.rendering.color import srgb_to_linear
from jaxface.types import Camera, FaceParameters, Lighting

PARAMETERS = "parameters.json"


@dataclass(frozen=True)
class StoredResult:
    """A result read back: the model's name, every coefficient, the texture (linear RGB)."""

    model: str
    parameters: FaceParameters
    texture_linear: jnp.ndarray


def load_result(folder: str | Path) -> StoredResult:
    """Returns a result that `write_result` has written.

    Raises:
        InputError: the folder holds no result of jaxface, or a damaged one.
    """
    folder = Path(folder)
    try:
        data = json.loads((folder / PARAMETERS).read_text())
        with Image.open(folder / "albedo.png") as image:
            texture = np.asarray(image.convert("RGB"), np.float32) / 255
        camera = {key: jnp.asarray(value, jnp.float32) for key, value in data["camera"].items()}
        vectors = {
            key: jnp.asarray(list(data[key].values()), jnp.float32)
            for key in ("identity", "expression", "albedo")
        }
        name = str(data["model"])
        lighting = Lighting(coefficients=jnp.asarray(data["lighting"], jnp.float32))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{folder} holds no complete jaxface result ({error}).") from error
    parameters = FaceParameters(**vectors, camera=Camera(**camera), lighting=lighting)
    return StoredResult(name, parameters, srgb_to_linear(jnp.asarray(texture)))
