"""What the site's pages are given while they are built: formulas, and tables made from the code.

`$...$` and `$$...$$` become MathML, which browsers draw themselves; `<!-- settings -->` becomes a
table of every public settings class, `<!-- qualities -->` one of what `--quality` chooses.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from html import unescape
from typing import Any

import griffe
from latex2mathml.converter import convert

import jaxface
from jaxface.pipeline.config import SIZES

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)
_SETTINGS = ("ReconstructConfig", "FitConfig", "SolverConfig", "UnwrapConfig")
_SETTINGS += ("CorrelationConfig", "SynthesisConfig", "TrackConfig")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Returns a page with its tables filled in."""
    markdown = markdown.replace("<!-- settings -->", settings())
    markdown = markdown.replace("<!-- qualities -->", qualities())
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Returns a page with its formulas as MathML."""
    return _FORMULA.sub(_mathml, html)


def settings() -> str:
    """Returns tables of all settings, from the classes and their docstrings."""
    return "\n\n".join(_table(getattr(jaxface, name)) for name in _SETTINGS)


def qualities() -> str:
    """Returns a table of what `--quality` chooses."""
    rows = [
        "| `--quality` | texture | steps of the synthesis, coarse to fine |",
        "| --- | --- | --- |",
    ]
    for name, size in SIZES.items():
        levels = jaxface.ReconstructConfig.for_quality(name).synthesis.levels
        steps = ", ".join(f"{count} at {round(share * size)}" for share, count in levels)
        rows.append(f"| `{name}` | {size} x {size} | {steps} |")
    return "\n".join(rows)


def _table(kind: type) -> str:
    text = inspect.getdoc(kind) or ""
    head, _, body = text.partition("Attributes:")
    entries = re.split(r"^ *(\w+): ", "\n" + inspect.cleandoc(body), flags=re.M)[1:]
    said = dict(zip(entries[::2], entries[1::2], strict=True))
    rows = [f"## {kind.__name__}", "", head.strip(), ""]
    rows += ["| setting | default | what |", "| --- | --- | --- |"]
    for field in dataclasses.fields(kind):
        meaning = " ".join(said[field.name].split())
        rows.append(f"| `{field.name}` | {_default(field)} | {meaning} |")
    return "\n".join(rows)


def _default(field: dataclasses.Field) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        value = field.default_factory()  # type: ignore[misc]
    if not dataclasses.is_dataclass(value):
        return f"`{value!r}`"
    kind = type(value)
    own = [f for f in dataclasses.fields(value) if getattr(value, f.name) != f.default]
    given = ", ".join(f"{f.name}={getattr(value, f.name)!r}" for f in own)
    return f"[`{kind.__name__}({given})`](#{kind.__name__.lower()})"


def _mathml(found: re.Match) -> str:
    formula = unescape(found[2]).strip()
    if found[1] == "div":
        return f'<div class="formula">{convert(formula, display="block")}</div>'
    return convert(formula)


class Examples(griffe.Extension):
    """Makes what a docstring calls an example a section of code."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Renames the section in one docstring; griffe knows it by its plural."""
        if obj.docstring:
            text = obj.docstring.value
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.M)
