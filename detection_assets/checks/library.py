"""Checks of the whole library, once a day: failed sources, stale checkpoints, lost keys, failed uploads.

Belongs here: the asset `library`, its checks and their schedule. Queries are in
`touchline/library/repository/overview.py`, the rules of staleness in `touchline/fingerprint.py`.
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
    description="All sources together. It is not materialized. It carries the library's checks, which the schedule "
    "library_check evaluates daily.",
)


@dg.asset_check(
    asset="library",
    description="The newest job of no source has failed. To continue a failed job, re-execute its run from failure or "
    "use `touchline run` with the same video.",
)
def no_failed_sources(storage: Storage) -> dg.AssetCheckResult:
    """Lists failed sources with their errors."""
    return _listed(failed_sources(storage.connect()), "sources whose newest job has failed")


@dg.asset_check(
    asset="library",
    description="The newest checkpoint of each stage is what the stage would compute today: same settings of the "
    "profile, code, models, brands, upstream checkpoints and video. A backfill recomputes stale checkpoints.",
)
def no_stale_checkpoints(storage: Storage, models: Models) -> dg.AssetCheckResult:
    """Lists stale checkpoints with all their causes."""
    return _listed(stale_checkpoints(storage.connect(), models), "stale checkpoints")


@dg.asset_check(
    asset="library",
    description="Every partition key in Dagster has a source in the database, and every accepted source has a "
    "partition key.",
)
def keys_match_sources(context: dg.AssetCheckExecutionContext, storage: Storage) -> dg.AssetCheckResult:
    """Lists keys without a source and sources without a key."""
    found = unmatched_keys(context.instance, storage.connect())
    return _listed(found, "partition keys without a source, or sources without a partition key", severe=True)


@dg.asset_check(
    asset="library",
    description="Every complete upload could be probed. A failed probe is retried after all other uploads; the table "
    "uploads has its reason.",
)
def uploads_looked_into(storage: Storage) -> dg.AssetCheckResult:
    """Lists uploads whose probe failed, with the reasons."""
    return _listed(waiting_uploads(storage.connect()), "uploads that could not be probed")


def waiting_uploads(connection: Connection) -> list[str]:
    """One line per upload that waits because its probe failed."""
    with connection.database.session() as session:
        troubled = repository.uploads_with_errors(session)
    return [f"{upload.location}{upload.key}: {_short(upload.reason)}" for upload in troubled]


def failed_sources(connection: Connection) -> list[str]:
    """One line per source whose newest job has failed."""
    with connection.database.session() as session:
        jobs = repository.failed_sources(session)
    return [f"{job.partition_key}: job {job.id}, {_short(job.error_message or 'no message')}" for job in jobs]


def stale_checkpoints(connection: Connection, models: Models) -> list[str]:
    """One line per source and stage whose newest checkpoint is not what the stage would compute today."""
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
            # Rows are sorted by source, then by stage: upstream stages come first.
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
            if made.stage == NODE_NAMES[0] and (reason := replacement(connection, made, made_of)):
                reasons.append(reason)
            if reasons:
                lines.append(f"{made.partition_key} {made.stage}: {_short('; '.join(reasons))}")
    return lines


def unmatched_keys(instance: dg.DagsterInstance, connection: Connection) -> list[str]:
    """One line per partition key without a source, and per accepted source without a partition key."""
    with connection.database.session() as session:
        known, accepted = repository.source_keys(session)
    keys = set(instance.get_dynamic_partitions(str(sources.name)))
    lost = [
        f"{key}: a partition without a source; `touchline forget` cannot remove it, delete it in Dagster"
        for key in keys - known
    ]
    hidden = [f"{key}: a source without a partition; `touchline run` with its video adds it" for key in accepted - keys]
    return sorted(lost) + sorted(hidden)


def _listed(lines: Sequence[str], what: str, *, severe: bool = False) -> dg.AssetCheckResult:
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
    """The text on one line, cut to `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[:limit] + " ..."


CHECKS = (no_failed_sources, no_stale_checkpoints, keys_match_sources, uploads_looked_into)

LIBRARY_CHECK: Final = dg.ScheduleDefinition(
    name="library_check",
    job=dg.define_asset_job(
        "library_check",
        selection=dg.AssetSelection.checks(*CHECKS),
        description="The checks of the library: failed sources, stale checkpoints, unmatched keys, failed uploads.",
        executor_def=dg.in_process_executor,
    ),
    cron_schedule="23 4 * * *",
    description="Evaluates the checks of the library every day at 04:23 UTC.",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
