"""`report.md`: what was seen, what was inferred, what looks uncertain. For a person."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxface.images import Photo
from jaxface.types import Reconstruction

_FAR = 3.0  # standard deviations beyond which a coefficient is worth a warning


def report(photo: Photo, reconstruction: Reconstruction, data: dict[str, Any]) -> str:
    """Returns the report as Markdown.

    Args:
        photo: the input.
        reconstruction: its result.
        data: what `parameters.json` holds.
    """
    height, width = photo.srgb.shape[:2]
    seen = float(np.mean(np.asarray(reconstruction.unwrapped.skin_mask)))
    distance = data["camera"]["translation"][2]
    side = reconstruction.synthesis.texture.shape[0]
    lines = [
        f"# {photo.name}",
        "",
        f"Photo {width} x {height} pixels; texture {side} x {side} texels.",
        "",
        "## Seen",
        f"- {100 * seen:.0f} per cent of the texture shows the photo itself "
        "(`skin_mask.png`); the fit over the photo is the second picture of `preview.png`.",
        f"- The face is about {distance:.2f} m from the camera.",
        "- Expression: " + _strongest(data["expression"], 4, 0.05) + ".",
        "",
        "## Inferred",
        f"- {100 - 100 * seen:.0f} per cent of the texture: its colour continues what was seen, "
        "its detail is a blend of the database's faces: "
        + _strongest(data["blend"]["weights"], 5, 0.01)
        + ".",
        "- Hair, the back of the head, ears and neck come from the face model.",
        "",
        "## Uncertain",
        *[f"- {line}" for line in _doubts(data, seen, distance)],
        "",
    ]
    if timings := data.get("timings"):
        lines += ["## Time", "", "| stage | seconds |", "| --- | --- |"]
        lines += [f"| {stage} | {seconds:.1f} |" for stage, seconds in timings.items()]
        lines.append("")
    return "\n".join(lines)


def _strongest(values: dict[str, float], count: int, least: float) -> str:
    top = sorted(values.items(), key=lambda item: -item[1])[:count]
    return ", ".join(f"{name} {value:.2f}" for name, value in top if value >= least) or "neutral"


def _doubts(data: dict[str, Any], seen: float, distance: float) -> list[str]:
    doubts = []
    if not data["fit"]["converged"]:
        doubts.append("The fit stopped before it converged.")
    for kind in ("identity", "albedo"):
        far = {name: abs(v) for name, v in data[kind].items() if abs(v) > _FAR}
        if far:
            doubts.append(
                f"{len(far)} {kind} coefficients lie more than {_FAR:.0f} standard deviations "
                f"from the average: {_strongest(far, 4, 0)}."
            )
    if not 0.4 <= distance <= 4.0:
        doubts.append(f"A distance of {distance:.2f} m is unusual for a portrait.")
    if seen < 0.15:
        doubts.append("Little skin was seen; most of the texture is inferred.")
    doubts.append("The shape of what the photo does not show is the most probable one, not known.")
    return doubts
