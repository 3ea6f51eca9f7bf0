"""Reads a result folder back. Host code."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxface.errors import InputError
from jaxface.export.hair import read_hair
from jaxface.rendering.color import srgb_to_linear
from jaxface.rendering.normals import normalize
from jaxface.types import Camera, FaceParameters, HairMesh, Lighting, Materials

PARAMETERS = "parameters.json"


@dataclass(frozen=True)
class StoredResult:
    """A result read back: name of the model, coefficients, texture (linear RGB), surface maps
    (height is not stored and is 0) and hair."""

    model: str
    parameters: FaceParameters
    texture_linear: jnp.ndarray
    surface: Materials
    hair: HairMesh | None = None


def load_result(folder: str | Path) -> StoredResult:
    """Returns a result that `write_result` has written.

    Raises:
        InputError: the folder holds no result of jaxface, or a damaged one.
    """
    folder = Path(folder)
    try:
        data = json.loads((folder / PARAMETERS).read_text())
        texture, normal = (
            _read_image(folder / f"{name}.png", "RGB") for name in ("albedo", "normal")
        )
        roughness, specular = (
            _read_image(folder / f"{name}.png", "L") for name in ("roughness", "specular")
        )
        camera = {key: jnp.asarray(value, jnp.float32) for key, value in data["camera"].items()}
        vectors = {
            key: jnp.asarray(list(data[key].values()), jnp.float32)
            for key in ("identity", "expression", "albedo")
        }
        name = str(data["model"])
        lighting = Lighting(coefficients=jnp.asarray(data["lighting"], jnp.float32))
        glb = folder / "face.glb"
        hair = read_hair(glb.read_bytes()) if glb.exists() else None
    except (OSError, ValueError, KeyError, AttributeError, TypeError, struct.error) as error:
        raise InputError(f"{folder} holds no complete jaxface result ({error}).") from error
    parameters = FaceParameters(**vectors, camera=Camera(**camera), lighting=lighting)
    surface = Materials(
        height=jnp.zeros_like(roughness),
        normal=normalize(2 * normal - 1),
        roughness=roughness,
        specular=specular,
    )
    return StoredResult(name, parameters, srgb_to_linear(texture), surface, hair)


def _read_image(file: Path, mode: str) -> jnp.ndarray:
    """Returns an image file, 0..1."""
    with Image.open(file) as image:
        return jnp.asarray(np.asarray(image.convert(mode), np.float32) / 255)
