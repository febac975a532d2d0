"""`python -m benchmarks score`: reports of any system against the benchmark's truth, as tables or JSON.

Belongs here: which brand of which item goes into which row. The measures are in `scoring.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from benchmarks.broadcast81 import DATA, PARTS, Item, items, truths
from benchmarks.reports import Report, read_reports
from benchmarks.scoring import NEAR, NOWHERE, SHORTEST_S, BrandScore, Score, Spans, brand_scores, total
from touchline.errors import BadInputError

LINES: Final = (240, 480, 720, 1080)
"""Upper ends of the bands of resolution: lines of the picture."""
MEANING: Final = (
    "Precision, recall and F1 on a half-second grid. Error of seconds: what is missed of the seconds in which a brand "
    "can be read, or reported beyond those in which it can be seen, as a share of the former, of each brand that can "
    f"be read for {SHORTEST_S:g} s or more of a clip. Missed and extra: of all legible seconds together."
)
REPEAT: Final = """
## Repeat these figures, or score another system

[benchmarks/broadcast81](../benchmarks/broadcast81/README.md) holds the list of clips and stills, their ground truth and
the brand list. The media stays where it is public; git gets it, and SHA-256 checks it:

```sh
python -m benchmarks fetch --folder footage      # 79 of 81 items, 139 MB; start it again after a failure
python -m benchmarks --footage footage           # Touchline and the baseline, by turns
python -m benchmarks score REPORTS_FOLDER        # of any system: by part, resolution, text, zone, repository
```

`score` reads REPORTS_FOLDER/ITEM/report.json or REPORTS_FOLDER/ITEM.json, where ITEM is the file's name without its
ending. A report needs the brands and when they were seen, in seconds from the start; of a still, `[[0, 0]]`:

```json
{"brands": [{"name": "Nike", "intervals": [[1.5, 4.0]]}]}
```

Names are compared without case, accents and punctuation. `seconds` beside `intervals` is the exposure, where it is not
their length; other fields are passed over. Items without a report are named and left out. Tune on the part `tune`
alone: the parts share no repository, and a hash of its name decides.
""".strip("\n")
"""The page's section on repeating its figures."""
TEXT_PX: Final = (10, 15, 25, 50)
"""Upper ends of the bands of text [px]: height of a brand's line."""
NO_TEXT: Final = "not to be read"
ZONES: Final = ("board", "jersey", "scorebug", "other", NOWHERE)

Tables = dict[str, dict[str, dict[str, Any]]]
"""Figures by table, row and name of the figure."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One item's scores by brand; `item` is nothing where a truth is in no list."""

    stem: str
    item: Item | None
    brands: Sequence[BrandScore]

    @property
    def score(self) -> Score:
        """Of all its brands."""
        return total(brand.score for brand in self.brands)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("reports", type=Path, metavar="REPORTS_FOLDER", help="holds ITEM/report.json or ITEM.json")
    parser.add_argument("--truth", type=Path, default=DATA / "truth", help="ground truth (default: the benchmark's)")
    parser.add_argument("--each", action="store_true", help="a row for each item, too")
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(options: argparse.Namespace) -> int:
    """Score and print. 0: scored; 2: there is nothing to score, or a report is none."""
    try:
        truth = truths(options.truth)
        if not truth:
            raise BadInputError(f"--truth {options.truth}: expected *.json")
        reports, strangers = read_reports(options.reports, truth)
    except BadInputError as error:
        print(error, file=sys.stderr)
        return 2
    everything = score_all(truth, reports)
    missing = sorted(truth.keys() - reports.keys())
    if missing:
        print(f"No report, and so not in the figures: {', '.join(missing)}", file=sys.stderr)
    if strangers:
        print(f"Reports of no item of the benchmark, passed over: {', '.join(strangers)}", file=sys.stderr)
    if options.json:
        figures = {"items": len(everything), "missing": missing, "tables": tables(everything)}
        if options.each:
            figures["each"] = {one.stem: one.score.as_row() for one in everything}
        print(json.dumps(figures, indent=2, ensure_ascii=False))
    else:
        print("\n".join(page(everything, len(truth), options.each)))
    return 0


def score_all(truth: Mapping[str, Mapping[str, Any]], reports: Mapping[str, Report]) -> list[Scored]:
    """The scores of all items that have a report, in alphabetical order."""
    return [
        scored(truth[stem], report.found(), report.duration_s or 0.0, report.seconds())
        for stem, report in sorted(reports.items())
    ]


def scored(
    truth: Mapping[str, Any], found: Mapping[str, Spans], duration_s: float, seconds: Mapping[str, float] | None = None
) -> Scored:
    """The scores of one item; arguments as in `scoring.brand_scores`."""
    stem = Path(truth["file"]).stem
    return Scored(stem, _listed().get(stem), brand_scores(truth, found, duration_s, seconds))


@cache
def _listed() -> Mapping[str, Item]:
    """The items of the list, by stem; it is read once."""
    return {item.stem: item for item in items()}


def tables(everything: Sequence[Scored]) -> Tables:
    """All figures by table and row. Rows add up to `all`, in each table."""
    return {name: {row: s.as_row() for row, s in rows.items()} for name, rows in _tables(everything).items()}


def page(everything: Sequence[Scored], of: int, each: bool = False) -> list[str]:
    """The tables in Markdown."""
    figures = tables(everything)
    if each:
        figures["item"] = {one.stem: one.score.as_row() for one in everything}
    return [f"{len(everything)} of {of} items. {MEANING}", *tables_lines(figures)]


def tables_lines(figures: Tables, beside: Tables | None = None) -> list[str]:
    """The tables of `tables` in Markdown; `beside` are those of the baseline, whose F1 stands beside."""
    lines = []
    for name, rows in figures.items():
        others = (beside or {}).get(name, {})
        more = " baseline's F1 |" if beside else ""
        lines += [
            "",
            f"| {name} | precision | recall | F1 | brands found | false brands | error of seconds, median "
            f"| within {NEAR:.0%} | missed | extra |{more}",
            f"|---|---|---|---|---|---|---|---|---|---|{'---|' * bool(more)}",
            *(_line(row, score) + (f" {_f1(others.get(row))} |" if beside else "") for row, score in rows.items()),
        ]
        if NOWHERE in rows:
            lines += ["", f"A brand that is reported and not in an item's truth is {NOWHERE}."]
    return lines


def _line(name: str, row: Mapping[str, Any]) -> str:
    said = row["hits"] + row["false_alarms"]
    grid = [f"{row['precision']:.3f}" if said else "-", f"{row['recall']:.3f}" if _readable(row) else "-", _f1(row)]
    keys = ("seconds_error_median", "seconds_right", "seconds_missed", "seconds_extra")
    errors = [f"{row[key]:.0%}" if row["seconds_of"] else "-" for key in keys]
    found = f"{row['brands_found']} of {row['brands']}"
    return f"| {' | '.join((name, *grid, found, str(row['brands_false']), *errors))} |"


def _f1(row: Mapping[str, Any] | None) -> str:
    return f"{row['f1']:.3f}" if row and _readable(row) else "-"


def _readable(row: Mapping[str, Any]) -> bool:
    """Whether anything can be read in a row's items: without it, recall and F1 say nothing."""
    return bool(row["hits"] + row["misses"])


def _tables(everything: Sequence[Scored]) -> dict[str, dict[str, Score]]:
    return {
        "part": {"all": total(one.score for one in everything)} | _by_item(everything, lambda i: i.part, PARTS),
        "resolution": _by_item(everything, _band, [_band_name(lines) for lines in (*LINES, None)]),
        "text": _by_brand(everything, _text, [*(_px(height) for height in (*TEXT_PX, None)), NO_TEXT, NOWHERE]),
        "zone": _by_brand(everything, lambda brand: brand.where, ZONES),
        "repository": _by_item(everything, lambda i: i.repo or "(rendered)", ()),
    }


def _by_item(everything: Sequence[Scored], key: Callable[[Item], str], order: Sequence[str]) -> dict[str, Score]:
    """Sums of items by a property, rows in `order`, others after them by name."""
    groups: dict[str, list[Score]] = {}
    for one in everything:
        groups.setdefault(key(one.item) if one.item else "(not listed)", []).append(one.score)
    return {name: total(groups[name]) for name in _rows(groups, order)}


def _by_brand(everything: Sequence[Scored], key: Callable[[BrandScore], str], order: Sequence[str]) -> dict[str, Score]:
    """Sums of brands by a property, rows in `order`, others after them by name."""
    groups: dict[str, list[Score]] = {}
    for brand in (brand for one in everything for brand in one.brands):
        groups.setdefault(key(brand), []).append(brand.score)
    return {name: total(groups[name]) for name in _rows(groups, order)}


def _rows(groups: Mapping[str, Any], order: Sequence[str]) -> list[str]:
    return [name for name in order if name in groups] + sorted(groups.keys() - set(order), key=str.casefold)


def _text(brand: BrandScore) -> str:
    if brand.where == NOWHERE:
        return NOWHERE
    if not brand.score.brands:
        return NO_TEXT
    if brand.text_px is None:
        return "not measured"
    height = brand.text_px
    return _px(next((most for most in TEXT_PX if height <= most), None))


def _px(height: int | None) -> str:
    return f"over {TEXT_PX[-1]} px" if height is None else f"up to {height} px"


def _band(item: Item) -> str:
    return _band_name(next((lines for lines in LINES if item.height <= lines), None))


def _band_name(lines: int | None) -> str:
    return f"over {LINES[-1]} lines" if lines is None else f"up to {lines} lines"
