"""The job `ingest_uploads`, which probes uploads in a run, so that no sensor tick opens untrusted files.

Belongs here: the job, and what its run logs in Dagster. The work is in `ingest_uploads.py`.
https://docs.dagster.io/guides/build/jobs/op-jobs
"""

from functools import partial
from typing import Final

import dagster as dg

from detection_assets.dagster_internals.tags import RUN_KEY_TAG
from detection_assets.jobs.job_of_run import claim_run
from detection_assets.metadata.markdown import plain
from detection_assets.upkeep.ingest_uploads import ingest, refusal
from resources import leases
from resources.storage import Storage
from resources.uploads import location_at

INGEST_TAG: Final = "touchline/ingest"
"""Tag of an ingest run: the location of its uploads. `dagster.yaml` allows one such run per location."""


@dg.op(
    name="look_into_uploads",
    description="Probes the uploads that the table uploads assigns to this run, one after another, each in a process "
    "of its own with limits on time, memory and bytes read. A video or picture is registered, and the sensor "
    "registered_uploads requests its run. Any other file is refused with a reason. If this run is killed, the sensor "
    "new_uploads requests another run for the remaining uploads.",
)
def look_into_uploads(context: dg.OpExecutionContext, storage: Storage) -> None:
    """Ingests the uploads of one run and logs the outcome of each."""
    connection = storage.connect()
    key = context.run.tags.get(RUN_KEY_TAG, "")
    if not key:
        context.log.warning("no upload is assigned to this run: the sensor new_uploads requests runs of this job")
        return
    claim_run(context, connection)

    def refused(path: str, reason: str) -> None:
        sentence = refusal(path, reason)
        context.log.warning(sentence)
        metadata = {"refused_because": reason, "path": path}
        context.log_event(dg.AssetObservation("library", description=plain(sentence, 1000), metadata=metadata))

    found = ingest(
        connection,
        partial(location_at, connection.objects),
        key,
        between=partial(leases.check, context.run_id),
        refused=refused,
    )
    for path in found.registered:
        context.log.info(f"registered {path}; the sensor registered_uploads requests its run")
    for path in found.unchanged:
        context.log.info(f"{path} has the same content as its previous version; nothing to do")
    for trouble in found.troubles:
        context.log.error(str(trouble))
    context.add_output_metadata(
        {
            "registered": len(found.registered),
            "unchanged": len(found.unchanged),
            "refused": len(found.refused),
            "to be probed again": len(found.troubles) + found.left,
        }
    )


@dg.job(
    name="ingest_uploads",
    executor_def=dg.in_process_executor,
    description="Probes new uploads: videos and pictures are registered, other files are refused with a reason. The "
    "sensor new_uploads requests its runs once uploads are complete. A manually launched run has no uploads.",
)
def ingest_uploads() -> None:
    """One op, so that all uploads of a run share one prober process."""
    look_into_uploads()
