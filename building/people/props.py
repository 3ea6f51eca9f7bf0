"""Things on and before a face: hats, scarves, glasses, masks, hands, jewellery, hair, clothes.

Cloth that follows the head is a shell: the head's own mesh, moved out along its normals and cut by
an outline in model space. Lengths are metres; the eyes are at y = 0, the mouth at -0.073, the chin
at -0.12, the crown at 0.116.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import trimesh

from building.people.parts import (
    FACE,
    HAIR,
    OTHER,
    Outline,
    Part,
    Pattern,
    cloth,
    metal,
    plain,
    random_colour,
)
from jaxface.evaluation import occluders

_EYES = 0.031


def mesh_part(meshes: list[trimesh.Trimesh], pattern: Pattern, kind: int = OTHER) -> Part:
    """Returns some meshes as one part."""
    mesh: Any = trimesh.util.concatenate(meshes)
    return Part(kind, np.asarray(mesh.vertices, float), np.asarray(mesh.faces), pattern)


def _positive(distance: np.ndarray) -> np.ndarray:
    """Returns 1 where a signed distance is positive."""
    return (distance > 0) * 1.0


def _shell(
    vertices: np.ndarray,
    triangles: np.ndarray,
    offset: float,
    rng: np.random.Generator,
    inside: Outline,
    pattern: Pattern,
) -> Part:
    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    bumps = rng.standard_normal((5, 3)) * 40
    wave = np.sin(vertices @ bumps.T + rng.uniform(0, 6, 5)).mean(1)
    moved = vertices + mesh.vertex_normals * (offset * (1 + 0.5 * wave))[:, None]
    middle = vertices[triangles].mean(1)
    near = inside(middle) > -0.02
    return Part(OTHER, moved, triangles[near], pattern, outline=lambda p: _positive(inside(p)))


def hat(
    vertices: np.ndarray, triangles: np.ndarray, rng: np.random.Generator
) -> tuple[list[Part], Outline]:
    """Returns a cap, a beanie or a hat with a brim, and where hair is not under it.

    Args:
        vertices: `[V, 3]` of the head.
        triangles: of its outer skin.
        rng: chooses.
    """
    low = rng.uniform(0.02, 0.065)
    slope = rng.uniform(-0.1, 0.45)  # lower at the back
    pattern = cloth(rng)

    def inside(points: np.ndarray) -> np.ndarray:
        return points[:, 1] - (low + slope * np.minimum(points[:, 2], 0.02))

    parts = [_shell(vertices, triangles, rng.uniform(0.006, 0.02), rng, inside, pattern)]
    brim = rng.choice(["none", "peak", "round"], p=[0.35, 0.4, 0.25])
    if brim != "none":
        angle = np.linspace(-0.9, 0.9, 30) if brim == "peak" else np.linspace(-np.pi, np.pi, 60)
        reach = rng.uniform(0.05, 0.085)
        drop = rng.uniform(-0.01, 0.035)
        ring = np.stack([0.083 * np.sin(angle), 0 * angle, 0.105 * np.cos(angle) - 0.065], 1)
        ring[:, 1] = low + 0.005 + slope * np.minimum(ring[:, 2], 0.02)
        taper = np.cos(angle / 0.9 * np.pi / 2) ** 0.5 if brim == "peak" else np.ones(len(angle))
        away = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], 1) * (reach * taper)[:, None]
        outer = ring + away - np.array([0, drop, 0]) * taper[:, None]
        count = len(angle)
        k = np.arange(count - 1)
        quads = np.stack([k, k + 1, k + count, k + 1, k + count + 1, k + count], 1).reshape(-1, 3)
        colour = pattern if rng.random() < 0.6 else cloth(rng)
        parts.append(Part(OTHER, np.concatenate([ring, outer]), quads, colour))
    return parts, lambda points: _positive(-inside(points))


def headscarf(
    vertices: np.ndarray, triangles: np.ndarray, rng: np.random.Generator
) -> tuple[list[Part], Outline]:
    """Returns a headscarf or hood around the face, which is seen through an oval, and where hair
    is not under it."""
    width, high, low = rng.uniform(0.055, 0.074), rng.uniform(0.045, 0.075), rng.uniform(0.1, 0.135)
    open_neck = rng.random() < 0.3

    def inside(points: np.ndarray) -> np.ndarray:
        x, y, z = points.T
        half = np.where(y > -0.02, high + 0.02, low - 0.02)
        oval = (x / width) ** 2 + ((y + 0.02) / half) ** 2 - 1
        shown = 0.05 * np.where(z > -0.07, oval, 1.0)
        return np.where(open_neck & (y < -0.125) & (np.abs(x) < 0.05), -1.0, shown)

    pattern = cloth(rng)
    shell = _shell(vertices, triangles, rng.uniform(0.005, 0.014), rng, inside, pattern)
    return [shell], lambda points: _positive(0.02 - inside(points)) * (points[:, 2] > -0.05)


def medical_mask(
    vertices: np.ndarray, triangles: np.ndarray, rng: np.random.Generator
) -> list[Part]:
    """Returns a mask over mouth and chin, sometimes below the nose or under the chin."""
    top = rng.choice([-0.022, -0.035, -0.06, -0.1], p=[0.6, 0.2, 0.1, 0.1]) + rng.normal(0, 0.005)
    side = rng.uniform(0.05, 0.066)
    colour = np.array([[0.75, 0.8, 0.85], [0.35, 0.6, 0.75], [0.02, 0.02, 0.025]][rng.integers(3)])
    pattern = plain(colour, 0.05) if rng.random() < 0.6 else cloth(rng)

    def inside(points: np.ndarray) -> np.ndarray:
        x, y, z = points.T
        upper = top - 0.12 * np.abs(x) - 4.0 * np.abs(x) ** 2 * (top > -0.05)
        return np.minimum.reduce([upper - y, y + 0.128, side - np.abs(x), z + 0.06])

    return [_shell(vertices, triangles, rng.uniform(0.004, 0.011), rng, inside, pattern)]


def glasses(rng: np.random.Generator) -> list[Part]:
    """Returns glasses or sunglasses. Skin behind clear lenses is the face's; glare is not."""
    stretch = rng.uniform(0.85, 1.15), rng.uniform(0.65, 1.1)
    thin = rng.random() < 0.55  # metal rims of 0.4 to 1.5 mm
    low, high = (0.0002, 0.00075) if thin else (0.0005, 0.003)
    thick = np.exp(rng.uniform(np.log(low), np.log(high)))  # half the width
    radius, depth = 0.0225, rng.uniform(0.024, 0.036)
    pattern = metal(rng) if thin or rng.random() < 0.3 else _plastic(rng)
    rims = rng.choice(["full", "upper half", "lower half", "none"], p=[0.68, 0.16, 0.04, 0.12])
    square = rng.uniform(2.0, 5.0)  # exponent of the superellipse
    angle = np.linspace(0, 2 * np.pi, 41)
    power = 2 / square
    x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power * radius * stretch[0]
    y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power * radius * stretch[1]
    drop = rng.uniform(-0.009, 0.002)
    meshes: list[trimesh.Trimesh] = []
    lenses: list[trimesh.Trimesh] = []
    edges: list[Part] = []
    for side in (-1, 1):
        bend = -0.15 * (side * x)  # wraps around the face
        rim = np.stack([side * _EYES + x, drop + y, depth + bend], 1)
        if rims != "none":
            shown = {"full": rim, "upper half": rim[:21], "lower half": rim[20:]}[str(rims)]
            meshes.append(occluders.tube(shown, thick, 6))
        if rims != "full":  # the edges of glass catch light, or hardly show
            edge = mesh_part([occluders.tube(rim, 0.0004, 5)], metal(rng))
            edges.append(replace(edge, outline=_evenly(rng.uniform(0, 0.6))))
        centre = np.array([side * _EYES, drop, depth])
        fan = np.concatenate([centre[None], rim[:-1]])
        k = np.arange(1, 41)
        lenses.append(trimesh.Trimesh(fan, np.stack([0 * k, k, k % 40 + 1], 1), process=False))
        outer = np.array([side * (_EYES + radius * stretch[0]), drop + 0.006, depth - 0.003])
        corner = np.array([side * 0.079, 0.004, depth - 0.03])
        ear = np.array([side * 0.083, -0.002, -0.09])
        meshes += [
            occluders.rod(a, b, max(thick, 0.0006), 6) for a, b in ((outer, corner), (corner, ear))
        ]
    inner = _EYES - radius * stretch[0]
    bridge = np.array([-inner, drop + 0.004, depth + 0.002])
    meshes.append(occluders.rod(bridge, bridge * [-1, 1, 1], thick, 6))
    if rng.random() < 0.2:  # a bar above the bridge
        bar = bridge + np.array([0, 0.008, 0])
        meshes.append(occluders.rod(bar, bar * [-1, 1, 1], thick, 6))
    parts = [mesh_part(meshes, pattern), *edges]
    lens = rng.choice(["clear", "glare", "dark"], p=[0.7, 0.17, 0.13])
    if lens == "dark":
        tint = random_colour(rng) * 0.1 if rng.random() < 0.4 else np.full(3, 0.012)
        part = mesh_part(lenses, plain(tint, 0.1))
        parts.append(replace(part, outline=_evenly(rng.uniform(0.75, 1.0))))
    elif lens == "glare":
        start, width = rng.uniform(-0.01, 0.01), rng.uniform(0.002, 0.012)
        lean, strength = rng.uniform(-1, 1), rng.uniform(0.3, 0.9)

        def streak(points: np.ndarray) -> np.ndarray:
            at = np.abs(points[:, 0]) - _EYES + lean * points[:, 1] - start
            return strength * (np.abs(at) < width)

        part = mesh_part(lenses, plain((0.9, 0.93, 1.0)))
        parts.append(replace(part, outline=streak))
    return parts


def _evenly(opacity: float) -> Outline:
    """Returns the outline of what is as opaque everywhere."""
    return lambda points: np.full(len(points), opacity)


def _plastic(rng: np.random.Generator) -> Pattern:
    """Returns the pattern of a plastic frame: mostly dark or brown, sometimes mottled."""
    kind = rng.choice(["dark", "any", "mottled"], p=[0.45, 0.3, 0.25])
    if kind == "mottled":
        return cloth(rng, np.array([0.12, 0.05, 0.02]) * np.exp(rng.normal(0, 0.6)))
    return plain(np.full(3, 0.015) if kind == "dark" else random_colour(rng), 0.1)


def hand(rng: np.random.Generator, skin: np.ndarray) -> list[Part]:
    """Returns a hand before chin, cheek, mouth or forehead: a palm and fingers, capsules.

    Args:
        rng: places it.
        skin: linear RGB of the person's skin.
    """
    place = np.array(
        [rng.uniform(-0.07, 0.07), rng.uniform(-0.15, 0.07), rng.uniform(0.045, 0.065)]
    )
    turn = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(turn), np.sin(turn), rng.uniform(-0.3, 0.1)])
    across = np.array([-np.sin(turn), np.cos(turn), 0.0])
    meshes = []
    for finger in range(4):
        base = place + across * 0.019 * (finger - 1.5)
        spread = along + across * rng.normal(0, 0.08)
        bend = np.array([0, 0, -rng.uniform(0, 0.5)])
        middle = base + 0.035 * spread
        tip = middle + 0.03 * (spread + bend)
        for a, b in ((base, middle), (middle, tip)):
            meshes += [occluders.rod(a, b, 0.0085, 10)]
            meshes += [trimesh.creation.icosphere(2, 0.0085).apply_translation(b)]
    palm = trimesh.creation.icosphere(3, 1.0)
    palm.apply_scale([0.042, 0.036, 0.014])
    frame = np.eye(4)
    frame[:3, :3] = np.stack([across, along / np.linalg.norm(along), [0, 0, 1]], 1)
    frame[:3, 3] = place - 0.03 * along
    meshes.append(palm.apply_transform(frame))
    wrist = place - 0.05 * along
    meshes.append(occluders.rod(wrist, wrist - 0.2 * along + np.array([0, 0, 0.03]), 0.027, 16))
    return [mesh_part(meshes, plain(skin, 0.08))]


def microphone(rng: np.random.Generator) -> list[Part]:
    """Returns a microphone or a headset's arm before the mouth."""
    head = np.array([rng.normal(0, 0.03), rng.uniform(-0.15, -0.07), rng.uniform(0.05, 0.1)])
    radius = rng.uniform(0.008, 0.028)
    away = np.array([rng.normal(0, 0.5), -1.0, rng.uniform(-0.2, 0.6)])
    colour = np.full(3, rng.uniform(0.005, 0.05)) if rng.random() < 0.7 else random_colour(rng)
    return [
        mesh_part(
            [
                trimesh.creation.icosphere(3, radius).apply_translation(head),
                occluders.rod(head, head + 0.25 * away, 0.45 * radius, 12),
            ],
            plain(colour, 0.3),
        )
    ]


def strands(vertices: np.ndarray, rng: np.random.Generator, pattern: Pattern) -> list[Part]:
    """Returns strands of hair over forehead, temples and cheeks."""
    count = int(np.exp(rng.uniform(np.log(2), np.log(120))))
    meshes = occluders.strands(vertices, rng, count=count)
    return [mesh_part(meshes, pattern, HAIR)]


def wisps(vertices: np.ndarray, rng: np.random.Generator, pattern: Pattern) -> list[Part]:
    """Returns locks of 1 to 25 hairs that leave the hairline and lie on forehead and temples."""
    along = np.linspace(0, 1, 14)[:, None]
    meshes = []
    for _ in range(rng.integers(1, 10)):
        turn = rng.uniform(-1.9, 1.9)  # along the hairline, 0 above the nose
        root = np.array([0.072 * np.sin(turn), 0.02 + 0.068 * np.cos(turn)])
        down = rng.normal(-0.4 * np.sin(turn), 0.6)
        away = np.array([np.sin(down), -np.cos(down)]) * np.exp(rng.uniform(-4.6, -2.1))
        curl = rng.normal(0, 0.4) * away[::-1] * [1, -1]
        apart, thin = rng.uniform(0.001, 0.006), rng.uniform(1.2e-4, 4e-4)
        for _ in range(int(np.exp(rng.uniform(0, np.log(25))))):
            own = apart * rng.standard_normal((2, 2)) * [[1], [0.4]]  # closer at the tip
            xy = root + own[0] + along * (away * rng.uniform(0.6, 1) + own[1]) + along**2 * curl
            meshes.append(occluders.tube(_before(vertices, xy), thin))
    return [mesh_part(meshes, pattern, HAIR)]


def jewellery(vertices: np.ndarray, ears: np.ndarray, rng: np.random.Generator) -> list[Part]:
    """Returns earrings (studs, hoops or drops), a necklace, or both.

    Args:
        vertices: `[V, 3]` of the head.
        ears: `[E, 3]` of its ears.
        rng: chooses.
    """
    kind = rng.choice(["stud", "hoop", "drop", "none"])
    size, high = np.exp(rng.uniform(np.log(0.0015), np.log(0.011))), rng.uniform(0.8, 1.8)
    meshes = []
    for side in (-1, 1):
        lowest = min(ears[side * ears[:, 0] > 0], key=lambda p: p[1])
        lobe = lowest + np.array([side * 0.002, 0.003, 0.004])
        if kind == "hoop":
            angle = np.linspace(0, 2 * np.pi, 30)[:, None]
            radius = rng.uniform(0.006, 0.025)
            ring = radius * (np.sin(angle) * [0.5, 0, 1] + (np.cos(angle) - 1) * [0, 1, 0])
            meshes.append(occluders.tube(lobe + ring, 0.3 * size))
        elif kind == "drop":
            end = lobe - [0, rng.uniform(0.01, 0.045), 0]
            meshes.append(occluders.rod(lobe, end, 0.2 * size, 5))
            pendant = trimesh.creation.icosphere(2, size).apply_scale([1, high, 0.6])
            meshes.append(pendant.apply_translation(end))
        elif kind == "stud":
            stud = trimesh.creation.icosphere(2, size).apply_scale([1, high, 0.6])
            meshes.append(stud.apply_translation(lobe))
    if kind == "none" or rng.random() < 0.4:
        x = np.linspace(-0.055, 0.055, 40)
        y = rng.uniform(-0.17, -0.14) - rng.uniform(0.0, 0.05) * (1 - (x / 0.055) ** 2)
        path = _before(vertices, np.stack([x, y], 1))
        if rng.random() < 0.5:  # beads
            bead = trimesh.creation.icosphere(1, rng.uniform(0.002, 0.007))
            meshes += [bead.copy().apply_translation(at) for at in path]
        meshes.append(occluders.tube(path, np.exp(rng.uniform(-8, -5.5))))
    pattern = metal(rng) if rng.random() < 0.7 else plain(random_colour(rng), 0.2)
    return [mesh_part(meshes, pattern)]


def _before(vertices: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Returns a path `[N, 3]` 2 mm before a head, without falls of more than 15 mm at once."""
    near = np.hypot(*(vertices[:, :2, None] - xy.T).transpose(1, 0, 2)) < 0.008
    depth = np.where(near, vertices[:, 2:], -0.2).max(0)
    depth = np.maximum(depth, np.maximum.accumulate(depth) - 0.015) + 0.002
    return np.concatenate([xy, depth[:, None]], 1)


def clothes(rng: np.random.Generator, skin: np.ndarray) -> list[Part]:
    """Returns shoulders in a shirt, a suit with a tie, a dress, a high collar or a scarf, and the
    chest that a neckline shows, which counts as the face's skin.

    Args:
        rng: chooses.
        skin: linear RGB of the person's skin.
    """
    shirt, jacket, tie = cloth(rng), cloth(rng), cloth(rng)
    formal = rng.random() < 0.5
    if formal:
        shirt = cloth(rng, np.array([0.85, 0.85, 0.88]) * rng.uniform(0.5, 1.1))
        jacket = cloth(rng, random_colour(rng) * rng.uniform(0.05, 0.5))
    opening, tie_width = rng.uniform(0.02, 0.06), rng.uniform(0.015, 0.03)

    def colour(points: np.ndarray) -> np.ndarray:
        if not formal:
            return shirt(points)
        x, y = np.abs(points[:, 0]), points[:, 1]
        lapel = opening + 0.35 * (y + 0.23)
        own = np.where((x < lapel)[:, None], shirt(points), jacket(points))
        return np.where((x < tie_width)[:, None], tie(points), own)

    collar = rng.choice(["none", "low", "high", "scarf"], p=[0.35, 0.4, 0.15, 0.1])
    high = rng.uniform(-0.19, -0.13) - (0.02 if collar != "none" else 0.0)
    body = trimesh.creation.icosphere(4, 1.0)
    body.apply_scale([rng.uniform(0.19, 0.25), 0.17, 0.13])
    body.apply_translation([0, high - 0.165, -0.075])
    if collar == "none" and not formal:  # a neckline
        wide, deep = rng.uniform(0.06, 0.13), rng.uniform(0.02, 0.12)
        power = rng.uniform(1, 3)

        def covered(points: np.ndarray) -> np.ndarray:
            x, y, z = points.T
            shown = (high - 0.04 - y) / deep + (np.abs(x) / wide) ** power - 1
            return _positive(np.where(z > -0.12, shown, 1.0))

        chest = body.copy().apply_scale(0.985)
        chest.apply_translation(body.centroid - chest.centroid)
        worn = replace(mesh_part([body], colour), outline=covered)
        return [worn, mesh_part([chest], plain(skin, 0.02), FACE)]
    meshes = [body]
    if collar != "none":
        top = {"low": 0.025, "high": 0.06, "scarf": 0.045}[str(collar)] + rng.uniform(-0.01, 0.01)
        angle = np.linspace(-np.pi, np.pi, 49)
        gap = rng.uniform(0.0, 0.6) if collar == "low" else 0.0
        angle = angle * (1 - gap / np.pi / 2)
        wide = 0.02 if collar == "scarf" else 0.0
        rings = []
        for height, radius in ((0.0, 0.085 + wide), (0.5, 0.072 + 1.5 * wide), (1.0, 0.066 + wide)):
            dip = 0.012 * np.cos(angle)
            rings.append(
                np.stack(
                    [
                        radius * np.sin(angle + np.pi),
                        high - 0.03 + height * (top + 0.02) - dip * height,
                        -radius * np.cos(angle + np.pi) * -1.05 - 0.075,
                    ],
                    1,
                )
            )
        grid = np.concatenate(rings)
        n = len(angle)
        k = (np.arange(2)[:, None] * n + np.arange(n - 1)).ravel()
        faces = np.stack([k, k + 1, k + n, k + 1, k + n + 1, k + n], 1).reshape(-1, 3)
        meshes.append(trimesh.Trimesh(grid, faces, process=False))
    return [mesh_part(meshes, colour)]
