"""The default model's eyes, teeth, tongue and inner mouth in another model's head. Host code.

Published models differ most behind lids and lips, and some have nothing there. Every adapted model
gets the default's parts, for which canonical UV and iris landmarks exist: moved to the other's lids
and lips, with identity and expression modes that follow these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from jaxface.morphable.adapters.official import OfficialModel
from jaxface.morphable.adapters.registration import Registration, Surface, triangulate
from jaxface.morphable.surface import vertex_normals
from jaxface.types import FaceModel

_PARTS = ("eyes", "teeth", "tongue", "inner_mouth")
_CLEARANCE = 0.4e-3  # metres between an eyeball and the lids' edges
_CHIN_FRACTION = 0.5  # of the greatest jaw motion: skin that moves more is the chin


@dataclass(frozen=True)
class Interior:
    """What is appended to the other model's vertices.

    Attributes:
        source: `[N]` vertices of the default model.
        quads: `[Q]` quads of the default model.
        vertices: `[N, 3]` on the average face, metres.
        identity: `[I, N, 3]`.
        expression: `[E, N, 3]`.
    """

    source: np.ndarray
    quads: np.ndarray
    vertices: np.ndarray
    identity: np.ndarray
    expression: np.ndarray


def interior(
    official: OfficialModel,
    registration: Registration,
    model: FaceModel,
    identity: np.ndarray,
    expression: np.ndarray,
    names: tuple[str, ...],
) -> Interior:
    """Returns the default model's parts, and their identity and expression modes.

    Eyes and teeth are rigid: identity translates them by the mean motion of the lids or lips around
    them; eyes take the default's eyeLook expressions; lower teeth and tongue the combination of the
    default's jaw expressions that fits the motion of the other's chin. The mouth's lining moves
    with the nearest rim of the lips.

    Args:
        official: the other model.
        registration: of the other model to the default one.
        model: the default model.
        identity: `[I, V, 3]` of the other, in model space.
        expression: `[E, V, 3]`.
        names: of the expressions.
    """
    region, quads = np.asarray(model.vertex_region), np.asarray(model.quads)
    masks = {name: region == model.region_names.index(name) for name in (*_PARTS, "lips", "lids")}
    inside = np.any([masks[name] for name in _PARTS], axis=0)
    chosen = np.flatnonzero(inside[quads].any(1))  # with the lips' inmost ring, for a tight seam
    source = np.unique(quads[chosen])
    triangles, fitted = np.asarray(model.triangles), registration.fitted
    surface = Surface(registration.vertices, triangulate(official.quads[registration.kept]))
    normals = vertex_normals(fitted, triangles)

    def on_skin(vertex_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns vertices and barycentrics on the other's skin nearest to the default's."""
        found, weights, _ = surface.nearest(fitted[vertex_ids], normals[vertex_ids])
        return surface.triangles[found], weights.astype(np.float32)

    vertices = fitted[source].copy()
    shifts = {"identity": np.zeros((len(identity), len(source), 3), np.float32)}
    shifts["expression"] = np.zeros((len(expression), len(source), 3), np.float32)
    bases = {"identity": identity, "expression": expression}

    rim = source[masks["lips"][source]]
    lining = np.flatnonzero((masks["lips"] | masks["inner_mouth"])[source])
    corners, weights = on_skin(rim)
    weights_of_rim = _rim_weights(fitted, quads[chosen], rim, source[lining])
    gap = np.einsum("nk,nkc->nc", weights, registration.vertices[corners]) - fitted[rim]
    vertices[lining] += weights_of_rim @ gap
    for key, basis in bases.items():
        moved = np.einsum("nk,mnkc->mnc", weights, basis[:, corners])
        shifts[key][:, lining] = np.einsum("ln,mnc->mlc", weights_of_rim, moved)

    corners, _ = on_skin(np.flatnonzero(masks["lips"]))
    teeth = np.flatnonzero((masks["teeth"] | masks["tongue"])[source])
    shifts["identity"][:, teeth] = identity[:, corners].mean((1, 2))[:, None]
    shifts["expression"][:, teeth] = _with_jaw(registration, model, expression, source[teeth])

    default = dict(zip(model.expression_names, np.asarray(model.expression_basis), strict=True))
    for side in (1, -1):
        on_side = side * np.asarray(model.mean)[:, 0] > 0
        eye = np.flatnonzero((masks["eyes"] & on_side)[source])
        corners, _ = on_skin(np.flatnonzero(masks["lids"] & on_side))
        vertices[eye] = _rigid_eyeball(np.asarray(model.mean)[source[eye]], vertices[eye])
        clearance = _lid_clearance(vertices[eye], registration.vertices[np.unique(corners)])
        vertices[eye] += [0, 0, min(clearance, 0)]
        shifts["identity"][:, eye] = identity[:, corners].mean((1, 2))[:, None]
        for index, name in enumerate(names):
            if name.startswith("eyeLook") and name in default:
                shifts["expression"][index][eye] = default[name][source[eye]]
    return Interior(source, chosen, vertices, **shifts)


def _rim_weights(
    vertices: np.ndarray, quads: np.ndarray, rim: np.ndarray, inner: np.ndarray
) -> np.ndarray:
    """Returns `[inner, rim]`, weights of the rim's vertices at those inside, rows of sum 1.

    Inverse squares of geodesic distances: in space, with closed lips, the other lip is as near.
    """
    ends = quads.ravel(), np.roll(quads, -1, axis=1).ravel()
    lengths = np.linalg.norm(vertices[ends[0]] - vertices[ends[1]], axis=1)
    graph = coo_matrix((lengths, ends), shape=(len(vertices), len(vertices))).tocsr()
    graph = graph.maximum(graph.T)
    geodesic = dijkstra(graph, directed=False, indices=rim)[:, inner].T
    weights_of_rim = 1 / (geodesic + 1e-4) ** 2
    return weights_of_rim / weights_of_rim.sum(1, keepdims=True)


def _with_jaw(
    registration: Registration, model: FaceModel, expression: np.ndarray, vertices: np.ndarray
) -> np.ndarray:
    """Returns `[E, n, 3]`: for each expression, at some of the default's vertices, the combination
    of the default's jaw expressions that fits the motion of the other's chin (least squares)."""
    basis = np.asarray(model.expression_basis)
    jaws = basis[[i for i, name in enumerate(model.expression_names) if name.startswith("jaw")]]
    corners = np.asarray(model.triangles)[registration.triangles]
    jaw_motion = np.einsum("vk,mvkc->mvc", registration.barycentrics, jaws[:, corners])
    opening = np.linalg.norm(jaw_motion, axis=2).max(0)
    is_skin = np.isin(
        np.asarray(model.vertex_region)[corners[:, 0]], [model.region_names.index("skin")]
    )
    chin = np.isfinite(registration.distance) & is_skin & (opening > _CHIN_FRACTION * opening.max())
    rhs = expression[:, chin].reshape(len(expression), -1).T
    mixture = np.linalg.lstsq(jaw_motion[:, chin].reshape(len(jaws), -1).T, rhs, rcond=None)[0]
    return np.einsum("me,mnc->enc", mixture, jaws[:, vertices]).astype(np.float32)


def _rigid_eyeball(eye: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Returns the mean face's eyeball scaled and translated to the bounding box of a fitted one."""
    low, high, own_low, own_high = fitted.min(0), fitted.max(0), eye.min(0), eye.max(0)
    scale = (high - low).mean() / (own_high - own_low).mean()
    return (low + high) / 2 + scale * (eye - (own_low + own_high) / 2)


def _lid_clearance(eye: np.ndarray, lids: np.ndarray) -> float:
    """Returns how far along z an eyeball can move until it touches the lids; negative is back."""
    center, radius = (eye.min(0) + eye.max(0)) / 2, np.ptp(eye[:, 0]) / 2 + _CLEARANCE
    offset = lids - center
    radial_squared = (offset[:, :2] ** 2).sum(1)
    front = (radial_squared < radius**2) & (offset[:, 2] > 0)
    if not front.any():
        return 0.0
    return float((offset[front, 2] - np.sqrt(radius**2 - radial_squared[front])).min())
