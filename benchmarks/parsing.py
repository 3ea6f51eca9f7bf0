"""The parser of pixels on portraits: per cent of hand-drawn polygons judged to be the face.

python benchmarks/parsing.py PORTRAITS

PORTRAITS is the folder of the photos named in `benchmarks/portraits/`. Each interior of a polygon
of `polygons.json` is judged in the parser's own square; a photo counts once for each kind. Lenses
are clear glass before eyes: they count as the face, as the parser was taught. Brows are what lies
inside the detector's outlines of them, of all photos but those whose `attributes.json` says `brows
covered`.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxface.errors import DetectionError
from jaxface.evaluation.polygons import fill
from jaxface.features.weights import load_vgg
from jaxface.images import read_photo
from jaxface.landmarks.detector import detect
from jaxface.landmarks.networks import load_networks
from jaxface.parsing.classes import CLASSES
from jaxface.parsing.crop import parsing_crop
from jaxface.parsing.files import load_parser
from jaxface.parsing.parse import parse_square
from jaxface.rendering.crop import pyramid, sample

LABELS = Path(__file__).parent / "portraits"
BROWS = (
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
)
"""Outlines of the right and the left brow among the 478 landmarks."""
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("portraits", type=Path)
args = parser.parse_args()


def group(polygon: dict) -> str:
    """Returns the row of a polygon."""
    what = polygon.get("what", "")
    if what.startswith("beard"):
        return "beard"
    if what.startswith("glasses"):
        return "glasses, frame" if "temple" in what else "glasses, clear lens"
    return what if what == "background" else polygon["kind"]


def labels(name: str) -> dict:
    """Returns what a file of labels says of each photo."""
    return json.loads((LABELS / name).read_text())["photos"]


networks, vgg, weights = load_networks(), load_vgg(), load_parser()
judge = jax.jit(lambda square: parse_square(square, vgg, weights))
rows: dict[str, list[float]] = {}
seconds = []
drawn = labels("polygons.json")
for name, attributes in labels("attributes.json").items():
    photo = read_photo(args.portraits / name).srgb
    try:
        points = detect(photo, networks).landmarks[0]
    except DetectionError:
        print(f"{name}: no face")
        continue
    crop = parsing_crop(jnp.asarray(points))
    square = sample(pyramid(jnp.asarray(photo)), jnp.asarray(photo.shape[:2], jnp.float32), crop)
    begun = time.perf_counter()
    face = np.asarray(judge(square))[..., CLASSES.index("face")] > 0.5
    seconds.append(time.perf_counter() - begun)
    outlines = [(group(polygon), polygon["points"]) for polygon in drawn.get(name, [])]
    if "brows covered" not in attributes:
        outlines += [("brow", np.asarray(points)[list(brow), :2]) for brow in BROWS]
    found: dict[str, list[float]] = {}
    for kind, outline in outlines:
        corners = crop.points_to_crop(jnp.asarray(outline, jnp.float32))
        inside = fill(np.asarray(corners), face.shape)
        if inside.any():
            found.setdefault(kind, []).append(100 * float(face[inside].mean()))
    for kind, shares in found.items():
        rows.setdefault(kind, []).append(float(np.mean(shares)))
print("| inside of | photos | judged to be the face, % |\n| --- | --- | --- |")
for kind, shares in rows.items():
    print(f"| {kind} | {len(shares)} | {np.mean(shares):.1f} |")
print(f"\n{np.median(seconds):.2f} s a photo after compilation")
