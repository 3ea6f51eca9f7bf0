"""The binary chunk of a glTF file, with its buffer views and accessors. Host code."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from jaxface.images import to_bytes

COMPONENTS = {5123: np.uint16, 5125: np.uint32, 5126: np.float32}
"""NumPy types of glTF's component types."""
_TYPES = {np.dtype(kind): number for number, kind in COMPONENTS.items()}
_ARRAY, _ELEMENTS = 34962, 34963
_SPARSE_OVERHEAD = 200  # bytes of JSON that a sparse accessor has more than a dense one


class Buffer:
    """Collects the binary chunk, buffer views and accessors; methods return indices of these."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self._zeros: dict[int, int] = {}  # accessors of zero displacements by their length

    def view(self, content: bytes, target: int | None = None) -> int:
        """Appends bytes as a buffer view."""
        self.data += b"\0" * (-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)}
        self.views.append(view if target is None else view | {"target": target})
        self.data += content
        return len(self.views) - 1

    def indices(self, array: np.ndarray) -> int:
        """Appends an accessor of vertex indices, in the smallest type that holds them."""
        content = _small(array)
        return self._accessor(content, self.view(content.tobytes(), _ELEMENTS), False)

    def attribute(self, array: np.ndarray, *, bounds: bool = False) -> int:
        """Appends an accessor of a vertex attribute, with its minimum and maximum if `bounds`."""
        content = np.ascontiguousarray(array, np.float32)
        return self._accessor(content, self.view(content.tobytes(), _ARRAY), bounds)

    def displacement(self, array: np.ndarray, *, bounds: bool = False) -> int:
        """Appends an accessor of a morph target's `[N, 3]` displacements, in the form that takes
        fewer bytes: dense, or sparse with its nonzero rows alone. Those of zeros are shared."""
        content = np.ascontiguousarray(array, np.float32)
        rows = np.flatnonzero(content.any(1))
        if len(rows):
            size = len(rows) * (content[0].nbytes + _small(rows).itemsize) + _SPARSE_OVERHEAD
            if size < content.nbytes:
                return self._sparse(content, rows, bounds)
            return self.attribute(content, bounds=bounds)
        if len(content) not in self._zeros:
            # With neither values nor a buffer view it would be valid, but Assimp refuses it.
            self._zeros[len(content)] = self._sparse(content, np.zeros(1, int), True)
        return self._zeros[len(content)]

    def _sparse(self, content: np.ndarray, rows: np.ndarray, bounds: bool) -> int:
        index, places = self._accessor(content, None, bounds), _small(rows)
        self.accessors[index]["sparse"] = {
            "count": len(rows),
            "indices": {
                "bufferView": self.view(places.tobytes()),
                "componentType": _TYPES[places.dtype],
            },
            "values": {"bufferView": self.view(content[rows].tobytes())},
        }
        return index

    def targets(self, moves: np.ndarray, turns: np.ndarray) -> list[dict[str, int]]:
        """Appends morph targets: displacements of positions and of normals, `[E, N, 3]` each."""
        return [
            {"POSITION": self.displacement(move, bounds=True), "NORMAL": self.displacement(turn)}
            for move, turn in zip(moves, turns, strict=True)
        ]

    def keyframes(self, array: np.ndarray) -> int:
        """Appends an accessor of times or animated values."""
        content = np.ascontiguousarray(array, np.float32)
        return self._accessor(content, self.view(content.tobytes()), array.ndim == 1)

    def _accessor(self, array: np.ndarray, view: int | None, bounds: bool) -> int:
        accessor: dict[str, Any] = {} if view is None else {"bufferView": view}
        accessor |= {
            "componentType": _TYPES[array.dtype],
            "count": len(array),
            "type": "SCALAR" if array.ndim == 1 else f"VEC{array.shape[1]}",
        }
        if bounds:
            ends = np.atleast_1d(array.min(0)), np.atleast_1d(array.max(0))
            accessor |= {"min": ends[0].tolist(), "max": ends[1].tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def picture(self, image: np.ndarray, name: str) -> dict[str, Any]:
        """Appends a PNG of an image, 0..1; returns its entry of glTF's `images`."""
        stream = BytesIO()
        Image.fromarray(to_bytes(image)).save(stream, "png", compress_level=4)
        return {"bufferView": self.view(stream.getvalue()), "mimeType": "image/png", "name": name}


def _small(indices: np.ndarray) -> np.ndarray:
    """Returns indices in 16 or 32 bits. The largest value of either restarts primitives, and GPUs
    have no indices of 8."""
    kind = next(k for k in (np.uint16, np.uint32) if indices.max() < np.iinfo(k).max)
    return np.ascontiguousarray(indices, kind)
