"""Reports as the benchmark reads them: the few fields of `report.json` that a score needs, of whatever system.

Belongs here: finding reports in a folder, and saying what is wrong with one. Scores are in `scoring.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from touchline.errors import BadInputError

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _in_order(span: tuple[float, float]) -> tuple[float, float]:
    if span[1] < span[0]:
        raise ValueError("expected [start_s, end_s] with the start before the end")
    return span


class ReportedBrand(BaseModel):
    """A brand: when it was seen [s], and for how long in all [s], by default what the intervals cover."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(min_length=1)]
    intervals: list[Annotated[tuple[Seconds, Seconds], AfterValidator(_in_order)]]
    seconds: Seconds | None = None


class Report(BaseModel):
    """A report's brands, and the length of the clip [s] where it is told. Other fields are passed over."""

    model_config = ConfigDict(extra="ignore")

    brands: list[ReportedBrand]
    duration_s: Seconds | None = None

    def found(self) -> dict[str, list[tuple[float, float]]]:
        """Intervals [start_s, end_s] by brand; those of a brand that is named twice are put together."""
        found: dict[str, list[tuple[float, float]]] = {}
        for brand in self.brands:
            found.setdefault(brand.name, []).extend(brand.intervals)
        return found

    def seconds(self) -> dict[str, float]:
        """Seconds by brand, of the brands that tell them and are named once."""
        names = [brand.name for brand in self.brands]
        return {b.name: b.seconds for b in self.brands if b.seconds is not None and names.count(b.name) == 1}


def read_report(path: Path) -> Report:
    """A report. Raises BadInputError that says which field is wrong, what was expected and what came."""
    try:
        content: Any = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise BadInputError(f"{path}: expected a report in JSON: {error}") from error
    try:
        return Report.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        came = json.dumps(first["input"], ensure_ascii=False, default=str)
        came = came if len(came) <= 80 else f"{came[:77]}..."
        raise BadInputError(
            f"{path}: {field or 'the report'}: {first['msg']}; came {came}. A report needs "
            '{"brands": [{"name": "Nike", "intervals": [[1.5, 4.0]]}]}'
        ) from error


def read_reports(folder: Path, stems: Iterable[str]) -> tuple[Mapping[str, Report], list[str]]:
    """Reports by stem, from FOLDER/STEM/report.json or FOLDER/STEM.json, and the stems of other reports in the folder.

    Raises BadInputError where there is none, or one of them is no report.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder}: expected a folder of reports")
    places = {path.parent.name: path for path in sorted(folder.glob("*/report.json"))}
    places |= {path.stem: path for path in sorted(folder.glob("*.json")) if path.stem not in places}
    wanted = set(stems)
    found = {stem: read_report(path) for stem, path in places.items() if stem in wanted}
    if not found:
        raise BadInputError(
            f"{folder}: expected ITEM/report.json or ITEM.json, such as {min(wanted, default='ITEM')}/report.json"
        )
    return found, sorted(places.keys() - wanted)
