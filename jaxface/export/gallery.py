"""`index.html` of a run: previews of its results, sortable by what is uncertain. Host code."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from jaxface.export.stored import PARAMETERS

GALLERY = "index.html"
MOST = 5_000
"""Results that a gallery shows, the first ones by name: a page of more would not open well."""
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>jaxface: {count} faces</title>
<style>
  body {{ margin: 0; padding: 16px; background: #23252a; color: #e8e6e3; font: 14px/1.4 system-ui, sans-serif; }}
  header {{ display: flex; gap: 16px; align-items: baseline; flex-wrap: wrap; margin-bottom: 12px; }}
  h1 {{ font-size: 16px; margin: 0; }}
  select {{ font: inherit; padding: 6px; background: #2a2d32; color: inherit; border: 1px solid #34373d; border-radius: 6px; }}
  article {{ margin-bottom: 16px; background: #1b1d21; border-radius: 8px; overflow: hidden; }}
  img {{ display: block; width: 100%; aspect-ratio: 5; background: #111; }}
  p {{ margin: 0; padding: 8px 12px; overflow-wrap: anywhere; }}
  a {{ color: #e0a070; }}
  small {{ color: #9a9da3; display: block; }}
</style>
<header><h1>{count} faces{more}</h1>
<label>Sort by <select id="key"><option value="doubts">doubts</option><option value="error">landmark error</option>
<option value="unseen">least seen</option><option value="name">name</option></select></label></header>
<main>
{cards}
</main>
<script>
  const main = document.querySelector("main"), key = document.getElementById("key");
  const sort = () => {{
    const name = key.value === "name";
    const cards = [...main.children].sort((a, b) => name
      ? a.dataset.name.localeCompare(b.dataset.name) : b.dataset[key.value] - a.dataset[key.value]);
    main.append(...cards);
  }};
  key.addEventListener("change", sort);
  sort();
</script>
</html>
"""  # noqa: E501


def write_gallery(output: str | Path) -> int:
    """Writes `index.html` into a run's folder, if it holds results; returns how many it shows.

    All results below the folder are shown, those of earlier runs too, at most `MOST`. It links to
    pictures and viewers beside it and needs no network.

    Args:
        output: folder that holds results.

    Example:
        >>> import tempfile
        >>> write_gallery(tempfile.mkdtemp())
        0
    """
    output = Path(output)
    found = sorted(_results(output))
    cards = [card for card in map(_card, found[:MOST]) if card]
    if not cards:
        return 0
    more = f", the first of {len(found)}" if len(found) > MOST else ""
    page = _PAGE.format(count=len(cards), more=more, cards="\n".join(cards))
    temporary = output / f".{GALLERY}.{os.getpid()}"
    temporary.write_text(page, encoding="utf-8", errors="surrogateescape")
    temporary.replace(output / GALLERY)
    return len(cards)


def _results(output: Path) -> Iterator[tuple[str, Path]]:
    """Yields name and folder of each result; those of several faces are one level deeper."""
    for pattern in (f"*/{PARAMETERS}", f"*/*/{PARAMETERS}"):
        for file in output.glob(pattern):
            yield file.parent.relative_to(output).as_posix(), file.parent


def _card(result: tuple[str, Path]) -> str:
    """Returns a result's article; nothing if it cannot be read."""
    name, folder = result
    try:
        data = json.loads((folder / PARAMETERS).read_text())
        error, seen = float(data["landmark_error_percent"]), float(data["seen_percent"])
        doubts, hair = list(map(str, data["doubts"])), str(data["hair"]["style"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    link, shown = quote(name, errors="surrogateescape"), html.escape(name)
    told = "".join(f"<small>{html.escape(each)}</small>" for each in doubts)
    return (
        f'<article data-name="{shown}" data-doubts="{len(doubts)}" data-error="{error:.4f}" '
        f'data-unseen="{100 - seen:.2f}"><a href="{link}/viewer.html">'
        f'<img loading="lazy" src="{link}/preview.png" alt="{shown}"></a>'
        f"<p><b>{shown}</b> · landmarks {error:.2f} % · seen {seen:.0f} % · hair {hair} · "
        f'<a href="{link}/report.md">report</a>{told}</p></article>'
    )
