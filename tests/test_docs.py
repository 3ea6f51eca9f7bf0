"""The documentation: links lead somewhere, the reference is complete, figures are current."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jaxface

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
IDENTIFIER = re.compile(r"^::: ([\w.]+)$", re.M)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Returns the anchors of a page's headings, as Python-Markdown and GitHub make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    if page == DOCS / "examples.md":
        text += (ROOT / "README.md").read_text()  # a part of which is included
    heads = (re.sub(r"[`*]", "", head) for head in re.findall(r"^#+ (.+)$", text, re.M))
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Yields file and anchor of every link that stays inside the repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith("http"):
            file, _, anchor = target.partition("#")
            yield (page.parent / file).resolve() if file else page, anchor


def resolve(identifier: str) -> Any:
    """Returns what a dotted name stands for, where the longest module goes first."""
    parts = identifier.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(identifier)


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for file, anchor in links(page):
        assert file.exists(), f"{file} is missing"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{name_of(file)} has no heading #{anchor}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().split("nav:")[1].split("\n\n")[0]
    listed = re.findall(r"([\w/]+\.md)", navigation)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def test_reference_holds_every_public_name_once() -> None:
    named = [name for page in PAGES for name in IDENTIFIER.findall(page.read_text())]
    assert len(named) == len(set(named))
    found = [resolve(name) for name in named]
    assert not any(type(it).__name__ == "module" for it in found)
    for name in jaxface.__all__:
        count = sum(it is getattr(jaxface, name) for it in found)
        assert count == 1, f"{name} stands {count} times in the reference"
    for name, it in zip(named, found, strict=True):
        # Where a module has the name of its function, mkdocstrings would show the module.
        module, own = it.__module__, name.rsplit(".", 1)[1]
        if module.endswith(f".{own}"):
            assert name == f"{module}.{own}", f"{name} is {module}.{own}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_site_holds_current_figures_alone(page: Path) -> None:
    stale = re.compile(
        r"(earlier|present|older) (state|composition)|settings of then|state of then"
    )
    assert not stale.search(page.read_text()), "superseded figures belong to notes/"


def test_evaluation_is_a_page_that_answers() -> None:
    text = (DOCS / "evaluation.md").read_text()
    assert len(text.splitlines()) <= 150
    assert not re.search(r"\| dark\b", text)  # of texels: unobserved
