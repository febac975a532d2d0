"""The base of every stage's settings.

Belongs here: what all stage settings share. A stage's own settings stand at the top of its file in
`touchline/stages/`; profiles that put them together are in `touchline/profiles`.
"""

from typing import Final

from pydantic import BaseModel, ConfigDict

NAMES_FILE: Final = "names_file"
"""Mark (in `json_schema_extra`) of a field whose value may name a file of this machine. Only profiles, commands and
the environment may give one: a run's own settings can come from a browser."""

PLUGIN: Final = "plugin"
"""Mark (in `json_schema_extra`) of a field whose value is the name of an entry point, with the name of its group."""


class StageConfig(BaseModel):
    """Settings of one stage: immutable, unknown fields refused, every field with a description that names its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
