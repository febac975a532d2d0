"""What each shipped profile finds, and what it costs beside the baseline: a table and a picture.

Belongs here: that comparison and its drawing. Running clips is in `pipeline.py`, scoring in `scoring.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.clips import Clip, Material
from benchmarks.pipeline import run, run_together
from benchmarks.scoring import score, total
from detection_assets.local.runner import Runner
from touchline.profiles import difference, dotted, load_profile

PROFILES: Final = ("soccer_fast", "soccer_broadcast", "soccer_thorough")
"""The profiles that are compared, from the fastest to the most thorough."""
PICTURE: Final = Path(__file__).resolve().parent.parent / "docs" / "profiles.svg"
WIDTH: Final = 640
"""Width of the picture [pixels]."""
HEIGHT: Final = 360
"""Height of the picture [pixels]."""
BELOW: Final = (18, 24, 17, -9)
"""Distance of the names below their points, the baseline's first [pixels]."""
LEFT: Final = 60
"""Space left of the axes and below them [pixels]."""


def measure(
    runner: Runner, material: Material, long: Sequence[Clip], baseline: Mapping[str, Any], at_once: int
) -> dict[str, dict[str, Any]]:
    """Scores of all clips by profile; the time of the `long` ones, `at_once` at a time, as a share of the baseline's.

    `baseline` has the baseline's scores, and `wall_s`, its seconds for the long clips one after another.
    """
    rows: dict[str, dict[str, Any]] = {"baseline": {**baseline, "share": 1.0}}
    for name in PROFILES:
        overrides = dotted(difference(load_profile(name), load_profile()))
        wall, measured = run_together(runner, long, material.brands_csv, at_once, overrides)
        runs = list(zip(long, measured, strict=True))
        runs += [(c, run(runner, c, material.brands_csv, overrides)) for c in material.clips if c not in long]
        scores = total(score(clip.truth, m.found, m.duration_s, m.seconds) for clip, m in runs)
        rows[name] = {**scores.as_row(), "wall_s": round(wall, 2), "share": round(wall / baseline["wall_s"], 3)}
    return rows


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table as Markdown, and the picture's place."""
    return [
        "",
        "## Three profiles",
        "",
        "Scores of all clips; the time of those of 5 s and more, two at a time, with all nodes and checkpoints.",
        "",
        f"![F1 against the time]({PICTURE.name})",
        "",
        "| | precision | recall | F1 | brands found | false brands | share of the baseline's time |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {name} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} "
            f"| {row['brands_found']} of {row['brands']} | {row['brands_false']} | {row['share']:.3f} |"
            for name, row in found.items()
        ),
    ]


def draw(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The profiles and the baseline as an SVG: time across, F1 up."""
    lowest = min(0.6, min(row["f1"] for row in found.values()) - 0.05)

    def at(row: Mapping[str, Any]) -> tuple[float, float]:
        across, up = row["share"] / 1.1, (row["f1"] - lowest) / (1 - lowest)
        return LEFT + across * (WIDTH - 2 * LEFT), HEIGHT - LEFT - up * (HEIGHT - 2 * LEFT)

    bottom, right = HEIGHT - LEFT, WIDTH - LEFT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<path d="M{LEFT} {LEFT}V{bottom}H{right}" fill="none" stroke="#888"/>',
        f'<text x="{right}" y="{bottom + 36}" text-anchor="end">time, share of the baseline</text>',
        f'<text x="{LEFT}" y="{LEFT - 16}">F1</text>',
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, _ = at({"share": share, "f1": lowest})
        parts.append(f'<text x="{x:.0f}" y="{bottom + 18}" text-anchor="middle" fill="#555">{share:g}</text>')
    for step in range(int(lowest * 10) + 1, 11):
        _, y = at({"share": 0, "f1": step / 10})
        parts.append(f'<path d="M{LEFT} {y:.0f}H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end" fill="#555">{step / 10:g}</text>')
    ours = [at(row) for name, row in found.items() if name != "baseline"]
    parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in ours)}" fill="none" stroke="#0a7"/>')
    # The profiles are near one another: their names stand below, between and above them.
    for below, (name, row) in zip(BELOW, found.items(), strict=True):
        x, y = at(row)
        colour = "#c33" if name == "baseline" else "#0a7"
        end = "end" if row["share"] > 0.8 else "start"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')
        parts.append(
            f'<text x="{x + (-9 if end == "end" else 9):.1f}" y="{y + below:.1f}" text-anchor="{end}">'
            f"{name} {row['f1']:.3f}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])
