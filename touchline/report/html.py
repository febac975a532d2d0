"""The report as one self-contained HTML page, without scripts and external resources.

Belongs here: what the template (`page.html`, styled by `report.css`) needs beyond the report's own fields: positions on
the time axis, labels, formats. Jinja2 escapes every text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from importlib.resources import files
from pathlib import PurePath
from typing import Any, Final

from jinja2 import DictLoader, Environment, StrictUndefined, select_autoescape
from markupsafe import Markup

from touchline.exposure.candidates import UNKNOWN
from touchline.report.model import BrandRow, Report, zones_seen

ZONE_LABELS: Final = {
    "board": "Boards",
    "board_or_jersey": "Board or shirt",
    "jersey": "Jerseys",
    "overlay": "Overlays",
    "other": "Elsewhere",
}
ZONE_MEANINGS: Final = {
    "board": "On advertising boards",
    "board_or_jersey": "On a board or on a shirt; without a model that finds people, the two are not distinguished",
    "jersey": "On shirts",
    "overlay": "In the broadcaster's graphics",
    "other": "On none of these, or on none that was recognised",
}
MEASURED_ERROR: Final = (0.64, 0.21)
"""Measured on real broadcasts, from docs/benchmarks.md: the share of brands whose seconds are within 10 % of the true
ones, and the share of all legible seconds that is missed [0-1]."""
FACTOR_LABELS: Final = {
    "size": ("Size", "share of the picture"),
    "position": ("Position", "the centre weighs more"),
    "clarity": ("Clarity", "how well it can be read"),
    "unoccluded": ("Unoccluded", "share that nothing covers"),
    "share_of_voice": ("Share of voice", "against other brands at the same moment"),
}
SOURCE_LABELS: Final = {"ocr": "OCR", "local_vlm": "local VLM", "cloud_llm": "cloud LLM", "manual": "by hand"}
_STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""Possible distances of ticks on the time axis [s]."""
_TICKS: Final = 9
"""Largest number of tick intervals on the time axis."""
_IN_BACKTICKS: Final = re.compile(r"`([^`]+)`")
_THINNEST: Final = 0.16
"""Width of the narrowest bar, so that half a second in a match is visible [percent of the time axis]."""


def render_html(report: Report) -> str:
    """`report.html` as text (UTF-8)."""
    return _environment().get_template("page.html").render(**_context(report))


def clock(seconds: float, places: int = 1) -> str:
    """A time [s] as text, with `places` decimals.

    >>> clock(75.5), clock(5025, 0)
    ('1:15.5', '1:23:45')
    """
    units = round(seconds * 10**places)
    whole, rest = divmod(units, 10**places)
    hours, minutes, secs = whole // 3600, whole // 60 % 60, whole % 60
    text = f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"
    return f"{text}.{rest:0{places}d}" if places else text


def length(seconds: float) -> str:
    """A duration [s] as text: seconds up to two minutes, then minutes and seconds, from an hour hours and minutes.

    >>> length(14.5), length(754.2)
    ('14.5 s', '12 min 34 s')
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 3600} h {whole // 60 % 60:02d} min" if whole >= 3600 else f"{whole // 60} min {whole % 60:02d} s"


def percent(share: float) -> str:
    """A share 0..1 as text in percent, with more decimals for small shares.

    >>> percent(0.0187), percent(0.62), percent(0.0004)
    ('1.9 %', '62 %', '0.04 %')
    """
    value = share * 100
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.1f} %" if value >= 0.1 else f"{value:.2f} %"


def uncommon(reason: str) -> str:
    """A reason why text is unresolved without the usual one, which the section's heading states.

    >>> uncommon("no known brand has this spelling; local_vlm: no brand")
    'local_vlm: no brand'
    """
    return reason.removeprefix(UNKNOWN).removeprefix("; ")


def message(text: str) -> Markup:
    """A message as escaped HTML, with text between backticks as code.

    >>> message("`touchline run <it>` resumes")
    Markup('<code>touchline run &lt;it&gt;</code> resumes')
    """
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else Markup.escape(part)
        for number, part in enumerate(_IN_BACKTICKS.split(text))
    )


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
    environment.filters.update(clock=clock, duration=length, percent=percent, uncommon=uncommon, message=message)
    return environment


def _context(report: Report) -> dict[str, Any]:
    still = bool(report.media["is_image"]) or report.duration_s <= 0
    zones = [zone for zone in ZONE_LABELS if any(s.zone == zone for brand in report.brands for s in brand.stretches)]
    return {
        "report": report,
        "title": PurePath(report.video_path).stem or report.source,
        "still": still,
        "zones": zones,
        "zone_labels": ZONE_LABELS,
        "zone_meanings": ZONE_MEANINGS,
        "factor_labels": FACTOR_LABELS,
        "source_labels": SOURCE_LABELS,
        "measured_error": MEASURED_ERROR,
        "facts": _facts(report, still),
        "technical": _technical(report, still),
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
    """(label, value) of the source's facts for all readers."""
    media = report.media
    facts = [("Kind", "still picture") if still else ("Length", clock(report.duration_s))]
    if media["width"]:
        facts.append(("Picture", f"{media['width']} × {media['height']} px"))
    if not still:
        facts.append(("Sampled", f"{report.sample_fps:g} frames a second"))
    return facts


def _technical(report: Report, still: bool) -> list[tuple[str, str]]:
    """(label, value) of technical details, for whoever made the report."""
    media = report.media
    facts = [("Source", report.source), ("Path", report.video_path), ("Job", report.job_id)]
    facts.append(("Profile", report.profile))
    if media["codec"] and not still:
        facts.append(("Codec", f"{media['codec']}, {media['fps']:.4g} fps" if media["fps"] else media["codec"]))
    if not still:
        facts.append(("Samples", f"{media['frames_kept']} of {media['frames']} analysed; the rest repeat these"))
    if report.cost_usd:
        facts.append(("Cloud models", f"${report.cost_usd:.2f}"))
    return facts


def _tiles(report: Report, still: bool) -> list[tuple[str, str, str]]:
    """(value, label, explanation) of the figures at the top of the page."""
    tiles = [(str(len(report.brands)), "brand" if len(report.brands) == 1 else "brands", "Known brands that were read")]
    if not still:
        share = report.branded_seconds / report.duration_s
        tiles.append((length(report.branded_seconds), "with brands", f"{percent(share)} of the video"))
        seconds = sum(brand.seconds for brand in report.brands)
        tiles.append((length(seconds), "of exposure in all", "Seconds of all brands added up"))
    texts = "text unresolved" if report.unresolved_total == 1 else "texts unresolved"
    if report.unresolved_total > len(report.unresolved):
        texts += f", the first {len(report.unresolved)} shown"
    tiles.append((str(report.unresolved_total), texts, "Text that matches no known brand"))
    return tiles


def _row(report: Report, brand: BrandRow) -> dict[str, Any]:
    """A brand's row of the table.

    The length of its bar, and of each part of the bar, is proportional to seconds. Time in several zones is one part,
    in the colours of all of them.
    """
    longest = max((other.seconds for other in report.brands), default=0.0)
    parts: dict[str, float] = defaultdict(float)
    for segment in brand.segments:
        parts[segment.zone] += segment.seconds
    return {
        "brand": brand,
        "bar": 100 * brand.seconds / longest if longest else 0.0,
        "share": percent(brand.seconds / report.duration_s) if report.duration_s else "",
        "where": zones_seen(brand.zones, (stretch.zone for stretch in brand.stretches)),
        "parts": [
            {
                "zones": zone.split("+"),
                "width": 100 * seconds / brand.seconds if brand.seconds else 0.0,
                "label": f"{' and '.join(ZONE_LABELS[one] for one in zone.split('+'))}: {seconds:.1f} s",
            }
            for zone, seconds in sorted(parts.items(), key=lambda part: (-part[1], part[0]))
        ],
    }


def _at(report: Report, seconds: float) -> float:
    return round(100 * seconds / report.duration_s, 3) if report.duration_s else 0.0


def _lane(report: Report, brand: BrandRow) -> dict[str, Any]:
    """The brand's bars [percent of the time axis], one row per zone."""
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
    """Ticks of the time axis. A narrow page shows only those of `rank` 0 (every fourth), a medium one ranks 0 and 1."""
    step = next((step for step in _STEPS if duration / step <= _TICKS), _STEPS[-1])
    return [
        {"x": 100 * at / duration, "label": clock(at, 0), "rank": 2 if number % 2 else number // 2 % 2}
        for number, at in enumerate(range(0, int(duration) + 1, step))
    ]
