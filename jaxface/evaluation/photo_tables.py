"""The rows of real photos as Markdown: means, medians, the worst photos of each measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxface.evaluation.constancy import VARIANTS
from jaxface.evaluation.irises import CLASSES, colour_class
from jaxface.evaluation.tables import table

WORST = 10
HIGHER = (
    "PSNR fitted light",
    "PSNR refined light",
    "face kept",
    "hair cut",
    "other cut",
    "outline IoU",
)
"""Measures of which more is better; of all others less."""
_GROUPS = {
    "landmarks": "landmark error %, {}",
    "round trip": "{}",
    "identity": "identity distance, {}",
    "hair": "hair {}",
    "iris": "iris {}",
    "masks": "{} %",
    "constancy": "{}",
}
"""Name of each group's measures in the tables."""
_QUANTILE = 0.95
Row = Mapping[str, Any]
Values = dict[str, float]
"""Values of a measure by photo."""


def measures(rows: Sequence[Row]) -> dict[tuple[str, str], Values]:
    """Returns the values of each measure by group and name; photos without one are left out."""
    found: dict[tuple[str, str], Values] = {}
    for row in rows:
        for group in _GROUPS:
            for name, value in _flat(row.get(group, {})).items():
                if isinstance(value, int | float):
                    found.setdefault((group, name), {})[row["photo"]] = float(value)
    return found


def summary_table(found: Mapping[tuple[str, str], Values]) -> str:
    """Returns count, mean and median of each measure."""
    rows = []
    for (group, name), values in found.items():
        numbers = list(values.values())
        title = _GROUPS[group].format(name)
        rows.append([title, len(numbers), float(np.mean(numbers)), float(np.median(numbers))])
    return table(["measure", "photos", "mean", "median"], rows)


def worst_table(found: Mapping[tuple[str, str], Values]) -> str:
    """Returns the ten worst photos of each measure, the worst first."""
    rows = []
    for (group, name), values in found.items():
        order = sorted(values, key=values.__getitem__, reverse=name not in HIGHER)
        shown = ", ".join(f"{photo} ({values[photo]:.3g})" for photo in order[:WORST])
        rows.append([_GROUPS[group].format(name), shown])
    return table(["measure", "worst photos"], rows)


def stains_table(rows: Sequence[Row], skins: Mapping[str, Values]) -> str:
    """Returns median and 95th percentile of each kind and band of stains, of photos and of real
    skins, the share of photos within the latter's 95th percentile, and the worst photos."""
    header = ["stains (100 x log)", "photos", "median", "95 %"]
    header += ["skins' median", "skins' 95 %", "within %"] * bool(skins) + ["worst photos"]
    lines = []
    judged = {row["photo"]: row["stains"] for row in rows if row.get("stains")}
    for name in dict.fromkeys(name for each in judged.values() for name in each):
        values = {p: each[name] for p, each in judged.items() if each.get(name) is not None}
        order = sorted(values, key=values.__getitem__, reverse=True)[:WORST]
        cells: list[object] = [name, len(values), *_middle_and_top(list(values.values()))]
        if skins:
            median, top = _middle_and_top([each[name] for each in skins.values()])
            within = np.mean([value <= top for value in values.values()] or [np.nan])
            cells += [median, top, 100 * float(within)]
        lines.append([*cells, ", ".join(f"{p} ({values[p]:.3g})" for p in order)])
    return table(header, lines)


def constancy_table(rows: Sequence[Row]) -> str:
    """Returns mean and median of each change, and how many photos lost their face, by variant."""
    tried = [row["constancy"] for row in rows if row.get("constancy")]
    names = list(dict.fromkeys(n for each in tried for change in each.values() for n in change))
    lines = []
    for variant in VARIANTS:
        found = [each[variant] for each in tried if each.get(variant)]
        cells: list[object] = [variant, len(found), len(tried) - len(found)]
        for name in names:
            numbers = [c[name] for c in found if c.get(name) is not None] or [np.nan]
            cells += [float(np.mean(numbers)), float(np.median(numbers))]
        lines.append(cells)
    heads = [f"{name}, {part}" for name in names for part in ("mean", "median")]
    return table(["variant", "photos", "no face", *heads], lines)


def irises_table(rows: Sequence[Row], labels: Mapping[str, str]) -> str:
    """Returns how many irises of each labelled class became which, and the photos that differ."""
    pairs = {
        row["photo"]: (labels[row["photo"]], colour_class(np.array(row["iris"]["albedo"])))
        for row in rows
        if row["photo"] in labels and row.get("iris")
    }
    classes = list(dict.fromkeys(CLASSES.values()))
    counts = Counter(pairs.values())
    lines: list[list[object]] = []
    for label in classes:
        missed = [photo for photo, pair in pairs.items() if pair[0] == label != pair[1]]
        lines.append([label, *(counts[label, made] for made in classes), ", ".join(missed)])
    right = sum(label == made for label, made in pairs.values())
    text = f"{right} of {len(pairs)} irises have the class of their label."
    return f"{text}\n\n" + table(["label", *classes, "photos that differ"], lines)


def write_tables(
    folder: Path,
    rows: Sequence[Row],
    *,
    skins: Mapping[str, Values] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Path:
    """Writes `photos.md` and returns its path.

    Args:
        folder: to write into.
        rows: of the journal, a photo each.
        skins: `skin_stains` of real skins.
        labels: class of the iris by photo.
    """
    faces, skins = [row for row in rows if row["found"]], skins or {}
    lost = [row["photo"] for row in rows if not row["found"]]
    found = measures(faces)
    plain = {name: values for name, values in found.items() if name[0] != "constancy"}
    parts = ["# Photos", "What each number means: docs/photos.md."]
    parts += [f"{len(rows)} photos; no face in {len(lost)}" + ": " * bool(lost) + ", ".join(lost)]
    parts += ["## Measures", summary_table(plain), "## Worst photos", worst_table(found)]
    parts += ["## Stains"]
    if skins:
        parts += [f"Beside {len(skins)} real skins: {', '.join(skins)}."]
    parts += [stains_table(faces, skins)]
    if labels:
        parts += ["## Irises", irises_table(faces, labels)]
    if any(row.get("constancy") for row in faces):
        parts += ["## Constancy", constancy_table(faces)]
    file = folder / "photos.md"
    file.write_text("\n\n".join(parts) + "\n")
    return file


def _flat(group: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a group of numbers with those of groups within it under both names."""
    result = {}
    for name, value in group.items():
        inner = value.items() if isinstance(value, dict) else ()
        result |= {f"{name}, {part}": x for part, x in inner} if inner else {name: value}
    return result


def _middle_and_top(values: Sequence[float]) -> tuple[float, float]:
    """Returns median and 95th percentile, NaN of nothing."""
    if not values:
        return float("nan"), float("nan")
    return float(np.median(values)), float(np.quantile(values, _QUANTILE))
