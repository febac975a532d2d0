"""The report for people: one self-contained HTML page, without scripts and without anything fetched from elsewhere.

Belongs here: what the template (`page.html`, styled by `report.css`) needs to know beyond the report's own fields:
positions on the time axis, labels, formats. Every text from outside is escaped by Jinja2.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import PurePath
from typing import Any, Final

from jinja2 import DictLoader, Environment, StrictUndefined, select_autoescape

from touchline.exposure.candidates import UNKNOWN
from touchline.report.model import BrandRow, Report

ZONE_LABELS: Final = {"board": "Boards", "jersey": "Jerseys", "overlay": "Overlays", "other": "Elsewhere"}
FACTOR_LABELS: Final = {
    "size": ("Size", "share of the picture"),
    "position": ("Position", "the centre weighs more"),
    "clarity": ("Clarity", "how well it can be read"),
    "unoccluded": ("Unoccluded", "share that nobody stands in front of"),
    "share_of_voice": ("Share of voice", "against other brands at the same moment"),
}
SOURCE_LABELS: Final = {"ocr": "OCR", "local_vlm": "local VLM", "cloud_llm": "cloud LLM", "manual": "by hand"}
_STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""Distances of ticks on the time axis [s]."""
_TICKS: Final = 9
_THINNEST: Final = 0.16
"""Width of the shortest bar, in percent of the axis: half a second in a match is still to be seen."""


def render_html(report: Report) -> str:
    """`report.html` as text (UTF-8)."""
    return _environment().get_template("page.html").render(**_context(report))


def clock(seconds: float, places: int = 1) -> str:
    """A time as people read it.

    >>> clock(75.5), clock(5025, 0)
    ('1:15.5', '1:23:45')
    """
    units = round(seconds * 10**places)
    whole, rest = divmod(units, 10**places)
    hours, minutes, secs = whole // 3600, whole // 60 % 60, whole % 60
    text = f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"
    return f"{text}.{rest:0{places}d}" if places else text


def length(seconds: float) -> str:
    """A length of time: seconds up to two minutes, then minutes and seconds.

    >>> length(14.5), length(754.2)
    ('14.5 s', '12 min 34 s')
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 3600} h {whole // 60 % 60:02d} min" if whole >= 3600 else f"{whole // 60} min {whole % 60:02d} s"


def percent(share: float) -> str:
    """A share 0..1 in percent, with as many places as a small one needs.

    >>> percent(0.0187), percent(0.62), percent(0.0004)
    ('1.9 %', '62 %', '0.04 %')
    """
    value = share * 100
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.1f} %" if value >= 0.1 else f"{value:.2f} %"


def uncommon(reason: str) -> str:
    """What a reason why text is unresolved says beside the common one, which the section's heading gives.

    >>> uncommon("no known brand has this spelling; local_vlm: no brand")
    'local_vlm: no brand'
    """
    return reason.removeprefix(UNKNOWN).removeprefix("; ")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    here = files("touchline.report")
    sources = {name: here.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "report.css")}
    environment = Environment(
        loader=DictLoader(sources),
        autoescape=select_autoescape(("html",), default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(clock=clock, duration=length, percent=percent, uncommon=uncommon)
    return environment


def _context(report: Report) -> dict[str, Any]:
    still = bool(report.media["is_image"]) or report.duration_s <= 0
    return {
        "report": report,
        "title": PurePath(report.video_path).name or report.source,
        "still": still,
        "zone_labels": ZONE_LABELS,
        "factor_labels": FACTOR_LABELS,
        "source_labels": SOURCE_LABELS,
        "facts": _facts(report, still),
        "tiles": _tiles(report, still),
        "rows": [_row(report, brand) for brand in report.brands],
        "lanes": [] if still else [_lane(report, brand) for brand in report.brands],
        "cuts": [_at(report, cut) for cut in report.cuts],
        "ticks": [] if still else _ticks(report.duration_s),
        "wall_s": sum(stage.wall_s for stage in report.stages.values()),
        "longest_stage": max((stage.wall_s for stage in report.stages.values()), default=0) or 1,
        "reused": sum(stage.reused for stage in report.stages.values()),
    }


def _facts(report: Report, still: bool) -> list[tuple[str, str]]:
    media = report.media
    facts = [("Source", report.source), ("Path", report.video_path)]
    facts.append(("Length", "still picture" if still else clock(report.duration_s)))
    if media["width"]:
        facts.append(("Frames", f"{media['width']} × {media['height']} px"))
    if not still:
        own_rate = f" of {media['fps']:.4g} fps" if media["fps"] else ""
        facts.append(("Sampled", f"{report.sample_fps:g} a second{own_rate}"))
        facts.append(("Looked at", f"{media['frames_kept']} of {media['frames']} samples"))
    return [*facts, ("Profile", report.profile), ("Job", report.job_id)]


def _tiles(report: Report, still: bool) -> list[tuple[str, str, str]]:
    """(value, label, explanation) of the figures at the top."""
    tiles = [(str(len(report.brands)), "brand" if len(report.brands) == 1 else "brands", "Known brands that were read")]
    if not still:
        share = report.branded_seconds / report.duration_s
        tiles.append((length(report.branded_seconds), "with brands", f"{percent(share)} of the video"))
        seconds = sum(brand.seconds for brand in report.brands)
        tiles.append((length(seconds), "of exposure in all", "Seconds of all brands added up"))
    tiles.append((str(len(report.unresolved)), "texts unresolved", "Real text that is no known brand"))
    if report.stages:
        wall = sum(stage.wall_s for stage in report.stages.values())
        tiles.append((length(wall), "of work", "Time that the stages took, added up"))
    if report.cost_usd:
        tiles.append((f"${report.cost_usd:.2f}", "spent", "On cloud models"))
    return tiles


def _row(report: Report, brand: BrandRow) -> dict[str, Any]:
    longest = max((other.seconds for other in report.brands), default=0.0)
    in_zones = sum(brand.zones.values())
    seen = {stretch.zone for stretch in brand.stretches}
    parts = [
        (zone, seconds / in_zones if in_zones else 1 / max(1, len(seen)), seconds)
        for zone, seconds in brand.zones.items()
        if zone in seen
    ]
    return {
        "brand": brand,
        "bar": 100 * brand.seconds / longest if longest else 0.0,
        "share": percent(brand.seconds / report.duration_s) if report.duration_s else "",
        "zones": [
            {"zone": zone, "width": 100 * share, "label": f"{ZONE_LABELS[zone]} {seconds:.1f} s"}
            for zone, share, seconds in parts
        ],
        "main_zone": max(parts, key=lambda part: part[1])[0] if parts else "other",
    }


def _at(report: Report, seconds: float) -> float:
    return round(100 * seconds / report.duration_s, 3) if report.duration_s else 0.0


def _lane(report: Report, brand: BrandRow) -> dict[str, Any]:
    """The brand's bars, one row a zone, in percent of the time axis."""
    zones = [zone for zone in ZONE_LABELS if any(s.zone == zone for s in brand.stretches)]
    bars = [
        {
            "x": min(_at(report, s.start_s), 100 - _THINNEST),
            "width": max(_THINNEST, round(_at(report, s.end_s) - _at(report, s.start_s), 3)),
            "row": zones.index(s.zone),
            "zone": s.zone,
            "title": f"{brand.name}: {clock(s.start_s)} to {clock(s.end_s)} ({s.end_s - s.start_s:.1f} s), "
            f"{ZONE_LABELS[s.zone].lower()}, {percent(s.screen_share)} of the picture, visibility {s.visibility:.2f}",
        }
        for s in brand.stretches
    ]
    return {"brand": brand, "bars": bars, "rows": max(1, len(zones))}


def _ticks(duration: float) -> list[dict[str, Any]]:
    step = next((step for step in _STEPS if duration / step <= _TICKS), _STEPS[-1])
    return [{"x": 100 * at / duration, "label": clock(at, 0)} for at in range(0, int(duration) + 1, step)]
