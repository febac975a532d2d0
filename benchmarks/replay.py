"""The time of a replay from `match_brands` on a finished clip, compared with the start of Python and Dagster.

    python -m benchmarks.replay [--replays N]

Renders the demo's clip (24 s), runs all stages once, then replays it, in a temporary home. It prints the figures.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

COMMANDS = {
    "python": ["-c", "pass"],
    "import dagster": ["-c", "import dagster"],
    "load the code location": ["-c", "import detection_assets.code_location"],
    "touchline --help": ["-m", "touchline_cli", "--help"],
}


def start_ups(times: int = 5) -> None:
    """Prints the shortest of several starts, because other load makes some of them longer."""
    for name, arguments in COMMANDS.items():
        took = []
        for _ in range(times):
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            took.append(time.perf_counter() - began)
        print(f"{name:<28}{min(took):8.2f} s")


def replays(number: int) -> None:
    """Runs the clip once and replays it; prints the time of the stages, of the run, and the number of frames read."""
    from detection_assets.dagster_internals.silence import silence_dagster
    from resources.checkpoints import CheckpointStore
    from touchline.library import repository
    from touchline.synthetic import DEMO, render
    from touchline_cli import session

    frames: Counter[str] = Counter()
    get_frame = CheckpointStore.get_frame

    def counted(store: CheckpointStore, key: str) -> bytes:
        frames["read"] += 1
        return get_frame(store, key)

    CheckpointStore.get_frame = counted  # type: ignore[method-assign, assignment]
    video = Path(os.environ["TOUCHLINE_HOME"]) / "clip.mp4"
    render(video, DEMO)
    silence_dagster()
    from detection_assets.local.runner import Runner
    from resources.settings import Settings

    with session.servers() as endpoints, closing(Runner(Settings.from_environment(), endpoints)) as runner:
        source = runner.register(video)
        for turn in range(number + 1):
            frames.clear()
            began = time.perf_counter()
            if turn:
                change = {"match_brands.min_score": 0.95 - 0.01 * turn}
                outcome = runner.run(source, first="match_brands", overrides=change)
            else:
                outcome = runner.run(source)
            wall = time.perf_counter() - began
            assert outcome.succeeded, outcome.error
            with runner.connection.database.session() as database:
                rows = repository.list_checkpoints(database, job_id=outcome.job.id)
            compute = sum(row.wall_s for row in rows)
            what = f"replay {turn}" if turn else "whole run"
            print(f"{what:<28}{wall:8.2f} s, of it {compute:.2f} s in {len(rows)} nodes; {frames['read']} frames read")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replays", type=int, default=3)
    wanted = parser.parse_args().replays
    for variable in [name for name in os.environ if name.startswith(("TOUCHLINE_", "DAGSTER_"))]:
        del os.environ[variable]
    with tempfile.TemporaryDirectory(prefix="touchline-benchmark-", ignore_cleanup_errors=True) as home:
        # For root, Postgres runs as another user, who must be able to enter this folder.
        Path(home).chmod(0o755)
        os.environ["TOUCHLINE_HOME"] = home
        start_ups()
        replays(wanted)
