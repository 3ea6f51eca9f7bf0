"""The arrays that every adapter reads from a model's official files, and checks. Host code."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jaxface.errors import InputError

IDENTITY_MODES, EXPRESSION_MODES = 100, 50  # the first ones of models that have more
_SIGMAS_AT_1 = 4.0  # standard deviations at coefficient 1: the fit's prior has sigma 0.25


@dataclass(frozen=True)
class OfficialModel:
    """A face model as its makers publish it, in metres, y up, z out of the face.

    Attributes:
        name: of the model, for messages.
        vertices: `[V, 3]` of the mean face.
        quads: `[Q, 4]` polygons; a triangle repeats its last corner.
        identity: `[I, V, 3]` metres per unit of each whitened coefficient.
        expression: `[E, V, 3]` metres per unit of each, in 0..1.
        expression_names: of those; names of the two halves of a signed mode end in `+` and `-`.
        identity_names: of the coefficients.
        uvs: `[U, 2]` in the model's layout, if it has one; integer parts are UDIM tiles.
        uv_quads: `[Q, 4]` indices into them.
        landmarks68: `[68]` vertices of the 68-point scheme, if the files have them.
    """

    name: str
    vertices: np.ndarray
    quads: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    expression_names: tuple[str, ...]
    identity_names: tuple[str, ...]
    uvs: np.ndarray | None = None
    uv_quads: np.ndarray | None = None
    landmarks68: np.ndarray | None = None


def checked(official: OfficialModel) -> OfficialModel:
    """Returns the model with outward polygons, after checks of its arrays.

    Raises:
        InputError: a shape, an index or a value is invalid.
    """
    count = len(official.vertices)
    for what, array, shape in (
        ("vertices", official.vertices, (count, 3)),
        ("polygons", official.quads, (len(official.quads), 4)),
        ("identity basis", official.identity, (len(official.identity_names), count, 3)),
        ("expressions", official.expression, (len(official.expression_names), count, 3)),
    ):
        require(array.shape == shape, official.name, f"its {what} have the shape {array.shape}")
        require(bool(np.isfinite(array).all()), official.name, f"its {what} are not all finite")
    require(count >= 500, official.name, f"it has only {count} vertices")
    indices = [(official.quads, count)]
    if official.uvs is not None and official.uv_quads is not None:
        require(official.uvs.shape[1:] == (2,), official.name, "its UVs are not pairs")
        require(len(official.uv_quads) == len(official.quads), official.name, "its UVs lack faces")
        indices.append((official.uv_quads, len(official.uvs)))
    if official.landmarks68 is not None:
        require(official.landmarks68.shape == (68,), official.name, "it has not 68 landmarks")
        indices.append((official.landmarks68, count))
    for array, size in indices:
        good = len(array) > 0 and array.min() >= 0 and array.max() < size
        require(bool(good), official.name, "its indices point outside")
    height = float(np.ptp(official.vertices[:, 1]))
    require(0.1 < height < 0.7, official.name, f"its head is {height:.3g} m high")
    return _outward(official)


def require(good: bool, name: str, problem: str) -> None:
    """Raises `InputError` that names a model's file and its problem unless `good`."""
    if not good:
        raise InputError(f"{name} is not the official file that jaxface reads: {problem}.")


def signed(modes: np.ndarray, names: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns each mode as two expressions, plus and minus, since the fit's lie in 0..1.

    Args:
        modes: `[N, V, 3]` metres per standard deviation.
        names: of the modes.
    """
    halves = np.stack([modes, -modes], 1).reshape(-1, *modes.shape[1:]) * np.float32(_SIGMAS_AT_1)
    return halves, tuple(f"{name}{sign}" for name in names for sign in "+-")


def _outward(official: OfficialModel) -> OfficialModel:
    """Returns the model with polygons counter-clockwise seen from outside."""
    corners = official.vertices[official.quads]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    if (normal * (corners.mean(1) - official.vertices.mean(0))).sum() >= 0:
        return official
    triangle = official.quads[:, 2:3] == official.quads[:, 3:]
    order = np.where(triangle, [[0, 2, 1, 1]], [[0, 3, 2, 1]])
    own = official.uv_quads
    return replace(
        official,
        quads=np.take_along_axis(official.quads, order, 1),
        uv_quads=None if own is None else np.take_along_axis(own, order, 1),
    )
