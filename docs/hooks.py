"""What the site's pages are given while they are built: formulas, and tables made from the code.

`$...$` and `$$...$$` become MathML, which browsers draw themselves; `<!-- settings -->` becomes a
table of every public settings class, `<!-- qualities -->` one of what `--quality` chooses, `<!-- visemes -->` one of
the expressions in each viseme.
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
from jaxface.export.visemes import VISEMES

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)
_QUALITIES = ("draft", "standard", "high")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Returns a page with its tables filled in."""
    markdown = markdown.replace("<!-- settings -->", settings())
    markdown = markdown.replace("<!-- qualities -->", qualities())
    markdown = markdown.replace("<!-- visemes -->", visemes())
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Returns a page with its formulas as MathML."""
    return _FORMULA.sub(_mathml, html)


def settings() -> str:
    """Returns tables of all settings, from the classes and their docstrings."""
    return "\n\n".join(_table(kind) for kind in _kinds())


def _kinds() -> list[type]:
    """Returns the settings of the chain, its stages' in their order, then all other public ones."""
    kinds: list[type] = [jaxface.ReconstructConfig]
    for kind in kinds:  # grows while it is walked
        for field in dataclasses.fields(kind):
            value = _value(field)
            if dataclasses.is_dataclass(value) and type(value) not in kinds:
                kinds.append(type(value))
    public = (getattr(jaxface, name) for name in jaxface.__all__ if name.endswith("Config"))
    return kinds + [kind for kind in public if kind not in kinds]


def qualities() -> str:
    """Returns a table of what `--quality` chooses."""
    rows = [
        "| `--quality` | texture | steps of the optimisation with `--refine`, coarse to fine |",
        "| --- | --- | --- |",
    ]
    for name in _QUALITIES:
        config = jaxface.ReconstructConfig.for_quality(name)
        size, levels = config.size, config.synthesis.levels
        steps = ", ".join(f"{count} at {round(share * size)}" for share, count in levels)
        rows.append(f"| `{name}` | {size} x {size} | {steps} |")
    return "\n".join(rows)


def visemes() -> str:
    """Returns a table of the weights of expressions in each viseme."""
    rows = ["| viseme | expressions |", "| --- | --- |"]
    for name, weights in VISEMES.items():
        told = ", ".join(f"`{key}` {value:g}" for key, value in weights.items()) or "none"
        rows.append(f"| `{name}` | {told} |")
    return "\n".join(rows)


def _table(kind: type) -> str:
    text = inspect.getdoc(kind) or ""
    head, _, body = text.partition("Attributes:")
    entries = re.split(r"^ *(\w+): ", "\n" + inspect.cleandoc(body), flags=re.M)[1:]
    meanings = dict(zip(entries[::2], entries[1::2], strict=True))
    rows = [f"## {kind.__name__}", "", head.strip(), ""]
    rows += ["| setting | default | what |", "| --- | --- | --- |"]
    for field in dataclasses.fields(kind):
        meaning = " ".join(meanings[field.name].split())
        rows.append(f"| `{field.name}` | {_default(field)} | {meaning} |")
    return "\n".join(rows)


def _value(field: dataclasses.Field) -> Any:
    """Returns a field's default."""
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else None


def _default(field: dataclasses.Field) -> str:
    value = _value(field)
    if not dataclasses.is_dataclass(value):
        return f"`{value!r}`"
    kind = type(value)
    changed = [
        f for f in dataclasses.fields(value) if repr(getattr(value, f.name)) != repr(_value(f))
    ]
    given = ", ".join(f"{f.name}={getattr(value, f.name)!r}" for f in changed)
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
