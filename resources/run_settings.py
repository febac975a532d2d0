"""What a run is told besides the settings of single stages.

Belongs here: the fields of the launchpad's `run_settings` resource.
"""

import dagster as dg
from pydantic import Field


class RunSettings(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Profile, the checkpoints to read, the brands to match, and whether finished work may be reused."""

    profile: str = Field(default="", description="Profile of settings; empty takes the source's own.")
    from_job: str = Field(
        default="",
        description="Id of the job whose checkpoints are read upstream of this run; empty reads those of the run that "
        "this one re-executes, else the newest. The run tag touchline/from_job does the same.",
    )
    brands_csv: str = Field(
        default="",
        description="Path of a CSV of brands to match against in this run alone; empty takes all known brands.",
    )
    fresh: bool = Field(default=False, description="Compute everything selected anew, reuse and resume nothing.")
