"""The default model's eyes, teeth, tongue and mouth in the head of another model. Host code.

Published models differ most in what they have behind lids and lips, and some have nothing. Every
adapted model gets the default's, which the canonical UV and the irises' landmarks know: moved to
the other's lids and lips, and moving with them.
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
_JAW_DROP = 0.5  # share of the chin's greatest motion: vertices that move with the jaw


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
    """Returns the default model's parts, and how the other's modes move them.

    Eyes and teeth stay rigid: identity shifts them by the mean of the lids or lips around them,
    expressions turn eyes as the default's of that name do, and lower teeth and tongue as far as
    the other's chin follows the default's jaw. The mouth's lining hangs on the lips.

    Args:
        official: the other model.
        registration: of it.
        model: the default model.
        identity: `[I, V, 3]` of the other, in model space.
        expression: `[E, V, 3]`.
        names: of the expressions.
    """
    region, quads = np.asarray(model.vertex_region), np.asarray(model.quads)
    kinds = {name: region == model.region_names.index(name) for name in (*_PARTS, "lips", "lids")}
    inside = np.any([kinds[name] for name in _PARTS], axis=0)
    chosen = np.flatnonzero(inside[quads].any(1))  # with the lips' inmost ring, for a tight seam
    source = np.unique(quads[chosen])
    triangles, fitted = np.asarray(model.triangles), registration.fitted
    surface = Surface(registration.vertices, triangulate(official.quads[registration.kept]))
    normals = vertex_normals(fitted, triangles)

    def on_skin(which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the other's vertices and barycentrics next to some of the default's."""
        found, weights, _ = surface.nearest(fitted[which], normals[which])
        return surface.triangles[found], weights.astype(np.float32)

    vertices = fitted[source].copy()
    shifts = {"identity": np.zeros((len(identity), len(source), 3), np.float32)}
    shifts["expression"] = np.zeros((len(expression), len(source), 3), np.float32)
    bases = {"identity": identity, "expression": expression}

    rim = source[kinds["lips"][source]]
    lining = np.flatnonzero((kinds["lips"] | kinds["inner_mouth"])[source])
    corners, weights = on_skin(rim)
    share = _shares(fitted, quads[chosen], rim, source[lining])
    gap = np.einsum("nk,nkc->nc", weights, registration.vertices[corners]) - fitted[rim]
    vertices[lining] += share @ gap
    for key, basis in bases.items():
        moved = np.einsum("nk,mnkc->mnc", weights, basis[:, corners])
        shifts[key][:, lining] = np.einsum("ln,mnc->mlc", share, moved)

    corners, _ = on_skin(np.flatnonzero(kinds["lips"]))
    teeth = np.flatnonzero((kinds["teeth"] | kinds["tongue"])[source])
    shifts["identity"][:, teeth] = identity[:, corners].mean((1, 2))[:, None]
    shifts["expression"][:, teeth] = _with_jaw(registration, model, expression, source[teeth])

    default = dict(zip(model.expression_names, np.asarray(model.expression_basis), strict=True))
    for side in (1, -1):
        mine = side * np.asarray(model.mean)[:, 0] > 0
        eye = np.flatnonzero((kinds["eyes"] & mine)[source])
        corners, _ = on_skin(np.flatnonzero(kinds["lids"] & mine))
        vertices[eye] = _like(np.asarray(model.mean)[source[eye]], vertices[eye])
        room = _room(vertices[eye], registration.vertices[np.unique(corners)])
        vertices[eye] += [0, 0, min(room, 0)]
        shifts["identity"][:, eye] = identity[:, corners].mean((1, 2))[:, None]
        for index, name in enumerate(names):
            if name.startswith("eyeLook") and name in default:
                shifts["expression"][index][eye] = default[name][source[eye]]
    return Interior(source, chosen, vertices, **shifts)


def _shares(
    vertices: np.ndarray, quads: np.ndarray, rim: np.ndarray, inner: np.ndarray
) -> np.ndarray:
    """Returns `[inner, rim]`: how much each vertex of the rim moves those within, sum 1.

    By the way along the surface: straight through closed lips the other lip is as near.
    """
    ends = quads.ravel(), np.roll(quads, -1, axis=1).ravel()
    lengths = np.linalg.norm(vertices[ends[0]] - vertices[ends[1]], axis=1)
    links = coo_matrix((lengths, ends), shape=(len(vertices), len(vertices))).tocsr()
    links = links.maximum(links.T)
    way = dijkstra(links, directed=False, indices=rim)[:, inner].T
    share = 1 / (way + 1e-4) ** 2
    return share / share.sum(1, keepdims=True)


def _with_jaw(
    registration: Registration, model: FaceModel, expression: np.ndarray, vertices: np.ndarray
) -> np.ndarray:
    """Returns `[E, n, 3]`: the default's jaw expressions on some of its vertices, in the mixture
    that explains how each expression moves the other's chin (least squares)."""
    basis = np.asarray(model.expression_basis)
    jaws = basis[[i for i, name in enumerate(model.expression_names) if name.startswith("jaw")]]
    corners = np.asarray(model.triangles)[registration.triangles]
    there = np.einsum("vk,mvkc->mvc", registration.barycentrics, jaws[:, corners])
    opening = np.linalg.norm(there, axis=2).max(0)
    below = np.isin(
        np.asarray(model.vertex_region)[corners[:, 0]], [model.region_names.index("skin")]
    )
    chin = np.isfinite(registration.distance) & below & (opening > _JAW_DROP * opening.max())
    goal = expression[:, chin].reshape(len(expression), -1).T
    mixture = np.linalg.lstsq(there[:, chin].reshape(len(jaws), -1).T, goal, rcond=None)[0]
    return np.einsum("me,mnc->enc", mixture, jaws[:, vertices]).astype(np.float32)


def _like(eye: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Returns an eyeball, round and looking along z, with size and place of a fitted one."""
    low, high, own_low, own_high = fitted.min(0), fitted.max(0), eye.min(0), eye.max(0)
    scale = (high - low).mean() / (own_high - own_low).mean()
    return (low + high) / 2 + scale * (eye - (own_low + own_high) / 2)


def _room(eye: np.ndarray, lids: np.ndarray) -> float:
    """Returns how far along z the eyeball may go before it touches the lids: negative is back."""
    center, radius = (eye.min(0) + eye.max(0)) / 2, np.ptp(eye[:, 0]) / 2 + _CLEARANCE
    off = lids - center
    across = (off[:, :2] ** 2).sum(1)
    front = (across < radius**2) & (off[:, 2] > 0)
    if not front.any():
        return 0.0
    return float((off[front, 2] - np.sqrt(radius**2 - across[front])).min())
