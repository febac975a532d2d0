"""What a run is told besides the settings of single stages.

Belongs here: the fields of the launchpad's `run_settings` resource, and what no run may be told.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import dagster as dg
from pydantic import Field

from touchline.config import deprecated
from touchline.errors import BadInputError
from touchline.profiles import current_names, file_settings

NAME: Final = re.compile(r"\w[\w.+-]*")
"""What a run may give where a profile may give a path: a name without a folder, an escape or a home."""


class RunSettings(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Profile, the checkpoints to read, the brands to match, and whether finished work may be reused."""

    profile: str = Field(default="", description="Profile of settings; empty takes the source's own.")
    from_job: str = Field(
        default="",
        description="Id of the job whose checkpoints are read upstream of this run; empty reads those of the run that "
        "this one re-executes, else the newest. The run tag touchline/from_job does the same.",
    )
    brands: str = Field(
        default="",
        description="List of brands to match against in this run alone, as sha256:HEX; `touchline brands store FILE` "
        "stores a list and prints that. Empty takes all known brands.",
    )
    brands_csv: str = Field(
        default="",
        description="Refused: a run names no file of the server's. Store the list, and name it with `brands`.",
    )
    fresh: bool = Field(default=False, description="Compute everything selected again, reuse and resume nothing.")

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Refuses, before any step, a run that names what is the server's own, or one setting by both its names."""
        if context.run is not None:
            refuse_foreign(context.run.run_config)
            refuse_both_names(context.run.run_config, context.log.warning if context.log else deprecated)


def refuse_foreign(config: Mapping[str, Any]) -> None:
    """Refuses a run's config that names a file of this machine or a variable of its environment.

    Whoever can open Dagster's UI can start a run with any config, and reads what its errors say. Values are not
    repeated. Raises BadInputError.
    """
    files = {f"ops.{path.replace('.', '.config.')}" for path in file_settings()}
    for path, value in _settings(config, ""):
        if isinstance(value, Mapping):
            raise BadInputError(f"{path}: expected a value, got the name of a variable of the server's environment")
        if path.endswith("run_settings.config.brands_csv") and value:
            raise BadInputError(
                f"{path}: a run cannot name a file of the server's. `touchline brands store FILE` stores a list of "
                "brands and prints its name for `brands`; `touchline run`, `replay` and `resume` do so by themselves"
            )
        if path in files and isinstance(value, str) and value and not NAME.fullmatch(value):
            raise BadInputError(
                f"{path}: expected the name of a published or registered model; a run cannot name a file of the "
                "server's. `touchline run` and `replay` register a file that is given with --set"
            )


def refuse_both_names(config: Mapping[str, Any], tell: Callable[[str], None]) -> None:
    """Refuses a run's config with both names of one setting, former and new, where each has a value.

    Dagster itself refuses names that a stage does not know. `tell` is called with a sentence for each former name.
    Raises BadInputError.
    """
    ops: Mapping[str, Any] = config.get("ops") or {}
    # The launchpad fills a config with nulls, under both names.
    given = {
        stage: {name: value for name, value in (op.get("config") or {}).items() if value is not None}
        for stage, op in ops.items()
    }
    current_names(given, tell)


def _settings(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value of a config with its path; a variable of the environment counts as a value."""
    if isinstance(value, Mapping) and set(value) != {"env"}:
        for name, inner in value.items():
            yield from _settings(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _settings(inner, f"{path}.{number}")
    else:
        yield path, value
