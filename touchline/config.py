"""The base of every stage's settings.

Belongs here: what all stage settings share. A stage's own settings stand at the top of its file in
`touchline/stages/`; profiles that put them together are in `touchline/profiles`.
"""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, field_validator

NAMES_FILE: Final = "names_file"
"""Mark (in `json_schema_extra`) of a field whose value may name a file of this machine. Only profiles, commands and
the environment may give one: a run's own settings can come from a browser."""

PLUGIN: Final = "plugin"
"""Mark (in `json_schema_extra`) of a field whose value is the name of an entry point, with the name of its group."""


OPERATIONAL: Final = "operational"
"""Mark (in `json_schema_extra`) of a field that decides where, when or whether a stage works, and never what it stores.
It is no part of a fingerprint."""


class StageConfig(BaseModel):
    """Settings of one stage: immutable, unknown fields refused, every field with a description that names its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        """Refuses text that neither Postgres nor a file name can hold: it would be stored as another text."""
        if isinstance(value, str) and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
            raise ValueError("expected text without NUL characters and lone surrogates")
        return value

    @classmethod
    def operational(cls) -> frozenset[str]:
        """The names of the fields that can change no output."""
        return frozenset(
            name
            for name, field in cls.model_fields.items()
            if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get(OPERATIONAL)
        )

    def decisive(self) -> dict[str, Any]:
        """The settings that an output depends on, as JSON values by name: all but the operational ones."""
        return self.model_dump(mode="json", exclude=set(self.operational()))
