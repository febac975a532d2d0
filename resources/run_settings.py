"""Settings of a run other than those of its stages, and the validation of a run's config.

Belongs here: the resource `run_settings` of the launchpad, and the checks of what a run's config may name.
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
"""Pattern of a setting of a run whose value may be a path in a profile: a bare name."""


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
        """Raises BadInputError, before any step, as `refuse_foreign` and `refuse_both_names`."""
        if context.run is not None:
            refuse_foreign(context.run.run_config)
            refuse_both_names(context.run.run_config, context.log.warning if context.log else deprecated)


def refuse_foreign(config: Mapping[str, Any]) -> None:
    """Raises BadInputError if a run's config names a file of this machine or a variable of its environment.

    Everyone with access to Dagster's UI can launch a run with any config and read its errors. The error repeats no
    value.
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
    """Raises BadInputError for a run's config with both names of a renamed setting, each with a value.

    Dagster itself refuses unknown names. `tell` is called with a sentence for each former name.
    """
    ops: Mapping[str, Any] = config.get("ops") or {}
    # The launchpad fills a config with nulls, under both names.
    given = {
        stage: {name: value for name, value in (op.get("config") or {}).items() if value is not None}
        for stage, op in ops.items()
    }
    current_names(given, tell)


def _settings(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Path and value of every leaf of a config. A reference to an environment variable is a leaf."""
    if isinstance(value, Mapping) and set(value) != {"env"}:
        for name, inner in value.items():
            yield from _settings(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _settings(inner, f"{path}.{number}")
    else:
        yield path, value
