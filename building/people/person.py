"""A random person: head, skin, beard, hair, clothes and what is before the face."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import trimesh
from scipy import ndimage

from building.hair import Hair, follow
from building.people import locks, props
from building.people.brows import CLASS_COVER, with_brows
from building.people.parts import BEARD, BROW, FACE, HAIR, Outline, Part, hair_colour, plain
from building.synthetic.canvas import Canvas, smooth_noise
from building.synthetic.hairs import strokes
from jaxface.evaluation.scene import decode_srgb
from jaxface.morphable.model import shape
from jaxface.types import FaceModel

_OUTSIDE = ("skin", "lips", "brows", "lids", "nose", "ears", "scalp", "neck")
_HALVES = ("Left", "Right")


@dataclass(frozen=True)
class Wardrobe:
    """What people are made of.

    Attributes:
        model: the face model.
        canvas: of the textures' size.
        textures: `[N, T, T, 3]` uint8 sRGB skins in canonical UV.
        hair: styles by name.
    """

    model: FaceModel
    canvas: Canvas
    textures: np.ndarray
    hair: Mapping[str, Hair]


@dataclass(frozen=True)
class Person:
    """Parts in model space, what was chosen, and the vertices of the head `[V, 3]`."""

    parts: tuple[Part, ...]
    traits: tuple[str, ...]
    vertices: np.ndarray


def random_person(
    wardrobe: Wardrobe, rng: np.random.Generator, *, skins: Sequence[int], styles: Sequence[str]
) -> Person:
    """Returns a person.

    Args:
        wardrobe: what to choose from.
        rng: chooses.
        skins: indices of the textures that may be used.
        styles: names of the hair styles that may be used.
    """
    model, traits = wardrobe.model, []
    identity = rng.standard_normal(len(model.identity_names)) * rng.uniform(0.6, 1.1)
    vertices = np.array(_shape(model, identity, _expression(model, rng)), float)
    triangles = np.asarray(model.triangles)
    region = np.array(model.region_names)[np.asarray(model.vertex_region)]
    outer = triangles[np.isin(region[triangles], _OUTSIDE).all(1)]

    colour = hair_colour(rng)
    albedo = decode_srgb(wardrobe.textures[rng.choice(skins)] / 255.0)
    tone = rng.normal(0, 0.25) + rng.normal(0, 0.04, 3)
    albedo = albedo * np.exp(tone)
    kinds = np.full(albedo.shape[:2], FACE)
    if rng.random() < 0.7:
        albedo, brow = with_brows(wardrobe.canvas, albedo, colour, rng)
    else:  # those of the skin
        brow = wardrobe.canvas.parts["brows"] > 0.5
    kinds[brow] = BROW
    beard: list[Part] = []
    if rng.random() < 0.5:
        name, albedo, cover, length = _beard(wardrobe.canvas, albedo, colour, rng)
        traits.append(name)
        kinds[cover > CLASS_COVER] = BEARD
        share = _on_vertices(cover, model, wardrobe.canvas.size)
        if length > 0.003:
            vertices = _grown(vertices, model, share, length, rng)
        if rng.random() < 0.6:
            beard.append(_strands_of_beard(vertices, model, outer, share, length, colour, rng))
            traits.append("beard's hairs")
    style = rng.choice(["bald", "cropped", "mesh", "locks"], p=[0.08, 0.14, 0.46, 0.32])
    if style != "bald":
        albedo, kinds = _cropped(wardrobe.canvas, albedo, kinds, colour, rng)
    traits.append(str(style))

    parts = [
        Part(
            FACE,
            vertices,
            triangles,
            rgba=np.concatenate([np.clip(albedo, 0, 1), np.ones((*kinds.shape, 1))], -1),
            uvs=np.asarray(model.uvs),
            uv_triangles=np.asarray(model.uv_triangles),
            kinds=kinds,
        ),
        *beard,
    ]
    covers = {"hat": (0.12, props.hat), "headscarf": (0.05, props.headscarf)}
    free: Outline | None = None
    for name, (chance, put_on) in covers.items():
        if free is None and rng.random() < chance:
            worn, free = put_on(vertices, outer, rng)
            parts += worn
            traits.append(name)
    if style == "mesh":
        name = str(rng.choice(list(styles)))
        parts.append(replace(_styled(wardrobe, name, vertices, colour, rng), outline=free))
        traits.append(name)
    elif style == "locks":
        made = locks.head_of_hair(vertices[np.unique(outer)], colour, rng)
        parts.append(replace(made, outline=free))
    if style != "bald" and rng.random() < 0.35:
        made = locks.fringe(vertices[np.unique(outer)], colour * np.exp(rng.normal(0, 0.25)), rng)
        parts.append(replace(made, outline=free))
        traits.append("fringe")
    skin = np.median(albedo[wardrobe.canvas.parts["cheeks"] > 0.5], axis=0)
    loose = colour * np.exp(rng.normal(0, 0.3))  # single hairs look lighter or darker than many
    things: dict[str, tuple[float, Callable[[], list[Part]]]] = {
        "clothes": (0.95, lambda: props.clothes(rng, skin)),
        "glasses": (0.4, lambda: props.glasses(rng)),
        "mask": (0.06, lambda: props.medical_mask(vertices, outer, rng)),
        "hand": (0.08, lambda: props.hand(rng, skin * np.exp(rng.normal(0, 0.15)))),
        "microphone": (0.06, lambda: props.microphone(rng)),
        "jewellery": (0.4, lambda: props.jewellery(vertices, vertices[region == "ears"], rng)),
        "strands": (0.12, lambda: props.strands(vertices, rng, plain(loose, 0.3))),
        "wisps": (0.3, lambda: props.wisps(vertices, rng, plain(loose, 0.3))),
    }
    for name, (chance, make) in things.items():
        if rng.random() < chance:
            parts += make()
            traits.append(name)
    return Person(tuple(parts), tuple(traits), vertices)


@jax.jit
def _shape(model: FaceModel, identity: Any, expression: Any) -> Any:
    return shape(model, identity, expression)


def _expression(model: FaceModel, rng: np.random.Generator) -> np.ndarray:
    """Returns coefficients of a plausible expression: few units, symmetric on the whole."""
    names = list(model.expression_names)
    values = np.zeros(len(names))
    kind = rng.choice(["neutral", "smile", "talk", "any"], p=[0.25, 0.4, 0.15, 0.2])
    chosen = {
        "neutral": {},
        "smile": {"mouthSmile": rng.uniform(0.2, 1), "jawOpen": rng.uniform(0, 0.35),
                  "cheekSquint": rng.uniform(0, 0.7), "mouthUpperUp": rng.uniform(0, 0.5)},
        "talk": {"jawOpen": rng.uniform(0.1, 0.7), "mouthFunnel": rng.uniform(0, 0.4)},
        "any": {str(n).removesuffix("Left").removesuffix("Right"): rng.uniform(0, 0.7)
                for n in rng.choice([n for n in names if n != "tongueOut"], 4)},
    }[str(kind)]  # fmt: skip
    if rng.random() < 0.15:
        chosen["eyeBlink"] = rng.uniform(0.1, 1)
    for name, value in chosen.items():
        for full in (name, *(name + half for half in _HALVES)):
            if full in names:
                values[names.index(full)] = np.clip(value * rng.normal(1, 0.1), 0, 1)
    return values


def _beard(
    canvas: Canvas, albedo: np.ndarray, hair: np.ndarray, rng: np.random.Generator
) -> tuple[str, np.ndarray, np.ndarray, float]:
    """Returns the kind of a beard, the albedo with it, its cover `[T, T]` and length (metres)."""
    side, y = np.abs(canvas.x), canvas.y
    kind = str(rng.choice(["full beard", "moustache", "goatee", "chin beard", "chinstrap"],
                          p=[0.6, 0.14, 0.14, 0.06, 0.06]))  # fmt: skip
    lip = canvas.layout.part("skin", "nose") & (y > -78) & (y < -50) & (side < 31) & (canvas.z > 0)
    lip = ndimage.gaussian_filter(lip * 1.0, 2.5 * canvas.size / 512) * canvas.parts["skin"]
    jaw = canvas.parts["beard"]
    area = {
        "full beard": np.maximum(jaw, lip * (rng.random() < 0.9)),
        "moustache": lip,
        "goatee": np.maximum(jaw * (side < 28), lip * (rng.random() < 0.8)),
        "chin beard": jaw * (side < 24) * (y < -86),
        "chinstrap": jaw * ((side > 40) | (y < -108)),
    }[kind]
    area = area * np.clip(1 + rng.uniform(0.1, 0.7) * smooth_noise(canvas, rng, 7.0), 0.0, 1.6)
    fullness = rng.beta(1.2, 0.9)
    length = 0.4 * np.exp(fullness * rng.uniform(1.0, 3.3))  # millimetres
    dense = strokes(canvas, rng, (0.15 + 1.1 * fullness) * area, length, rng.uniform(0.07, 0.16))
    under = np.clip(fullness * 1.15 - 0.25, 0, 0.95) * np.clip(area, 0, 1)
    cover = 1 - (1 - np.clip(dense * 1.4, 0, 0.95)) * (1 - under)
    if rng.random() < 0.3:
        hair = hair * np.exp(rng.normal(0, 0.6))
    speckled = hair[None, None] * np.exp(0.45 * rng.standard_normal(cover.shape))[..., None]
    if rng.random() < 0.45:  # salt and pepper
        white = rng.random(cover.shape) < rng.uniform(0.1, 0.8)
        speckled = np.where(white[..., None], rng.uniform(0.4, 0.8), speckled)
    soft = ndimage.gaussian_filter(speckled, (0.7, 0.7, 0))
    return kind, albedo + (soft - albedo) * cover[..., None], cover, 0.02 * max(fullness - 0.6, 0)


def _on_vertices(cover: np.ndarray, model: FaceModel, size: int) -> np.ndarray:
    """Returns the mean of a texture `[T, T]` of size T around each vertex, `[V]`."""
    corner_uv = np.asarray(model.uvs)[np.asarray(model.uv_triangles)].reshape(-1, 2)
    at = np.clip(np.stack([1 - corner_uv[:, 1], corner_uv[:, 0]]) * size, 0, size - 1).astype(int)
    corners = np.asarray(model.triangles).ravel()
    count = len(model.mean)
    total = np.bincount(corners, cover[at[0], at[1]], count)
    return total / np.maximum(np.bincount(corners, minlength=count), 1)


def _strands_of_beard(
    vertices: np.ndarray,
    model: FaceModel,
    outer: np.ndarray,
    share: np.ndarray,
    length: float,
    colour: np.ndarray,
    rng: np.random.Generator,
) -> Part:
    """Returns the hairs of a beard that stands off the skin by a length (metres)."""
    grey = rng.uniform(0.1, 1.0) if rng.random() < 0.45 else 0.0
    texture = locks.strand_texture(colour, rng, grey=grey, gaps=rng.uniform(0.05, 0.5))
    longest = np.exp(rng.uniform(np.log(0.002), np.log(0.012))) + length
    front = (np.asarray(model.mean)[:, 1] < -0.05) * 1.0
    normals = _normals(vertices, model)
    return locks.beard_hair(vertices, normals, outer, share * front, longest, texture, rng)


def _normals(vertices: np.ndarray, model: FaceModel) -> np.ndarray:
    """Returns the normals of the head's vertices, `[V, 3]`."""
    mesh = trimesh.Trimesh(vertices, np.asarray(model.triangles), process=False)
    return np.asarray(mesh.vertex_normals)


def _grown(
    vertices: np.ndarray,
    model: FaceModel,
    share: np.ndarray,
    length: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns the vertices moved out by a beard that stands off the skin."""
    normals = _normals(vertices, model)
    low = normals * [1, 0.4, 1] - np.array([0, 0.5, 0])
    away = share * length * np.exp(0.2 * rng.standard_normal(len(vertices)))
    front = np.asarray(model.mean)[:, 1] < -0.05
    return vertices + low * (away * front)[:, None]


def _cropped(
    canvas: Canvas,
    albedo: np.ndarray,
    kinds: np.ndarray,
    hair: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns albedo and classes with short hair drawn on the scalp."""
    # The hairline lies between the crown and the forehead's upper border.
    back = rng.uniform(-15, 12)
    ragged = 3.0 * smooth_noise(canvas, rng, 4.0)
    scalp = canvas.parts["scalp"] > 0.3
    line = canvas.y - 62 - back + ragged + 0.10 * np.abs(canvas.x) * rng.uniform(0, 2)
    area = scalp & ((line > 0) | (canvas.z < -50))
    soft = ndimage.gaussian_filter(area * 1.0, rng.uniform(0.5, 4) * canvas.size / 512)
    noise = np.exp(0.5 * ndimage.gaussian_filter(rng.standard_normal(area.shape), (1.2, 0.4)) * 1.6)
    cover = np.clip(soft * rng.uniform(0.75, 1.3), 0, 0.97)
    drawn = albedo + (hair * noise[..., None] - albedo) * cover[..., None]
    return drawn, np.where(cover > 0.5, HAIR, kinds)


def _styled(
    wardrobe: Wardrobe,
    name: str,
    vertices: np.ndarray,
    colour: np.ndarray,
    rng: np.random.Generator,
) -> Part:
    """Returns a hair style on the head, in the person's colour."""
    hair = wardrobe.hair[name]
    mean = np.asarray(wardrobe.model.mean, float)
    moved = follow(hair, mean, vertices)
    grown = rng.normal(1.01, 0.05) if rng.random() < 0.6 else 1.0
    middle = np.array([0.0, 0.0, -0.08])
    moved = middle + (moved - middle) * grown
    if rng.random() < 0.4:  # messy
        waves = rng.standard_normal((3, 3)) * rng.uniform(30, 160)
        moved = moved + rng.uniform(0.001, 0.004) * np.sin(moved @ waves.T + rng.uniform(0, 6, 3))
    level = decode_srgb(hair.rgba_srgb[..., :3]).mean(-1)
    solid = hair.rgba_srgb[..., 3] > 0.5
    log = np.log(level + 0.02)
    log = log - log[solid].mean()
    spread = rng.uniform(0.2, 0.55) / max(log[solid].std(), 0.05)
    rgb = colour * np.exp(np.clip(spread * log, -2, 1.5))[..., None]
    if rng.random() < 0.35:  # highlights, or grey strands
        other = hair_colour(rng)
        share = np.clip(ndimage.gaussian_filter(rng.standard_normal(level.shape), (6, 1)) * 4, 0, 1)
        rgb = rgb + (other - rgb) * share[..., None]
    rgba = np.concatenate([np.clip(rgb, 0.002, 0.95), hair.rgba_srgb[..., 3:]], -1)
    return Part(
        HAIR,
        moved,
        hair.triangles,
        rgba=rgba,
        uvs=hair.uvs,
        uv_triangles=hair.uv_triangles,
        round_normals=middle,
    )
