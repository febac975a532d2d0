"""Standing checks of the whole library, once a day: what Dagster's overview alone shows as green.

Belongs here: the asset they stand on, the checks and their schedule. Queries are in
`touchline/library/repository/overview.py`, what counts as stale in `touchline/fingerprint.py`.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import dagster as dg

from detection_assets.checks.outputs import compared_metadata
from detection_assets.execution.registry import STAGES, Context
from detection_assets.partitions import sources
from resources.models import Models
from resources.source_files import replacement
from resources.storage import Connection, Storage
from touchline.checks import LISTED
from touchline.fingerprint import Staleness
from touchline.library import repository
from touchline.nodes import NODE_NAMES

LIBRARY: Final = dg.AssetSpec(
    "library",
    group_name="touchline",
    kinds={"postgres", "s3"},
    owners=["team:operations"],
    description="All sources together. Nothing is materialized here: the library's standing checks are shown on it, "
    "and evaluated daily by the schedule library_check.",
)


@dg.asset_check(
    asset="library",
    description="No source's newest job has failed. A failed one is continued by re-executing its run from failure, or "
    "by `touchline run` with the same video.",
)
def no_failed_sources(storage: Storage) -> dg.AssetCheckResult:
    """The first offenders with their errors."""
    return _told(failed_sources(storage.connect()), "sources whose newest job has failed")


@dg.asset_check(
    asset="library",
    description="Every newest checkpoint is what its stage would make today: same settings in the profile, code, "
    "models, brands, upstream and video. What is stale is right for its time; a backfill brings it up to date.",
)
def no_stale_checkpoints(storage: Storage, models: Models) -> dg.AssetCheckResult:
    """The first offenders with every cause."""
    return _told(stale_checkpoints(storage.connect(), models), "stale checkpoints")


@dg.asset_check(
    asset="library",
    description="Every partition key of Dagster has its source in the database, and every accepted source its "
    "partition key.",
)
def keys_match_sources(context: dg.AssetCheckExecutionContext, storage: Storage) -> dg.AssetCheckResult:
    """Both directions."""
    found = unmatched_keys(context.instance, storage.connect())
    return _told(found, "partition keys without a source, or sources without a partition key", severe=True)


@dg.asset_check(
    asset="library",
    description="Every upload that has arrived could be looked into. One that could not waits, is tried again after "
    "all others, and says in the table uploads what hinders it.",
)
def uploads_looked_into(storage: Storage) -> dg.AssetCheckResult:
    """The first offenders with their reasons."""
    return _told(waiting_uploads(storage.connect()), "uploads that could not be looked into")


def waiting_uploads(connection: Connection) -> list[str]:
    """One line for each upload that waits because a look into it failed."""
    with connection.database.session() as session:
        troubled = repository.uploads_with_errors(session)
    return [f"{upload.location}{upload.key}: {_short(upload.reason)}" for upload in troubled]


def failed_sources(connection: Connection) -> list[str]:
    """One line for each source whose newest job has failed."""
    with connection.database.session() as session:
        jobs = repository.failed_sources(session)
    return [f"{job.partition_key}: job {job.id}, {_short(job.error_message or 'no message')}" for job in jobs]


def stale_checkpoints(connection: Connection, models: Models) -> list[str]:
    """One line for each source and stage whose newest checkpoint is not what the stage would make today."""
    with connection.database.session() as session:
        brands = repository.brand_book(session)
    deps = Context(models, lambda: brands)
    judge = Staleness(
        {name: stage.version for name, stage in STAGES.items()},
        lambda stage, config: STAGES[stage].identity(config, deps),
    )
    lines: list[str] = []
    newest: dict[str, dict[str, str]] = defaultdict(dict)
    with connection.database.session() as session:
        for made in repository.newest_checkpoints(session):
            # Stages come in order, so those upstream are there already; sources come one after another.
            if made.partition_key not in newest:
                newest.clear()
            newest[made.partition_key][made.stage] = made.fingerprint
            made_of = str(made.stats.get("checksum") or "")
            reasons = judge.reasons(
                stage=made.stage,
                fingerprint=made.fingerprint,
                profile_name=made.profile_name,
                config_snapshot=made.config_snapshot,
                config_overrides=made.config_overrides,
                upstream=dict(made.upstream),
                newest=newest[made.partition_key],
                checksum=made.checksum,
                extracted_from=made_of,
                brands_version=str(made.stats.get("brands_version") or ""),
            )
            if made.stage == NODE_NAMES[0] and (told := replacement(connection, made, made_of)):
                reasons.append(told)
            if reasons:
                lines.append(f"{made.partition_key} {made.stage}: {_short('; '.join(reasons))}")
    return lines


def unmatched_keys(instance: dg.DagsterInstance, connection: Connection) -> list[str]:
    """One line for each key that is known on one side alone."""
    with connection.database.session() as session:
        known, accepted = repository.source_keys(session)
    keys = set(instance.get_dynamic_partitions(str(sources.name)))
    lost = [
        f"{key}: a partition without a source; `touchline forget` cannot know it, delete it in Dagster"
        for key in keys - known
    ]
    hidden = [f"{key}: a source without a partition; `touchline run` with its video adds it" for key in accepted - keys]
    return sorted(lost) + sorted(hidden)


def _told(lines: Sequence[str], what: str, *, severe: bool = False) -> dg.AssetCheckResult:
    compared: dict[str, Any] = {"offenders": len(lines)}
    if lines:
        compared["first"] = list(lines[:LISTED])
    return dg.AssetCheckResult(
        passed=not lines,
        severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
        description=f"{len(lines)} {what}",
        metadata=compared_metadata(compared),
    )


def _short(text: str, limit: int = 300) -> str:
    """On one line, and no longer than a table can show."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[:limit] + " ..."


CHECKS = (no_failed_sources, no_stale_checkpoints, keys_match_sources, uploads_looked_into)

LIBRARY_CHECK: Final = dg.ScheduleDefinition(
    name="library_check",
    job=dg.define_asset_job(
        "library_check",
        selection=dg.AssetSelection.checks(*CHECKS),
        description="The standing checks of the library: failed sources, stale checkpoints, keys without sources.",
        executor_def=dg.in_process_executor,
    ),
    cron_schedule="23 4 * * *",
    description="Evaluates the standing checks of the library every day at 4:23 UTC.",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
