"""`report.md`: what was seen, what was inferred and what is uncertain, in words."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from jaxface.fitting.unknowns import DISTANCES, MAX_IDENTITY
from jaxface.images import Photo
from jaxface.types import Reconstruction

OUTLIER_SIGMAS = 2.0
"""Standard deviations; by chance one coefficient in 22 is beyond."""
MAX_OUTLIER_FRACTION = 0.1
"""Fraction of coefficients beyond `OUTLIER_SIGMAS` that is reported: twice that by chance."""
BOUND_FRACTION = 0.99
"""Fraction of the fit's bound, or of the range of log distance, that counts as at the bound."""
MIN_SEEN = 0.15
"""Fraction of the texture below which the report says that most of it is inferred."""


SURE_DOUBT = "The shape of what the photo does not show is the most probable one, not known."
"""What is uncertain of every face."""


def report(photo: Photo, reconstruction: Reconstruction, data: dict[str, Any]) -> str:
    """Returns the report as Markdown.

    Args:
        photo: the input.
        reconstruction: its result.
        data: the contents of `parameters.json`.
    """
    height, width = photo.srgb.shape[:2]
    seen = float(np.mean(np.asarray(reconstruction.unwrapped.skin_mask)))
    distance = data["camera"]["translation"][2]
    side = reconstruction.synthesis.texture.shape[0]
    lines = [
        f"# {_escaped(photo.name)}",
        "",
        f"Photo {width} x {height} pixels; texture {side} x {side} texels.",
        "",
        "## Seen",
        f"- {100 * seen:.0f} per cent of the texture is taken from the photo "
        "(`skin_mask.png`); the fit over the photo is the second picture of `preview.png`.",
        f"- The face is about {distance:.2f} m from the camera.",
        "- Expression: " + _strongest(data["expression"], 4, 0.05) + ".",
        "",
        "## Inferred",
        f"- {100 - 100 * seen:.0f} per cent of the texture: its colour continues the seen part, "
        "its detail is a blend of the database's faces: "
        + _strongest(data["blend"]["weights"], 5, 0.01)
        + ".",
        "- Ears, neck and scalp where the photo does not show them; the back of the head is the "
        "face model's.",
        "- " + _hair(data["hair"]),
        "",
        "## Uncertain",
        *[f"- {line}" for line in [*doubts_of(data, seen), SURE_DOUBT]],
        "",
    ]
    if timings := data.get("timings"):
        lines += ["## Time", "", "| stage | seconds |", "| --- | --- |"]
        lines += [f"| {stage} | {seconds:.1f} |" for stage, seconds in timings.items()]
        lines.append("")
    return "\n".join(lines)


def _escaped(name: str) -> str:
    """Returns a name as Markdown that shows it, and is neither formatting nor HTML."""
    return re.sub(r"([\\`*_\[\]<>&~#|])", r"\\\1", name)


def _hair(hair: dict[str, Any]) -> str:
    """Returns a sentence about the hair."""
    if hair["style"] == "none":
        return "No hair: none was seen on the scalp, or none was asked for."
    return (
        f"The hair is the style {hair['style']}, drawn to the photo's outline and in its colour; "
        f"it covers {100 * hair['overlap']:.0f} per cent of the hair seen (`--hair` takes another)."
    )


def _strongest(values: dict[str, float], count: int, least: float) -> str:
    """Returns the `count` largest values above `least` with their names, or "neutral"."""
    top = sorted(values.items(), key=lambda item: -item[1])[:count]
    return ", ".join(f"{name} {value:.2f}" for name, value in top if value >= least) or "neutral"


def doubts_of(data: dict[str, Any], seen: float) -> list[str]:
    """Returns a sentence for each finding that makes the result uncertain.

    Args:
        data: the contents of `parameters.json`.
        seen: fraction of the texture that is taken from the photo.
    """
    doubts, distance = [], data["camera"]["translation"][2]
    if not data["fit"]["converged"]:
        doubts.append("The fit stopped before it converged.")
    for kind in ("identity", "albedo"):
        sizes = {name: abs(value) for name, value in data[kind].items()}
        outliers = {name: size for name, size in sizes.items() if size > OUTLIER_SIGMAS}
        if len(outliers) > MAX_OUTLIER_FRACTION * len(sizes):
            doubts.append(
                f"{len(outliers)} of {len(sizes)} {kind} coefficients lie more than "
                f"{OUTLIER_SIGMAS:.0f} standard deviations from the average: "
                f"{_strongest(outliers, 4, 0)}."
            )
    limit = BOUND_FRACTION * MAX_IDENTITY
    bound = {name: abs(v) for name, v in data["identity"].items() if abs(v) >= limit}
    if bound:
        doubts.append(
            f"{len(bound)} identity coefficients are at the fit's bound of {MAX_IDENTITY:.0f} "
            f"standard deviations: {_strongest(bound, 4, 0)}."
        )
    nearest, farthest = DISTANCES
    if distance > 0:
        position = math.log(distance / nearest) / math.log(farthest / nearest)  # 0..1 in the range
        if not 1 - BOUND_FRACTION < position < BOUND_FRACTION:
            doubts.append(
                f"The distance of {distance:.2f} m is at an end of the range that the fit allows, "
                f"{nearest} to {farthest} m: depth is uncertain."
            )
    if seen < MIN_SEEN:
        doubts.append("Little skin was seen; most of the texture is inferred.")
    return doubts
