"""Questions to the database and changes in it, as functions that take a SQLAlchemy Session.

Belongs here: every query of the project, by subject: sources, jobs, checkpoints, brands. The caller owns the session
and its transaction (`resources/database.py`); nothing here commits. Blobs are the business of `resources/`.
"""

from touchline.repository.brands import (
    Sighting,
    brand_book,
    list_brands,
    list_sightings,
    load_shipped_brands,
    record_sightings,
    upsert_brands,
)
from touchline.repository.checkpoints import (
    add_checkpoint,
    find_by_fingerprint,
    get_checkpoint,
    job_checkpoint,
    lineage_checkpoint,
    list_checkpoints,
    lock_checkpoint,
    resolve_checkpoint,
    sources_with_checkpoints,
)
from touchline.repository.forget import Holdings, drop_findings, drop_source, holdings, named_by_others
from touchline.repository.jobs import (
    FINAL,
    UNFINISHED,
    JobTotals,
    create_job,
    finish_job,
    get_job,
    job_of_run,
    jobs_at_work,
    jobs_of_run,
    list_jobs,
    reported_job,
    request_stop,
    set_job_status,
    set_progress,
    settle_job,
    stop_requested,
    unfinished_job,
)
from touchline.repository.library import Made, failed_sources, newest_checkpoints, source_keys
from touchline.repository.plain import plain_json
from touchline.repository.sources import find_source, get_source, list_sources, register_source

__all__ = [
    "FINAL",
    "UNFINISHED",
    "Holdings",
    "JobTotals",
    "Made",
    "Sighting",
    "add_checkpoint",
    "brand_book",
    "create_job",
    "drop_findings",
    "drop_source",
    "failed_sources",
    "find_by_fingerprint",
    "find_source",
    "finish_job",
    "get_checkpoint",
    "get_job",
    "get_source",
    "holdings",
    "job_checkpoint",
    "job_of_run",
    "jobs_at_work",
    "jobs_of_run",
    "lineage_checkpoint",
    "list_brands",
    "list_checkpoints",
    "list_jobs",
    "list_sightings",
    "list_sources",
    "load_shipped_brands",
    "lock_checkpoint",
    "named_by_others",
    "newest_checkpoints",
    "plain_json",
    "record_sightings",
    "register_source",
    "reported_job",
    "request_stop",
    "resolve_checkpoint",
    "set_job_status",
    "set_progress",
    "settle_job",
    "source_keys",
    "sources_with_checkpoints",
    "stop_requested",
    "unfinished_job",
    "upsert_brands",
]
