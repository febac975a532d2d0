"""Lists of brands in CSV as spreadsheets write them: from bytes to rows, and from a row back to a line.

Belongs here: encodings, delimiters, white space, and what of a file is refused. What rows mean is in `registry.py`.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from touchline.errors import BadInputError

HEADER: Final = ("canonical_name", "aliases")
"""Names of the columns, in order."""
DELIMITERS: Final = (",", ";", "\t")
"""Delimiters between columns. A spreadsheet takes one by its country setting; the header line shows which."""
REMEDY: Final = "Expected UTF-8 CSV with the header canonical_name,aliases and | between aliases."
"""Last sentence of every refusal of a list."""
SAVE_AS: Final = 'In a spreadsheet, save it as "CSV UTF-8 (comma delimited)"'
"""Advice for a file that is not UTF-8 CSV."""
_BOMS: Final = (
    # The mark of UTF-32 begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
"""Byte order marks, each with the encoding that it announces."""
_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""First bytes of workbooks (xlsx and ods; xls), which are not text."""
_INVISIBLE: Final = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
"""Zero-width characters that web pages and spreadsheets leave in cells."""

Refuse = Callable[[int, str], BadInputError]
"""Makes the error for a line of the file, with what is wrong there."""


class Row(NamedTuple):
    """A brand's line: its number in the file, the name, and the aliases as they stand there."""

    line: int
    name: str
    aliases: tuple[str, ...]


def refusal(source: str) -> Refuse:
    """The error that names the file and a line of it."""
    return lambda line, what: BadInputError(f"brands file {source}, line {line}: {what}. {REMEDY}")


def read_rows(raw: bytes, bad: Refuse) -> Iterator[Row]:
    """The rows of a CSV file with the columns canonical_name and aliases, | between aliases.

    Columns may be separated by comma, semicolon or tab, which the header line tells; a line `sep=` before it, empty
    columns after the second, and rows without content are passed over. Text is UTF-8, or UTF-16 if it is so marked.
    White space of any kind inside a cell, line breaks too, becomes one blank.

    Raises what `bad` makes of a line: no text, another encoding, empty, other header, another number of columns, an
    unclosed quote, no row at all.
    """
    line = 1
    for line, cells in _rows(_decode(raw, bad), bad):
        if len(cells) != len(HEADER):
            raise bad(line, f"expected {len(HEADER)} columns, got {len(cells)} (a comma inside a name needs quotes)")
        yield Row(line, cells[0], tuple(" ".join(a.split()) for a in cells[1].split("|") if a.strip()))


def csv_line(name: str, *aliases: str) -> str:
    """The line that adds these spellings of a brand, as `read_rows` takes it, without a line end.

    >>> csv_line("TIM", "ETIM"), csv_line("Smith, Jones")
    ('TIM,ETIM', '"Smith, Jones",')
    """
    out = io.StringIO()
    # A | cannot be part of an alias.
    csv.writer(out, lineterminator="").writerow([name, "|".join(alias.replace("|", " ") for alias in aliases)])
    return out.getvalue()


def _decode(raw: bytes, bad: Refuse) -> str:
    if raw.startswith(_WORKBOOKS):
        raise bad(1, f"this is a workbook, not CSV. {SAVE_AS}")
    encoding = next((name for mark, name in _BOMS if raw.startswith(mark)), None) or _unmarked(raw)
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        if encoding.startswith("utf-8"):
            raise bad(line, f"the text is not UTF-8. {SAVE_AS}") from None
        raise bad(line, f"the file is marked as {encoding.upper()} and is not. {SAVE_AS}") from None
    if not text.strip():
        raise bad(1, "the file is empty")
    if "\0" in text:
        raise bad(text.count("\n", 0, text.index("\0")) + 1, f"a NUL byte; this is no text file. {SAVE_AS}")
    return text


def _unmarked(raw: bytes) -> str:
    """The encoding of a file without a byte order mark: UTF-16 if it begins with the header in UTF-16, else UTF-8."""
    for name in ("utf-16-le", "utf-16-be"):
        if raw[: 2 * len(HEADER[0])].lower() == HEADER[0].encode(name):
            return name
    return "utf-8"


def _rows(text: str, bad: Refuse) -> Iterator[tuple[int, list[str]]]:
    """The rows below the header, each with the number of its first line; rows without content are left out."""
    # Lines end as CSV defines it, not at the line and page separators of Unicode.
    lines = io.StringIO(text, newline="").readlines()
    skipped, delimiter = _header(lines, bad)
    rows = csv.reader(lines[skipped:], delimiter=delimiter, strict=True, skipinitialspace=True)
    ended = skipped
    while True:
        line = ended + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise bad(line, f"not CSV: {error}") from error
        if row is None:
            return
        ended = skipped + rows.line_num
        cells = _trimmed(row)
        if any(cells):
            yield line, cells


def _header(lines: list[str], bad: Refuse) -> tuple[int, str]:
    """The number of lines up to and with the header, and the delimiter of the header."""
    number, said = 1, ""
    for number, line in enumerate(lines, 1):
        said = line.strip().strip('"')
        if said.casefold().startswith("sep=") or not said.strip(",;\t "):
            continue
        for delimiter in DELIMITERS:
            try:
                row = next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
            except csv.Error:
                continue
            if tuple(cell.casefold() for cell in _trimmed(row)) == HEADER:
                return number, delimiter
        break
    # The line is not quoted: the file may hold anything, and more people read the message than the file.
    raise bad(number, f"expected the header {','.join(HEADER)}, got another")


def _trimmed(row: list[str]) -> list[str]:
    """The cells with single spaces for white space, without empty cells after the second column."""
    cells = [" ".join(cell.translate(_INVISIBLE).split()) for cell in row]
    while len(cells) > len(HEADER) and not cells[-1]:
        cells.pop()
    return cells
