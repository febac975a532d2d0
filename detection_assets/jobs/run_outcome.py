"""The outcome of a run, sent from a worker process to the process that requested the run.

Belongs here: this class, without imports of Dagster, so that unpickling it does not load the runner.
"""

from __future__ import annotations

from dataclasses import dataclass

from touchline.library.tables import DetectJob, DetectJobStatus


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended. `continued` is the unfinished job that it continued, if any."""

    job: DetectJob
    run_id: str
    succeeded: bool
    continued: DetectJob | None
    error: str = ""

    @property
    def stopped(self) -> bool:
        """Whether the job was paused or cancelled on request."""
        return self.job.status in (DetectJobStatus.PAUSED, DetectJobStatus.CANCELLED)
