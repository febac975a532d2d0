"""Untrusted text as Markdown for Dagster's pages.

Dagster shows metadata and descriptions as GitHub's Markdown. The text of a board, or the name of a brand, a file, an
upload or a profile could otherwise become a picture that a browser fetches, a link, or HTML.

Belongs here: `plain`, which escapes all such text, and every Markdown value of materializations and checks.
https://github.github.com/gfm/
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

import dagster as dg

LONGEST: Final = 200
"""Most characters of a table cell."""
JOINER: Final = "\u2060"
"""The word joiner, an invisible character. An address that contains it is not turned into a link."""
_ALWAYS: Final = re.compile(r"[\\`*\[\]<|~]")
_AT_EDGES_OF_WORDS: Final = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_ENTITY: Final = re.compile(r"&(?=#?\w+;)")
_AT_START: Final = re.compile(r"^(\d{1,9})?((?(1)[.)]|[-+=#>:]))")
_CODE: Final = re.compile(r"(?<!`)`(?!`)([^`]*[^`\s][^`]*)`(?!`)")
_ADDRESS: Final = re.compile(r"(://|www(?=\.)|@|mailto:|xmpp:)", re.IGNORECASE)


def plain(text: str, longest: int = LONGEST) -> str:
    r"""Text as Markdown that shows exactly this text, on one line of at most `longest` characters.

    Invisible characters and those that change the writing direction are left out.

    >>> plain("![x](p.png) & <b>")
    '!\\[x\\](p.png) & \\<b>'
    """
    return _escaped(_line(text, longest))


def prose(text: str, longest: int = 1000) -> str:
    r"""A sentence as Markdown in which `code` stays code. The rest is escaped as by `plain`.

    Text between two single backticks is code in Markdown, never a picture, link or HTML. Other backticks are escaped.

    >>> prose("`touchline gc` frees it; ![x](p.png)")
    '`touchline gc` frees it; !\\[x\\](p.png)'
    """
    parts = _CODE.split(_line(text, longest))
    return "".join(f"`{part}`" if number % 2 else _escaped(part) for number, part in enumerate(parts))


def _line(text: str, longest: int) -> str:
    """The visible characters of a text on one line, cut to a length."""
    line = " ".join("".join(c if _shown(c) else " " for c in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _escaped(line: str) -> str:
    line = _ALWAYS.sub(lambda found: "\\" + found[0], line)
    line = _AT_EDGES_OF_WORDS.sub(r"\\_", line)
    line = _ENTITY.sub(r"\\&", line)
    line = _AT_START.sub(lambda found: f"{found[1] or ''}\\{found[2]}", line)
    return _ADDRESS.sub(_parted, line)


def bullets(lines: Iterable[str], longest: int = 1000) -> dg.MarkdownMetadataValue:
    """Sentences as a list; `code` in them stays code."""
    return dg.MetadataValue.md("\n".join(f"- {prose(line, longest)}" for line in lines) or "none")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> dg.MarkdownMetadataValue:
    """A table of text."""
    return dg.MetadataValue.md(as_table(head, ([plain(cell) for cell in row] for row in rows)))


def as_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already, as `plain` and `picture` make it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables(markdown: str) -> dg.MarkdownMetadataValue:
    """A table from `as_table` as metadata."""
    return dg.MetadataValue.md(markdown)


def picture(uri: str, alt: str) -> str:
    """A picture from a `data:` URI. Raises ValueError for other URIs, which a browser would fetch."""
    if not re.fullmatch(r"data:image/\w+;base64,[A-Za-z0-9+/=]*", uri):
        raise ValueError("expected a data: URI of a picture")
    return f"![{plain(alt)}]({uri})"


def pictured(uri: str, alt: str) -> dg.MarkdownMetadataValue:
    """A picture with its description below it."""
    return dg.MetadataValue.md(f"{picture(uri, alt)}\n\n{plain(alt)}")


def sentence(text: str) -> dg.MarkdownMetadataValue:
    """One sentence; `code` in it stays code."""
    return dg.MetadataValue.md(prose(text))


def command(text: str) -> dg.MarkdownMetadataValue:
    """A command to copy. Raises ValueError if it contains a backtick.

    Of untrusted text, it may contain keys of sources and ids of jobs only.
    """
    if "`" in text:
        raise ValueError(f"expected a command without a backtick, got {text!r}")
    return dg.MetadataValue.md(f"`{text}`")


def _shown(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or character == "\u200d"


def _parted(found: re.Match[str]) -> str:
    text = found[0]
    return f":{JOINER}//" if text == "://" else f"{text}{JOINER}"
