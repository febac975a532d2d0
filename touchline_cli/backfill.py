"""`touchline backfill`: many sources again from a stage on, one run a source.

Belongs here: which sources, with which settings and tags, and who runs them. One run in this process is in `run.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from detection_assets.quiet import quiet
from detection_assets.run_config import PRIORITY_TAG
from touchline.errors import BadInputError, TouchlineError
from touchline.nodes import NODES, REPORT, downstream
from touchline_cli import session
from touchline_cli.webserver import Webserver, find

if TYPE_CHECKING:
    from resources.connection import Connection
    from touchline.schema import SourceAsset

BACKFILL_TAG: Final = "touchline/backfill"


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
    """Checks everything, then launches (or runs) source by source. 1 if any failed, 130 after Ctrl-C."""
    from resources.settings import Settings

    quiet()
    changes = session.check_settings(profile, session.parse_overrides(overrides))
    session.check_stage(first, "--from", report=True)
    session.check_brands(brands)
    stages = downstream(first)
    if before := sorted({path.partition(".")[0] for path in changes} - set(stages)):
        raise BadInputError(f"--set {before[0]}: not among the stages that run, which are {', '.join(stages)}")
    identity = uuid4().hex[:8]
    tags = {BACKFILL_TAG: identity, PRIORITY_TAG: str(priority)}
    url = find(Settings.from_environment().home, server)
    found: dict[str, Any] = {"backfill": identity, "server": url, "runs": [], "skipped": []}
    options: dict[str, Any] = {"profile": profile, "overrides": changes, "brands_csv": brands}
    try:
        if url is None:
            failed = _here(first, only, options, tags, found, as_json)
        else:
            failed = _through(url, stages, only, options, tags, found)
    except KeyboardInterrupt:
        session.errors.print(f"interrupted after {len(found['runs'])} runs of backfill {identity}")
        return 130
    finally:
        # Also when something fails half-way: the runs that were launched go on.
        _tell(found, as_json)
    return 1 if failed else 0


def _through(
    url: str,
    stages: Sequence[str],
    only: str | None,
    options: Mapping[str, Any],
    tags: Mapping[str, str],
    found: dict[str, Any],
) -> int:
    """Launches one run a source through the webserver."""
    from detection_assets.definitions import JOB
    from detection_assets.run_config import run_config

    with session.storage() as connection:
        sources = _sources(connection, stages, only, found)
    config, webserver = run_config(stages, **options), Webserver(url)
    for source in sources:
        run_id = webserver.launch(JOB, stages, source.partition_key, config, tags)
        found["runs"].append({"partition_key": source.partition_key, "run_id": run_id})
    return 0


def _here(
    first: str, only: str | None, options: dict[str, Any], tags: Mapping[str, str], found: dict[str, Any], as_json: bool
) -> int:
    """Runs source by source in one process beside this one; returns how many failed or were not begun."""
    from touchline_cli.progress import Shown
    from touchline_cli.run import outcomes, run_source

    done = failed = 0
    with session.working(1) as (workers, connection), Shown(as_json) as progress:
        sources = _sources(connection, downstream(first), only, found)
        keys = [source.partition_key for source in sources]
        total = progress.add_task("sources", total=len(sources), stage="")
        works = [partial(run_source, key, {**options, "first": first, "tags": tags}) for key in keys]
        with closing(outcomes(workers, keys, works, progress, keys, downstream(first))) as ended:
            for number, one in ended:
                row: dict[str, Any] = {"partition_key": keys[number], "run_id": ""}
                if isinstance(one, TouchlineError):
                    row |= {"status": "failed", "error": str(one)}
                else:
                    row |= {"run_id": one.outcome.run_id, "job_id": str(one.outcome.job.id)}
                    row["status"] = str(one.outcome.job.status)
                    if not one.outcome.succeeded:
                        row["error"] = one.outcome.error
                if "error" in row:
                    failed += 1
                    session.complain(f"{keys[number]}: {row['error']}")
                found["runs"].append(row)
                done += 1
                progress.advance(total)
    if done < len(keys):
        session.complain(f"{len(keys) - done} sources were not begun, for a server is gone; run the same command again")
    return failed + len(keys) - done


def _sources(
    connection: Connection, stages: Sequence[str], only: str | None, found: dict[str, Any]
) -> list[SourceAsset]:
    """The sources that match and have what is read; notes those that lack it. Raises BadInputError if none is left."""
    from touchline import repository
    from touchline.schema import SourceState

    needed = _read_before(stages)
    with connection.database.session() as database:
        ready = repository.sources_with_checkpoints(database, needed) if needed else None
        matching = [
            source
            for source in repository.list_sources(database)
            if source.state is SourceState.ACCEPTED
            and (only is None or fnmatchcase(source.partition_key, only) or fnmatchcase(source.video_path, only))
        ]
    if not matching:
        what = f"--only {only}: matches no source's partition key or path" if only else "no source is registered yet"
        raise BadInputError(f"{what}; `touchline jobs` shows those there are")
    kept = [source for source in matching if ready is None or source.id in ready]
    reason = f"no checkpoint of {', '.join(sorted(needed))} to start from; run it whole first"
    found["skipped"] = [
        {"partition_key": source.partition_key, "reason": reason} for source in matching if source not in kept
    ]
    if not kept:
        raise BadInputError(f"none of the {len(matching)} sources can start at {stages[0]}: {reason}")
    return kept


def _read_before(stages: Collection[str]) -> set[str]:
    """The stages whose checkpoints these read, besides each other's."""
    reads = {name for node in NODES if node.name in stages for name in node.reads}
    if REPORT in stages:
        reads.add(NODES[-1].name)
    return reads - set(stages)


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        if found["runs"]:
            session.print_json(found)
        return
    for row in found["skipped"]:
        session.errors.print(f"skipped {row['partition_key']}: {row['reason']}", highlight=False)
    for row in found["runs"]:
        session.console.print(
            f"{row['partition_key']}  run {row['run_id']}  {row.get('status', 'in the queue')}",
            highlight=False,
            soft_wrap=True,
        )
    if found["runs"]:
        where = f"{found['server']}/runs?q[]=tag%3A{BACKFILL_TAG}%3D{found['backfill']}"
        session.console.print(
            f"backfill {found['backfill']}: {len(found['runs'])} runs, "
            + (f"seen at {where}" if found["server"] else "done in this process"),
            highlight=False,
            soft_wrap=True,
        )
