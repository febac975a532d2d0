"""Dagster's books and Touchline's, open side by side without any definitions.

Belongs here: what a process opens that looks into runs and jobs, or puts them right, and does none: it loads faster
than `local/runner.py`. What changes runs and jobs is in `jobs/reconcile.py`, `jobs/resume.py`,
`upkeep/collect_garbage.py` and `upkeep/retire_source.py`.
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

UNCAPTURED: Final = {
    "compute_logs": {
        "module": "dagster.core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
        "config": {},
    }
}
"""Runs in this process print to their own terminal. Capturing would turn standard output aside while a step runs, the
progress bar with it, and start two child processes a step that answer Ctrl-C with a traceback."""


class Books:
    """Dagster's instance, and clients of the database and the object store."""

    def __init__(self, settings: Settings, endpoints: Endpoints) -> None:
        home = prepare(settings, endpoints)
        self.connection: Final[Connection] = connect(endpoints)
        self.instance: Final[DagsterInstance] = open_instance(home)

    def close(self) -> None:
        """Lets go of the instance's connections."""
        close(self.instance)


def prepare(settings: Settings, endpoints: Endpoints) -> Path:
    """Gives this process and its children the servers' addresses and Dagster's home; returns that home."""
    home = make_closed(settings.home / "dagster")
    make_closed(home / "compute_logs")
    shutil.copyfile(CONFIGURATION, home / "dagster.yaml")
    os.environ.update(export(endpoints))
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault("TOUCHLINE_COMPUTE_LOGS", str(home / "compute_logs"))
    return home


def open_instance(home: Path) -> DagsterInstance:
    """Dagster's instance of a home that `prepare` made; what runs print here is not captured."""
    # The public way to open a home with other settings than its dagster.yaml has; a folder that is given is kept.
    return DagsterInstance.local_temp(str(home), overrides=UNCAPTURED)


def bury(settings: Settings, endpoints: Endpoints, process: Process, why: str) -> str:
    """Ends the run that a dead process was doing; what its job says, if it had one.

    Raises ServiceError if the database cannot be reached.
    """
    connection = connect(endpoints)
    with open_instance(prepare(settings, endpoints)) as instance:
        return end_with_process(instance, connection, process, why)
