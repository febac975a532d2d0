"""`python -m benchmarks`: accuracy and speed beside the plain baseline, as a table or JSON, and `docs/benchmarks.md`.

`fetch` gets the open benchmark's media, `score` scores reports of any system.

Belongs here: options, the order of measurements, and the page. Measurements are in the other modules.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks import determinism, library, long_video, profiles, score_reports, uploads
from benchmarks.ablations import ABLATIONS, Ablation
from benchmarks.baseline import PlainOcr
from benchmarks.broadcast81 import fetch
from benchmarks.clips import Clip, Material, footage, synthetic
from benchmarks.memory import curve
from benchmarks.pipeline import Measured, run, run_together
from benchmarks.score_reports import MEANING, REPEAT, scored, tables, tables_lines
from benchmarks.scoring import Score, score, total
from detection_assets.dagster_internals.silence import silence_dagster
from detection_assets.local.runner import Runner
from resources.local_services import LocalServices
from resources.settings import Settings
from touchline.nodes import NODE_NAMES
from touchline_cli.run import AT_ONCE

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
LONG_S: Final = 5.0
"""Clips from this length on count for speed; in shorter ones a run's start-up is most of it."""
PACKAGES: Final = ("touchline", "dagster", "rapidocr", "openvino", "onnxruntime", "opencv-python")


def main() -> None:
    """Measures and prints, fetches, or scores."""
    options = _options()
    if options.command:
        sys.exit({"fetch": fetch.main, "score": score_reports.main}[options.command](options))
    silence_dagster()
    found: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory(prefix="touchline-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if not options.no_accuracy:
            rendered = synthetic(folder, options.synthetic)
            material = footage(options.footage) if options.footage else rendered
            if material.left_out:
                print(f"Not in {options.footage}, and left out: {', '.join(material.left_out)}", file=sys.stderr)
            found["material"] = "footage" if options.footage else "synthetic"
            with servers(folder / "accuracy") as runner:
                found |= measure(runner, material, with_profiles=options.profiles)
                if options.footage:
                    found["synthetic"] = measure(runner, rendered)
                if options.ablations:
                    found["ablations"] = {name: ablation(runner, material, o) for name, o in ABLATIONS.items()}
        if options.machines:
            found["machines"] = determinism.measure(*determinism.clips(folder, options.footage))
        if options.long:
            with servers(folder / "long") as runner:
                found["long"] = long_video.measure(runner, folder, options.long)
        if options.memory:
            found["memory"] = {str(minutes): values for minutes, values in curve().items()}
        if options.library:
            with servers(folder / "library") as runner:
                found["library"] = library.measure(runner, folder / "watched")
        if options.uploads:
            found["uploads"] = uploads.measure(folder / "uploads", options.uploads)
    if options.write:
        PAGE.write_text(page(found), "utf-8")
        if "profiles" in found:
            profiles.PICTURE.write_text(profiles.draw(found["profiles"]), "utf-8")
    print(json.dumps(found, indent=2, ensure_ascii=False) if options.json else page(found))


@contextmanager
def servers(home: Path) -> Iterator[Runner]:
    """Everything that runs need, on servers of their own."""
    before = dict(os.environ)
    os.environ["TOUCHLINE_HOME"] = str(home)
    settings = Settings.from_environment()
    with LocalServices(settings) as endpoints:
        runner = Runner(settings, endpoints)
        try:
            yield runner
        finally:
            runner.close()
            # What a runner tells its process of its servers is not for the next measurement.
            os.environ.clear()
            os.environ.update(before)


def measure(runner: Runner, material: Material, *, with_profiles: bool = False) -> dict[str, Any]:
    """Touchline and the baseline by turns, clip by clip, so that both see the same machine.

    `with_profiles`: then each shipped profile.
    """
    plain = PlainOcr(material.brands)
    first = material.clips[0]
    run(runner, first, material.brands_csv, {})  # loads the models
    plain.run(first.path)
    clips, ours, theirs = [], [], []
    for clip in material.clips:
        measured = run(runner, clip, material.brands_csv, {})
        began = time.perf_counter()
        spans = plain.run(clip.path)
        wall = time.perf_counter() - began
        ours.append(scored(clip.truth, measured.found, measured.duration_s, measured.seconds))
        theirs.append(scored(clip.truth, spans, measured.duration_s))
        clips.append(_clip_row(clip, measured, ours[-1].score, wall, theirs[-1].score))
    long = [row for row in clips if row["duration_s"] >= LONG_S]
    sums = {key: sum(row[key] for row in long) for key in ("duration_s", "wall_s", "baseline_wall_s", "plumbing_s")}
    stages = {name: round(sum(row["stages"][name] for row in long), 2) for name in NODE_NAMES}
    lengths = {clip.path: row["duration_s"] for clip, row in zip(material.clips, clips, strict=True)}
    library = sorted((c for c in material.clips if lengths[c.path] >= LONG_S), key=lambda c: -lengths[c.path])
    together, _ = run_together(runner, library, material.brands_csv, AT_ONCE, {})
    scores = total(one.score for one in theirs).as_row()
    compared = {**scores, "wall_s": sums["baseline_wall_s"]}
    return {
        **({"profiles": profiles.measure(runner, material, library, compared, AT_ONCE)} if with_profiles else {}),
        "clips": clips,
        "touchline": total(one.score for one in ours).as_row(),
        "baseline": scores,
        "tables": {"touchline": tables(ours), "baseline": tables(theirs)},
        "speed": {
            **{key: round(value, 2) for key, value in sums.items()},
            "times_real_time": round(sums["duration_s"] / max(1e-9, sums["wall_s"]), 2),
            "share_of_baseline": round(sums["wall_s"] / max(1e-9, sums["baseline_wall_s"]), 3),
            "stages": stages,
            "together": {
                "at_once": AT_ONCE,
                "wall_s": round(together, 2),
                "times_real_time": round(sums["duration_s"] / max(1e-9, together), 2),
                "share_of_baseline": round(together / max(1e-9, sums["baseline_wall_s"]), 3),
            },
        },
    }


def ablation(runner: Runner, material: Material, off: Ablation) -> dict[str, Any]:
    """Scores and seconds with something switched off."""
    with off.without():
        runs = [(clip, run(runner, clip, material.brands_csv, off.overrides)) for clip in material.clips]
    scores = total(score(clip.truth, m.found, m.duration_s, m.seconds) for clip, m in runs)
    return {**scores.as_row(), "wall_s": round(sum(measured.wall_s for _, measured in runs), 1)}


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def page(found: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    host = found["machine"]
    lines = [
        "# Benchmarks",
        "",
        f"Measured on {host['date']} with `python -m benchmarks`: {host['cpu']}, {host['cores']} cores, Python "
        f"{host['python']}, " + ", ".join(f"{name} {number}" for name, number in host["packages"].items()) + ".",
    ]
    if "touchline" in found:
        lines += ["", "## Accuracy and speed", *_accuracy_lines(found, found["material"])]
    if "profiles" in found:
        lines += profiles.page(found["profiles"])
    if "synthetic" in found:
        lines += ["", "## The same on rendered broadcasts", *_accuracy_lines(found["synthetic"], "synthetic")]
    lines += ["", *REPEAT.splitlines()]
    if "ablations" in found:
        lines += [
            "",
            "## With parts switched off",
            "",
            "Each in turn, all else as shipped, on all clips of the table above.",
            "",
            "| | precision | recall | F1 | false brands | seconds |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {a['precision']:.3f} | {a['recall']:.3f} | {a['f1']:.3f} | {a['brands_false']} "
            f"| {a['wall_s']:.0f} |"
            for name, a in found["ablations"].items()
        ]
    if "machines" in found:
        lines += ["", "## The same numbers on every machine", "", *determinism.page(found["machines"])]
    if "long" in found:
        lines += ["", "## A long video", "", *long_video.page(found["long"])]
    if "memory" in found:
        lines += ["", "## Memory against the length of the video", ""]
        lines += ["| minutes of video | peak memory [MiB] | wall [s] |", "|---|---|---|"]
        lines += [f"| {m} | {v['peak_mib']:.0f} | {v['wall_s']:.0f} |" for m, v in found["memory"].items()]
    if "library" in found:
        lines += ["", "## A library of 10,000 sources", *library.page(found["library"])]
    if "uploads" in found:
        lines += ["", "## From upload to report", "", *uploads.page(found["uploads"])]
    return "\n".join(lines) + "\n"


def _accuracy_lines(found: Mapping[str, Any], material: str) -> list[str]:
    ours, theirs, speed = found["touchline"], found["baseline"], found["speed"]
    together = speed["together"]
    kind = "real broadcast clips" if material == "footage" else "synthetic broadcasts"
    return [
        "",
        f"{len(found['clips'])} {kind}. The baseline reads every sampled frame (2 a second) with RapidOCR on ONNX "
        "Runtime and looks for known spellings in the words. Both run by turns, clip by clip; compare ratios, not "
        f"seconds. {MEANING}",
        *tables_lines({"": {"Touchline": ours, "baseline": theirs}}),
        *(tables_lines(found["tables"]["touchline"], found["tables"]["baseline"]) if material == "footage" else ()),
        "",
        f"Clips of {LONG_S:g} s and more, {speed['duration_s']:.0f} s of video with all nodes and checkpoints, in "
        "processes whose models are loaded:",
        "",
        "| | seconds | times real time | share of the baseline's time |",
        "|---|---|---|---|",
        f"| baseline | {speed['baseline_wall_s']:.1f} | {speed['duration_s'] / speed['baseline_wall_s']:.2f} | 1 |",
        f"| Touchline, one clip after another | {speed['wall_s']:.1f} | {speed['times_real_time']:.2f} "
        f"| {speed['share_of_baseline']:.3f} |",
        f"| Touchline, {together['at_once']} clips at a time, as `touchline run` does them | {together['wall_s']:.1f} "
        f"| {together['times_real_time']:.2f} | **{together['share_of_baseline']:.3f}** |",
        "",
        f"One clip after another, {speed['plumbing_s']:.1f} s went outside the stages (Dagster, checkpoints, rows, "
        "report), and in them:",
        "",
        "| stage | seconds |",
        "|---|---|",
        *(f"| `{name}` | {seconds:.1f} |" for name, seconds in speed["stages"].items()),
        "",
        "| clip | s | Touchline [s] | baseline [s] | F1 | baseline's F1 |",
        "|---|---|---|---|---|---|",
        *(
            f"| {c['clip']} | {c['duration_s']:.1f} | {c['wall_s']:.1f} | {c['baseline_wall_s']:.1f} | {c['f1']:.2f} "
            f"| {c['baseline_f1']:.2f} |"
            for c in found["clips"]
        ),
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--footage", type=Path, help="clips with truth, or media that `fetch` got; rendered without it")
    parser.add_argument("--synthetic", type=int, default=3, help="number of rendered broadcasts (default: 3)")
    parser.add_argument("--profiles", action="store_true", help="measure each shipped profile, too")
    parser.add_argument("--ablations", action="store_true", help="measure with parts switched off, too")
    parser.add_argument("--machines", action="store_true", help="compare runs under other code paths and threads, too")
    parser.add_argument("--long", type=float, metavar="MINUTES", help="measure a video of so many minutes, too")
    parser.add_argument("--memory", action="store_true", help="measure memory for 1, 10 and 90 minutes, too")
    parser.add_argument("--library", action="store_true", help="measure a library of 10,000 sources, too")
    parser.add_argument("--uploads", type=int, metavar="N", help="measure N uploads up to their reports, too")
    parser.add_argument("--no-accuracy", action="store_true", help="leave out the comparison with the baseline")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAGE.name}")
    commands = parser.add_subparsers(dest="command", metavar="{fetch,score}")
    fetch.add_options(commands.add_parser("fetch", help="get the open benchmark's media by git"))
    score_reports.add_options(commands.add_parser("score", help="score reports of any system on the open benchmark"))
    return parser.parse_args()


def _clip_row(clip: Clip, measured: Measured, ours: Score, baseline_wall: float, theirs: Score) -> dict[str, Any]:
    return {
        "clip": clip.path.stem,
        "duration_s": measured.duration_s,
        "wall_s": round(measured.wall_s, 2),
        "baseline_wall_s": round(baseline_wall, 2),
        "plumbing_s": round(measured.plumbing_s, 2),
        "stages": {name: round(seconds, 2) for name, seconds in measured.stages.items()},
        "f1": round(ours.f1, 3),
        "baseline_f1": round(theirs.f1, 3),
    }


if __name__ == "__main__":
    main()
