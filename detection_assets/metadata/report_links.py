"""Where a job's report is opened in a browser.

Belongs here: the address that metadata carries and that the web server answers. It names no host and no port: a
report is looked at long after the server that ran it has got another.
"""

from __future__ import annotations

from typing import Final

from touchline.report.files import REPORT_FILES

OWN: Final = "/detection"
"""What is under this path is Touchline's own, all else Dagster's."""
FIRST: Final = REPORT_FILES[1]
"""The file that people look at."""


def path_of(job_id: str, name: str = FIRST) -> str:
    """The path of one of a job's report files on the web server of `touchline serve`."""
    return f"{OWN}/reports/{job_id}/{name}"
