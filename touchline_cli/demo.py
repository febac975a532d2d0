"""`touchline demo`: runs all stages on a synthetic broadcast, and compares the brands found with those shown."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from touchline_cli import session
from touchline_cli.outcome import Ended
from touchline_cli.progress import ProgressDisplay
from touchline_cli.run import run_one

if TYPE_CHECKING:
    from detection_assets.jobs.heartbeat import Listener
    from detection_assets.local.runner import Runner


def demo(as_json: bool) -> int:
    """Returns the exit code: 0 only if the brands found are exactly those that were rendered."""
    from detection_assets.local.report_files import fetch_report
    from resources.settings import Settings
    from touchline.synthetic import DEMO, render, write_truth

    folder = Settings.from_environment().home / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    video = folder / "broadcast.mp4"
    if not as_json:
        session.say("Rendering a synthetic broadcast (24 s, 720p) ...")
    truth = render(video, DEMO)
    write_truth(folder / "broadcast.truth.json", truth)
    shown = {brand.name: brand for brand in truth.brands}
    with session.worker_pool(1) as (workers, connection), ProgressDisplay(as_json) as progress:
        outcome = run_one(workers, video.name, partial(_register_and_run, video), progress).outcome
        if not outcome.succeeded:
            session.complain(f"the demo failed: {outcome.error}")
            return 1
        path = fetch_report(connection, outcome.job, folder / "report")
    report = json.loads(path.read_text("utf-8"))
    found = {brand["name"] for brand in report["brands"]}
    right = found == set(shown)
    if as_json:
        session.print_json({"found": sorted(found), "shown": sorted(shown), "report": str(path), "ok": right})
        return 0 if right else 1
    seconds = {name: f"{sum(b - a for a, b in brand.visible_s):.1f}" for name, brand in shown.items()}
    session.console.print(session.brand_table(report, "Brands in the synthetic broadcast", seconds))
    for warning in report["warnings"]:
        session.say(f"note: {warning}")
    session.say(f"report: {path.with_name('report.html')}")
    if not right:
        session.complain(f"missed: {sorted(set(shown) - found)}; not shown: {sorted(found - set(shown))}")
    return 0 if right else 1


def _register_and_run(video: Path, runner: Runner, listener: Listener) -> Ended:
    return Ended(runner.run(runner.register(video), listener=listener))
