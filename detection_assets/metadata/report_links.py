"""The path of a job's report on the webserver.

Belongs here: the path that metadata contains and the webserver serves. It has no host and no port, because these can
change after the run.
"""

from __future__ import annotations

from typing import Final

from touchline.report.files import REPORT_FILES

OWN: Final = "/detection"
"""Path prefix of Touchline's own pages; all other paths are Dagster's."""
FIRST: Final = REPORT_FILES[1]
"""The file that a link to a report opens."""


def path_of(job_id: str, name: str = FIRST) -> str:
    """The path of one of a job's report files on the web server of `touchline serve`."""
    return f"{OWN}/reports/{job_id}/{name}"
