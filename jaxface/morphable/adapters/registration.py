"""Registration of the default model to another model's mean face. Host code.

The default model's surface is fitted to the other's (`fit_surface`), constrained by landmarks if
the files have some: without them surfaces slide tangentially, the wings of the nose by 7 mm. Every
polygon of the other takes the canonical UVs of the nearest points. Each polygon is assigned to one
chart, and behind the head to one side of the cut, so that none spans a seam.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from jaxface import assets
from jaxface.morphable.adapters.official import OfficialModel, require
from jaxface.morphable.surface import NORMAL_WEIGHT, fit_surface, vertex_normals
from jaxface.types import FaceModel

SIGMA = 0.4e-3  # metres, of the registration's distances
_TARGETS = 12_000  # triangles of the other model that take part in the fit
# Those of the 68 points that are corners: the spacing along brows, bridge and lips differs between
# schemes. Tip and base of the nose, corners of the eyes, corners and middle of the lips.
_MARKS = np.array([30, 31, 33, 35, 36, 39, 42, 45, 48, 51, 54, 57])
_CUT_Z = -0.09  # metres: behind this, the main chart is cut at x = 0
_INSIDE = ("sockets", "inner_mouth", "eyes")
_MAX_OUTER_DISTANCE = 0.003  # metres: polygons this near the outer surface are outer
_CANDIDATES = 12  # nearest triangle centres whose triangles are tested


@dataclass(frozen=True)
class Registration:
    """The other model's mean face in model space, and the default model fitted to it.

    Attributes:
        vertices: `[V, 3]` of the other model, metres.
        rotation: of the other model into model space.
        fitted: `[W, 3]` the default model's vertices, metres.
        kept: `[P]` indices of the other model's polygons that are skin.
        skin: `[S]` indices of their vertices.
        patch: `[P]` their patch (`Patches`).
        triangles: `[V]` the default model's triangle nearest to each vertex, of any patch.
        barycentrics: `[V, 3]` of the nearest point on it.
        distance: `[V]` to it, metres.
    """

    vertices: np.ndarray
    rotation: np.ndarray
    fitted: np.ndarray
    kept: np.ndarray
    skin: np.ndarray
    patch: np.ndarray
    triangles: np.ndarray
    barycentrics: np.ndarray
    distance: np.ndarray


class Surface:
    """A triangle mesh with a search for nearest points in position and normal."""

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray) -> None:
        self.vertices, self.triangles = vertices, triangles
        self.normals = vertex_normals(vertices, triangles)

    def nearest(
        self, points: np.ndarray, normals: np.ndarray, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns triangles, barycentrics and distances of the nearest points on the triangles
        (`allowed` or all) whose centres and normals are nearest."""
        from trimesh.triangles import closest_point, points_to_barycentric  # slow import

        allowed = np.arange(len(self.triangles)) if allowed is None else allowed
        corners = self.vertices[self.triangles[allowed]]
        facing = self.normals[self.triangles[allowed]].mean(1)
        tree = cKDTree(np.concatenate([corners.mean(1), facing * NORMAL_WEIGHT], 1))
        count = min(_CANDIDATES, len(allowed))
        _, near = tree.query(np.concatenate([points, normals * NORMAL_WEIGHT], 1), k=count)
        near = near.reshape(len(points), count)
        flat, repeated = corners[near.ravel()], np.repeat(points, count, axis=0)
        closest = closest_point(flat, repeated).reshape(-1, count, 3)
        distance = np.linalg.norm(closest - points[:, None], axis=2)
        best, row = distance.argmin(1), np.arange(len(points))
        chosen = near[row, best]
        weights = points_to_barycentric(corners[chosen], closest[row, best])
        weights = np.clip(np.nan_to_num(weights, nan=1 / 3), 0, 1)
        weights /= weights.sum(1, keepdims=True)
        return allowed[chosen], weights, distance[row, best]


class Patches:
    """The patch of each triangle of the default model: chart, and side of its cut.

    0 is the main chart in front, 1 and -1 its left and right behind the head (where it is cut), 2
    the ears, -2 all that is inside. `members[p]`: triangles on which corners of patch p may lie.
    """

    def __init__(self, model: FaceModel) -> None:
        charts = assets.load_npz("canonical_uv.npz")
        names, chart = charts["chart_names"].tolist(), charts["triangle_chart"]
        center = np.asarray(model.mean)[np.asarray(model.triangles)].mean(1)
        side = np.where(center[:, 2] < _CUT_Z, np.sign(center[:, 0]), 0).astype(int)
        main, ears = chart == names.index("main"), chart == names.index("ears")
        self.of_triangle = np.where(main, side, np.where(ears, 2, -2))
        self.members = {
            0: np.flatnonzero(main),
            1: np.flatnonzero(main & (side >= 0)),
            -1: np.flatnonzero(main & (side <= 0)),
            2: np.flatnonzero(ears),
        }
        self.outer = np.flatnonzero(main | ears)
        self.inside = np.flatnonzero(np.isin(chart, [names.index(name) for name in _INSIDE]))


def triangulate(quads: np.ndarray) -> np.ndarray:
    """Returns two triangles per quad, one per triangle (a quad that repeats its last corner)."""
    return halve(quads, quads)


def halve(corners: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Returns values at the corners of quads, `[Q, 4]`, at those of `triangulate(quads)`."""
    halves = np.stack([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]], 1)
    is_quad = quads[:, 2] != quads[:, 3]
    return halves[np.stack([np.ones_like(is_quad), is_quad], 1)].astype(np.int32)


def register(official: OfficialModel, model: FaceModel) -> Registration:
    """Returns the registration of a model's mean face to the default model.

    Args:
        official: the other model; its face looks roughly along z.
        model: the default model.

    Raises:
        InputError: the median distance of the surfaces is above 5 mm.
    """
    polygons = largest_part(official.quads)
    triangles = triangulate(official.quads[polygons])
    target_points, model_points = _tips(official.vertices[np.unique(triangles)], model)
    marks = None
    if official.landmarks68 is not None:
        corners, weights = marks = _corners68(model)
        target_points = official.vertices[official.landmarks68[_MARKS]]
        model_points = np.einsum("pk,pkc->pc", weights, np.asarray(model.mean)[corners])
    step = -(-len(triangles) // _TARGETS)
    vertices = official.vertices.astype(float)
    points = target_points, model_points
    fit = fit_surface(vertices, triangles[::step], *points, model, sigma=SIGMA, marks=marks)
    vertices = vertices @ fit.rotation.T + fit.translation
    fitted = fit.vertices
    eyes = fitted[np.asarray(model.vertex_region) == model.region_names.index("eyes")]
    origin = (eyes.min(0) + eyes.max(0)) / 2 * [1, 1, 0] + [0, 0, _depth(eyes)]
    vertices, fitted = vertices - origin, fitted - origin

    patches, normals = Patches(model), vertex_normals(vertices, triangles)
    surface = Surface(fitted, np.asarray(model.triangles))
    corners = official.quads[polygons]
    center, facing = vertices[corners].mean(1), normals[corners].mean(1)
    outer = surface.nearest(center, facing, patches.outer)
    inner = surface.nearest(center, facing, patches.inside)
    skin = (outer[2] < inner[2]) | (outer[2] < _MAX_OUTER_DISTANCE)
    used = np.unique(triangles)
    triangle, weights = np.zeros(len(vertices), int), np.zeros((len(vertices), 3))
    distance = np.full(len(vertices), np.inf)
    found = surface.nearest(vertices[used], normals[used], patches.outer)
    triangle[used], weights[used], distance[used] = found
    median = float(np.median(distance[used]))
    require(median < 0.005, official.name, f"its face is {1e3 * median:.0f} mm from any head")
    return Registration(
        vertices=vertices,
        rotation=fit.rotation,
        fitted=fitted,
        kept=polygons[skin],
        skin=np.unique(official.quads[polygons[skin]]),
        patch=patches.of_triangle[outer[0][skin]],
        triangles=triangle,
        barycentrics=weights,
        distance=distance,
    )


def largest_part(quads: np.ndarray) -> np.ndarray:
    """Returns the polygons of the largest connected component: the head without eyes and teeth."""
    ends, count = (quads.ravel(), np.roll(quads, -1, axis=1).ravel()), quads.max() + 1
    links = coo_matrix((np.ones(quads.size), ends), shape=(count, count))
    part = connected_components(links, directed=False)[1][quads[:, 0]]
    return np.flatnonzero(part == np.bincount(part).argmax())


def _tips(vertices: np.ndarray, model: FaceModel) -> tuple[np.ndarray, np.ndarray]:
    """Returns both tips of the nose and three points off them along the axes: pure translation."""
    mean, axes = np.asarray(model.mean, float), np.concatenate([np.zeros((1, 3)), np.eye(3) / 10])
    return vertices[vertices[:, 2].argmax()] + axes, mean[mean[:, 2].argmax()] + axes


def _corners68(model: FaceModel) -> tuple[np.ndarray, np.ndarray]:
    """Returns vertices and barycentrics of `_MARKS` on the default model."""
    arrays = assets.load_npz("landmark_embedding.npz")
    corners = np.asarray(model.triangles)[arrays["landmark68_triangles"][_MARKS]]
    return corners, arrays["landmark68_barycentrics"][_MARKS].astype(float)


def _depth(eyes: np.ndarray) -> float:
    """Returns z of the centre of the left eyeball."""
    half = eyes[eyes[:, 0] > eyes[:, 0].mean()]
    return float((half[:, 2].min() + half[:, 2].max()) / 2)
