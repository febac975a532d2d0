"""Downloads reports from the object store.

Belongs here: finding and fetching a report. `touchline/report/files.py` writes the files.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from resources.audit import changed_file
from resources.connection import Connection
from touchline.errors import BadInputError, CheckpointError
from touchline.library import repository
from touchline.library.tables import DetectJob, SourceAsset
from touchline.report.files import REPORT_FILES, files_of, owner, unwritten, write_files


def fetch_report(connection: Connection, job: DetectJob, directory: Path) -> Path:
    """Writes all of a job's report files into `directory`, or none. Returns the path of report.json.

    Raises BadInputError for a job without a report, or if the folder holds another source's report; TouchlineError if
    the files cannot be written; ServiceError or CheckpointError if they cannot be read.
    """
    if not job.report_prefix:
        raise BadInputError(f"job {job.id} has no report; it is {job.status} (run it to the end first)")
    if (other := owner(directory)) not in (None, job.partition_key):
        whose = f"the report of {other}" if other else "a report.json that is no report"
        raise BadInputError(f"{directory} holds {whose}; it is not written over: name another folder")
    contents = {REPORT_FILES[0]: connection.objects.get(job.report_prefix + REPORT_FILES[0])}
    for name in files_of(contents[REPORT_FILES[0]])[1:]:
        contents[name] = connection.objects.get(job.report_prefix + name)
    for name, recorded in job.report_files.items():
        if message := changed_file(contents.get(name, b""), recorded):
            raise CheckpointError(
                f"{job.report_prefix}{name}: {message}. `touchline replay {job.partition_key} --from brand_report "
                f"--job {job.id}` makes it again"
            )
    try:
        write_files(directory, contents)
    except OSError as error:
        raise unwritten(directory, error) from error
    return directory / REPORT_FILES[0]


def latest_reported_job(connection: Connection, source: SourceAsset) -> DetectJob:
    """The newest job of a source that has a report. Raises BadInputError if none has."""
    with connection.database.session() as session:
        for job in repository.list_jobs(session, source.id, limit=1000):
            if job.report_prefix:
                return job
    again = f"`touchline run {shlex.quote(source.video_path)}`"
    raise BadInputError(f"{source.partition_key} has no report yet; {again} makes one")
