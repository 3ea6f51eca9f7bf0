"""What the studies share: a known face, its scores, curves and strips of pictures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot

from jaxface import ReconstructConfig, load_assets
from jaxface.evaluation import scene
from jaxface.evaluation.measures import Judge
from jaxface.evaluation.methods import Case, observe_truth
from jaxface.evaluation.sheets import save
from jaxface.evaluation.sources import DatabaseFaces
from jaxface.evaluation.truth import Condition, Truth, photograph
from jaxface.features.weights import load_alexnet
from jaxface.types import Assets

PHOTOS = Path(__file__).resolve().parents[2] / "examples" / "photos"
KINDS = ("mirrored", "unobserved")


def arguments(text: str | None) -> argparse.Namespace:
    """Returns the options that every study has."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--out", type=Path, default=Path("out/studies"))
    parser.add_argument("--quality", default="draft")
    parser.add_argument("--faces", type=int, default=1, help="known faces to average over")
    found = parser.parse_args()
    found.out.mkdir(parents=True, exist_ok=True)
    return found


class Known:
    """Faces of the embedded database with their truth, each left out of what is learnt from."""

    def __init__(self, quality: str) -> None:
        self.config = ReconstructConfig.for_quality(quality)
        self.assets = load_assets(self.config)
        self.faces = DatabaseFaces(self.assets.model)
        self.alexnet = load_alexnet()

    def truth(self, number: int, condition: Condition) -> tuple[Truth, Assets]:
        """Returns a face's truth and the assets without it."""
        name = self.faces.names[number]
        known = self.faces.without(self.assets, name)
        made = photograph(self.faces.face(name), condition, known.model, known.texels)
        return made, known

    def case(self, number: int, condition: Condition) -> tuple[Truth, Case]:
        """Returns a face's truth and what every method is given, shape and light known."""
        truth, known = self.truth(number, condition)
        return truth, observe_truth(truth.photo_srgb, truth.fit, known, self.config)

    def score(self, truth: Truth, texture: np.ndarray) -> dict[str, float]:
        """Returns PSNR and LPIPS of the texels that the photo hides."""
        judge = Judge(
            truth.texture_linear, truth.classes, truth.shading, self.assets.vgg, self.alexnet
        )
        measures = judge(texture)
        return {
            f"{name}, {kind}": measures.get(kind, {}).get(name, np.nan)
            for name in ("PSNR", "LPIPS")
            for kind in KINDS
        }


def report(
    file: Path,
    rows: Mapping[str, Sequence[Mapping[str, float]]],
    pictures: Mapping[str, np.ndarray],
    *,
    label: str,
) -> None:
    """Prints the mean scores of each variant as Markdown and draws them above its picture.

    Args:
        file: PNG to write.
        rows: variant to the scores of each face.
        pictures: title to linear texture or sRGB picture, one face's.
        label: what the variants differ in.
    """
    means = {
        name: {k: float(np.nanmean([row[k] for row in found])) for k in found[0]}
        for name, found in rows.items()
    }
    names = list(next(iter(means.values())))
    print(f"| {label} | " + " | ".join(names) + " |\n|" + " --- |" * (len(names) + 1))
    for variant, row in means.items():
        print(f"| {variant} | " + " | ".join(f"{row[name]:.4g}" for name in names) + " |")
    figure = pyplot.figure(figsize=(2.2 * len(pictures), 5.5), layout="constrained")
    upper, lower = figure.subfigures(2, 1)
    for at, (title, picture) in zip(
        upper.subplots(1, len(pictures)), pictures.items(), strict=True
    ):
        at.imshow(np.clip(picture, 0, 1))
        at.set_title(title, fontsize=8)
        at.axis("off")
    for at, name in zip(lower.subplots(1, len(names)), names, strict=True):
        at.plot([row[name] for row in means.values()], "o-")
        at.set_xticks(range(len(means)), list(means), rotation=30, fontsize=7)
        at.set_title(name, fontsize=9)
        at.set_xlabel(label, fontsize=8)
    print(f"wrote {save(figure, file)}")


def srgb(texture_linear: np.ndarray) -> np.ndarray:
    """Returns a texture as a picture."""
    return scene.encode_srgb(np.asarray(texture_linear))
