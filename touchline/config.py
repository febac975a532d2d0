"""The base of every stage's settings.

Belongs here: what all stage settings share, the names that settings had before among it. A stage's own settings stand
at the top of its file in `touchline/stages/`; profiles that put them together are in `touchline/profiles`.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

NAMES_FILE: Final = "names_file"
"""Mark (in `json_schema_extra`) of a field whose value may name a file of this machine. Only profiles, commands and
the environment may give one: a run's own settings can come from a browser."""

PLUGIN: Final = "plugin"
"""Mark (in `json_schema_extra`) of a field whose value is the name of an entry point, with the name of its group."""

OPERATIONAL: Final = "operational"
"""Mark (in `json_schema_extra`) of a field that decides where, when or whether a stage works, and never what it stores.
It is no part of a fingerprint."""

FORMERLY: Final = "formerly"
"""Key (in `json_schema_extra`) of the name that a field had in the version before. The former name is deprecated and
still accepted wherever settings are given, and a fingerprint keeps it."""


def deprecated(text: str) -> None:
    """Tells of a former name as Python does: by a DeprecationWarning."""
    warnings.warn(text, DeprecationWarning, stacklevel=3)


def silently(_text: str) -> None:
    """Tells nobody. For stored settings, whose names nobody can change."""


class StageConfig(BaseModel):
    """Settings of one stage: immutable, unknown fields refused, every field with a description that names its unit.

    Former names of renamed fields are accepted with a DeprecationWarning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        """Refuses text that neither Postgres nor a file name can hold: it would be stored as another text."""
        if isinstance(value, str) and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
            raise ValueError("expected text without NUL characters and lone surrogates")
        return value

    @classmethod
    def marked(cls, mark: str) -> dict[str, Any]:
        """The fields that have this mark in `json_schema_extra`, by name, each with the mark's value."""
        return {
            name: extra[mark]
            for name, field in cls.model_fields.items()
            if isinstance(extra := field.json_schema_extra, dict) and mark in extra
        }

    @classmethod
    def operational(cls) -> frozenset[str]:
        """The names of the fields that can change no output."""
        return frozenset(cls.marked(OPERATIONAL))

    def decisive(self) -> dict[str, Any]:
        """The settings that an output depends on, as JSON values by name: all but the operational ones."""
        return self.model_dump(mode="json", exclude=set(self.operational()))

    @classmethod
    def former_names(cls) -> dict[str, str]:
        """The former names of renamed fields, each with the name of today."""
        return {former: name for name, former in cls.marked(FORMERLY).items()}

    @classmethod
    def renamed(
        cls, values: Mapping[str, Any], prefix: str = "", tell: Callable[[str], None] = deprecated
    ) -> dict[str, Any]:
        """Values by field name, with today's name for each former one.

        `tell` is called with a sentence for each former name; `prefix` ("run_ocr.") stands before the names there.
        Raises ValueError if both names of one field are given.
        """
        former = cls.former_names()
        found: dict[str, Any] = {}
        for name, value in values.items():
            now = former.get(name, name)
            if now != name:
                if now in values:
                    raise ValueError(f"{prefix}{name} is the former name of {prefix}{now}; expected one of them")
                tell(f"{prefix}{name} is deprecated: use {prefix}{now}, which is its name now")
            found[now] = value
        return found

    def fingerprinted(self) -> dict[str, Any]:
        """The decisive settings as they enter a fingerprint: a renamed field under its former name.

        So a checkpoint that was made before a field was renamed is still the same, and is reused.
        """
        former = {now: name for name, now in self.former_names().items()}
        return {former.get(name, name): value for name, value in self.decisive().items()}

    @model_validator(mode="before")
    @classmethod
    def _accept_former_names(cls, values: Any) -> Any:
        return cls.renamed(values) if isinstance(values, Mapping) else values
