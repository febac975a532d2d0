"""The asset `brand_report`: the deliverable. The computation is in `touchline/stages/brand_report.py`."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import dagster as dg
from sqlalchemy.orm import Session

from detection_assets.execution.registry import STAGES, takes_settings
from detection_assets.execution.run_stage import ancestors, frame_loader, frames_of, job_overrides, telling
from detection_assets.execution.stage_asset import GROUP
from detection_assets.jobs.heartbeat import Heartbeat, announce
from detection_assets.jobs.job_of_run import open_job, record_failure, selected_stages
from detection_assets.jobs.run_config import given
from detection_assets.metadata.markdown import bullets, command, tables
from detection_assets.metadata.provenance import input_tags, read_from
from detection_assets.metadata.report_links import FIRST, path_of
from detection_assets.metadata.report_summary import brand_table, evidence_table, totals
from detection_assets.partitions import sources
from io_managers.checkpoint_io_manager import stored_metadata
from io_managers.stage_io import StageInput
from resources.leases import check, guard_of
from resources.run_settings import RunSettings
from resources.source_files import replacement
from resources.storage import Connection, Storage
from resources.tempfiles import scratch_folder
from touchline.config import silently
from touchline.library import repository
from touchline.library.tables import BrandSource, DetectJob, StageCheckpoint
from touchline.nodes import NODE_NAMES, REPORT, TRACES
from touchline.profiles import profile_of, with_settings
from touchline.report import Report, SourceFacts, StageSummary, write_report
from touchline.stages import brand_report as stage
from touchline.weights import sha256_of


@dg.asset(
    deps=TRACES[REPORT],
    partitions_def=sources,
    group_name=GROUP,
    description="Exposure of each brand: zones, seconds and visibility. Writes report.html, report.json, summary.csv "
    "and exposures.csv. It is computed from checkpoints on every run.",
    owners=["team:sponsorship-analytics"],
    kinds={"html", "json", "python"},
    code_version=stage.VERSION,
)
@takes_settings(REPORT)
def brand_report(
    context: dg.AssetExecutionContext,
    config: dg.Config,
    escalate_cloud: StageInput,
    storage: Storage,
    run_settings: RunSettings,
) -> dg.MaterializeResult[None]:
    """Computes the exposure, stores the report's files, and records the job's totals and the source's sightings."""
    began = time.perf_counter()
    connection = storage.connect()
    with connection.database.session() as session:
        source = repository.get_source(session, context.partition_key)
    base = profile_of(source.partition_key, source.profile_name, run_settings.profile, context.log.warning)
    job = open_job(context, connection, source, base.name, job_overrides(context, base))
    run_id = context.run.run_id
    heart = Heartbeat(connection, job.id, "brand_report", selected_stages(context.run), run_id)
    with record_failure(connection, job):
        heart.begin()
        profile = with_settings(base, {"brand_report": given(config.model_dump())}, silently)
        rows = ancestors(connection, escalate_cloud.row, NODE_NAMES)
        tags = input_tags(context, rows)
        extracted = rows["extract_frames"]
        report = stage.build_report(
            source=SourceFacts(
                key=source.partition_key,
                path=source.video_path,
                duration_s=float(extracted.stats.get("duration_s") or 0.0),
                sample_fps=float(extracted.config_snapshot["sample_fps"]),
                fps=float(extracted.stats.get("fps") or 0.0),
                codec=str(extracted.stats.get("codec") or ""),
                is_image=bool(extracted.stats.get("is_image")),
            ),
            job_id=str(job.id),
            profile=base.name,
            frames=frames_of(connection, extracted),
            scenes=map(STAGES["filter_scenes"].module.deserialize, connection.checkpoints.read(rows["filter_scenes"])),
            documents=escalate_cloud.documents(),
            load=telling(frame_loader(connection, lambda: frames_of(connection, extracted)), {}, heart),
            stages=[_summary(job, row) for row in rows.values()],
            config=profile.brand_report,
        )
        if warning := replacement(connection, source, str(extracted.stats.get("checksum") or "")):
            report = replace(report, warnings=[warning, *report.warnings])
        check(run_id)
        prefix, files = _store(connection, job, report)
        _record(connection, job, report, rows, prefix, files, guard_of(run_id))
    announce("brand_report", 1.0)
    return dg.MaterializeResult(
        metadata={
            "brands_found": tables(brand_table(report)),
            **({"seen": tables(seen)} if (seen := evidence_table(report)) else {}),
            "warnings": bullets(report.warnings),
            **totals(report),
            "wall_s": dg.MetadataValue.float(round(time.perf_counter() - began, 3)),
            **stored_metadata(connection.objects.uri(f"{prefix}{FIRST}"), len(report.brands)),
            "whole_report": command(f"touchline report {source.partition_key} --job {job.id} --out DIR"),
            # Served by `touchline serve` only. With Dagster's own webserver, use the command above.
            "report": dg.MetadataValue.url(path_of(str(job.id))),
            "report_object": dg.MetadataValue.path(f"{prefix}{FIRST}"),
            "job_id": str(job.id),
            **read_from({"escalate_cloud": escalate_cloud}),
        },
        tags=tags,
    )


def _summary(job: DetectJob, row: StageCheckpoint) -> StageSummary:
    """The stage's work in this job; a reused checkpoint counts 0 s."""
    reused = row.job_id != job.id or row.reused_from is not None
    return StageSummary(row.stage, 0.0 if reused else row.wall_s, row.item_count, reused, row.stats)


def _store(connection: Connection, job: DetectJob, report: Report) -> tuple[str, dict[str, Any]]:
    """Stores the files under reports/{job_id}/. Returns that prefix, and size and SHA-256 of each file by name."""
    prefix = f"reports/{job.id}/"
    files: dict[str, Any] = {}
    with scratch_folder(prefix) as folder:
        for path in write_report(report, folder):
            connection.objects.put_file(prefix + path.name, path)
            files[path.name] = {"size": path.stat().st_size, "sha256": sha256_of(path)}
    return prefix, files


def _record(
    connection: Connection,
    job: DetectJob,
    report: Report,
    rows: dict[str, StageCheckpoint],
    prefix: str,
    files: dict[str, Any],
    guard: Callable[[Session], None],
) -> None:
    """Records the job's totals and the source's sightings in one transaction."""
    cloud = rows["escalate_cloud"].stats
    sightings = [
        repository.Sighting(
            brand_id=UUID(brand.brand_id),
            brand_name=brand.name,
            first_seen_timestamp=brand.intervals[0][0],
            last_seen_timestamp=brand.intervals[-1][1],
            occurrences=brand.occurrences,
            detection_source=BrandSource(brand.source),
            avg_confidence=brand.confidence,
        )
        for brand in report.brands
    ]

    def record(session: Session) -> None:
        repository.record_sightings(session, job.source_asset_id, sightings)
        totals: repository.JobTotals = {
            "total_detections": sum(brand.occurrences for brand in report.brands),
            "brands_found": len(report.brands),
            "cloud_llm_calls": int(cloud.get("calls") or 0),
            "estimated_cost_usd": report.cost_usd,
        }
        repository.record_totals(session, job.id, totals, report_prefix=prefix, report_files=files)
        guard(session)

    connection.database.transact(record)
