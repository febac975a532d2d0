"""Dagster's instance, the database and the object store, opened without definitions.

Belongs here: what a command opens that reads or corrects runs and jobs and executes none. It loads faster than
`local/runner.py`. Runs and jobs are changed in `jobs/reconcile.py`, `jobs/resume.py`, `upkeep/collect_garbage.py` and
`upkeep/retire_source.py`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from dagster import DagsterInstance

from detection_assets.dagster_internals.storage import close
from detection_assets.jobs.process_liveness import Process
from detection_assets.jobs.watchdog import end_with_process
from resources.connection import Connection, connect
from resources.embedded.home_folder import make_closed
from resources.local_services import Endpoints, export
from resources.settings import Settings

CONFIGURATION: Final = Path(__file__).resolve().parent.parent.parent / "dagster.yaml"
"""Dagster's configuration, copied into each home."""
UNCAPTURED: Final = {
    "compute_logs": {
        "module": "dagster.core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
        "config": {},
    }
}
"""Overrides of `dagster.yaml` that turn off the capture of compute logs, for runs in the command's own process.

Capture would redirect standard output and the progress bar while a step runs. It also starts two child processes per
step, which print a traceback on Ctrl-C."""


class Clients:
    """Dagster's instance, and the clients of the database and the object store."""

    def __init__(self, settings: Settings, endpoints: Endpoints) -> None:
        home = prepare(settings, endpoints)
        self.connection: Final[Connection] = connect(endpoints)
        self.instance: Final[DagsterInstance] = open_instance(home)

    def close(self) -> None:
        """Closes the instance's connections."""
        close(self.instance)


def prepare(settings: Settings, endpoints: Endpoints) -> Path:
    """Sets the servers' addresses and DAGSTER_HOME in the environment, and writes that home. Returns its path."""
    home = make_closed(settings.home / "dagster")
    make_closed(home / "compute_logs")
    shutil.copyfile(CONFIGURATION, home / "dagster.yaml")
    os.environ.update(export(endpoints))
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault("TOUCHLINE_COMPUTE_LOGS", str(home / "compute_logs"))
    return home


def open_instance(home: Path) -> DagsterInstance:
    """Dagster's instance of a home that `prepare` wrote, without capture of compute logs."""
    # The public way to override settings of dagster.yaml. A folder that is passed in is not deleted.
    return DagsterInstance.local_temp(str(home), overrides=UNCAPTURED)


def end_run_of_process(settings: Settings, endpoints: Endpoints, process: Process, why: str) -> str:
    """Ends the run of a dead process. Returns the error message of the run's job, or "" without a job.

    Raises ServiceError if the database cannot be reached.
    """
    connection = connect(endpoints)
    with open_instance(prepare(settings, endpoints)) as instance:
        return end_with_process(instance, connection, process, why)
