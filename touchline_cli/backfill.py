"""`touchline backfill`: runs many sources again from a stage on, one run per source.

Belongs here: the choice of sources, settings and tags, and launching the runs. `run.py` runs one source.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from detection_assets.dagster_internals.silence import silence_dagster
from detection_assets.dagster_internals.tags import PRIORITY_TAG
from touchline.errors import BadInputError, TouchlineError
from touchline.nodes import NODES, REPORT, downstream
from touchline_cli import session
from touchline_cli.sources import matching_sources
from touchline_cli.webserver import Webserver, find

if TYPE_CHECKING:
    from resources.database import Database
    from touchline.library.tables import SourceAsset

BACKFILL_TAG: Final = "touchline/backfill"
"""Tag of a run: the id of its backfill."""


def backfill(
    first: str,
    profile: str,
    overrides: Sequence[str],
    brands: Path | None,
    only: str | None,
    priority: int,
    server: str | None,
    as_json: bool,
) -> int:
    """Checks the options, then launches or executes one run per source.

    Returns the exit code: 1 if a run failed, 3 if runs were only stopped by request, 130 after Ctrl-C.
    """
    from resources.settings import Settings

    silence_dagster()
    changes = session.check_settings(profile, session.parse_overrides(overrides))
    session.check_stage(first, "--from", report=True)
    stages = session.check_effect(first, None, changes, brands)
    session.check_brands(brands)
    identity = uuid4().hex[:8]
    tags = {BACKFILL_TAG: identity, PRIORITY_TAG: str(priority)}
    url = find(Settings.from_environment().home, server)
    found: dict[str, Any] = {"backfill": identity, "server": url, "runs": [], "skipped": []}
    options: dict[str, Any] = {"profile": profile, "overrides": changes, "brands_csv": brands}
    try:
        if url is None:
            code = _here(first, only, options, tags, found, as_json)
        else:
            code = _through(url, stages, only, options, tags, found)
    except KeyboardInterrupt:
        session.errors.print(f"interrupted after {len(found['runs'])} runs of backfill {identity}")
        return 130
    finally:
        # Also after an error: runs that were launched continue.
        _report(found, as_json)
    return code


def _through(
    url: str,
    stages: Sequence[str],
    only: str | None,
    options: Mapping[str, Any],
    tags: Mapping[str, str],
    found: dict[str, Any],
) -> int:
    """Launches one run per source through the webserver."""
    from detection_assets.jobs.run_config import JOB, run_config
    from detection_assets.local.registered_files import hand_over

    with session.storage() as connection:
        sources = _sources(connection.database, stages, only, options["profile"], found)
        changes, brands = hand_over(connection.objects, options["overrides"], options["brands_csv"])
    config = run_config(stages, profile=options["profile"], overrides=changes, brands=brands)
    webserver = Webserver(url)
    for source in sources:
        run_id = webserver.launch(JOB, stages, source.partition_key, config, tags)
        found["runs"].append({"partition_key": source.partition_key, "run_id": run_id})
    return 0


def _here(
    first: str, only: str | None, options: dict[str, Any], tags: Mapping[str, str], found: dict[str, Any], as_json: bool
) -> int:
    """Executes the runs one after another in a worker process; returns the exit code."""
    from touchline_cli.outcome import exit_code
    from touchline_cli.progress import ProgressDisplay
    from touchline_cli.run import outcomes, run_source

    done = 0
    with ExitStack() as stack:
        # Before a process is started: there may be no source to run.
        connection = stack.enter_context(session.storage())
        sources = _sources(connection.database, downstream(first), only, options["profile"], found)
        keys = [source.partition_key for source in sources]
        workers, _ = stack.enter_context(session.worker_pool(1))
        progress = stack.enter_context(ProgressDisplay(as_json))
        total = progress.add_task("sources", total=len(sources), stage="")
        works = [partial(run_source, key, {**options, "first": first, "tags": tags}) for key in keys]
        with closing(outcomes(workers, keys, works, progress, keys, downstream(first))) as ended:
            for number, one in ended:
                row: dict[str, Any] = {"partition_key": keys[number], "run_id": ""}
                asked = False
                if isinstance(one, TouchlineError):
                    row |= {"status": "failed", "error": str(one)}
                else:
                    row |= {"run_id": one.outcome.run_id, "job_id": str(one.outcome.job.id)}
                    row["status"], asked = str(one.outcome.job.status), one.outcome.stopped
                    if not one.outcome.succeeded:
                        row["error"] = one.outcome.error
                if "error" in row:
                    session.complain(f"{keys[number]}: {row['error']}", "yellow" if asked else "red")
                found["runs"].append(row)
                done += 1
                progress.advance(total)
    if done < len(keys):
        session.complain(f"{len(keys) - done} sources were not begun: a server failed; run the same command again")
        return 1
    return exit_code(found["runs"])


def _sources(
    database: Database, stages: Sequence[str], only: str | None, profile: str, found: dict[str, Any]
) -> list[SourceAsset]:
    """The matching sources that have the checkpoints the stages read. Others are recorded in `found` as skipped, as are
    sources whose own profile is missing.

    Raises BadInputError if no source is left, and like `refuse_changed_profile` if a profile is given.
    """
    from detection_assets.jobs.run_config import refuse_changed_profile
    from touchline.library import repository
    from touchline.library.tables import SourceState
    from touchline.profiles import profile_names, profile_of

    needed = _read_before(stages)
    with database.session() as opened:
        ready = repository.sources_with_checkpoints(opened, needed) if needed else None
        matching = [one for one in matching_sources(opened, only) if one.state is SourceState.ACCEPTED]
        if profile:
            for source in matching:
                refuse_changed_profile(opened, source, profile, stages)
    if not matching:
        what = f"--only {only}: matches no source that can be run" if only else "no source is registered yet"
        raise BadInputError(f"{what}; `touchline sources` shows all sources")
    known, kept, lost = set(profile_names()), [], f"no checkpoint of {', '.join(sorted(needed))} to start from"
    for source in matching:
        reason = "" if ready is None or source.id in ready else f"{lost}; run all its stages first"
        if not profile and source.profile_name not in known:
            try:
                profile_of(source.partition_key, source.profile_name)
            except BadInputError as error:
                reason = reason or str(error)
        if reason:
            found["skipped"].append({"partition_key": source.partition_key, "reason": reason})
        else:
            kept.append(source)
    if not kept:
        first = found["skipped"][0]["reason"]
        raise BadInputError(f"none of the {len(matching)} sources can start at {stages[0]}: {first}")
    return kept


def _read_before(stages: Collection[str]) -> set[str]:
    """The stages, other than these, whose checkpoints these stages read."""
    reads = {name for node in NODES if node.name in stages for name in node.reads}
    if REPORT in stages:
        reads.add(NODES[-1].name)
    return reads - set(stages)


def _report(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        if found["runs"]:
            session.print_json(found)
        return
    for row in found["skipped"]:
        session.complain(f"skipped {row['partition_key']}: {row['reason']}", "yellow")
    for row in found["runs"]:
        session.say(f"{row['partition_key']}  run {row['run_id']}  {row.get('status', 'in the queue')}")
    if found["runs"]:
        where = f"{found['server']}/runs?q[]=tag%3A{BACKFILL_TAG}%3D{found['backfill']}"
        session.say(
            f"backfill {found['backfill']}: {len(found['runs'])} runs, "
            + (f"seen at {where}" if found["server"] else "done in this process")
        )
