"""A reader of glTF's binary form, sparse accessors included, from the specification alone."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
from PIL import Image

_KINDS = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


class Glb:
    """The document and the arrays of a `.glb`."""

    def __init__(self, content: bytes) -> None:
        length = int.from_bytes(content[12:16], "little")
        self.document = json.loads(content[20 : 20 + length])
        self.binary = content[28 + length :]

    def mesh(self, name: str) -> dict:
        """The only mesh of that name."""
        (mesh,) = [mesh for mesh in self.document["meshes"] if mesh["name"] == name]
        return mesh

    def array(self, accessor: int) -> np.ndarray:
        """The values of an accessor, `[count, width]`."""
        about = self.document["accessors"][accessor]
        kind, width = _KINDS[about["componentType"]], _WIDTHS[about["type"]]
        values = np.zeros((about["count"], width), kind)
        if "bufferView" in about:
            values[:] = np.frombuffer(self.view(about["bufferView"]), kind).reshape(-1, width)
        if "sparse" in about:
            sparse = about["sparse"]
            indices = self.view(sparse["indices"]["bufferView"])
            rows = np.frombuffer(indices, _KINDS[sparse["indices"]["componentType"]])
            changed = np.frombuffer(self.view(sparse["values"]["bufferView"]), kind)
            values[rows] = changed.reshape(sparse["count"], width)
        return values

    def image(self, name: str) -> np.ndarray:
        """The image of that name, 0..255."""
        (image,) = [image for image in self.document["images"] if image["name"] == name]
        return np.asarray(Image.open(BytesIO(self.view(image["bufferView"]))))

    def view(self, index: int) -> bytes:
        """The bytes of a buffer view."""
        view = self.document["bufferViews"][index]
        return self.binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
