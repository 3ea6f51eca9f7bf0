"""The journal as Markdown: means of every method, and ours minus each other with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxface.evaluation.measures import bootstrap

FEW = 8  # people below which a bootstrap interval is too narrow
CLASSES = ("seen", "mirrored", "unobserved", "face")
HIGHER = ("PSNR", "PSNR gain free", "SSIM")
"""Measures of which more is better; of energies one is best, of all others less."""
MAIN = {
    "seen": ("PSNR", "SSIM", "LPIPS"),
    "mirrored": ("PSNR", "SSIM", "LPIPS", "correlation relu3_1"),
    "unobserved": ("PSNR", "SSIM", "LPIPS", "correlation relu3_1"),
    "face": ("left-right", "border", "identity"),
}


class Results:
    """The lines of a journal, to be asked for values."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = [row for row in rows if "measures" in row]
        self.failed = [row for row in rows if "failed" in row]
        self.methods = list(dict.fromkeys(row["method"] for row in rows))
        self.settings = list(dict.fromkeys(row["setting"] for row in rows))
        self.conditions = list(dict.fromkeys(row["condition"] for row in rows))

    def where(self, **what: str) -> Results:
        """Returns the lines that have some values, e.g. `setting="texture"`."""
        rows = [*self.rows, *self.failed]
        return Results([r for r in rows if all(r[name] == value for name, value in what.items())])

    def measures(self, kind: str) -> list[str]:
        """Returns the names of the measures of a class."""
        found = dict.fromkeys(x for row in self.rows for x in row["measures"].get(kind, {}))
        return [name for name in found if name != "share"]

    def values(self, method: str, kind: str, name: str) -> dict[tuple[str, ...], float]:
        """Returns a method's values by case."""
        cases = ("setting", "face", "condition", "quality", "size")
        return {
            tuple(str(row[x]) for x in cases): float(row["measures"][kind][name])
            for row in self.rows
            if row["method"] == method
            and row["measures"].get(kind, {}).get(name) is not None
        }  # fmt: skip

    def mean(self, method: str, kind: str, name: str) -> float:
        """Returns the mean of a method, NaN of nothing."""
        found = list(self.values(method, kind, name).values())
        return float(np.mean(found)) if found else float("nan")

    def difference(
        self, first: str, second: str, kind: str, name: str
    ) -> tuple[float, float, float]:
        """Returns the mean difference over the cases of both and its interval over people."""
        a, b = self.values(first, kind, name), self.values(second, kind, name)
        both = [case for case in a if case in b]
        people = np.array([case[1] for case in both])
        return bootstrap(np.array([a[c] - b[c] for c in both]), people)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a Markdown table; numbers have four digits, nothing stands for NaN."""

    def cell(value: object) -> str:
        if isinstance(value, float):
            return f"{value:.4g}" if np.isfinite(value) else ""
        return str(value)

    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell(x) for x in line) + " |" for line in lines)


def means_table(results: Results, kind: str, names: Sequence[str]) -> str:
    """Returns the means of every method over all cases."""
    rows = [[m, *(results.mean(m, kind, name) for name in names)] for m in results.methods]
    return table(["method", *names], rows)


def differences_table(results: Results, columns: Sequence[tuple[str, str]]) -> str:
    """Returns the first method minus each other: mean and 95 per cent interval. A star marks an
    interval without zero that favours the first, a minus one that favours the other."""
    first, *others = results.methods
    rows = []
    for other in others:
        cells = [f"{first} - {other}"]
        for kind, name in columns:
            mean, low, high = results.difference(first, other, kind, name)
            sign = (low > 0) - (high < 0) if name in HIGHER else (high < 0) - (low > 0)
            interval = f" [{low:+.3g}, {high:+.3g}]{(' -', '', ' *')[int(sign) + 1]}"
            shown = f"{mean:+.3g}" + interval * bool(np.isfinite(low))
            cells.append(shown if np.isfinite(mean) else "")
        rows.append(cells)
    return table(["difference", *(f"{name}, {kind}" for kind, name in columns)], rows)


def conditions_table(results: Results, kind: str, name: str) -> str:
    """Returns one measure of every method by condition."""
    rows = []
    for condition in results.conditions:
        part = results.where(condition=condition)
        rows.append([condition, *(part.mean(m, kind, name) for m in results.methods)])
    return table(["condition", *results.methods], rows)


def write_tables(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Writes `tables.md` of a journal and returns its path."""
    everything = Results(rows)
    parts = ["# Benchmark", "", "What each number means: docs/evaluation.md."]
    for setting in everything.settings:
        results = everything.where(setting=setting)
        people = len({row["face"] for row in results.rows})
        cases = len({(row["face"], row["condition"]) for row in results.rows})
        lost = len({(row["face"], row["condition"]) for row in results.failed})
        parts += ["", f"## {setting.capitalize()}", ""]
        parts += [f"{cases} photos of {people} faces; in {lost} more no face was found."]
        shape = [x for x in ("vertex mm", "normal degrees") if x in results.measures("face")]
        if shape:
            known = [f"{results.mean(results.methods[0], 'face', x):.2f} {x}" for x in shape]
            parts += ["", "Shape: " + ", ".join(known) + "."]
        for kind in CLASSES:
            names = [x for x in results.measures(kind) if x not in shape]
            if names:
                parts += ["", f"### {kind.capitalize()}", "", means_table(results, kind, names)]
        have = {kind: results.measures(kind) for kind in CLASSES}
        columns = [(k, n) for k, names in MAIN.items() for n in names if n in have[k]]
        parts += ["", "### Differences", ""]
        if people < FEW:
            parts += [f"Only {people} people: read the intervals as their range, no more.", ""]
        parts += [differences_table(results, columns)]
        for kind in ("mirrored", "unobserved"):
            for name in ("PSNR", "LPIPS"):
                parts += ["", f"### {name} of {kind} texels by condition", ""]
                parts += [conditions_table(results, kind, name)]
    file = folder / "tables.md"
    file.write_text("\n".join(parts) + "\n")
    return file
