"""The light on a random person, at the vertices of the head: shadows, one bounce, gloss.

Rays go from every vertex to samples of an environment map and to what surrounds it. Skin is
Lambertian with a broad lobe of gloss; hair, glasses and clothes are opaque, whatever their outline.
Irradiance E of normal n, with flux F_d of the D samples in direction d that nothing occludes, and
radiance R_b of what the B rays in directions b meet:

    E / pi = sum_d max(0, n d) F_d / pi + 4 / B sum_b max(0, n b) R_b
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage, sparse

from building.environment_maps import directions
from building.people.parts import BEARD, BROW, FACE, Part
from building.people.person import Wardrobe, random_person
from building.people.picture import World
from jaxface.evaluation.light import fresnel
from jaxface.evaluation.scene import head_rotation, sample
from jaxface.morphable.model import vertex_uvs
from jaxface.types import FaceModel

MAP_HEIGHT, MAP_WIDTH = 64, 128  # texels of an environment map
RAYS = 256  # to the environment
BOUNCE_RAYS = 96  # from a vertex to what surrounds it
OFFSET = 1e-3  # metres: rays start off the surface they left
LAMP, FILL = 0.4, 0.2  # shares of people in the light of a lamp, in added uniform light
OTHERS_LIT = 0.7  # share of the environment that hair and clothes see of what faces them


def lit_person(
    wardrobe: Wardrobe,
    rng: np.random.Generator,
    *,
    skins: Sequence[int],
    maps: Sequence[np.ndarray],
) -> dict[str, np.ndarray]:
    """Returns a random person's head in random light, at its V vertices.

    Args:
        wardrobe: what people are made of.
        rng: chooses.
        skins: indices of the textures that may be used.
        maps: environment maps that may be used, `[H, W, 3]`.

    Returns:
        `albedo` `[V, 3]` linear RGB. `bare` `[V]` bool: no hair is painted there. `visible` `[V]`
        bool: to the camera. `irradiance` `[V, 3]` over pi. `gloss` `[V, 3]` radiance. `vertices`
        `[V, 3]` metres. `rotation` `[3, 3]` model to camera space. `distance`, metres.
    """
    person = random_person(wardrobe, rng, skins=skins, styles=list(wardrobe.hair))
    world, head = World(person.parts), person.parts[0]
    vertices, normals = head.vertices, world.normals[: len(head.vertices)]
    albedo, kind = paint(head, np.asarray(vertex_uvs(wardrobe.model)))
    yaw = np.clip(rng.normal(0, 25), -70, 70)
    rotation = head_rotation(yaw, rng.normal(0, 9), rng.normal(0, 6))
    distance = np.exp(rng.uniform(np.log(0.6), np.log(3)))
    towards, flux = light_samples(maps[rng.choice(len(maps))], rng)
    towards = towards @ rotation  # camera to model space

    cosine = np.maximum(normals @ towards.T, 0)
    origins = vertices + OFFSET * normals
    lit = unoccluded(world, origins, towards, cosine > 0)
    irradiance = (cosine * lit) @ flux / np.pi
    bounced = bounce(world, origins, normals, irradiance * albedo, towards, flux)

    to_camera = -np.array([0, 0, distance]) @ rotation - vertices
    to_camera /= np.linalg.norm(to_camera, axis=1, keepdims=True)
    facing = (normals * to_camera).sum(1)
    mirrored = 2 * facing[:, None] * normals - to_camera
    sharpness = rng.uniform(6, 25)
    lobe = np.exp(sharpness * (mirrored @ towards.T - 1)) * lit * sharpness / (2 * np.pi)
    gloss = lobe @ flux * fresnel(facing)[:, None] * rng.uniform(0.2, 1.0)
    hit = world.rays.intersects_first(origins + OFFSET * to_camera, to_camera)
    return {
        "albedo": albedo,
        "bare": np.isin(kind, (FACE, BROW, BEARD)),
        "visible": (hit < 0) & (facing > 0),
        "irradiance": irradiance + bounced,
        "gloss": gloss,
        "vertices": vertices,
        "rotation": rotation,
        "distance": distance,
    }


def paint(head: Part, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns albedo `[V, 3]`, averaged over a texel or two, and class `[V]` at UV `[V, 2]`."""
    assert head.rgba is not None and head.kinds is not None
    smooth = ndimage.gaussian_filter(head.rgba[..., :3], (1, 1, 0))
    side = len(head.kinds)
    row, column = np.clip(np.stack([1 - uv[:, 1], uv[:, 0]]) * side - 0.5, 0, side - 1).round()
    return sample(smooth, uv), head.kinds[row.astype(int), column.astype(int)]


def light_samples(radiance: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns directions `[D, 3]` to an environment, camera space, and their flux `[D, 3]`.

    Flux is radiance times solid angle over the probability of the sample; half of the samples
    follow luminance, half solid angle. The map is turned at random; some have a lamp besides, or
    uniform light.

    Args:
        radiance: `[H, W, 3]`, linear.
        rng: chooses.
    """
    height, width = MAP_HEIGHT, MAP_WIDTH
    rows, columns = radiance.shape[0] // height, radiance.shape[1] // width
    radiance = radiance.reshape(height, rows, width, columns, 3).mean((1, 3)).reshape(-1, 3)
    towards, solid_angle = directions(height, width)
    solid_angle = np.broadcast_to(solid_angle, (height, width)).ravel()
    turn = head_rotation(rng.uniform(-180, 180), rng.normal(0, 10))
    towards = towards.reshape(-1, 3) @ turn.T
    flux = radiance * solid_angle[:, None]
    if rng.random() < LAMP:
        direction = rng.standard_normal(3) * [1, 0.7, 0.4] + [0, -0.6, -1.0]
        direction /= np.linalg.norm(direction)
        level = flux.sum(0).mean() / (4 * np.pi)
        colour = level * rng.uniform(0.3, 2.5) * np.pi * np.exp(rng.normal(0, 0.12, 3))
        lobe = np.exp(np.exp(rng.uniform(2, 6)) * (towards @ direction - 1)) * solid_angle
        flux = flux + (lobe / lobe.sum())[:, None] * colour
    if rng.random() < FILL:
        flux = flux + solid_angle[:, None] * flux.sum(0) / (4 * np.pi) * rng.uniform(0.3, 2)
    luminance = flux.mean(1)
    chance = 0.5 * luminance / luminance.sum() + 0.5 * solid_angle / solid_angle.sum()
    cumulative = np.cumsum(chance)
    at = (np.arange(RAYS) + rng.random()) / RAYS * cumulative[-1]  # stratified
    drawn = np.searchsorted(cumulative, at).clip(0, len(chance) - 1)
    return towards[drawn], flux[drawn] / (chance[drawn, None] * RAYS)


def unoccluded(
    world: World, origins: np.ndarray, towards: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Returns `[V, D]` bool: rays from origins `[V, 3]` to directions `[D, 3]` meet nothing.

    False where `wanted` `[V, D]` is false.
    """
    free = np.zeros(wanted.shape, bool)
    for k, direction in enumerate(towards):
        cast = np.flatnonzero(wanted[:, k])
        rays = np.broadcast_to(direction, (len(cast), 3))
        free[cast, k] = world.rays.intersects_first(origins[cast], rays) < 0
    return free


def bounce(
    world: World,
    origins: np.ndarray,
    normals: np.ndarray,
    radiosity: np.ndarray,
    towards: np.ndarray,
    flux: np.ndarray,
) -> np.ndarray:
    """Returns irradiance over pi `[V, 3]` of what the head and the other parts reflect once.

    Args:
        world: whose first part is the head.
        origins: of rays, `[V, 3]`.
        normals: of the head, `[V, 3]`.
        radiosity: of the head, over pi, `[V, 3]`.
        towards: the environment, model space, `[D, 3]`.
        flux: from there, `[D, 3]`.
    """
    colours = np.array([np.zeros(3), *(mean_colour(part) for part in world.parts[1:])])
    index = np.arange(BOUNCE_RAYS) + 0.5  # a spiral of equal solid angles
    polar, azimuth = np.arccos(1 - 2 * index / BOUNCE_RAYS), np.pi * (1 + 5**0.5) * index
    flat = np.sin(polar)
    spiral = np.stack([np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.cos(polar)], 1)
    triangles, total = world.parts[0].triangles, np.zeros_like(origins)
    for direction in spiral:
        cosine = normals @ direction
        cast = np.flatnonzero(cosine > 0)
        hit = world.rays.intersects_first(origins[cast], np.broadcast_to(direction, (len(cast), 3)))
        cast, hit = cast[hit >= 0], hit[hit >= 0]
        owner, reflected = world.owner[hit], np.zeros((len(hit), 3))
        head = owner == 0
        reflected[head] = radiosity[triangles[hit[head]]].mean(1)
        away = world.mesh.face_normals[hit[~head]]
        away = np.where((away @ direction)[:, None] > 0, -away, away)
        others = np.maximum(away @ towards.T, 0) @ flux / np.pi * OTHERS_LIT
        reflected[~head] = others * colours[owner[~head]]
        total[cast] += cosine[cast, None] * reflected
    return total * 4 / BOUNCE_RAYS


def mean_colour(part: Part) -> np.ndarray:
    """Returns the mean albedo `[3]` of a part, linear RGB."""
    if part.rgba is None:
        assert part.pattern is not None
        return part.pattern(part.vertices).mean(0)
    opacity = part.rgba[..., 3:]
    return (part.rgba[..., :3] * opacity).sum((0, 1)) / max(opacity.sum(), 1)


def neighbours(model: FaceModel) -> sparse.csr_matrix:
    """Returns the matrix `[V, V]` that takes a field at the vertices to its neighbours' means."""
    count, corners = len(model.mean), np.asarray(model.triangles)
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    ones = np.ones(len(edges))
    adjacency = sparse.coo_matrix((ones, (edges[:, 0], edges[:, 1])), shape=(count, count))
    adjacency = ((adjacency + adjacency.T) > 0).astype(float)
    degree = np.maximum(np.asarray(adjacency.sum(1)).ravel(), 1)
    return sparse.diags(1 / degree).tocsr() @ adjacency
