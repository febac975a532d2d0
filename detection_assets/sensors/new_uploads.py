"""The sensors of uploads: an upload becomes a source, a partition and a run.

Belongs here: intervals and run requests. `detection_assets/upkeep/scan_uploads.py` scans and decides; the job in
`detection_assets/upkeep/ingest_job.py` probes files.
https://docs.dagster.io/guides/automate/sensors
"""

import json
from typing import Final

import dagster as dg

from detection_assets.assets import JOB
from detection_assets.dagster_internals.tags import PRIORITY_TAG
from detection_assets.partitions import sources
from detection_assets.upkeep.ingest_job import INGEST_TAG, ingest_uploads
from detection_assets.upkeep.scan_uploads import continued, registered, scan
from resources.storage import Storage
from resources.uploads import watched_locations

SCAN_S: Final = 30
"""Interval between two ticks that scan for uploads [s]."""
REQUEST_S: Final = 10
"""Interval between two ticks that request the runs of registered uploads [s]. A tick is one query with few rows."""
UPLOAD_TAG: Final = "touchline/upload"
"""Tag of an upload's run: the upload's path in the library."""


@dg.sensor(
    name="new_uploads",
    job_name=ingest_uploads.name,
    description="Scans uploads/ in the bucket and the folder TOUCHLINE_UPLOADS, and records uploads in the table "
    "uploads. For complete uploads it requests a run of ingest_uploads, one at a time per location. It opens no file. "
    "The cursor is for information only; the state is in the table.",
    minimum_interval_seconds=SCAN_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def new_uploads(context: dg.SensorEvaluationContext, storage: Storage) -> dg.SensorResult:
    """Requests the runs that are due. If there are none and a location cannot be read, the tick fails."""
    connection = storage.connect()
    found = scan(context.instance, connection, watched_locations(connection.objects))
    for trouble in found.troubles:
        context.log.error(str(trouble))
    if found.troubles and not found.runs:
        raise found.troubles[0]
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=key, tags={PRIORITY_TAG: "1", INGEST_TAG: location})
            for key, location in found.runs.items()
        ],
        skip_reason=None if found.runs else str(found),
        cursor=json.dumps({"newest": found.newest.isoformat() if found.newest else None, "told": str(found)}),
    )


@dg.sensor(
    name="registered_uploads",
    job_name=JOB,
    description="Adds the partition of each upload that ingest_uploads has registered, and requests a run of all "
    "stages. A run that ended early through no fault of the upload is requested again. The table uploads lists them.",
    minimum_interval_seconds=REQUEST_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def registered_uploads(context: dg.SensorEvaluationContext, storage: Storage) -> dg.SensorResult:
    """Requests each run until Dagster has it; Dagster creates one run per run key."""
    connection = storage.connect()
    due = registered(context.instance, connection)
    keys = sorted({upload.partition_key for upload in due})
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=upload.run_key,
                partition_key=upload.partition_key,
                tags={PRIORITY_TAG: "0", UPLOAD_TAG: upload.location + upload.key, **continued(connection, upload)},
            )
            for upload in due
        ],
        skip_reason=None if due else "every registered upload has its run",
        dynamic_partitions_requests=[sources.build_add_request(keys)] if keys else [],
    )
