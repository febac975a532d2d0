"""The job `ingest_uploads`: a run that looks into uploads, so that no sensor has to wait for a stranger's file.

Belongs here: the job, and what its run shows in Dagster. What is done is in `ingest_uploads.py`.
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
"""On the run: the place whose uploads it looks into. `dagster.yaml` allows one such run a place."""


@dg.op(
    name="look_into_uploads",
    description="Looks into the uploads that the ledger (the table uploads) holds ready for this run, one after "
    "another, each in a process of its own with bounds on time, memory and bytes read. A video or picture is "
    "registered, and the sensor registered_uploads asks for its run; what is none is refused with the reason. Killed "
    "at any moment, it loses nothing: the sensor new_uploads has the rest looked into by another run.",
)
def look_into_uploads(context: dg.OpExecutionContext, storage: Storage) -> None:
    """The work of one ingest run."""
    connection = storage.connect()
    key = context.run.tags.get(RUN_KEY_TAG, "")
    if not key:
        context.log.warning("no upload is held ready for this run: the sensor new_uploads asks for runs of this job")
        return
    claim_run(context, connection)

    def told(path: str, reason: str) -> None:
        said = refusal(path, reason)
        context.log.warning(said)
        metadata = {"refused_because": reason, "path": path}
        context.log_event(dg.AssetObservation("library", description=plain(said, 1000), metadata=metadata))

    found = ingest(
        connection,
        partial(location_at, connection.objects),
        key,
        between=partial(leases.check, context.run_id),
        refused=told,
    )
    for path in found.registered:
        context.log.info(f"registered {path}; its run is asked for next")
    for path in found.unchanged:
        context.log.info(f"{path} has the content of the version before; nothing to do")
    for trouble in found.troubles:
        context.log.error(str(trouble))
    context.add_output_metadata(
        {
            "registered": len(found.registered),
            "unchanged": len(found.unchanged),
            "refused": len(found.refused),
            "to be looked into again": len(found.troubles) + found.left,
        }
    )


@dg.job(
    name="ingest_uploads",
    executor_def=dg.in_process_executor,
    description="Looks into new uploads: videos and pictures are registered, all else is refused with the reason. The "
    "sensor new_uploads asks for a run as soon as uploads have settled; launched by hand it finds nothing to do.",
)
def ingest_uploads() -> None:
    """One op: the uploads of a run share a process that starts once."""
    look_into_uploads()
