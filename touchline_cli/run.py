"""`touchline run` and `touchline replay`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from detection_assets.run_config import PRIORITY_TAG
from detection_assets.side_by_side import Piece, Workers
from touchline.ahead import cores
from touchline.errors import BadInputError
from touchline_cli import session

if TYPE_CHECKING:
    from detection_assets.runner import Runner, RunOutcome
    from detection_assets.stage_run import Listener
    from touchline.schema import SourceAsset

AT_ONCE: Final = 2
"""Sources worked on at once where nothing else is asked: each takes some 800 MB, and the pool `ocr` has two places."""
WORTH_S: Final = 60.0
"""Less video than this [s] is sooner done by one process than processes are started."""


def run(
    videos: Sequence[Path],
    profile: str,
    overrides: Sequence[str],
    brands: Path | None,
    report: Path | None,
    until: str | None,
    fresh: bool,
    priority: int,
    debug_pictures: Path | None,
    at_once: int | None,
    as_json: bool,
) -> int:
    """Checks everything, then runs the sources. 0 if all ended well, 1 if any failed, 130 after Ctrl-C."""
    from touchline.video import probe

    changes = session.check_settings(profile, session.parse_overrides(overrides))
    session.check_stage(until, "--until", report=True)
    session.check_effect(None, until, changes, brands, report=report)
    session.check_brands(brands)
    for option, folder in (("--report", report), ("--debug-pictures", debug_pictures)):
        if folder is not None:
            _check_stems(videos, option)
    if debug_pictures is not None:
        try:
            debug_pictures.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInputError(
                f"--debug-pictures {debug_pictures}: no folder can be made there: {error.strerror}"
            ) from error
    lengths = [probe(video).duration_s for video in videos]
    options: dict[str, Any] = {
        "profile": profile,
        "overrides": changes,
        "brands_csv": brands,
        "fresh": fresh,
        "until": until,
        "tags": {PRIORITY_TAG: str(priority)},
    }
    rows: dict[int, dict[str, Any]] = {}
    failed = 0
    try:
        with session.runner() as runner, progress_bar(as_json) as progress:
            total = progress.add_task("sources", total=len(videos), visible=len(videos) > 1)
            works = [partial(_register_and_run, video, profile, options) for video in videos]
            with closing(_outcomes(runner, videos, works, processes(at_once, lengths), lengths, progress)) as outcomes:
                for number, outcome in outcomes:
                    video = videos[number]
                    failed += not outcome.succeeded
                    row = finish(runner, outcome, video, report / video.stem if report else None, progress, as_json)
                    if debug_pictures is not None and outcome.succeeded:
                        row |= _draw(runner, outcome, debug_pictures / video.stem, progress, as_json)
                    rows[number] = row
                    progress.advance(total)
    except KeyboardInterrupt:
        session.errors.print("interrupted; run the same command again to continue")
        return 130
    if as_json:
        session.print_json([row for _, row in sorted(rows.items())])
    return 1 if failed else 0


def _register_and_run(
    video: Path, profile: str, options: Mapping[str, Any], runner: Runner, listener: Listener
) -> RunOutcome:
    return runner.run(runner.register(video, profile), listener=listener, **options)


def _outcomes(
    runner: Runner,
    videos: Sequence[Path],
    works: Sequence[Callable[[Runner, Listener], RunOutcome]],
    count: int,
    lengths: Sequence[float],
    progress: Progress,
) -> Generator[tuple[int, RunOutcome]]:
    """Number and outcome of each video as they end: in this process one after another, or in `count` others."""
    if count == 1:
        for number, work in enumerate(works):
            yield number, with_bar(videos[number].name, progress, partial(work, runner))
        return
    # The longest first, so that no process is left alone with it at the end.
    order = sorted(range(len(videos)), key=lambda number: -lengths[number])
    pieces = [Piece(str(videos[number].resolve()), works[number]) for number in order]
    bars = Bars([videos[number].name for number in order], progress)
    with Workers(runner.settings, runner.endpoints, count) as workers:
        for place, outcome in workers.do(pieces, bars.move):
            bars.remove(place)
            yield order[place], outcome


def processes(at_once: int | None, lengths: Sequence[float]) -> int:
    """How many sources of these lengths [s] are worked on at once; `at_once` is what was asked for, if anything."""
    if at_once is None:
        at_once = min(AT_ONCE, cores()) if sum(lengths) >= WORTH_S else 1
    return min(at_once, len(lengths))


def replay(
    key_or_path: str,
    first: str,
    job: str | None,
    profile: str,
    overrides: Sequence[str],
    brands: Path | None,
    report: Path | None,
    priority: int,
    as_json: bool,
) -> int:
    """Runs a registered source again from a stage on."""
    from touchline import repository

    changes = session.check_settings(profile, session.parse_overrides(overrides))
    session.check_stage(first, "--from", report=True)
    session.check_effect(first, None, changes, brands, job)
    session.check_brands(brands)
    with session.runner() as runner, progress_bar(as_json) as progress:
        with runner.connection.database.session() as database:
            source = repository.named_source(database, key_or_path)
            read = repository.get_job(database, job) if job else None
        options: dict[str, Any] = {"profile": profile, "overrides": changes, "brands_csv": brands, "first": first}
        options |= {"from_job": read.id if read else None, "tags": {PRIORITY_TAG: str(priority)}}
        outcome = one(runner, source, source.partition_key, progress, options)
        directory = report / Path(source.video_path).stem if report else None
        row = finish(runner, outcome, Path(source.video_path), directory, progress, as_json)
    if as_json:
        session.print_json(row)
    return 0 if outcome.succeeded else 1


def one(runner: Runner, source: SourceAsset, name: str, progress: Progress, options: dict[str, Any]) -> RunOutcome:
    """One run with a bar that moves from stage to stage."""
    return with_bar(name, progress, lambda listen: runner.run(source, listener=listen, **options))


def with_bar(name: str, progress: Progress, work: Callable[[Listener], RunOutcome]) -> RunOutcome:
    """Does `work`, whose listener moves a bar from stage to stage."""
    bars = Bars([name], progress)
    bars.show(0)
    outcome = work(partial(bars.move, 0))
    bars.remove(0)
    return outcome


class Bars:
    """One bar for each piece of work that has begun."""

    def __init__(self, names: Sequence[str], progress: Progress) -> None:
        self._names, self._progress = names, progress
        self._tasks: dict[int, TaskID] = {}

    def show(self, number: int) -> TaskID:
        """A bar for what begins, if it has none yet."""
        from touchline.nodes import NODE_NAMES

        if number not in self._tasks:
            self._tasks[number] = self._progress.add_task(self._names[number], total=len(NODE_NAMES) + 1)
        return self._tasks[number]

    def move(self, number: int, stage: str, share: float) -> None:
        """Shows that `share` (0..1) of a stage is done."""
        from touchline.nodes import NODE_INDEX, NODE_NAMES

        done = NODE_INDEX.get(stage, len(NODE_NAMES)) + share
        description = f"{self._names[number]}  [dim]{stage}[/dim]"
        self._progress.update(self.show(number), completed=done, description=description)

    def remove(self, number: int) -> None:
        """Takes away the bar of what has ended."""
        if number in self._tasks:
            self._progress.remove_task(self._tasks.pop(number))


def finish(
    runner: Runner, outcome: RunOutcome, video: Path, directory: Path | None, progress: Progress, as_json: bool
) -> dict[str, Any]:
    """Tells how one run ended and writes its report; returns its row for --json."""
    row: dict[str, Any] = {
        "source": str(video),
        "partition_key": outcome.job.partition_key,
        "job_id": str(outcome.job.id),
    }
    row |= {"status": str(outcome.job.status), "dagster_run_id": outcome.run_id}

    def say(what: Any) -> None:
        if not as_json:
            # As it is: brackets in file names are no markup.
            progress.console.print(what, markup=False, highlight=False, soft_wrap=isinstance(what, str))

    if outcome.continued is not None:
        row["continued_job"] = str(outcome.continued.id)
        say(f"{video.name}: went on with the unfinished job {outcome.continued.id}")
    if not outcome.succeeded:
        row["error"] = outcome.error
        session.tell_end(video.name, outcome)
        return row
    if not outcome.job.report_prefix:
        say(f"{video.name}: done, {outcome.job.run_type} job {outcome.job.id}; no report was asked for")
        return row
    contents = json.loads(runner.connection.objects.get(outcome.job.report_prefix + "report.json"))
    row["brands"] = {brand["name"]: brand["seconds"] for brand in contents["brands"]}
    say(session.brand_table(contents, f"{video.name}  ({contents['duration_s']:.1f} s)"))
    if directory is not None:
        runner.fetch_report(outcome.job, directory)
        row["report"] = str(directory / "report.html")
        say(f"  report: {directory / 'report.html'}")
    return row


def _draw(runner: Runner, outcome: RunOutcome, directory: Path, progress: Progress, as_json: bool) -> dict[str, Any]:
    """Writes the annotated frames of one run; returns what --json tells of them."""
    from detection_assets.debug_pictures import write_debug_pictures

    number = write_debug_pictures(runner.connection, outcome.job, directory)
    if not as_json:
        progress.console.print(f"  {number} debug pictures: {directory}", markup=False, highlight=False, soft_wrap=True)
    return {"debug_pictures": str(directory)}


def _check_stems(videos: Sequence[Path], option: str) -> None:
    """Two files of one name would write one report over the other."""
    twice = [stem for stem, count in Counter(video.stem for video in videos).items() if count > 1]
    if twice:
        raise BadInputError(
            f"{option}: several inputs are called {twice[0]!r} and would write into one folder; run them one by one, "
            f"each with a {option} of its own"
        )


def progress_bar(hidden: bool) -> Progress:
    """One line a source; nothing where a machine reads."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=session.console, disable=hidden, transient=True)
