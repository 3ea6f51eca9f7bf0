"""Names of files, which may hold anything, as text to show and as names of folders."""

from __future__ import annotations

import re
import unicodedata

MAX_BYTES = 200
"""Of a `folder_name`. File systems allow 255, of which the number of a second folder of that name
and the names of folders that are being written take some."""

# Windows' rules are the strictest, and results are copied from one machine to another.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$", re.IGNORECASE)

_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def decodable(text: str) -> str:
    r"""Returns a text with its lone surrogates, bytes that are not UTF-8, written as `\udcff`.

    Example:
        >>> print(decodable("caf\udce9"))
        caf\udce9
    """
    return text.encode("utf-8", "backslashreplace").decode()


def printable(text: str) -> str:
    r"""Returns a text as one line: line breaks and control characters are written `\n`, `\x1b`.

    Example:
        >>> print(printable("two\nlines"))
        two\nlines
    """
    return "".join(
        character.encode("unicode_escape").decode() if _controls(character) else character
        for character in decodable(text)
    )


def folder_name(stem: str) -> str:
    """Returns a name that every file system accepts for a folder.

    What a file system forbids becomes `_`; so does a dot in front, which would hide the folder.

    Args:
        stem: name of a photo without its suffix.

    Example:
        >>> [folder_name(stem) for stem in ("me 100%", "a?b", "con", ".x", "end. ")]
        ['me 100%', 'a_b', 'con_', '_x', 'end']
    """
    text = unicodedata.normalize("NFC", stem.encode("utf-8", "replace").decode())
    # "replace" gives "?", which is forbidden, too.
    text = _FORBIDDEN.sub("_", "".join("_" if _controls(c) else c for c in text))
    text = text.encode()[:MAX_BYTES].decode(errors="ignore").strip().rstrip(". ")
    text = re.sub(r"^\.", "_", text)
    return _RESERVED.sub(r"\1_\2", text) or "_"


def _controls(character: str) -> bool:
    """Returns whether a character controls a terminal, breaks a line or turns its direction."""
    return (
        unicodedata.category(character) in ("Cc", "Zl", "Zp")
        or unicodedata.bidirectional(character) in _TURNS
    )
