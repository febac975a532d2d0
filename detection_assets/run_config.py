"""The run config of a run, as the launchpad shows it: settings of stages, and what the run as a whole is told.

Belongs here: its form, without Dagster, so that commands which only ask a webserver start fast. What the fields mean is
in the profile and in `resources/run_settings.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import UUID

PRIORITY_TAG: Final = "dagster/priority"
"""Dagster's own run tag: a run's place in the queue, higher first."""


def run_config(
    stages: Collection[str],
    *,
    profile: str = "",
    overrides: Mapping[str, Any] | None = None,
    brands_csv: Path | None = None,
    fresh: bool = False,
    from_job: UUID | None = None,
) -> dict[str, Any]:
    """Dagster's run config of a run of `stages`; overrides ("run_ocr.min_confidence") of other stages are left out."""
    settings = {"profile": profile, "fresh": fresh, "from_job": str(from_job or "")}
    settings["brands_csv"] = str(brands_csv.absolute()) if brands_csv else ""
    ops: dict[str, Any] = {}
    for path, value in (overrides or {}).items():
        stage, _, field = path.partition(".")
        if stage in stages:
            ops.setdefault(stage, {"config": {}})["config"][field] = value
    return {"ops": ops, "resources": {"run_settings": {"config": settings}}}
