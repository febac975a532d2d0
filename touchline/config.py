"""The base class of stage settings.

Belongs here: what the settings of all stages share, for example former names. A stage's own settings are at the top of
its file in `touchline/stages/`; profiles are in `touchline/profiles`.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

NAMES_FILE: Final = "names_file"
"""Key (in `json_schema_extra`) of a field whose value may name a file of this machine. Only profiles, commands and the
environment may give a path, because the settings of a run can come from a browser."""

PLUGIN: Final = "plugin"
"""Key (in `json_schema_extra`) of a field whose value is the name of an entry point. The key's value is the group."""

OPERATIONAL: Final = "operational"
"""Key (in `json_schema_extra`) of a field that decides where, when or whether a stage runs, but never what it stores.
The field is not part of a fingerprint."""

FORMERLY: Final = "formerly"
"""Key (in `json_schema_extra`) of the name that a field had in the previous version. The former name is deprecated. It
is still accepted wherever settings are given, and fingerprints keep it."""


def deprecated(text: str) -> None:
    """Issues a DeprecationWarning with this text."""
    warnings.warn(text, DeprecationWarning, stacklevel=3)


def silently(_text: str) -> None:
    """Ignores a text on a former name, for stored settings, which no user can change."""


class StageConfig(BaseModel):
    """Settings of one stage. They are immutable, and each field has a description with its unit.

    Unknown fields are refused. Former names of renamed fields are accepted with a DeprecationWarning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        """Refuses text that neither Postgres nor a file name can hold, because it would be stored changed."""
        if isinstance(value, str) and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
            raise ValueError("expected text without NUL characters and lone surrogates")
        return value

    @classmethod
    def marked(cls, mark: str) -> dict[str, Any]:
        """The values of this key in `json_schema_extra`, by field name, of the fields that have it."""
        return {
            name: extra[mark]
            for name, field in cls.model_fields.items()
            if isinstance(extra := field.json_schema_extra, dict) and mark in extra
        }

    @classmethod
    def operational(cls) -> frozenset[str]:
        """The names of the fields that cannot change an output."""
        return frozenset(cls.marked(OPERATIONAL))

    def decisive(self) -> dict[str, Any]:
        """The settings that an output depends on (all but the operational ones), as JSON values by name."""
        return self.model_dump(mode="json", exclude=set(self.operational()))

    @classmethod
    def former_names(cls) -> dict[str, str]:
        """The current names of renamed fields by their former names."""
        return {former: name for name, former in cls.marked(FORMERLY).items()}

    @classmethod
    def renamed(
        cls, values: Mapping[str, Any], prefix: str = "", tell: Callable[[str], None] = deprecated
    ) -> dict[str, Any]:
        """The values with each former field name replaced by the current one.

        `tell` is called with a message for each former name; `prefix` ("run_ocr.") precedes the names in it. Raises
        ValueError if both names of a field are given.
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
        """The decisive settings as they enter a fingerprint, with renamed fields under their former names.

        So a checkpoint that was made before a field was renamed keeps its fingerprint and is reused.
        """
        former = {now: name for name, now in self.former_names().items()}
        return {former.get(name, name): value for name, value in self.decisive().items()}

    @model_validator(mode="before")
    @classmethod
    def _accept_former_names(cls, values: Any) -> Any:
        return cls.renamed(values) if isinstance(values, Mapping) else values
