"""`touchline run` and `touchline replay`: checks the inputs, runs them in worker processes, and reports the outcome.

Belongs here: what these commands check, do and print. Bars are in `progress.py`, the worker processes in
`detection_assets/local/worker_pool.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from detection_assets.dagster_internals.tags import PRIORITY_TAG
from touchline.errors import BadInputError, TouchlineError, in_words
from touchline.parallel import cores
from touchline_cli import session
from touchline_cli.outcome import Ended, exit_code, row_of
from touchline_cli.progress import Bars, ProgressDisplay

if TYPE_CHECKING:
    from detection_assets.jobs.heartbeat import Listener
    from detection_assets.local.runner import Runner
    from detection_assets.local.worker_pool import Workers

AT_ONCE: Final = 2
"""Default number of sources run in parallel. Each needs about 800 MB, and the pool `ocr` has two slots."""
WORTH_S: Final = 60.0
"""Total length of video below which one process is faster than starting several [s]."""
Work = Callable[["Runner", "Listener"], Ended]
"""A task for a worker process: called with its runner and a listener."""


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
    """Checks the options and the inputs, then runs the valid inputs.

    Returns the exit code: 0 if all runs succeeded, 1 if one failed or was refused, 2 if all were refused, 3 if some
    were stopped by request and the others succeeded, 130 after Ctrl-C.
    """
    from touchline.report.files import check_folder

    changes = session.check_settings(profile, session.parse_overrides(overrides))
    session.check_stage(until, "--until", report=True)
    session.check_effect(None, until, changes, brands, report=report)
    session.check_brands(brands)
    folders = {"--report": report, "--debug-pictures": debug_pictures}
    for option, folder in folders.items():
        if folder is not None:
            _check_stems(videos, option)
    lengths, refused = _probe_all(videos, folders)
    if not lengths:
        raise BadInputError("\n".join(refused.values()))
    for option, folder in folders.items():
        if folder is not None:
            check_folder(option, folder)
    options: dict[str, Any] = {
        "profile": profile,
        "overrides": changes,
        "brands_csv": brands,
        "fresh": fresh,
        "until": until,
        "tags": {PRIORITY_TAG: str(priority)},
    }
    rows = {
        number: {"source": str(videos[number]), "status": "refused", "error": why} for number, why in refused.items()
    }
    for why in refused.values():
        session.complain(why)
    # The longest first, so that the processes end at about the same time.
    order = sorted(lengths, key=lambda number: -lengths[number])
    works = [partial(_register_and_run, videos[number], profile, options, debug_pictures) for number in order]
    names = [str(videos[number].resolve()) for number in order]
    try:
        with (
            session.worker_pool(processes(at_once, list(lengths.values()))) as (workers, connection),
            ProgressDisplay(as_json) as bars,
        ):
            total = bars.add_task("sources", total=len(order), visible=len(order) > 1, stage=f"0 of {len(order)}")
            with closing(outcomes(workers, names, works, bars, [videos[n].name for n in order])) as ended:
                for place, outcome in ended:
                    number = order[place]
                    video = videos[number]
                    rows[number] = row_of(connection, outcome, video, _under(report, video), bars, as_json)
                    done = len(rows) - len(refused)
                    bars.update(total, advance=1, stage=f"{done} of {len(order)}")
    except KeyboardInterrupt:
        session.errors.print("interrupted; run the same command again to continue")
        return 130
    for number in set(lengths) - set(rows):
        why = f"{videos[number].name}: not begun, because a server failed; run the same command again once it is back"
        rows[number] = {"source": str(videos[number]), "status": "not begun", "error": why}
        session.complain(why)
    if as_json:
        session.print_json([row for _, row in sorted(rows.items())])
    if all(row["status"] == "refused" for row in rows.values()):
        return BadInputError.exit_code
    return exit_code(rows.values())


def _probe_all(videos: Sequence[Path], folders: Mapping[str, Path | None]) -> tuple[dict[int, float], dict[int, str]]:
    """Lengths [s] of the valid inputs, and the reasons for which the others are refused, both by number.

    Any error while one input is probed refuses that input only.
    """
    from touchline.report.files import check_folder
    from touchline.video.opening import probe

    lengths: dict[int, float] = {}
    refused: dict[int, str] = {}
    for number, video in enumerate(videos):
        try:
            lengths[number] = probe(video).duration_s
            for option, base in folders.items():
                # Existing folders only: others can be created if their parent can be written.
                if base is not None and (base / video.stem).exists():
                    check_folder(option, base / video.stem)
        except BadInputError as error:
            refused[number] = str(error)
        except Exception as error:
            refused[number] = f"{video}: it cannot be probed ({in_words(error)}); convert it, or leave it out"
        if number in refused:
            lengths.pop(number, None)
    return lengths, refused


def _register_and_run(
    video: Path, profile: str, options: Mapping[str, Any], pictures: Path | None, runner: Runner, listener: Listener
) -> Ended:
    outcome = runner.run(runner.register(video, profile), listener=listener, **options)
    ended = Ended(outcome)
    if pictures is not None and outcome.succeeded:
        from detection_assets.execution.debug_pictures import write_debug_pictures
        from touchline.report.files import SOURCE_FILE, folder_of

        try:
            ended.pictures = folder_of(pictures, video.stem, outcome.job.partition_key, SOURCE_FILE)
            ended.drawn = write_debug_pictures(runner.connection, outcome.job, ended.pictures)
        except TouchlineError as error:
            ended.error = str(error)
    return ended


def outcomes(
    workers: Workers,
    keys: Sequence[str],
    works: Sequence[Work],
    progress: ProgressDisplay,
    names: Sequence[str],
    stages: Sequence[str] = (),
) -> Generator[tuple[int, Ended | TouchlineError]]:
    """Executes the tasks with one bar each. Yields number and outcome as they end.

    Tasks with the same key are not run at the same time. `names` label the bars; `stages` are those that the runs
    execute.
    """
    from detection_assets.local.worker_pool import Task

    bars = Bars(names, progress, stages)
    bars.show(0)
    with closing(workers.run([Task(*item) for item in zip(keys, works, strict=True)], bars.move)) as done:
        for number, outcome in done:
            bars.remove(number)
            yield number, outcome


def run_one(workers: Workers, name: str, work: Work, progress: ProgressDisplay, stages: Sequence[str] = ()) -> Ended:
    """Executes one task with a bar. Raises TouchlineError if it ends without a job."""
    [(_, outcome)] = outcomes(workers, [name], [work], progress, [name], stages)
    if isinstance(outcome, TouchlineError):
        raise outcome
    return outcome


def processes(at_once: int | None, lengths: Sequence[float]) -> int:
    """The number of worker processes for sources of these lengths [s]; `at_once` is the user's choice, if any."""
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
    from touchline.library import repository
    from touchline.nodes import downstream
    from touchline.report.files import check_folder

    changes = session.check_settings(profile, session.parse_overrides(overrides))
    session.check_stage(first, "--from", report=True)
    session.check_effect(first, None, changes, brands, job)
    session.check_brands(brands)
    if report is not None:
        check_folder("--report", report)
    try:
        with session.worker_pool(1) as (workers, connection), ProgressDisplay(as_json) as progress:
            with connection.database.session() as db_session:
                source = repository.named_source(db_session, key_or_path)
                read = repository.get_job(db_session, job) if job else None
            options: dict[str, Any] = {"profile": profile, "overrides": changes, "brands_csv": brands, "first": first}
            options |= {"from_job": read.id if read else None, "tags": {PRIORITY_TAG: str(priority)}}
            work = partial(run_source, source.partition_key, options)
            video = Path(source.video_path)
            ended = run_one(workers, source.partition_key, work, progress, downstream(first))
            row = row_of(connection, ended, video, _under(report, video), progress, as_json)
    except KeyboardInterrupt:
        session.complain("interrupted; `touchline jobs` shows the job to resume", "yellow")
        return 130
    if as_json:
        session.print_json(row)
    return exit_code([row])


def run_source(key: str, options: Mapping[str, Any], runner: Runner, listener: Listener) -> Ended:
    """Runs a registered source with the runner of a worker process."""
    from touchline.library import repository

    with runner.connection.database.session() as db_session:
        source = repository.get_source(db_session, key)
    return Ended(runner.run(source, listener=listener, **options))


def _under(report: Path | None, video: Path) -> tuple[Path, str] | None:
    """The folder for reports and the name of this video's report in it."""
    return None if report is None else (report, video.stem)


def _check_stems(videos: Sequence[Path], option: str) -> None:
    """Raises BadInputError if two inputs have the same file name, since their reports would have the same folder."""
    twice = [stem for stem, count in Counter(video.stem for video in videos).items() if count > 1]
    if twice:
        raise BadInputError(
            f"{option}: several inputs are called {twice[0]!r} and would write into one folder; run them one by one, "
            f"each with a {option} of its own"
        )
