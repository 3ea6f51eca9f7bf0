"""Pictures of a journal: plots, a contact sheet, and a sheet for a preference test."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import matplotlib
import numpy as np
from matplotlib import pyplot

from jaxface.evaluation.benchmark import stem
from jaxface.evaluation.sources import generator
from jaxface.evaluation.tables import Results

matplotlib.use("Agg")
_ROWS = 10  # of a sheet
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_COLOURS = {"ours": "black"}


def write_sheets(folder: Path, rows: Sequence[dict[str, Any]]) -> list[Path]:
    """Writes plots, contact sheets and preference sheets of a journal; returns their paths."""
    results = Results(rows)
    written = []
    for setting in results.settings:
        part = results.where(setting=setting)
        if not part.rows:
            continue
        name = setting.replace(" ", "_")
        written += [plot_means(folder / f"{name}_means.png", part)]
        written += [plot_conditions(folder / f"{name}_conditions.png", part)]
        written += [plot_spectrum(folder / f"{name}_spectrum.png", part)]
        for kind in ("texture", "view"):
            written += [contact_sheet(folder / f"{name}_{kind}s.png", folder, part, kind)]
        written += preference_sheet(folder / f"{name}_preference.png", folder, part)
    return written


def save(figure: Any, file: Path, *, dpi: int = 100) -> Path:
    """Writes a figure of matplotlib and closes it."""
    figure.savefig(file, dpi=dpi, bbox_inches="tight")
    pyplot.close(figure)
    return file


def plot_means(file: Path, results: Results) -> Path:
    """Draws the means of the main measures of each class, with intervals over the cases."""
    kinds, names = ("seen", "mirrored", "unobserved"), ("PSNR", "SSIM", "LPIPS")
    figure, axes = pyplot.subplots(len(names), len(kinds), figsize=(13, 9), squeeze=False)
    for row, name in zip(axes, names, strict=True):
        for at, kind in zip(row, kinds, strict=True):
            for index, method in enumerate(results.methods):
                values = list(results.values(method, kind, name).values())
                if values:
                    error = 1.96 * np.std(values) / np.sqrt(len(values))
                    at.errorbar(np.mean(values), -index, xerr=error, fmt="o",
                                color=_COLOURS.get(method, "#444444"))  # fmt: skip
            at.set_yticks([-i for i in range(len(results.methods))])
            at.set_yticklabels(results.methods if at is row[0] else [])
            at.set_title(f"{name}, {kind}")
            at.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    return save(figure, file)


def plot_conditions(file: Path, results: Results) -> Path:
    """Draws PSNR and LPIPS of the hidden texels over the conditions, a line a method."""
    pairs = [(kind, name) for kind in ("mirrored", "unobserved") for name in ("PSNR", "LPIPS")]
    figure, axes = pyplot.subplots(2, 2, figsize=(13, 9))
    parts = [results.where(condition=condition) for condition in results.conditions]
    for at, (kind, name) in zip(axes.flat, pairs, strict=True):
        for method in results.methods:
            means = [part.mean(method, kind, name) for part in parts]
            at.plot(means, "o-", label=method, color=_COLOURS.get(method),
                    linewidth=2.5 if method in _COLOURS else 1)  # fmt: skip
        at.set_xticks(range(len(parts)))
        at.set_xticklabels(results.conditions, rotation=40, ha="right", fontsize=7)
        at.set_title(f"{name}, {kind}")
        at.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=7)
    figure.tight_layout()
    return save(figure, file)


def plot_spectrum(file: Path, results: Results) -> Path:
    """Draws the power of each octave over the truth's; 1 is right."""
    figure, axes = pyplot.subplots(1, 3, figsize=(14, 4), sharey=True)
    for at, kind in zip(axes, ("seen", "mirrored", "unobserved"), strict=True):
        names = [n for n in results.measures(kind) if n.startswith("energy")]
        for method in results.methods:
            means = [results.mean(method, kind, name) for name in names]
            at.plot(means, "o-", label=method, color=_COLOURS.get(method),
                    linewidth=2.5 if method in _COLOURS else 1)  # fmt: skip
        at.axhline(1, color="black", linewidth=0.5)
        at.set_yscale("log")
        at.set_xticks(range(len(names)))
        at.set_xlabel("octave, finest first")
        at.set_title(f"power / truth, {kind}")
    axes[0].legend(fontsize=6)
    return save(figure, file)


def contact_sheet(file: Path, folder: Path, results: Results, kind: str) -> Path:
    """Draws a row a case: the photo, the truth, what was seen, every method.

    Args:
        file: to write.
        folder: of the journal.
        results: whose cases.
        kind: `texture` or `view`.
    """
    names = ["truth", *(["seen"] if kind == "texture" else []), *results.methods]
    rows = {}
    for case in _cases(results):
        pictures = folder / "pictures" / case
        row = [pictures / "photo.png", *(pictures / f"{kind} {name}.png" for name in names)]
        rows[case] = [(path, title) for path, title in zip(row, ["photo", *names], strict=True)]
    return _draw(file, rows)


def preference_sheet(file: Path, folder: Path, results: Results) -> list[Path]:
    """Draws truth and methods under letters in random order, and writes their key as CSV.

    Whoever sees the sheet does not know which is which: ask which face looks most real, or most
    like the photo, and count with the key.
    """
    rows, lines = {}, []
    for case in _cases(results):
        pictures = folder / "pictures" / case
        names = [n for n in ("truth", *results.methods) if (pictures / f"view {n}.png").exists()]
        order = generator("preference", case).permutation(len(names))
        shown = [names[i] for i in order]
        rows[f"row {len(rows) + 1}"] = [
            (pictures / "photo.png", "photo"),
            *((pictures / f"view {n}.png", x) for n, x in zip(shown, _LETTERS, strict=False)),
        ]
        lines += [(len(rows), x, n, case) for n, x in zip(shown, _LETTERS, strict=False)]
    written = file.with_name(file.stem + "_key.csv")
    with open(written, "w", newline="") as stream:
        csv.writer(stream).writerows([("row", "letter", "method", "case"), *lines])
    return [_draw(file, rows), written]


def _cases(results: Results) -> list[str]:
    """Returns the names of some cases, spread over all of them."""
    found = list(dict.fromkeys(stem(row) for row in results.rows))
    chosen = np.unique(np.linspace(0, len(found) - 1, min(_ROWS, len(found))).astype(int))
    return [found[i] for i in chosen]


def _draw(file: Path, rows: dict[str, list[tuple[Path, str]]]) -> Path:
    columns = max(len(row) for row in rows.values())
    figure, axes = pyplot.subplots(
        len(rows), columns, figsize=(1.7 * columns, 1.9 * len(rows)), squeeze=False
    )
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        for at in line:
            at.axis("off")
        for at, (path, title) in zip(line, row, strict=False):
            if path.exists():
                at.imshow(iio.imread(path))
            at.set_title(title, fontsize=7)
        place = {"transform": line[0].transAxes, "ha": "right", "va": "center"}
        line[0].text(-0.03, 0.5, name.replace("_", "\n"), fontsize=5, **place)
    return save(figure, file, dpi=160)
