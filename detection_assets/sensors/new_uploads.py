"""The sensor `new_uploads`: an upload becomes a source, a partition and a run without anybody's help.

Belongs here: when to look, and how Dagster is told. What is looked at and decided is in
`detection_assets/upkeep/ingest_uploads.py`.
https://docs.dagster.io/guides/automate/sensors
"""

import json
from typing import Final

import dagster as dg

from detection_assets.assets import JOB
from detection_assets.dagster_internals.tags import PRIORITY_TAG
from detection_assets.metadata.markdown import plain
from detection_assets.partitions import sources
from detection_assets.upkeep.ingest_uploads import continued, look, refusal
from resources.settings import Settings
from resources.storage import Storage
from resources.uploads import BucketUploads, FolderUploads, Place

EVERY_S: Final = 30
"""Seconds between two looks: as long as an upload must be unchanged to count as whole."""
UPLOAD_TAG: Final = "touchline/upload"
"""The library path of the upload, on its run."""


@dg.sensor(
    name="new_uploads",
    job_name=JOB,
    description="Watches uploads/ in the bucket and the folder TOUCHLINE_UPLOADS. A video that has arrived is "
    "registered, gets its partition and a run; what is no video is refused once, with the reason in the tick's log, on "
    "the asset library and in the table source_assets. What was seen is in the table uploads; the cursor only tells.",
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def new_uploads(context: dg.SensorEvaluationContext, storage: Storage) -> dg.SensorResult:
    """Fails, visibly, where a place cannot be read; the runs that are due are asked for before that."""
    connection = storage.connect()
    places: list[Place] = [BucketUploads(connection.objects)]
    folder = Settings.from_environment().uploads
    if folder.is_dir():
        places.append(FolderUploads(folder))
    found = look(context.instance, connection, places)
    for path, reason in found.refused:
        context.log.warning(refusal(path, reason))
    for trouble in found.troubles:
        context.log.error(str(trouble))
    if found.troubles and not found.requests and not found.refused:
        raise found.troubles[0]
    keys = sorted({upload.partition_key for upload in found.requests})
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=upload.run_key,
                partition_key=upload.partition_key,
                tags={PRIORITY_TAG: "0", UPLOAD_TAG: upload.location + upload.key, **continued(connection, upload)},
            )
            for upload in found.requests
        ],
        skip_reason=None if found.requests else str(found),
        dynamic_partitions_requests=[sources.build_add_request(keys)] if keys else [],
        asset_events=[
            dg.AssetObservation(
                "library",
                description=plain(refusal(path, reason), 1000),
                metadata={"refused_because": reason, "path": path},
            )
            for path, reason in found.refused
        ],
        cursor=json.dumps({"newest": found.newest.isoformat() if found.newest else None, "told": str(found)}),
    )
