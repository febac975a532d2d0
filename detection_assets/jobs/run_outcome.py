"""How a run ended, as the process that did it tells the one that asked for it.

Belongs here: this one class, without Dagster: whoever unpickles it does not load the runner with all that it needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from touchline.library.tables import DetectJob, DetectJobStatus


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended. `continued` is the unfinished job that it went on with, if any."""

    job: DetectJob
    run_id: str
    succeeded: bool
    continued: DetectJob | None
    error: str = ""

    @property
    def stopped(self) -> bool:
        """Whether somebody asked for the end: that is no fault."""
        return self.job.status in (DetectJobStatus.PAUSED, DetectJobStatus.CANCELLED)
