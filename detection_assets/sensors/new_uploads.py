"""The sensors of uploads: an upload becomes a source, a partition and a run without anybody's help.

Belongs here: when to scan, and how Dagster is told. What is scanned and decided is in
`detection_assets/upkeep/scan_uploads.py`; files are looked into by the job in `detection_assets/upkeep/ingest_job.py`.
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
"""Seconds between two scans: as long as an upload must be unchanged to count as whole."""
ASK_S: Final = 10
"""Seconds between two looks into the ledger for uploads whose run is due: one query that finds few rows."""
UPLOAD_TAG: Final = "touchline/upload"
"""The library path of the upload, on its run."""


@dg.sensor(
    name="new_uploads",
    job_name=ingest_uploads.name,
    description="Lists uploads/ in the bucket and the folder TOUCHLINE_UPLOADS, and notes what is there in the table "
    "uploads. For what has arrived whole it asks for a run of ingest_uploads, one at a time for each place. It opens "
    "no file. The table is the truth; the cursor only tells.",
    minimum_interval_seconds=SCAN_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def new_uploads(context: dg.SensorEvaluationContext, storage: Storage) -> dg.SensorResult:
    """Fails, visibly, where a place cannot be read; the runs that are due elsewhere are asked for before that."""
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
    description="Asks for a run of all nodes for each upload that ingest_uploads has registered, together with its "
    "partition, and again for those whose run ended for no fault of theirs. The table uploads says which they are.",
    minimum_interval_seconds=ASK_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def registered_uploads(context: dg.SensorEvaluationContext, storage: Storage) -> dg.SensorResult:
    """Asks until Dagster has the run; Dagster makes one for each run key."""
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
